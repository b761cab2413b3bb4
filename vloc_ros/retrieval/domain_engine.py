"""What computes a network of DISAM: ONNX Runtime where it is installed, else torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.onnx_file import CLASSIFIER_WEIGHTS, MISFIT_WEIGHTS, PLACE_WEIGHTS, metadata_of
from vloc_ros.data.weights import Tensors, WeightsCard
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.engines.onnx_files import CLASSIFIER_ENDING, MISFIT_ENDING, SUFFIX, onnx_of_weights
from vloc_ros.networks.availability import require_torch
from vloc_ros.networks.disam_form import DisamForm

if TYPE_CHECKING:
    from vloc_ros.networks.domains import DomainNetwork

Array = NDArray[np.float32]
THREADS = 2
"""Cores that a network uses."""


@unique
class Part(Enum):
    """Of a network, what is of use alone, and how the name of its ONNX file ends."""

    ENCODERS = SUFFIX
    """Makes vectors and latents."""
    CLASSIFIER = CLASSIFIER_ENDING
    """Finds the condition of an image by its first features."""
    MISFIT = MISFIT_ENDING
    """Finds it by the condition whose encoder and decoder show the image best."""

    @property
    def key(self) -> str:
        """Under which metadata of the file say the hash of its weights."""
        return {Part.ENCODERS: PLACE_WEIGHTS, Part.CLASSIFIER: CLASSIFIER_WEIGHTS, Part.MISFIT: MISFIT_WEIGHTS}[self]


def parts_of(tensors: Tensors) -> frozenset[Part]:
    """What the network of some weights can do."""
    beginnings = {Part.CLASSIFIER: "classifier.", Part.MISFIT: "decoders."}
    found = {part for part, beginning in beginnings.items() if any(name.startswith(beginning) for name in tensors)}
    return frozenset({Part.ENCODERS, *found})


@dataclass(frozen=True, slots=True)
class Projection:
    """What :class:`vloc_ros.networks.domains.LatentCompression` does after the latents, without torch.

    Attributes:
        mean: (K, E) of each condition, K x 0 without a projection.
        basis: (D, E), 0 x 0 without one.
    """

    mean: Array
    basis: Array

    @classmethod
    def of(cls, tensors: Tensors, conditions: int, what: str) -> Projection:
        """The one of weights of so many conditions, which are called ``what`` in messages.

        Raises:
            WeightsError: there is none.
        """
        mean, basis = (tensors.get(f"compression.{name}", np.zeros(0, np.float32)) for name in ("mean", "basis"))
        if mean.ndim != 2 or basis.ndim != 2 or mean.shape != (conditions, basis.shape[1]):
            raise WeightsError(f"{what} does not say how its latents are compressed: import or train it again")
        return cls(mean, basis)

    def __call__(self, whole: Array, condition: int) -> Array:
        """(N, D) vectors of unit length of (N, E) whole ones of one condition."""
        if len(self.basis):
            whole = (whole - self.mean[condition]) @ self.basis.T
        made: Array = whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), np.float32(1e-12))
        return made


class DomainEngine(ABC):
    """Prepared images in, what the network says of them out. Several threads may use it."""

    def __init__(self, card: WeightsCard, form: DisamForm, parts: frozenset[Part]) -> None:
        """Build it for a network of that form, which can do so much."""
        self.card, self.form, self.parts = card, form, parts

    @abstractmethod
    def encode(self, images: Array, condition: int) -> tuple[Array, Array]:
        """(N, D) vectors and (N, C, h, w) latents of (N, 3, H, W) prepared images of one condition.

        Raises:
            ConfigError: what computes it is not installed.
            WeightsError: the ONNX file cannot be used.
        """

    @abstractmethod
    def logits(self, images: Array) -> Array:
        """(N, K) logits of the conditions; the network has a classifier. Raises what :meth:`encode` does."""

    @abstractmethod
    def misfit(self, images: Array) -> Array:
        """(N, K) mean absolute differences to what each condition makes of them; it has decoders. Raises as :meth:`encode`."""


class TorchDomainEngine(DomainEngine):
    """The network itself."""

    def __init__(self, card: WeightsCard, network: DomainNetwork, parts: frozenset[Part]) -> None:
        """Wrap a network in evaluation mode."""
        super().__init__(card, network.form, parts)
        self.network = network

    def encode(self, images: Array, condition: int) -> tuple[Array, Array]:
        """As the contract says."""
        from vloc_ros.networks.disam_numpy import encode

        return encode(self.network, images, condition)

    def logits(self, images: Array) -> Array:
        """As the contract says."""
        from vloc_ros.networks.disam_numpy import logits

        return logits(self.network, images)

    def misfit(self, images: Array) -> Array:
        """As the contract says."""
        from vloc_ros.networks.disam_numpy import misfit

        return misfit(self.network, images)


class OnnxDomainEngine(DomainEngine):
    """Sessions of ONNX Runtime, each made when it is first needed: who is told the condition does not wait for what finds it."""

    def __init__(
        self,
        card: WeightsCard,
        form: DisamForm,
        parts: frozenset[Part],
        projection: Projection,
        contents: Mapping[Part, Callable[[], bytes]],
    ) -> None:
        """Of what gives the content of each ONNX file."""
        super().__init__(card, form, parts)
        self._projection = projection
        self._contents = dict(contents)
        self._sessions: dict[Part, Any] = {}
        self._lock = RLock()

    def encode(self, images: Array, condition: int) -> tuple[Array, Array]:
        """As the contract says."""
        asked = {"images": images, "condition": np.array(condition, dtype=np.int64)}
        whole, latents = self._session(Part.ENCODERS).run(["whole", "latents"], asked)
        return self._projection(whole, condition), latents

    def logits(self, images: Array) -> Array:
        """As the contract says."""
        made: Array = self._session(Part.CLASSIFIER).run(["logits"], {"images": images})[0]
        return made

    def misfit(self, images: Array) -> Array:
        """As the contract says."""
        session = self._session(Part.MISFIT)
        columns = [
            session.run(["misfit"], {"images": images, "condition": np.array(condition, dtype=np.int64)})[0]
            for condition in range(len(self.form.conditions))
        ]
        return np.stack(columns, axis=1)

    def _session(self, part: Part) -> Any:
        from vloc_ros.features.engines.onnxruntime import session_of

        with self._lock:
            if part not in self._sessions:
                self._sessions[part] = session_of(self._contents[part](), THREADS)
                del self._contents[part]  # and with the last one the network that they were made of
            return self._sessions[part]


def domain_engine(tensors: Tensors, card: WeightsCard, what: str, exported: Mapping[Part, bytes] | None = None) -> DomainEngine:
    """The engine of some weights.

    Args:
        tensors: by name; the caller has made sure that they are those of the card.
        card: what they are.
        what: they are called in messages.
        exported: contents of ONNX files of these weights, as far as there are any; torch makes the others.

    Raises:
        ConfigError: what computes it is not installed.
        WeightsError: the weights are not those of the network that the card names.
    """
    form, parts, given = DisamForm.of_card(card, what), parts_of(tensors), exported or {}
    projection = Projection.of(tensors, len(form.conditions), what)
    network = _once(lambda: _network_of(tensors, card, what))
    if not _usual(parts) <= set(given):
        if Part.ENCODERS not in given and not is_installed("torch") and is_installed("onnxruntime"):
            raise ConfigError(_without_torch(what, Part.ENCODERS))
        if not given or is_installed("torch"):
            made = network()  # now, so that weights that do not fit are noticed
            if not (is_installed("onnxruntime") and is_installed("onnx")):
                return TorchDomainEngine(card, made, parts)
    contents = {part: _content(given.get(part), network, part, card, what) for part in parts}
    return OnnxDomainEngine(card, form, parts, projection, contents)


def exported_parts(path: Path, sha256: str) -> dict[Part, bytes]:
    """Contents of the ONNX files of these weights that are beside them."""
    if not is_installed("onnxruntime"):
        return {}
    found = {
        part: onnx_of_weights([path.with_name(path.stem + part.value)], path.name, sha256, _hash_under(part.key)) for part in Part
    }
    return {part: content for part, content in found.items() if content is not None}


def _usual(parts: frozenset[Part]) -> frozenset[Part]:
    """What is used where nobody chooses: of what finds the condition only the faster one."""
    return parts - {Part.MISFIT} if Part.CLASSIFIER in parts else parts


def _network_of(tensors: Tensors, card: WeightsCard, what: str) -> DomainNetwork:
    require_torch(f"the network in {what}")
    from vloc_ros.networks.disam_files import disam_of

    return disam_of(tensors, card, what)


def _once(make: Callable[[], DomainNetwork]) -> Callable[[], DomainNetwork]:
    made: list[DomainNetwork] = []

    def network() -> DomainNetwork:
        if not made:
            made.append(make())
        return made[0]

    return network


def _content(
    given: bytes | None, network: Callable[[], DomainNetwork], part: Part, card: WeightsCard, what: str
) -> Callable[[], bytes]:
    """What gives the content of an ONNX file: the file, else torch."""
    if given is not None:
        return lambda: given

    def content() -> bytes:
        if not (is_installed("torch") and is_installed("onnx")):
            raise ConfigError(_without_torch(what, part))
        from vloc_ros.networks import disam_export

        makers = {
            Part.ENCODERS: disam_export.onnx_of_encoders,
            Part.CLASSIFIER: disam_export.onnx_of_classifier,
            Part.MISFIT: disam_export.onnx_of_misfit,
        }
        return makers[part](network(), card.sha256)

    return content


def _hash_under(key: str) -> Callable[[bytes, str], str | None]:
    return lambda content, what: metadata_of(content, what).get(key)


def _without_torch(what: str, part: Part) -> str:
    return (
        f"{what} has no {Path(what).stem}{part.value} of its weights beside it, and torch and onnx, which make one, are not "
        f"installed: run `vloc export {Path(what).name} --to onnx` where it is, and copy all files"
    )
