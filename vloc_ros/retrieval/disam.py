"""``disam``: latents of a network that translates images between conditions, which are alike whatever the season and the light.

DISAM, Hu et al. 2021. Each condition has an encoder of its own. Which one an image needs is said with it, or found out from it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from pathlib import Path
from threading import RLock
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.weights import Tensors, WeightsCard, load_weights
from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.networks.disam_form import DisamForm
from vloc_ros.networks.disam_preprocessing import disam_images
from vloc_ros.retrieval.contract import GlobalDescriptor, View
from vloc_ros.retrieval.domain_engine import DomainEngine, Part, domain_engine, exported_parts
from vloc_ros.retrieval.pixels import key_of

_log = logging.getLogger(__name__)
Array = NDArray[np.float32]
_BATCH = 8
_REMEMBERED = 8  # images, of whose latents the published size takes 4 MiB each


@unique
class Inference(Enum):
    """How the condition of an image is found where nobody says it."""

    CLASSIFIER = "classifier"
    """By the first features of the encoder of the reference."""
    RECONSTRUCTION = "reconstruction"
    """The one whose encoder and decoder show the image best."""
    REFERENCE = "reference"
    """Not at all: all images are taken for some of the reference."""


@dataclass(slots=True)
class _Seen:
    """What is remembered of an image."""

    probabilities: Array | None = None
    encoded: dict[int, tuple[Array, Array]] = field(default_factory=dict)


class Disam(GlobalDescriptor):
    """A network of DISAM. An image of one colour has nothing to describe and gets zeros.

    Attributes:
        engine: what computes it.
        inference: how conditions are found.
    """

    name: ClassVar[str] = "disam"

    def __init__(self, engine: DomainEngine, inference: Inference | None = None) -> None:
        """Put the parts together; callers use :meth:`load` or :meth:`of`.

        Raises:
            ConfigError: the network has not what that way to find conditions needs.
        """
        self.engine, self.inference = engine, inference or _default(engine)
        needed = {Inference.CLASSIFIER: Part.CLASSIFIER, Inference.RECONSTRUCTION: Part.MISFIT}.get(self.inference)
        if needed is not None and needed not in engine.parts:
            lacks = "classifier" if needed is Part.CLASSIFIER else "decoders"
            raise ConfigError(
                f"conditions cannot be found by {self.inference.value}: the weights '{engine.card.name}' have no {lacks}; take "
                "another way, or say the condition of each image"
            )
        if inference is None and self.inference is Inference.REFERENCE:
            _log.warning(
                "'%s' has nothing to find conditions with: images of which nobody says it are taken for some of '%s'",
                engine.card.name,
                engine.form.conditions[0],
            )
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._lock = RLock()

    @classmethod
    def load(cls, path: Path, inference: Inference | None = None) -> Disam:
        """The network of a file of weights; torch is not needed where the ONNX files of these weights are beside it.

        Args:
            path: the file.
            inference: how conditions are found; by default by the classifier where there is one, else by reconstruction where
                there are decoders, else not at all.

        Raises:
            ConfigError: torch is not installed, and a file is missing; or the network has not what ``inference`` needs.
            WeightsError: the file or its card is missing or damaged, or it holds another network.
        """
        tensors, card = load_weights(path)
        return cls(domain_engine(tensors, card, str(path), exported_parts(path, card.sha256)), inference)

    @classmethod
    def of(cls, tensors: Tensors, card: WeightsCard, what: str, inference: Inference | None = None) -> Disam:
        """The network of some weights, which are those of the card; ``what`` they are called in messages. See :meth:`load`."""
        return cls(domain_engine(tensors, card, what), inference)

    @property
    def card(self) -> ModelCard:
        """As the contract says."""
        return self.engine.card.model_card

    @property
    def form(self) -> DisamForm:
        """Size, stage and conditions of the network."""
        return self.engine.form

    @property
    def conditions(self) -> tuple[str, ...]:
        """Those that have an encoder, the reference first."""
        return self.form.conditions

    def describe(self, view: View) -> Array:
        """As the contract says."""
        result: Array = self.describe_many([view])[0]
        return result

    def describe_many(self, views: Sequence[View]) -> Array:
        """(N, D) descriptors; images of one condition go through together.

        Raises:
            DataError: a view has no image.
            WeightsError: the network cannot be used, or its descriptors are of another length than its card says.
        """
        made = np.zeros((len(views), self.card.dimension), dtype=np.float32)
        for start in range(0, len(views), _BATCH):
            for row, found in enumerate(self._encoded(views[start : start + _BATCH]), start):
                if found is not None:
                    made[row] = found[0]
        return made

    def latent(self, view: View) -> Array:
        """(C, h, w) float32 latent of an image, which activation maps are made of; zeros of an image of one colour.

        Raises:
            DataError: the view has no image.
            WeightsError: the network cannot be used.
        """
        found = self._encoded([view])[0]
        return np.zeros(self.form.latent, dtype=np.float32) if found is None else found[1].copy()

    def infer(self, images: Sequence[Image]) -> list[str]:
        """The condition of each of N images, (H, W) grey or (H, W, 3) RGB uint8; see :attr:`inference`.

        Raises:
            ConfigError: what computes it is not installed.
            WeightsError: the network cannot be used.
        """
        return [self.form.conditions[index] for index in self.probabilities(images).argmax(axis=1)]

    def probabilities(self, images: Sequence[Image]) -> Array:
        """(N, K) that N images are of each condition, each row with a sum of 1.

        By the classifier they are what it learned. By reconstruction they only say an order: each is the share of the inverse of
        how badly its condition shows the image.

        Raises:
            ConfigError: what computes it is not installed.
            WeightsError: the network cannot be used.
        """
        made = np.empty((len(images), len(self.form.conditions)), dtype=np.float32)
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            made[start : start + len(batch)] = self._inferred(batch, [key_of(image) for image in batch])
        return made

    def conditions_of(self, views: Sequence[View]) -> list[str]:
        """By which condition each view is described: the one it says, if it is one of :attr:`form`, else what :meth:`infer` says.

        Raises:
            DataError: a view has no image.
            ConfigError: what computes it is not installed.
            WeightsError: the network cannot be used.
        """
        open_ones = [index for index, view in enumerate(views) if not self._says(view)]
        found = dict(zip(open_ones, self.infer([_image_of(views[index]) for index in open_ones]), strict=True))
        return [found.get(index, view.condition) for index, view in enumerate(views)]

    def _says(self, view: View) -> bool:
        return view.condition in self.form.conditions

    def _encoded(self, views: Sequence[View]) -> list[tuple[Array, Array] | None]:
        """Vector and latent of each view of a batch; None for an image of one colour."""
        images = [_image_of(view) for view in views]
        seen = [index for index, image in enumerate(images) if image.size and image.min() != image.max()]
        keys = {index: key_of(images[index]) for index in seen}
        said = {index: self.form.conditions.index(views[index].condition) for index in seen if self._says(views[index])}
        open_ones = [index for index in seen if index not in said]
        chances = self._inferred([images[index] for index in open_ones], [keys[index] for index in open_ones])
        said.update(zip(open_ones, map(int, chances.argmax(axis=1)), strict=True))
        wanted = {index: (keys[index], said[index]) for index in seen}
        with self._lock:
            known = {key: self._seen[key[0]].encoded.get(key[1]) for key in wanted.values() if key[0] in self._seen}
        for condition in sorted({condition for _, condition in wanted.values()}):
            new = {key: images[index] for index, key in wanted.items() if key[1] == condition and known.get(key) is None}
            if new:
                known.update(zip(new, self._encode(list(new.values()), condition), strict=True))
        self._remember({key: found for key, found in known.items() if found is not None})
        return [known[wanted[index]] if index in wanted else None for index in range(len(views))]

    def _encode(self, images: Sequence[Image], condition: int) -> list[tuple[Array, Array]]:
        vectors, latents = self.engine.encode(disam_images(images, self.form), condition)
        if vectors.shape[1] != self.card.dimension:
            raise WeightsError(
                f"the network of '{self.card.name}' makes {vectors.shape[1]} elements, its card says {self.card.dimension}"
            )
        # Of its own, so that one that is remembered does not keep a whole batch.
        return [(vector, np.array(latent)) for vector, latent in zip(vectors, latents, strict=True)]

    def _inferred(self, images: Sequence[Image], keys: Sequence[bytes]) -> Array:
        """(N, K) probabilities of a batch, of which some may be remembered."""
        if self.inference is Inference.REFERENCE:
            return np.eye(1, len(self.form.conditions), dtype=np.float32).repeat(len(images), axis=0)
        with self._lock:
            known = {key: self._seen[key].probabilities for key in keys if key in self._seen}
        new = {key: image for key, image in zip(keys, images, strict=True) if known.get(key) is None}
        if new:
            known.update(zip(new, self._chances(disam_images(list(new.values()), self.form)), strict=True))
        with self._lock:
            for key in keys:
                self._of(key).probabilities = known[key]
        rows = [known[key] for key in keys]
        return np.array(rows, dtype=np.float32).reshape(len(keys), len(self.form.conditions))

    def _chances(self, prepared: Array) -> Array:
        if self.inference is Inference.CLASSIFIER:
            logits = self.engine.logits(prepared)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        else:
            weights = 1.0 / np.maximum(self.engine.misfit(prepared), 1e-6)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)

    def _remember(self, found: dict[tuple[bytes, int], tuple[Array, Array]]) -> None:
        with self._lock:
            for (key, condition), made in found.items():
                self._of(key).encoded = {condition: made}

    def _of(self, key: bytes) -> _Seen:
        """What is remembered of an image, from now on at least; the lock is held."""
        seen = self._seen.setdefault(key, _Seen())
        self._seen.move_to_end(key)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return seen


def _default(engine: DomainEngine) -> Inference:
    if Part.CLASSIFIER in engine.parts:
        return Inference.CLASSIFIER
    return Inference.RECONSTRUCTION if Part.MISFIT in engine.parts else Inference.REFERENCE


def _image_of(view: View) -> Image:
    if view.image is None:
        raise DataError("the descriptor 'disam' needs the image of a view, and it holds none")
    return view.image
