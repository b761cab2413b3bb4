"""Messages that nobody would send who means well, of any type, made from the description of the type by hypothesis.

Half of them are hostile throughout; the others, where a good message is given, are that one with a field or two spoiled, so that
they come as far into a node as they can. The same seed makes the same messages.
"""

from __future__ import annotations

import array
import copy
import importlib
import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]
_INTEGER = re.compile(r"(u?)int(\d+)")
_LIST, _FIXED = re.compile(r"sequence<(.+?)(?:, \d+)?>"), re.compile(r"(.+)\[(\d+)\]")
_FLOAT_MAX = {"float": 3.4028234663852886e38, "double": 1.7976931348623157e308}
_LONG = 1_000_000
_PICTURE = cv2.imencode(".png", np.arange(64, dtype=np.uint8).reshape(8, 8))[1].tobytes()
# The head of a PNG that says it is 65535 x 65535.
_BOMB = _PICTURE[:16] + b"\x00\x00\xff\xff\x00\x00\xff\xff" + _PICTURE[24:]
TEXTS = [
    *("", " ", "\0", "a\0b", "\n", "line\nTraceback (most recent call last):\n", "\x1b[31m", "\u202e\U0001f916 pæth", "%s%n{0}"),
    *(
        "../../x",
        "../../vloc_hostile",
        "/etc/passwd",
        "file:///etc/passwd",
        "~",
        "a/b",
        "C:\\x",
        "'; DROP TABLE keyframe;--",
    ),
    *("map", "odom", "base_link", "camera", "state", "mode", "teach", "reason", "NO_POSE", "following", "lost"),
    *("s1/k1", "s1/k3", "s1/k77", "s9/k9", "s0/k0", "s999999999/k999999999", "s9999999999/k1", "s-1/k2", "s1/k1/../k2", "s١/k٢"),
    *("site-1", "{", "[" * 3000, "{}", "null", '{"version": 1}', '{"version": "site-1", "sha256": ""}', '{"version": NaN}'),
    '{"version": "../../x", "sha256": "' + "0" * 64 + '"}',
    '{"version": "site-999999999", "sha256": "' + "f" * 64 + '"}',
    *("mono8", "mono16", "rgb8", "bgra8", "bayer_rggb8", "yuv422", "16UC1", "32FC1", "64FC4", "8UC999", "MONO8", "octarine"),
    *("png", "jpeg", "tiff", "mono8; jpeg compressed bgr8", "16UC1; compressedDepth png", "32FC1; compressedDepth rvl"),
]
_BYTES = [b"", b"\0", b"\xff" * 3, bytes(range(256)), _PICTURE, _PICTURE[:-20], _BOMB, b"\xff\xd8\xff\xd9", b"\0" * 12 + _PICTURE]


@cache
def message_class(name: str) -> Any:
    """The class of ``package/Name`` or ``package/msg/Name``."""
    package, *_, last = name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), last)


def messages(kind: Any, count: int, good: Any = None, number: int = 0) -> list[Any]:
    """So many messages; with a good one, half of them are that one spoiled.

    Args:
        kind: class of the messages.
        count: of them.
        good: one that is what it should be.
        number: seed.
    """
    made: list[Any] = []
    strategy = hostile(kind) if good is None else st.one_of(hostile(kind), spoiled(good))

    # Of a type with hardly a field hypothesis finds the end before it has so many.
    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(message: Any) -> None:
        made.append(message)

    collect()
    return [made[index % len(made)] for index in range(count)]


@cache
def hostile(kind: Any) -> Strategy:
    """Messages of a class whose every field may be anything that its type can hold, the worst first."""
    fields = kind.get_fields_and_field_types()
    return st.fixed_dictionaries({name: _value(kind, name, of) for name, of in fields.items()}).map(lambda v: kind(**v))


