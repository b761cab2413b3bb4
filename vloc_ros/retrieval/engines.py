"""What computes a network of place recognition: ONNX Runtime where it is installed, else torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.onnx_file import PLACE_WEIGHTS, metadata_of
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.engines.onnx_files import SUFFIX, onnx_of_weights
from vloc_ros.networks.preprocessing import preprocess

if TYPE_CHECKING:
    from vloc_ros.networks.network import PlaceNetwork

Array = NDArray[np.float32]
THREADS = 2
"""Cores that a network uses."""
_BATCH = 8


class PlaceEngine(ABC):
    """Images in; descriptors, and their variances where the network has such, out."""

    @abstractmethod
    def __call__(self, images: Sequence[Image]) -> tuple[Array, Array | None]:
        """(N, D) descriptors and (N,) variances, or None, of at least one image of any size."""


class TorchEngine(PlaceEngine):
    """The network itself."""

    def __init__(self, network: PlaceNetwork) -> None:
        """Wrap a network in evaluation mode."""
        self.network = network

    def __call__(self, images: Sequence[Image]) -> tuple[Array, Array | None]:
        """As the contract says."""
        from vloc_ros.networks.network import describe_with_variance

        return describe_with_variance(self.network, images)


class OnnxRuntimeEngine(PlaceEngine):
    """A session of ONNX Runtime, made of the network with the first image: who only asks for the card does not wait for it."""

    def __init__(self, content: Callable[[], bytes], prepare: Callable[[Sequence[Image]], Array]) -> None:
        """Of what gives the content of its ONNX file, when it is needed, and what prepares images for it."""
        self._content: Callable[[], bytes] | None = content
        self._prepare = prepare
        self._session: Any = None

    def __call__(self, images: Sequence[Image]) -> tuple[Array, Array | None]:
        """As the contract says.

        Raises:
            WeightsError: the ONNX file cannot be used.
        """
        if self._session is None:
            self._session = self._opened()
        parts = [self._session.run(None, {"images": self._prepare(batch)}) for batch in in_batches(images)]
        outputs = [np.concatenate(values) for values in zip(*parts, strict=True)]
        return outputs[0], outputs[1] if len(outputs) > 1 else None

    def _opened(self) -> Any:
        from vloc_ros.features.engines.onnxruntime import session_of

        assert self._content is not None  # until there is a session
        session = session_of(self._content(), THREADS)
        self._content = None  # and with it a network that it was made of
        return session


def in_batches(images: Sequence[Image]) -> Iterator[Sequence[Image]]:
    """The images, so many at a time as go through a network together."""
    return (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))


def engine_of(network: PlaceNetwork, sha256: str) -> PlaceEngine:
    """The fastest engine that is installed for a network with weights of that hash."""
    if not (is_installed("onnxruntime") and is_installed("onnx")):
        return TorchEngine(network)
    from vloc_ros.networks.place_export import onnx_of_place

    return OnnxRuntimeEngine(partial(onnx_of_place, network, sha256), partial(preprocess, size=network.backbone.size))


def exported_engine(path: Path, sha256: str, size: int) -> PlaceEngine | None:
    """The engine of ``<name>.onnx`` beside a file of weights; None where there is none of these weights, or no ONNX Runtime.

    ``size`` is the height and width of the images of its network [px].
    """
    content = exported_network(path, sha256)
    return None if content is None else OnnxRuntimeEngine(lambda: content, partial(preprocess, size=size))


def can_compute(path: Path, sha256: str) -> bool:
    """Whether anything that is installed computes the network of a file of weights with that hash; nothing is loaded for it."""
    return is_installed("torch") or exported_network(path, sha256) is not None


def exported_network(path: Path, sha256: str) -> bytes | None:
    """Content of ``<name>.onnx`` beside a file of weights; None where there is none of these weights, or no ONNX Runtime."""
    if not is_installed("onnxruntime"):
        return None
    return onnx_of_weights([path.with_suffix(SUFFIX)], path.name, sha256, _hash_in)


def _hash_in(content: bytes, what: str) -> str | None:
    return metadata_of(content, what).get(PLACE_WEIGHTS)
