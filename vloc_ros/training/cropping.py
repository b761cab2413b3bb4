"""Random crops of pairs: images, warp and stereo truth go the same way."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.training.pairs import StereoTruth, TrainingPair

FloatArray = NDArray[np.float32]
_TRIES = 6  # windows of a that are looked at for one that b shows
_EDGE = 2.0  # [px] difference of the warp between neighbours beyond which it is not interpolated


@dataclass(frozen=True, slots=True)
class Window:
    """A crop of a resized image: pixel u becomes (u + 0.5) * scale_u - 0.5 - left.

    Attributes:
        size: (width, height) of the crop [px].
        scale_u, scale_v: of the resizing.
        left, top: first column and row, of the resized image.
    """

    size: tuple[int, int]
    scale_u: float
    scale_v: float
    left: int
    top: int

    def map(self, points: FloatArray) -> FloatArray:
        """(..., 2) positions in the crop of (..., 2) positions in the image [px]."""
        scale = np.array([self.scale_u, self.scale_v], dtype=np.float32)
        offset = np.array([0.5 * self.scale_u - 0.5 - self.left, 0.5 * self.scale_v - 0.5 - self.top], dtype=np.float32)
        return np.asarray(points * scale + offset, dtype=np.float32)

    def sources(self) -> tuple[FloatArray, FloatArray]:
        """(width,) columns and (height,) rows of the image [px] that the pixels of the crop are from."""
        width, height = self.size
        u = (np.arange(width) + self.left + 0.5) / self.scale_u - 0.5
        v = (np.arange(height) + self.top + 0.5) / self.scale_v - 0.5
        return u.astype(np.float32), v.astype(np.float32)

    @property
    def plain(self) -> bool:
        """Whether nothing is resized."""
        return self.scale_u == 1.0 and self.scale_v == 1.0

    def cut(self, image: Image, resized: tuple[int, int]) -> Image:
        """The crop of an image that is resized to (width, height) first."""
        if not self.plain:
            smaller = self.scale_u < 1.0
            image = np.asarray(cv2.resize(image, resized, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))
        width, height = self.size
        return np.ascontiguousarray(image[self.top : self.top + height, self.left : self.left + width])


def crop_pair(
    pair: TrainingPair, size: tuple[int, int], rng: np.random.Generator, zoom: float = 1.0, zoom_apart: float = 1.0
) -> TrainingPair:
    """A random crop of each image, that of b chosen where it shows most of that of a.

    The two crops have nothing to do with each other's pixel grid, so that no key point can learn one. The images of a stereo pair
    are cropped alike, as its truth has one camera for both; its principal point stays inside.

    Args:
        pair: the pair.
        size: (width, height) of the crops [px].
        rng: decides.
        zoom: images are shown at any scale from that at which they just fill the crop to so many times larger.
        zoom_apart: largest ratio of the scales of both images.

    Returns:
        The crops with their warp and stereo truth, exact to rounding where the warp is smooth.
    """
    height, width = pair.warp.shape[:2]
    smallest = max(size[0] / width, size[1] / height)
    scale_a = smallest * zoom ** rng.random()
    if pair.stereo is None:
        scale_b = float(np.clip(scale_a * zoom_apart ** rng.uniform(-1.0, 1.0), smallest, smallest * zoom))
    else:
        scale_b = scale_a
    whole_a, whole_b = _resized((width, height), scale_a, size), _resized((width, height), scale_b, size)
    window_a = _window_a(pair, size, whole_a, rng)
    window_b = window_a if pair.stereo is not None else _window_b(pair, window_a, size, whole_b, rng)
    return TrainingPair(
        window_a.cut(pair.image_a, whole_a),
        window_b.cut(pair.image_b, whole_b),
        warp_of_crops(pair.warp, window_a, window_b),
        None if pair.stereo is None else _stereo(pair.stereo, window_a),
        pair.tag,
    )


def _resized(whole: tuple[int, int], scale: float, size: tuple[int, int]) -> tuple[int, int]:
    return max(size[0], round(whole[0] * scale)), max(size[1], round(whole[1] * scale))


def _window(pair: TrainingPair, size: tuple[int, int], resized: tuple[int, int], left: int, top: int) -> Window:
    height, width = pair.warp.shape[:2]
    return Window(size, resized[0] / width, resized[1] / height, left, top)


def _window_a(pair: TrainingPair, size: tuple[int, int], resized: tuple[int, int], rng: np.random.Generator) -> Window:
    """The one that b shows most of, of some random ones."""
    (left_low, left_high), (top_low, top_high) = _limits(pair, size, resized)
    best, most = None, -1.0
    for _ in range(_TRIES):
        left, top = int(rng.integers(left_low, left_high + 1)), int(rng.integers(top_low, top_high + 1))
        window = _window(pair, size, resized, left, top)
        u, v = window.sources()
        known = np.isfinite(_nearest(pair.warp[..., 0], u[::8], v[::8]))
        share = float(known.mean()) + 0.3 * float(rng.random())  # not always the very best, or corners are never seen
        if share > most:
            best, most = window, share
    assert best is not None  # there is at least one try
    return best


def _limits(pair: TrainingPair, size: tuple[int, int], resized: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last left and top; those of a stereo pair keep the principal point inside."""
    lasts = (resized[0] - size[0], resized[1] - size[1])
    if pair.stereo is None:
        return (0, lasts[0]), (0, lasts[1])
    camera = pair.stereo.camera
    result = []
    for centre, whole, scaled, side, last in zip(
        (camera.cx, camera.cy), (camera.width, camera.height), resized, size, lasts, strict=True
    ):
        moved = (centre + 0.5) * scaled / whole - 0.5
        result.append((min(max(0, int(np.floor(moved - side)) + 2), last), max(0, min(last, int(np.ceil(moved)) - 2))))
    return result[0], result[1]


