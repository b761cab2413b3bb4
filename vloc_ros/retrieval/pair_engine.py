"""What computes a network of both stages: ONNX Runtime where it is installed, else torch; a descriptor and a re-ranker share it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.onnx_file import PAIR_WEIGHTS, PLACE_WEIGHTS, metadata_of
from vloc_ros.data.weights import Tensors, WeightsCard, load_card, load_weights
from vloc_ros.errors import ConfigError
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.engines.onnx_files import PAIRS_ENDING, SUFFIX, onnx_of_weights
from vloc_ros.networks.availability import require_torch
from vloc_ros.networks.names import Backbone
from vloc_ros.networks.preprocessing import preprocess
from vloc_ros.networks.two_stage_card import two_stage_backbone
from vloc_ros.retrieval.pixels import key_of

if TYPE_CHECKING:
    from vloc_ros.networks.two_stage import TwoStageNetwork

Array = NDArray[np.float32]
THREADS = 2
"""Cores that a network uses."""
_BATCH = 8
_REMEMBERED = 8  # images: a descriptor and a re-ranker that are asked one after the other go through a batch of them at most


class PairEngine(ABC):
    """Looks at images, and compares one with others. Several threads may use it."""

    def __init__(self, card: WeightsCard) -> None:
        """Build it; ``card`` is that of a network of both stages."""
        self._card, self._backbone = card, Backbone(card.backbone)
        self._seen: OrderedDict[bytes, tuple[Array, Array]] = OrderedDict()
        self._lock = RLock()

    @property
    def card(self) -> WeightsCard:
        """Of the weights."""
        return self._card

    @property
    def size(self) -> int:
        """Height and width of the images as the network sees them [px]."""
        return self._backbone.size

    @property
    def side(self) -> int:
        """Patches along either side of an image."""
        return self._backbone.side

    @property
    def channels(self) -> int:
        """Elements of the descriptor of a patch, and of that of an image."""
        return self._backbone.channels

    def look(self, images: Sequence[Image]) -> tuple[Array, Array]:
        """(N, C) global descriptors and (N, S * S, C) patches, row by row, all of unit length; what was just seen is not redone.

        Args:
            images: N images, (H, W) grey or (H, W, 3) RGB uint8, of any sizes.

        Raises:
            ConfigError: what computes it is not installed.
            WeightsError: the ONNX file cannot be used.
        """
        means = np.empty((len(images), self.channels), dtype=np.float32)
        patches = np.empty((len(images), self.side**2, self.channels), dtype=np.float32)
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            for row, (mean, local) in enumerate(self._looked(batch), start):
                means[row], patches[row] = mean, local
        return means, patches

    def points(self, query: Array, candidates: Array) -> Array:
        """Points that say the homography from a query to each of its candidates; candidates go through in batches.

        Args:
            query: (S * S, C) patches.
            candidates: (B, S * S, C) patches.

        Returns:
            (B, 8, 2) [px] of images that span 0 to :attr:`size`: four in the query, then where the candidate shows them.

        Raises:
            ConfigError: what computes it is not installed.
            WeightsError: the ONNX file cannot be used.
        """
        one = np.ascontiguousarray(query, dtype=np.float32)
        made = np.empty((len(candidates), 8, 2), dtype=np.float32)
        for start in range(0, len(candidates), _BATCH):
            some = np.ascontiguousarray(candidates[start : start + _BATCH], dtype=np.float32)
            made[start : start + len(some)] = self._points(one, some)
        return made

    def _looked(self, images: Sequence[Image]) -> list[tuple[Array, Array]]:
        """A batch, of which some may be remembered."""
        keys = [key_of(image) for image in images]
        with self._lock:
            known = {key: self._seen[key] for key in keys if key in self._seen}
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
        if new:
            known.update(zip(new, zip(*self._look(list(new.values())), strict=True), strict=True))
        with self._lock:
            self._seen.update({key: known[key] for key in keys})
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return [known[key] for key in keys]

    @abstractmethod
    def _look(self, images: Sequence[Image]) -> tuple[Array, Array]:
        """As :meth:`look`, of at most a batch and at least one."""

    @abstractmethod
    def _points(self, query: Array, candidates: Array) -> Array:
        """As :meth:`points`, of at most a batch and at least one."""


class TorchPairEngine(PairEngine):
    """The network itself."""

    def __init__(self, card: WeightsCard, network: TwoStageNetwork) -> None:
        """Wrap a network in evaluation mode."""
        super().__init__(card)
        self.network = network

    def _look(self, images: Sequence[Image]) -> tuple[Array, Array]:
        from vloc_ros.networks.two_stage_numpy import look_at

        return look_at(self.network, images)

    def _points(self, query: Array, candidates: Array) -> Array:
        from vloc_ros.networks.two_stage_numpy import points_of

        return points_of(self.network, query, candidates)


class OnnxPairEngine(PairEngine):
    """Two sessions of ONNX Runtime, each made when it is first needed: who only searches does not wait for the second stage."""

    def __init__(self, card: WeightsCard, look: Callable[[], bytes], pairs: Callable[[], bytes]) -> None:
        """Of what gives the content of either ONNX file."""
        super().__init__(card)
        self._contents: dict[int, Callable[[], bytes]] = {0: look, 1: pairs}
        self._sessions: dict[int, Any] = {}

    def _look(self, images: Sequence[Image]) -> tuple[Array, Array]:
        mean, patches = self._session(0).run(["mean", "patches"], {"images": preprocess(images, self.size)})
        return mean, patches

    def _points(self, query: Array, candidates: Array) -> Array:
        made: Array = self._session(1).run(["points"], {"query": query, "candidates": candidates})[0]
        return made

    def _session(self, stage: int) -> Any:
        from vloc_ros.features.engines.onnxruntime import session_of

        with self._lock:
            if stage not in self._sessions:
                self._sessions[stage] = session_of(self._contents[stage](), THREADS)
                del self._contents[stage]  # and with the second one the network that they were made of
            return self._sessions[stage]


_ENGINES: WeakValueDictionary[tuple[Path, WeightsCard], PairEngine] = WeakValueDictionary()
_MAKING = RLock()


def pair_engine(path: Path) -> PairEngine:
    """The engine of a file of weights, the same one for all who ask while somebody has it.

    Torch is not needed where ``<name>.onnx`` and ``<name>_pairs.onnx`` of these weights are beside it; a descriptor does with the
    first of them.

    Raises:
        ConfigError: what computes it is not installed.
        WeightsError: the file or its card is missing or damaged, or of another network.
    """
    with _MAKING:
        key = path.resolve(), load_card(path)
        engine = _ENGINES.get(key)
        if engine is None:
            tensors, card = load_weights(path)
            engine = _ENGINES[key] = pair_engine_of(tensors, card, str(path), _exported(path, card.sha256))
        return engine


def pair_engine_of(
    tensors: Tensors, card: WeightsCard, what: str, exported: tuple[bytes | None, bytes | None] = (None, None)
) -> PairEngine:
    """The engine of some weights.

    Args:
        tensors: by name; the caller has made sure that they are those of the card.
        card: what they are.
        what: they are called in messages.
        exported: contents of the ONNX files of both stages, None where there is none.

    Raises:
        ConfigError: what computes it is not installed.
        WeightsError: the weights are not those of the network that the card names.
    """
    two_stage_backbone(card, what)
    look, pairs = exported
    if look is not None and (pairs is not None or not is_installed("torch")):
        return OnnxPairEngine(card, lambda: look, lambda: pairs or _lacking(what))
    if not is_installed("torch") and is_installed("onnxruntime"):
        raise ConfigError(_without_torch(what, SUFFIX))
    require_torch(f"the network in {what}")
    from vloc_ros.networks.two_stage_files import two_stage_of

    network = two_stage_of(tensors, card, what)
    if not (is_installed("onnxruntime") and is_installed("onnx")):
        return TorchPairEngine(card, network)
    from vloc_ros.networks.two_stage_export import onnx_of_look, onnx_of_pairs

    return OnnxPairEngine(card, lambda: onnx_of_look(network, card.sha256), lambda: onnx_of_pairs(network, card.sha256))


def _exported(path: Path, sha256: str) -> tuple[bytes | None, bytes | None]:
    """Contents of the ONNX files of both stages of these weights beside them."""
    if not is_installed("onnxruntime"):
        return None, None
    look = onnx_of_weights([path.with_suffix(SUFFIX)], path.name, sha256, _hash_under(PLACE_WEIGHTS))
    pairs = onnx_of_weights([path.with_name(path.stem + PAIRS_ENDING)], path.name, sha256, _hash_under(PAIR_WEIGHTS))
    return look, pairs


def _hash_under(key: str) -> Callable[[bytes, str], str | None]:
    return lambda content, what: metadata_of(content, what).get(key)


def _lacking(what: str) -> bytes:
    raise ConfigError(_without_torch(what, PAIRS_ENDING))


def _without_torch(what: str, ending: str) -> str:
    return (
        f"{what} has no {Path(what).stem}{ending} of its weights beside it, and torch, which does without, is not installed: run "
        f"`vloc export {Path(what).name} --to onnx` where it is, and copy both files"
    )
