"""Arrays over a pipe: the frames that the solver's process and its owner exchange. No pickles."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError

LENGTH_BYTES = 8
"""A frame is its length (unsigned, little-endian) and an uncompressed ``.npz`` of so many bytes."""
_MOST_BYTES = 1 << 34
_META = "meta"


@dataclass(frozen=True, slots=True)
class Message:
    """What one frame holds.

    Attributes:
        meta: small plain values, carried as JSON.
        arrays: numeric arrays by name.
    """

    meta: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def encode(message: Message) -> bytes:
    """A frame with its length in front.

    Raises:
        TypeError: an array holds Python objects.
    """
    objects = [name for name, array in message.arrays.items() if array.dtype.hasobject]
    if objects:
        raise TypeError(f"arrays of Python objects cannot be sent: {', '.join(objects)}")
    buffer = io.BytesIO()
    buffer.write(bytes(LENGTH_BYTES))
    meta = np.frombuffer(json.dumps(dict(message.meta)).encode("utf-8"), dtype=np.uint8)
    parts: dict[str, Any] = {_META: meta, **message.arrays}
    np.savez(buffer, **parts)
    frame = buffer.getbuffer()
    frame[:LENGTH_BYTES] = (len(frame) - LENGTH_BYTES).to_bytes(LENGTH_BYTES, "little")
    return bytes(frame)


def length_of(head: bytes) -> int:
    """Bytes that follow the first eight of a frame.

    Raises:
        DataError: so many that they cannot be meant.
    """
    length = int.from_bytes(head, "little")
    if not 0 < length < _MOST_BYTES:
        raise DataError(f"a frame from the solver's process claims to hold {length} bytes: something else writes into its pipe")
    return length


def decode(body: bytes) -> Message:
    """A frame without its length.

    Raises:
        DataError: it is not one.
    """
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop(_META).tobytes().decode("utf-8"))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"a frame from the solver's process cannot be read: {error}") from error
    return Message(meta, arrays)
