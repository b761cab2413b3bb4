"""The published definitions of DISAM once more, in numpy and plain loops, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.float64]]
_SMALL = 1e-5  # in instance normalisation


def reflected(maps: Maps, border: int) -> Maps:
    return np.pad(maps, ((0, 0), (border, border), (border, border)), mode="reflect")


def padded(maps: Maps, border: int) -> Maps:
    return np.pad(maps, ((0, 0), (border, border), (border, border)))


def convolved(maps: Maps, weight: Maps, bias: Maps, stride: int = 1) -> Maps:
    """(C, H, W) by (K, C, k, k), without any padding."""
    side = weight.shape[2]
    height, width = (maps.shape[1] - side) // stride + 1, (maps.shape[2] - side) // stride + 1
    made = np.zeros((len(weight), height, width))
    for y in range(height):
        for x in range(width):
            window = maps[:, y * stride : y * stride + side, x * stride : x * stride + side]
            for k in range(len(weight)):
                made[k, y, x] = (window * weight[k]).sum() + bias[k]
    return made


def transposed(maps: Maps, weight: Maps, bias: Maps) -> Maps:
    """(C, H, W) by (C, K, 4, 4): each value is spread with stride 2, and a border of 1 cut off."""
    _, count, side, _ = weight.shape
    _, height, width = maps.shape
    made = np.zeros((count, 2 * height + 2, 2 * width + 2))
    for y in range(height):
        for x in range(width):
            for c in range(len(maps)):
                made[:, 2 * y : 2 * y + side, 2 * x : 2 * x + side] += maps[c, y, x] * weight[c]
    return made[:, 1:-1, 1:-1] + bias[:, None, None]


def normalised(maps: Maps) -> Maps:
    mean = maps.mean(axis=(1, 2), keepdims=True)
    return (maps - mean) / np.sqrt(maps.var(axis=(1, 2), keepdims=True) + _SMALL)


def rectified(maps: Maps, slope: Maps) -> Maps:
    return np.where(maps > 0.0, maps, slope * maps)


class Taken:
    """Weights in the order of layers: a convolution takes two, a rectifier one."""

    def __init__(self, weights: Weights) -> None:
        self._left = list(weights.values())

    def __call__(self) -> Maps:
        return self._left.pop(0)

    def __len__(self) -> int:
        return len(self._left)


def residual(maps: Maps, take: Callable[[], Maps]) -> Maps:
    inside = rectified(normalised(convolved(reflected(maps, 1), take(), take())), take())
    return maps + normalised(convolved(reflected(inside, 1), take(), take()))


def encoded(image: Maps, take: Callable[[], Maps]) -> Maps:
    """(3, H, W) to the latent."""
    maps = rectified(normalised(convolved(reflected(image, 3), take(), take())), take())
    for _ in range(2):
        maps = rectified(normalised(convolved(padded(maps, 1), take(), take(), stride=2)), take())
    for _ in range(4):
        maps = residual(maps, take)
    return maps


def decoded(latent: Maps, take: Callable[[], Maps]) -> Maps:
    """The latent to (3, H, W)."""
    for _ in range(5):
        latent = residual(latent, take)
    for _ in range(2):
        latent = rectified(normalised(transposed(latent, take(), take())), take())
    return np.tanh(convolved(reflected(latent, 3), take(), take()))


def judged(maps: Maps, weights: Weights, stream: str) -> list[Maps]:
    """Predictions of one stream of a discriminator, at four scales; ``maps`` are those that it is given."""
    take = Taken({name: value for name, value in weights.items() if name.startswith(f"{stream}.first")})
    maps = rectified(convolved(padded(maps, 2), take(), take(), stride=2), take())
    found = []
    for scale in range(3):
        take = Taken({name: value for name, value in weights.items() if name.startswith(f"{stream}.down.{scale}.")})
        made = convolved(padded(maps, 2), take(), take(), stride=2)
        found.append(made[-1:])
        maps = rectified(normalised(made[:-1]), weights[f"{stream}.active.{scale}.1.weight"])
    take = Taken({name: value for name, value in weights.items() if name.startswith(f"{stream}.last")})
    maps = rectified(normalised(convolved(padded(maps, 2), take(), take())), take())
    return [*found, convolved(padded(maps, 2), take(), take())]


def luminance(image: Maps) -> Maps:
    return (0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2])[None]


def blurred(image: Maps) -> Maps:
    """Each colour by a Gaussian of 5 x 5 and deviation 3."""
    return np.stack([cv2.GaussianBlur(colour, (5, 5), 3.0, borderType=cv2.BORDER_REFLECT_101) for colour in image])


def cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(one.ravel() @ other.ravel() / np.sqrt((one.ravel() @ one.ravel()) * (other.ravel() @ other.ravel())))


def similarity(one: Maps, other: Maps) -> float:
    """Y of two latents (C, h, w): the mean of the cosines of their channels (equation 16)."""
    return sum(cosine(a, b) for a, b in zip(one, other, strict=True)) / len(one)


def weights_by_differences(one: Maps, other: Maps, step: float = 1e-5) -> NDArray[np.float64]:
    """(C,) sums over the positions of dY/dz of ``one``, by central differences, an element at a time (equation 17)."""
    found = np.zeros(len(one))
    for k, y, x in np.ndindex(one.shape):
        more, less = one.copy(), one.copy()
        more[k, y, x] += step
        less[k, y, x] -= step
        found[k] += (similarity(more, other) - similarity(less, other)) / (2.0 * step)
    return found


def activation(one: Maps, other: Maps) -> NDArray[np.float64]:
    """(h, w) L of two latents (equation 18), with weights by differences."""
    weights = weights_by_differences(one, other)
    made = np.zeros(one.shape[1:])
    for y, x in np.ndindex(made.shape):
        made[y, x] = max(0.0, sum(weights[k] * one[k, y, x] for k in range(len(one))))
    return made
