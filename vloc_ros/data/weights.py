"""Weights of a network: a safetensors file and, beside it, a model card in JSON; nothing in either is ever executed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from vloc_ros.data.files import read_text
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.output import write_bytes, write_text
from vloc_ros.errors import DataError, WeightsError

SUFFIX = ".safetensors"
INT8_ENDING = "_int8.onnx"
"""Of the name of a network in 8-bit integers, after the name of the weights beside it."""
LOCAL_NETWORKS = ("unet", "compact_unet", "superpoint")
"""Architectures of local features, as model cards name them."""
TWO_STAGES = "dhe"
"""Kind of a network of place recognition that estimates the homography to what it finds, too."""
DISAM = "disam"
"""Kind of a network that translates images between conditions; its latents are compared."""
GLVL = "glvl"
"""Kind of a network of global vectors and, on the same stem, of local features."""
PLACE_NETWORKS = ("netvlad", "gem", "uncertainty", "barebone", "plain_gem", TWO_STAGES, DISAM, GLVL)
"""Kinds of networks of place recognition, as model cards name them."""
Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class WeightsCard:
    """The model card of a file of weights.

    Attributes:
        name: name of the model, under which maps keep its descriptors.
        network: kind of network: one of :data:`PLACE_NETWORKS`, or of :data:`LOCAL_NETWORKS`.
        backbone: what is below it, as in ``vgg16``; of local features how large it is, ``width 24``.
        dimension: length of its descriptors.
        sha256: hash of the weights, of :func:`hash_of`.
        preprocessing: how images are prepared for it.
        trained_on: what it has learned from, in words.
        parent: hash of the weights it was made from, empty when there were none.
        licence: under which the weights were published, empty when unknown.
        results: how good it is, measured by what, in words.
        notes: anything else, for example how long it was trained.
        conditions: of a network that has a part for each, their names, separated by commas; the first is the reference.
    """

    name: str
    network: str
    backbone: str
    dimension: int
    sha256: str
    preprocessing: str
    trained_on: str
    parent: str = ""
    licence: str = ""
    results: str = ""
    notes: str = ""
    conditions: str = ""

    @property
    def model_card(self) -> ModelCard:
        """What decides whether two descriptors can be compared."""
        return ModelCard(self.name, self.dimension, self.sha256, self.preprocessing)


def hash_of(tensors: Tensors) -> str:
    """SHA-256 of the names, shapes and values, whatever file they are in and in which order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name], dtype="<f4")
        digest.update(f"{name} {tensor.shape}\n".encode())
        digest.update(tensor.data)
    return digest.hexdigest()


def card_path(path: Path) -> Path:
    """The model card of a file of weights."""
    return path.with_suffix(".json")


def save_weights(path: Path, tensors: Tensors, card: WeightsCard) -> None:
    """Write weights and their card; each file appears whole or not at all.

    Raises:
        WeightsError: the path does not end in ``.safetensors``, or the card's hash is not theirs.
        DataError: a file cannot be written.
    """
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path} must end in {SUFFIX}, as all files of weights do")
    if card.sha256 != hash_of(tensors):
        raise WeightsError(f"{path}: the model card is of other weights (its hash is {card.sha256[:12]}...)")
    write_bytes(path, save({name: _stored(np.ascontiguousarray(tensor, dtype=np.float32)) for name, tensor in tensors.items()}))
    write_text(card_path(path), json.dumps(dataclasses.asdict(card), indent=2) + "\n")


def _stored(tensor: NDArray[np.float32]) -> NDArray[Any]:
    """In half precision where that changes nothing."""
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16)
    return half if np.array_equal(half, tensor) else tensor


def load_card(path: Path) -> WeightsCard:
    """The card of a file of weights, which itself is not read.

    Raises:
        WeightsError: the file or its card is missing, or the card is damaged.
    """
    beside = card_path(path)
    if path.suffix != SUFFIX or not path.is_file():
        raise WeightsError(f"{path} is not a file of weights ({SUFFIX}); `vloc weights list` shows those there are")
    if not beside.is_file():
        raise WeightsError(f"{path} has no model card beside it ({beside.name}): copy both files, or import the weights again")
    try:
        values = json.loads(read_text(beside))
    except (DataError, json.JSONDecodeError, RecursionError) as error:
        raise WeightsError(f"the model card {beside} cannot be read: {error}") from error
    return card_of_values(values, f"the model card {beside}")


def card_of_values(values: Any, what: str) -> WeightsCard:
    """A card from plain values, the inverse of ``dataclasses.asdict``.

    Args:
        values: what a JSON file held.
        what: where they are from, for messages, for example ``the model card site.json``.

    Raises:
        WeightsError: a value is missing, unknown, or of the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(WeightsCard)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    if not isinstance(values, dict) or not required <= set(values) <= set(fields):
        given = set(values) if isinstance(values, dict) else set()
        wrong = sorted(required - given) or sorted(given - set(fields))
        raise WeightsError(f"{what} is not one of this release: look at {', '.join(wrong)}")
    for name, value in values.items():
        kind = int if name == "dimension" else str
        if not isinstance(value, kind) or isinstance(value, bool):
            raise WeightsError(f"{what} is damaged: '{name}' must be of type {kind.__name__}, not {value!r:.40}")
    return WeightsCard(**values)


def load_weights(path: Path) -> tuple[dict[str, NDArray[np.float32]], WeightsCard]:
    """Weights and their card, after a check that they are those the card speaks of.

    Raises:
        WeightsError: a file is missing or damaged, or the weights are not those of the card.
    """
    card = load_card(path)
    tensors = read_tensors(path)
    found = hash_of(tensors)
    if found != card.sha256:
        raise WeightsError(
            f"the weights in {path} are not those of the model card beside it (hash {found[:12]}..., card {card.sha256[:12]}...): "
            "copy both files again"
        )
    return tensors, card


def read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """All tensors of a safetensors file, as float32.

    Raises:
        WeightsError: it cannot be read, is damaged, or holds something else than floats.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    return tensors_of_bytes(content, str(path))


def tensors_of_bytes(content: bytes, what: str) -> dict[str, NDArray[np.float32]]:
    """All tensors of the content of a safetensors file, as float32; ``what`` it is called in messages.

    Raises:
        WeightsError: it is damaged, or holds something else than floats.
    """
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{what} is not a whole safetensors file of floats ({error}): copy it again") from error
    for name, tensor in tensors.items():
        if not np.issubdtype(tensor.dtype, np.floating):
            raise WeightsError(f"{what}: '{name}' holds {tensor.dtype} instead of floats")
    return {name: np.asarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}