def _window_b(
    pair: TrainingPair, window_a: Window, size: tuple[int, int], resized: tuple[int, int], rng: np.random.Generator
) -> Window:
    """Around the middle of what the crop of a shows, and a bit beside."""
    lasts = (resized[0] - size[0], resized[1] - size[1])
    u, v = window_a.sources()
    targets = pair.warp[np.ix_(_index(v[::4], pair.warp.shape[0]), _index(u[::4], pair.warp.shape[1]))].reshape(-1, 2)
    targets = targets[np.isfinite(targets).all(1)]
    if len(targets) == 0:
        return _window(pair, size, resized, int(rng.integers(0, lasts[0] + 1)), int(rng.integers(0, lasts[1] + 1)))
    corner = []
    middle = _window(pair, size, resized, 0, 0).map(np.median(targets, axis=0).astype(np.float32))
    for axis in range(2):
        beside = rng.uniform(-0.1, 0.1) * size[axis]
        corner.append(int(np.clip(round(float(middle[axis]) - 0.5 * size[axis] + beside), 0, lasts[axis])))
    return _window(pair, size, resized, *corner)


def warp_of_crops(warp: FloatArray, window_a: Window, window_b: Window) -> FloatArray:
    """(h, w, 2) warp from one crop to the other; NaN where it was, at depth edges, and outside the crop of b."""
    width, height = window_a.size
    if window_a.plain:
        cut = warp[window_a.top : window_a.top + height, window_a.left : window_a.left + width]
    else:
        u, v = window_a.sources()
        u = np.clip(u, 0.0, warp.shape[1] - 1.0).astype(np.float32)
        v = np.clip(v, 0.0, warp.shape[0] - 1.0).astype(np.float32)
        cut = _interpolated(warp, u, v)
    moved = window_b.map(cut)
    limit = np.array([window_b.size[0] - 1.0, window_b.size[1] - 1.0], dtype=np.float32)
    with np.errstate(invalid="ignore"):
        inside = np.all((moved >= 0.0) & (moved <= limit), axis=-1, keepdims=True)
    return np.where(inside, moved, np.float32(np.nan)).astype(np.float32)


def _interpolated(warp: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Bilinear samples at all u and v; NaN where a neighbour is, or where neighbours differ too much to be of one surface."""
    u0, v0 = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    u1, v1 = np.minimum(u0 + 1, warp.shape[1] - 1), np.minimum(v0 + 1, warp.shape[0] - 1)
    a, b = (u - u0)[None, :, None], (v - v0)[:, None, None]
    corners = [warp[np.ix_(rows, columns)] for rows, columns in ((v0, u0), (v0, u1), (v1, u0), (v1, u1))]
    weights = [(1 - b) * (1 - a), (1 - b) * a, b * (1 - a), b * a]
    result = sum(weight * corner for weight, corner in zip(weights, corners, strict=True))
    # Of one surface, neighbours lie about a pixel apart, so that the corners across from each other do not differ by much more.
    with np.errstate(invalid="ignore"):
        twist = np.abs(corners[0] + corners[3] - corners[1] - corners[2]).max(-1)
        torn = (twist > 0.5) | (np.abs(corners[3] - corners[0]).max(-1) > 2.0 * _EDGE)
    return np.where(torn[..., None], np.float32(np.nan), result).astype(np.float32)


def _index(positions: FloatArray, count: int) -> NDArray[np.intp]:
    return np.clip(np.rint(positions), 0, count - 1).astype(np.intp)


def _nearest(image: NDArray[np.float32], u: FloatArray, v: FloatArray) -> FloatArray:
    return np.asarray(image[np.ix_(_index(v, image.shape[0]), _index(u, image.shape[1]))], dtype=np.float32)


def _stereo(truth: StereoTruth, window: Window) -> StereoTruth:
    """The truth of the crops: disparities scaled, the camera moved."""
    camera, (width, height) = truth.camera, window.size
    centre = window.map(np.array([camera.cx, camera.cy], dtype=np.float32))
    cropped = StereoCamera(
        width,
        height,
        camera.fx * window.scale_u,
        camera.fy * window.scale_v,
        float(centre[0]),
        float(centre[1]),
        camera.baseline,
    )
    u, v = window.sources()
    disparities = [
        np.asarray(_nearest(disparity, u, v) * window.scale_u, dtype=np.float32)
        for disparity in (truth.disparity_a, truth.disparity_b)
    ]
    return StereoTruth(cropped, disparities[0], disparities[1], truth.b_T_a, truth.base_T_camera)
