"""Where two images are alike to DISAM: similarity activation maps of their latents, in numpy (Hu et al. 2021, equations 16 to 18).

:mod:`vloc_ros.networks.similarity` has the same for training, with gradients.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vloc_ros.retrieval.contract import View

_SMALL = 1e-8


@runtime_checkable
class GivesLatents(Protocol):
    """A descriptor whose activation maps can be drawn."""

    def latent(self, view: View) -> NDArray[np.float32]:
        """(C, h, w) latent of an image; zeros where there is nothing to describe."""


def activation_weights(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """(C,) sums over the positions of dY/dz for z = ``one``, where Y is the mean cosine of the channels of two (C, h, w) latents.

    In closed form: with a and b of one channel as vectors, d cos(a, b) / da = b / (|a| |b|) - cos(a, b) a / |a|^2 (eq. 17).
    """
    a, b = (np.asarray(latent, dtype=np.float64).reshape(len(latent), -1) for latent in (one, other))
    length_a, length_b = (np.maximum(np.linalg.norm(side, axis=1), _SMALL) for side in (a, b))
    cosine = np.sum(a * b, axis=1) / (length_a * length_b)
    return np.asarray((b.sum(axis=1) / (length_a * length_b) - cosine * a.sum(axis=1) / length_a**2) / len(a))


def activation_map(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) L = max(0, sum of w_k z_k) of (C, h, w) latents: where ``one`` makes the two alike (eq. 18)."""
    weighted = np.tensordot(activation_weights(one, other), np.asarray(one, dtype=np.float64), axes=1)
    return np.maximum(weighted, 0.0).astype(np.float32)
