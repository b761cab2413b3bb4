"""What a PNG or a JPEG says of its size, read before anything is decoded: some bytes may claim an image that fills the memory."""

from __future__ import annotations

import struct

from vloc_ros.errors import DataError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
MAX_SIDE = 1 << 15
"""Longest side of an image that is believed [px]."""
MAX_PIXELS = 1 << 26
"""Most pixels of a compressed image: 67 million, 16 times those of a 4-megapixel camera."""
_IHDR_END = 24
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_END_OF_HEADER = (0xD9, 0xDA)


def declared_size(raw: bytes) -> tuple[int, int] | None:
    """Width and height [px] that a PNG or JPEG declares; None where it declares none, or is of another kind."""
    if raw.startswith(PNG_SIGNATURE):
        if len(raw) < _IHDR_END or raw[12:16] != b"IHDR":
            return None
        width, height = struct.unpack_from(">II", raw, 16)
        return width, height
    return _jpeg_size(raw) if raw.startswith(JPEG_SIGNATURE) else None


def _jpeg_size(raw: bytes) -> tuple[int, int] | None:
    """From the first start-of-frame segment (ITU T.81, annex B.2.2)."""
    position = 2
    while True:
        position = raw.find(b"\xff", position)
        if position < 0 or position + 9 > len(raw):
            return None
        marker = raw[position + 1]
        if marker in (0x00, 0xFF):  # a stray byte, or a fill byte before the marker
            position += 1
        elif marker in _STANDALONE:
            position += 2
        elif marker in _END_OF_HEADER:
            return None
        elif marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", raw, position + 5)
            return width, height
        else:
            position += 2 + max(2, struct.unpack_from(">H", raw, position + 2)[0])


def check_declared_size(raw: bytes, what: str) -> None:
    """Refuse a PNG or JPEG that declares no size, or one that no camera has.

    Args:
        raw: bytes of a file; one of another kind passes.
        what: names it in the message.

    Raises:
        DataError: its size is missing or not plausible.
    """
    if not raw.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
        return
    size = declared_size(raw)
    if size is None:
        raise DataError(f"{what} does not say how large it is; it is damaged or not an image")
    width, height = size
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise DataError(f"{what} claims to be of {width}x{height} px, which is not plausible; it was not decoded")
