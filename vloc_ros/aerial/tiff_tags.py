"""The tags of a TIFF file, plain or big (64-bit): what it says of its pixels and of where they are."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vloc_ros.errors import DataError

Value = tuple[float, ...]
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q", 17: "q"}
"""Types of numbers; texts are type 2, and what is of another type is left out."""
_TEXT = 2
_MOST_ENTRIES, _MOST_BYTES = 4096, 64 << 20
"""More than any sensible file has: a damaged number must not fill the memory."""
_OFFSETS = ((273, 279), (324, 325))
"""Where the strips, and the tiles, begin and how many bytes they have."""


@dataclass(frozen=True)
class TiffTags:
    """Tags of the first image of a file, by their numbers.

    Attributes:
        numbers: those of numbers.
        texts: those of letters.
    """

    numbers: dict[int, Value]
    texts: dict[int, str]

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag, or the default."""
        return int(self.numbers.get(tag, (default,))[0])


def read_tags(path: Path) -> TiffTags:
    """Read the tags of the first image, and see whether all of its pixels are there.

    Raises:
        DataError: it is no TIFF file, or it is truncated or damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            tags = _directory(file)
    except (struct.error, ValueError, OverflowError) as error:
        raise DataError(f"{path} is truncated or no TIFF file: copy it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    for offsets, counts in _OFFSETS:
        ends = [a + b for a, b in zip(tags.numbers.get(offsets, ()), tags.numbers.get(counts, ()), strict=False)]
        if ends and max(ends) > size:
            raise DataError(
                f"{path} is truncated: it has {size} bytes, and its pixels reach to byte {max(ends):.0f}; copy it again"
            )
    return tags


def _directory(file: BinaryIO) -> TiffTags:
    order = {b"II": "<", b"MM": ">"}.get(file.read(2))
    if order is None:
        raise ValueError("no byte order")
    (version,) = struct.unpack(order + "H", file.read(2))
    if version not in (42, 43):
        raise ValueError("no TIFF")
    big = version == 43
    if big:
        file.read(4)
    word, count_format, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    file.seek(*struct.unpack(order + word, file.read(struct.calcsize(word))))
    (count,) = struct.unpack(order + count_format, file.read(struct.calcsize(count_format)))
    if not 0 < count <= _MOST_ENTRIES:
        raise ValueError("no directory")
    entries = file.read(count * entry_bytes)
    numbers: dict[int, Value] = {}
    texts: dict[int, str] = {}
    for row in range(count):
        tag, kind, length = struct.unpack_from(order + "HH" + word, entries, row * entry_bytes)
        inline = entries[row * entry_bytes + 4 + struct.calcsize(word) : (row + 1) * entry_bytes]
        raw = _content(file, order, kind, length, inline)
        if raw and kind == _TEXT:
            texts[tag] = raw.split(b"\0")[0].decode("latin-1").strip()
        elif raw:
            numbers[tag] = struct.unpack(f"{order}{length}{_FORMATS[kind]}", raw)
    return TiffTags(numbers, texts)


def _content(file: BinaryIO, order: str, kind: int, length: int, inline: bytes) -> bytes:
    """Bytes of a value: in the entry itself where it fits, else where that points to."""
    letter = "B" if kind == _TEXT else _FORMATS.get(kind)
    if letter is None:
        return b""
    size = struct.calcsize(f"={letter}") * length
    if size > _MOST_BYTES:
        raise ValueError("a tag of many megabytes")
    if size <= len(inline):
        return inline[:size]
    file.seek(*struct.unpack(order + ("Q" if len(inline) == 8 else "I"), inline))
    raw = file.read(size)
    if len(raw) < size:
        raise ValueError("a tag beyond the end of the file")
    return raw