def spoiled(good: Any) -> Strategy:
    """A good message of which one to three fields, however deep, are hostile."""
    leaves = list(_leaves(good))

    @st.composite
    def spoil(draw: Any) -> Any:
        message = copy.deepcopy(good)
        for path in draw(st.lists(st.sampled_from(leaves), min_size=1, max_size=3)):
            holder = message
            for step in path[:-1]:
                holder = getattr(holder, step)
            kind = type(holder)
            setattr(holder, path[-1], draw(_value(kind, path[-1], kind.get_fields_and_field_types()[path[-1]])))
        return message

    return spoil()


def _leaves(message: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all fields, those that hold fields themselves too."""
    for name in message.get_fields_and_field_types():
        yield (*path, name)
        inner = getattr(message, name)
        if hasattr(inner, "get_fields_and_field_types"):
            yield from _leaves(inner, (*path, name))


def _value(kind: Any, name: str, of: str) -> Strategy:
    if kind.__name__ == "Quaternion":
        return st.sampled_from([0.0, 1.0, 2.0, -0.5, 1e-300, 1e308, math.nan, math.inf])
    return _of_type(of)


@cache
def _of_type(of: str) -> Strategy:
    if match := _FIXED.fullmatch(of):
        return _fixed(match[1], int(match[2]))
    if match := _LIST.fullmatch(of):
        return _sequence(match[1])
    if of == "boolean":
        return st.booleans()
    if of == "octet":
        return st.integers(0, 255).map(lambda value: bytes([value]))
    if of in _FLOAT_MAX:
        return _number(_FLOAT_MAX[of])
    if of.startswith(("string", "wstring")):
        return st.one_of(st.sampled_from(TEXTS), st.text(st.characters(exclude_categories=["Cs"]), max_size=30), _long_text())
    if match := _INTEGER.fullmatch(of):
        return _integer(int(match[2]), signed=not match[1])
    return hostile(message_class(of))


def _long_text() -> Strategy:
    return st.sampled_from(["x" * _LONG, "../" * 20_000, "\n" * 5000])


def _integer(bits: int, *, signed: bool) -> Strategy:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    usual = [value for value in (0, 1, -1, 2, 240, 320, 999_999_999, 1_000_000_000) if low <= value <= high]
    return st.one_of(st.sampled_from([low, high, *usual]), st.integers(low, high))


def _number(largest: float) -> Strategy:
    bad = [math.nan, math.inf, -math.inf, largest, -largest, 1e-45, 0.0, -0.0, -1.0, 1e9, 1e30]
    return st.one_of(st.sampled_from(bad), st.floats(-10.0, 10.0, width=32))


def _fixed(of: str, length: int) -> Strategy:
    """Whole arrays of one kind of trouble, and mixtures: matrices of NaN, of no rank, that are not symmetric or negative."""
    side = math.isqrt(length)
    element = _of_type(of)
    alike = element.map(lambda value: [value] * length)
    mixed = st.lists(element, min_size=length, max_size=length)
    if of not in _FLOAT_MAX:
        return st.one_of(alike, mixed)
    diagonal = st.lists(element, min_size=side, max_size=side).map(lambda values: _diagonal(values, length))
    return st.one_of(alike, diagonal, st.just(_diagonal([1.0] * side, length)), st.just(_diagonal([-1.0] * side, length)), mixed)


def _diagonal(values: list[float], length: int) -> list[float]:
    """Of a matrix of so many numbers, row by row; what does not fit into a square stays zero."""
    rows, square = [0.0] * length, len(values)
    rows[: square * square] = np.diag(values).ravel().tolist()
    return rows


def _sequence(of: str) -> Strategy:
    if of in ("uint8", "octet"):
        sizes = st.sampled_from([320 * 240, 320 * 240 - 1, 3 * 320 * 240, _LONG])
        return st.one_of(st.sampled_from(_BYTES), st.binary(max_size=64), sizes.map(bytes)).map(lambda raw: array.array("B", raw))
    element = _of_type(of)
    # As many as make a message of some MB: more is a trial of this machine's memory, not of the node.
    many = element.map(lambda value: [value] * max(1, min(2000, _LONG // len(repr(value)))))
    return st.one_of(st.just([]), st.lists(element, max_size=4), st.lists(element, max_size=4), many)
