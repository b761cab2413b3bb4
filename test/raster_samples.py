"""Ground to make maps of: a picture that looks different everywhere, and a TIFF file written tag by tag."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

UTM_32 = np.array([[0.3, 0.0, 461987.0], [0.0, -0.3, 5205285.0]])
"""Pixels of 0.3 m north of 46.99 degrees; (0, 0) is the centre of the first one."""


def ground_image(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """(H, W, 3) structure of all sizes, nowhere alike."""
    random = np.random.default_rng(seed)
    planes = []
    for _ in range(3):
        plane = np.zeros((height, width), np.float32)
        for size in (4, 8, 16, 64, 128):
            noise = random.normal(size=(height // size + 2, width // size + 2)).astype(np.float32)
            plane += cv2.resize(noise * size**0.5, (width, height), interpolation=cv2.INTER_CUBIC)
        planes.append(np.clip(plane * 10.0 + 128.0, 0.0, 255.0).astype(np.uint8))
    return np.dstack([planes[0], planes[0], planes[1]])


def tiff(
    image: NDArray[np.uint8], tags: dict[int, tuple[str, tuple[float, ...] | str]], order: str = "<", big: bool = False
) -> bytes:
    """An uncompressed TIFF of one strip with further tags: a letter of struct (or "s") and values for each number."""
    height, width = image.shape[:2]
    samples = 1 if image.ndim == 2 else image.shape[2]
    head = 16 if big else 8
    every = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (8,) * samples),
        259: ("H", (1,)),
        262: ("H", (1 if samples == 1 else 2,)),
        273: ("I", (head,)),
        277: ("H", (samples,)),
        278: ("I", (height,)),
        279: ("I", (image.nbytes,)),
    } | tags
    word, room, row = ("Q", 8, 20) if big else ("I", 4, 12)
    directory = head + image.nbytes + image.nbytes % 2
    count = struct.pack(order + ("Q" if big else "H"), len(every))
    behind, entries = b"", b""
    after = directory + len(count) + row * len(every) + room
    for number, (letter, values) in sorted(every.items()):
        raw = values.encode() + b"\0" if isinstance(values, str) else struct.pack(f"{order}{len(values)}{letter}", *values)
        length = len(raw) if letter == "s" else len(values)
        if len(raw) > room:
            behind, raw = behind + raw, struct.pack(order + word, after + len(behind))
        kind = {"s": 2, "H": 3, "I": 4, "d": 12}[letter]
        entries += struct.pack(order + "HH" + word, number, kind, length) + raw.ljust(room, b"\0")
    name = b"II" if order == "<" else b"MM"
    start = struct.pack(order + "HHHQ", 43, 8, 0, directory) if big else struct.pack(order + "HI", 42, directory)
    body = name + start + image.tobytes()
    return body.ljust(directory, b"\0") + count + entries + bytes(room) + behind


def utm_tags(code: int = 32632, point: bool = False) -> dict[int, tuple[str, tuple[float, ...] | str]]:
    """Tags that put pixels where UTM_32 has them: by the centre of the first one, or by its outer corner as files mostly do."""
    x, y = (461987.0, 5205285.0) if point else (461986.85, 5205285.15)
    return {
        33550: ("d", (0.3, 0.3, 0.0)),
        33922: ("d", (0.0, 0.0, 0.0, x, y, 0.0)),
        34735: ("H", (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2 if point else 1, 3072, 0, 1, code)),
    }
