"""The little of the Protocol Buffers encoding that we write ourselves: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

BYTES = 2
"""Wire type of bytes, text and messages: a length, then the content."""


def varint(value: int) -> bytes:
    """A number that is not negative, seven bits a byte, the lowest first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return varint(number << 3 | BYTES) + varint(len(content)) + content
