"""From images to descriptors, whatever the descriptor needs: features, a vocabulary, or neither."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.features import FeatureExtractor
from vloc_ros.retrieval.contract import GlobalDescriptor, Needs, View, create_descriptor
from vloc_ros.retrieval.vlad import Vlad
from vloc_ros.retrieval.vocabulary import CENTRES, Vocabulary

VOCABULARY_IMAGES = 500
"""Images that are enough for a vocabulary; more of them take longer and say little new."""


class Describer:
    """Describes images, extracting local features where the descriptor asks for them."""

    def __init__(self, descriptor: GlobalDescriptor, extractor: FeatureExtractor) -> None:
        """The extractor is used only by descriptors made of features."""
        self.descriptor = descriptor
        self._extractor = extractor

    def view(self, image: Image, condition: str = "") -> View:
        """What the descriptor sees of an image that was taken in a condition, if anybody says in which."""
        features = self._extractor.extract(image) if self.descriptor.needs is Needs.FEATURES else None
        return View(image, features, condition=condition)

    def describe(self, image: Image, condition: str = "") -> NDArray[np.float32]:
        """(D,) descriptor of an (H, W) grey or (H, W, 3) RGB image."""
        return self.descriptor.describe(self.view(image, condition))


def learn_vocabulary(images: Iterable[Image], extractor: FeatureExtractor, seed: int = 1, words: int = CENTRES) -> Vocabulary:
    """A vocabulary of some images of a site; :data:`VOCABULARY_IMAGES` of them, spread over it, are enough.

    Raises:
        DataError: the images have too few features.
    """
    return Vocabulary.learn([extractor.extract(image) for image in images], seed, words)


def describer_for(name: str, extractor: FeatureExtractor, assets: bytes | None, database: Iterable[Image]) -> Describer:
    """A describer by name; a vocabulary that is not given is learned from images of the database, never from queries.

    Raises:
        ConfigError: the name is unknown, or its assets are missing or of no use to it.
        DataError: the assets are damaged, or the database has too few features for a vocabulary.
    """
    if name == Vlad.name and assets is None:
        assets = learn_vocabulary(database, extractor).to_bytes()
    return Describer(create_descriptor(name, assets), extractor)
