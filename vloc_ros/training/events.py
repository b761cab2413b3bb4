"""Event files for TensorBoard, written without it: records of TFRecord that hold ``tensorflow.Event`` messages of scalars.

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

from vloc_ros.data.protobuf import field, varint
from vloc_ros.errors import DataError

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed
_VERSION = b"brain.Event:2"


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

    def _append(self, message: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(_record(message))
        except OSError as error:
            raise DataError(f"cannot write {self._path}: {error.strerror or error}") from error
