"""What the descriptors of whole images share: the grey picture of a view, what it is known by, and vectors of unit length."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_grey
from vloc_ros.errors import DataError
from vloc_ros.retrieval.contract import View

_NOTHING = 1e-6
"""Length below which a vector is rounding error: it becomes all zeros."""


def grey_of(view: View, name: str) -> Image:
    """(H, W) grey picture of a view.

    Raises:
        DataError: the view has no image, or something else in its place.
    """
    image = view.image
    if image is None:
        raise DataError(f"the descriptor '{name}' needs an image, and this view has only features; keep the images")
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise DataError(f"an image must be uint8, (H, W) grey or (H, W, 3) RGB, not {image.dtype} {image.shape}")
    return to_grey(image)


def key_of(image: Image) -> bytes:
    """By what an image that was just seen is known again: equal pixels, and no others."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def unit(vector: NDArray[Any]) -> NDArray[np.float32]:
    """(D,) float32 vector of unit length, all zeros where there is nothing but rounding error."""
    values = np.asarray(vector, dtype=np.float64)
    norm = float(np.linalg.norm(values))
    return np.asarray(values / norm if norm > _NOTHING else np.zeros_like(values), dtype=np.float32)
