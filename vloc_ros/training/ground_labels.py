"""Key points of the ground to teach a detector with: those that a base detector finds again, through homographies and seasons.

Homographic adaptation (DeTone et al. 2018, section 5): the response of a base detector to random warps of an image is warped back
and averaged. What is found in one condition of a site and not in the others is no landmark: responses of all conditions are pooled.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import to_grey
from vloc_ros.data.output import write_bytes
from vloc_ros.errors import TrainingError
from vloc_ros.training.ground_sites import GroundSource, Pixels
from vloc_ros.training.ground_views import Array, GroundView, mapped

Heat = NDArray[np.float32]
Detect = Callable[[Pixels], Heat]
"""(H, W) grey to (H, W) how much of a key point each pixel is, from 0 to 1."""
IGNORED = 255
"""Label of a cell of which nothing is known."""
_STREAM = 61  # of random numbers, apart from other uses of the seed
_CELL = 8
_SCALES = (1.0, 2.0)  # [px] of corners: fine ones alone are leaves and grass, which no other season has
_VISIBLE, _UNSEEN = 0.1, 0.3  # response of the least key point of a view, and what counts for one that a view does not show
_AROUND = 129  # [px] side of the square that a response is compared with


@dataclass(frozen=True)
class LabelSettings:
    """Key points of the ground."""

    homographies: int = param(100, "warps of each image over which the base detector is averaged (published: 100)", min=1, max=1000)
    area: float = param(80.0, "at most one key point in so many pixels of the map", unit="px^2", min=4.0, max=1e5)
    radius: int = param(3, "key points are farther apart than this", unit="px", min=1, max=32)
    threshold: float = param(0.1, "smallest pooled response of a key point", min=0.0, max=1.0)
    per_view: float = param(120.0, "the best of a view are kept, one in so many of its pixels", unit="px^2", min=16.0, max=1e5)


class GroundPoints(NamedTuple):
    """Key points of a site, best first.

    Attributes:
        pixels: (N, 2) float32 (u, v) in the site [px].
        scores: (N,) float32 pooled response.
    """

    pixels: NDArray[np.float32]
    scores: NDArray[np.float32]


def corners(grey: Pixels) -> Heat:
    """How much of a corner each pixel is, compared with what is around it.

    The smaller eigenvalue of the structure tensor (Shi and Tomasi 1994) of the image, smoothed a little and more.
    """
    total = np.zeros(grey.shape, dtype=np.float32)
    for sigma in _SCALES:
        smooth = np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), dtype=np.float32)
        total += np.sqrt(np.maximum(cv2.cornerMinEigenVal(smooth, 5, ksize=3), 0.0)) * np.float32(sigma)
    return above_usual(total, 0.05)


def above_usual(response: Heat, noise: float) -> Heat:
    """(H, W) responses as shares: half is reached by what is twice as large as usual around and in the whole image, and noise."""
    around = cv2.boxFilter(response, -1, (_AROUND, _AROUND), borderType=cv2.BORDER_REFLECT_101)
    usual = 0.5 * np.asarray(around, dtype=np.float32) + np.float32(0.5 * response.mean() + noise + 1e-9)
    ratio = response / usual
    return np.asarray(ratio**2 / (ratio**2 + 4.0), dtype=np.float32)


def adapted(grey: Pixels, detect: Detect, count: int, rng: np.random.Generator) -> Heat:
    """The mean response to ``count`` homographies of an image, the first of which changes nothing."""
    height, width = grey.shape
    total, seen = detect(grey).astype(np.float32), np.ones(grey.shape, dtype=np.float32)
    ones = np.ones(grey.shape, dtype=np.float32)
    for _ in range(count - 1):
        there = _random(width, height, rng)
        warped = np.asarray(cv2.warpPerspective(grey, there, (width, height), borderMode=cv2.BORDER_REFLECT_101), dtype=np.uint8)
        back = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        heat = cv2.warpPerspective(detect(warped), there, (width, height), flags=back)
        total += heat
        seen += cv2.warpPerspective(ones, there, (width, height), flags=back)
    return np.asarray(total / seen, dtype=np.float32)


def _random(width: int, height: int, rng: np.random.Generator) -> Array:
    """A homography of an image onto itself: turned, scaled, tilted a little, and moved by parts of pixels."""
    angle, scale = rng.uniform(-np.pi, np.pi), np.exp(rng.uniform(-0.3, 0.3))
    tilt = rng.uniform(-0.1, 0.1, 2) * 2.0 / max(width, height)
    u, v = 0.5 * (width - 1), 0.5 * (height - 1)
    turned = np.array([[scale * np.cos(angle), -scale * np.sin(angle), 0.0], [scale * np.sin(angle), scale * np.cos(angle), 0.0]])
    turned = np.vstack([turned, [tilt[0], tilt[1], 1.0]])
    moved = np.array([[1.0, 0.0, -u], [0.0, 1.0, -v], [0.0, 0.0, 1.0]])
    back = np.array([[1.0, 0.0, u + rng.uniform(-1, 1)], [0.0, 1.0, v + rng.uniform(-1, 1)], [0.0, 0.0, 1.0]])
    return np.asarray(back @ turned @ moved)


def pooled(heats: list[Heat]) -> Heat:
    """The mean response of all conditions: what few of them show counts little."""
    return np.asarray(np.mean(heats, axis=0), dtype=np.float32)


def points_of(heat: Heat, settings: LabelSettings) -> GroundPoints:
    """The key points of a pooled response: what is largest around, best first."""
    kernel = np.ones((2 * settings.radius + 1, 2 * settings.radius + 1), dtype=np.uint8)
    best = (heat >= cv2.dilate(heat, kernel)) & (heat >= settings.threshold)
    border = settings.radius + 1
    inner = np.zeros_like(best)
    inner[border:-border, border:-border] = True
    rows, columns = np.nonzero(best & inner)
    values = heat[rows, columns]
    order = np.argsort(-values, kind="stable")[: int(heat.size / settings.area)]
    return GroundPoints(np.column_stack([columns, rows])[order].astype(np.float32), values[order])


def label_site(source: GroundSource, site: int, detect: Detect, settings: LabelSettings, seed: int) -> GroundPoints:
    """The key points of a site.

    Raises:
        DataError: one of its images cannot be read.
    """
    heats = []
    for condition in range(len(source.sites[site].files)):
        rng = np.random.default_rng([seed, _STREAM, condition])  # all sites are looked at alike
        heats.append(adapted(to_grey(source.image(site, condition)), detect, settings.homographies, rng))
    return points_of(pooled(heats), settings)


def visible(points: GroundPoints, view: GroundView) -> Heat:
    """(N,) how much of a corner each key point of a site is in what the network gets to see of it; NaN where that is nothing."""
    at = mapped(view.view_H_site, points.pixels)
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero(((at >= 0.0) & (at <= len(view.known) - 1.0)).all(1))
    columns, rows = np.rint(at[inside]).astype(np.intp).T
    found = np.full(len(at), np.nan, dtype=np.float32)
    near = cv2.dilate(corners(view.image), np.ones((3, 3), np.uint8))
    found[inside] = np.where(view.known[rows, columns], near[rows, columns], np.nan)
    return found


def pair_labels(points: GroundPoints, a: GroundView, b: GroundView, per_view: float) -> NDArray[np.uint8]:
    """(2, S / 8, S / 8) labels of the cells of two views of a site.

    A key point counts by its pooled response, and by how much of a corner it is in both views: nobody finds what is not to be seen.
    """
    in_a, in_b = visible(points, a), visible(points, b)
    both = [np.where(np.isfinite(one), one, _UNSEEN) for one in (in_a, in_b)]
    worth = points.scores * both[0] * both[1]
    return np.stack(
        [cell_labels(points, np.where(one >= _VISIBLE, worth, 0.0), view, per_view) for one, view in ((in_a, a), (in_b, b))]
    )


def cell_labels(points: GroundPoints, worth: Heat, view: GroundView, per_view: float) -> NDArray[np.uint8]:
    """(S / 8, S / 8) which pixel of each cell of a view is a key point, counted row by row; 64 where none is.

    Of those of a cell, and of those nearer than three pixels to each other, the best counts. :data:`IGNORED` where the view does
    not show the site as it was.

    Args:
        points: of the site.
        worth: (N,) of each of them; without any it is none.
        view: of the site.
        per_view: the best of the view are kept, one in so many pixels of it.
    """
    known, side = view.known, len(view.known)
    at = mapped(view.view_H_site, points.pixels)
    with np.errstate(invalid="ignore"):
        pixels = np.rint(at)
        inside = np.flatnonzero(((pixels >= 0.0) & (pixels <= side - 1.0)).all(1) & (worth > 0.0))
    inside = inside[np.argsort(-worth[inside], kind="stable")]
    columns, rows = pixels[inside].astype(np.intp).T
    here = known[rows, columns]
    columns, rows = columns[here], rows[here]
    # Ranks in place of what they are worth, so that no two are equal; the best is written last.
    heat = np.zeros((side, side), dtype=np.float32)
    heat[rows[::-1], columns[::-1]] = np.arange(1, len(rows) + 1, dtype=np.float32)
    best = np.flatnonzero(heat[rows, columns] >= cv2.dilate(heat, np.ones((5, 5), np.uint8))[rows, columns])
    best = best[: int(known.sum() / per_view)]
    columns, rows = columns[best][::-1], rows[best][::-1]
    labels = np.full((side // _CELL, side // _CELL), _CELL * _CELL, dtype=np.uint8)
    labels[rows // _CELL, columns // _CELL] = rows % _CELL * _CELL + columns % _CELL
    cells = known.reshape(side // _CELL, _CELL, side // _CELL, _CELL).all(axis=(1, 3))
    labels[~cells] = IGNORED
    return labels


def labelled_pixels(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, 2) the key points (u, v) that labels of cells stand for [px]."""
    rows, columns = np.nonzero(labels < _CELL * _CELL)
    bins = labels[rows, columns].astype(np.int64)
    return np.column_stack([columns * _CELL + bins % _CELL, rows * _CELL + bins // _CELL])


def kept_points(path: Path, made: Callable[[], GroundPoints]) -> GroundPoints:
    """The key points in a file, which is made where it is not there.

    Raises:
        DataError: it cannot be written.
        TrainingError: it is damaged.
    """
    if not path.exists():
        points = made()
        buffer = io.BytesIO()
        np.savez(buffer, pixels=points.pixels, scores=points.scores)
        write_bytes(path, buffer.getvalue())
        return points
    try:
        with np.load(path, allow_pickle=False) as file:
            points = GroundPoints(file["pixels"], file["scores"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is damaged ({error}): remove it, and its key points are found again") from error
    if points.pixels.shape != (len(points.scores), 2):
        raise TrainingError(f"{path} is damaged (shapes do not fit): remove it, and its key points are found again")
    return points
