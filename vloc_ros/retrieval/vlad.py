"""VLAD over local features (Jegou et al., CVPR 2010), normalised as in Arandjelovic and Zisserman, "All about VLAD", CVPR 2013."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.retrieval.contract import GlobalDescriptor, Needs, View, register_with_assets
from vloc_ros.retrieval.pixels import unit
from vloc_ros.retrieval.vocabulary import Vocabulary

_NOTHING = 1e-12


class Vlad(GlobalDescriptor):
    """Sum of the differences of local descriptors to their visual word, word by word."""

    name: ClassVar[str] = "vlad"
    needs: ClassVar[Needs] = Needs.FEATURES

    def __init__(self, vocabulary: Vocabulary) -> None:
        """With the words of the features that views will have."""
        self._vocabulary = vocabulary
        prepared = f"{vocabulary.metric.value} features, signed root, intra-normalised, v1"
        self._card = ModelCard(self.name, vocabulary.centres.size, vocabulary.sha256, prepared)

    @property
    def card(self) -> ModelCard:
        """With the hash of the vocabulary."""
        return self._card

    def describe(self, view: View) -> NDArray[np.float32]:
        """(K * D,) residuals of word after word."""
        if view.features is None:
            raise DataError(f"the descriptor '{self.name}' needs local features, and this view has none; extract them first")
        centres = self._vocabulary.centres
        if len(view.features) == 0:
            return np.zeros(centres.size, dtype=np.float32)
        vectors, words = self._vocabulary.nearest(view.features.descriptors)
        counts = np.bincount(words, minlength=len(centres)).astype(np.float32)
        sums = (words[None, :] == np.arange(len(centres))[:, None]).astype(np.float32) @ vectors
        residuals = sums - counts[:, None] * centres
        # A texture that repeats fills one word; each word has the same say, and a large element not too much of it.
        rooted = np.sign(residuals) * np.sqrt(np.abs(residuals))
        norms = np.linalg.norm(rooted, axis=1, keepdims=True)
        return unit((rooted / np.maximum(norms, _NOTHING)).ravel())


@register_with_assets("vlad")
def _make(assets: bytes | None) -> Vlad:
    if assets is None:
        raise ConfigError(
            "the descriptor 'vlad' needs a vocabulary: learn one from images of the site with `vloc vocabulary`, "
            "or in Python with Vocabulary.learn(features).to_bytes()"
        )
    return Vlad(Vocabulary.from_bytes(assets))
