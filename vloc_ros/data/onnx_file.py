"""Metadata of ONNX files, without the package ``onnx``: a file is a protobuf message, and so is what is appended to one.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto: ``metadata_props`` is field 14 of a model, pairs of a key (1) and a value
(2). Fields may come in any order, and those that repeat need not be neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

from vloc_ros.data.protobuf import BYTES, field
from vloc_ros.errors import WeightsError

METADATA = "vloc_ros"
"""Key of the metadata under which our own files say what their network is."""
PLACE_WEIGHTS = "vloc_ros_place"
"""Key under which networks of place recognition say the hash of their weights."""
PAIR_WEIGHTS = "vloc_ros_pairs"
"""Key under which the second stages of such networks, which compare two images, say the hash of their weights."""
CLASSIFIER_WEIGHTS = "vloc_ros_classifier"
"""Key under which what finds the condition of an image by its first features says the hash of the weights of its network."""
MISFIT_WEIGHTS = "vloc_ros_misfit"
"""Key under which what finds it by how badly each condition shows the image says that hash."""
CALIBRATED = "vloc_ros_int8"
"""Key under which those in 8-bit integers say what they were calibrated on, in words."""
_METADATA, _KEY, _VALUE = 14, 1, 2
_VARINT = 0
_FIXED = {1: 8, 5: 4}  # lengths of the wire types that have one


def with_metadata(model: bytes, values: dict[str, str]) -> bytes:
    """The model with more metadata."""
    entries = (field(_KEY, key.encode()) + field(_VALUE, value.encode()) for key, value in values.items())
    return model + b"".join(field(_METADATA, entry) for entry in entries)


def metadata_of(model: bytes, what: str) -> dict[str, str]:
    """The metadata of a model.

    Raises:
        WeightsError: it is not a whole ONNX model; ``what`` names it.
    """
    try:
        found = {}
        for number, entry in _fields(memoryview(model)):
            if number == _METADATA:
                pair = dict(_fields(entry))
                found[str(pair[_KEY], "utf-8")] = str(pair[_VALUE], "utf-8")
    except (IndexError, KeyError, UnicodeDecodeError, ValueError) as error:
        raise WeightsError(f"{what} is not a whole ONNX file: copy or export it again") from error
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field; of numbers the content is empty."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        kind, length = tag & 7, 0
        if kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind == BYTES:
            length, at = _read_varint(message, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if at + length > len(message):
            raise IndexError("cut off")
        yield tag >> 3, message[at : at + length]
        at += length


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("endless number")
