"""Pictures of made-up places, and check points as others publish them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def place(number: int, brightness: float = 1.0, colour: bool = False) -> np.ndarray:
    """A (72, 128) grey or (72, 128, 3) picture of a place, the same places at every brightness."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(30, 226, (9, 16, 3) if colour else (9, 16), dtype=np.uint8)
    picture = cv2.resize(coarse, (128, 72), interpolation=cv2.INTER_NEAREST).astype(np.float64)
    return np.clip(picture * brightness, 0, 255).astype(np.uint8)


def write_places(folder: Path, count: int) -> Path:
    """A folder of PNG files of places."""
    folder.mkdir(parents=True)
    for number in range(count):
        assert cv2.imwrite(str(folder / f"{number}.png"), place(number))
    return folder
