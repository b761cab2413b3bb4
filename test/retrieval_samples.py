"""Places to recognise: pictures with structure, the same place seen again, and a vocabulary of them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.features import FeatureExtractor, create_extractor
from vloc_ros.retrieval import GlobalDescriptor, Needs, View, create_descriptor, learn_vocabulary

SIZE = (240, 160)


def place(number: int) -> Image:
    """A (160, 240, 3) picture of a place: blocks and discs that no other place has."""
    generator = np.random.default_rng(number)
    image = np.full((SIZE[1], SIZE[0], 3), 120, dtype=np.uint8)
    for _ in range(40):
        u, v = generator.integers(0, SIZE[0]), generator.integers(0, SIZE[1])
        size, colour = int(generator.integers(6, 40)), tuple(int(c) for c in generator.integers(0, 256, 3))
        if generator.random() < 0.5:
            cv2.rectangle(image, (int(u), int(v)), (int(u) + size, int(v) + size), colour, -1)
        else:
            cv2.circle(image, (int(u), int(v)), size // 2, colour, -1)
    return image


def again(image: Image, seed: int = 0) -> Image:
    """The same view at another time: darker, less contrast, with noise, and shifted by two pixels."""
    generator = np.random.default_rng(seed)
    moved = np.roll(image, 2, axis=1).astype(np.float64)
    return np.clip(0.6 * moved + 20.0 + generator.normal(0.0, 3.0, moved.shape), 0, 255).astype(np.uint8)


def extractor() -> FeatureExtractor:
    """Of the features that the vocabulary is of."""
    return create_extractor("orb", 200)


def vocabulary_bytes() -> bytes:
    """A small vocabulary."""
    return learn_vocabulary([place(number) for number in range(100, 106)], extractor(), words=16).to_bytes()


def made(name: str) -> GlobalDescriptor:
    """A registered descriptor, with a vocabulary where it cannot do without."""
    return create_descriptor(name, vocabulary_bytes() if name == "vlad" else None)


def view_of(descriptor: GlobalDescriptor, image: Image) -> View:
    """What a descriptor needs of an image."""
    return View(image, extractor().extract(image) if descriptor.needs is Needs.FEATURES else None)


def unit_rows(count: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    """(count, dimension) random directions."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
