"""Event files for TensorBoard, written without it: TFRecords of ``tensorflow.Event`` messages of scalars and pictures.

The format is a length, its checksum, a message and its checksum (CRC-32C, masked); the messages are Protocol Buffers with
fields that have kept their numbers since 2015 (tensorflow/core/util/event.proto, framework/summary.proto). TensorBoard itself
would bring ten packages along, gRPC and a web server among them, to write what takes this file.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from vloc_ros.data.frame import Image
from vloc_ros.data.protobuf import field, varint
from vloc_ros.errors import ConfigError, DataError

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed
_VERSION = b"brain.Event:2"
_RGB = 3  # colour space: that many values a pixel


def _table() -> tuple[int, ...]:
    rows = []
    for row in range(256):
        for _ in range(8):
            row = row >> 1 ^ (_POLYNOMIAL if row & 1 else 0)
        rows.append(row)
    return tuple(rows)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of RFC 3720."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _masked(length) + message + _masked(message)


def _event(seconds: float, step: int, rest: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", seconds) + b"\x10" + varint(step) + rest


def _scalar(name: str, value: float) -> bytes:
    return field(1, field(1, name.encode()) + b"\x15" + struct.pack("<f", value))


def _picture(name: str, image: Image) -> bytes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != _RGB or image.size == 0:
        raise ConfigError(f"the picture {name} must be (H, W, 3) RGB uint8, not {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    _, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    size = b"".join(bytes([number << 3]) + varint(value) for number, value in ((1, height), (2, width), (3, _RGB)))
    return field(1, field(1, name.encode()) + field(4, size + field(4, png.tobytes())))


class EventFile:
    """An event file in a folder; a new one for each start of a run, which TensorBoard shows as one."""

    def __init__(self, folder: Path) -> None:
        """Make the file.

        Raises:
            DataError: it cannot be made.
        """
        now = time.time()
        self._path = folder / f"events.out.tfevents.{int(now)}.{os.getpid()}.vloc"
        self._append(_event(now, 0, field(3, _VERSION)))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append scalars of a step.

        Raises:
            DataError: they cannot be written.
        """
        summary = b"".join(_scalar(name, value) for name, value in values.items())
        self._append(_event(time.time(), step, field(5, summary)))

    def write_images(self, step: int, images: Mapping[str, Image]) -> None:
        """Append pictures of a step, (H, W, 3) RGB uint8 by name; they are kept as PNG.

        Raises:
            ConfigError: one of them is of another kind.
            DataError: they cannot be written.
        """
        summary = b"".join(_picture(name, image) for name, image in images.items())
        self._append(_event(time.time(), step, field(5, summary)))

    def _append(self, message: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(_record(message))
        except OSError as error:
            raise DataError(f"cannot write {self._path}: {error.strerror or error}") from error
