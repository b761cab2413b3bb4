"""Random views of the ground: as a drone sees it from another height, heading and tilt, in another season and light, years later.

Two views of one place are related by a homography that is known exactly. What changes on the ground between them (drift of the map:
other buildings, trees that were felled) has no correspondence and is masked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.training.augmentation import AugmentationSettings, augment
from vloc_ros.training.ground_sites import GroundSource, Pixels

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_LEAST_LIGHT = 0.3  # of the changes of light, from the beginning
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class GroundViewSettings:
    """How far two views of one place differ. The published numbers are those of its warped pairs."""

    side: int = param(256, "width and height of a view, a multiple of 32 (published: 256)", unit="px", min=32, max=2048)
    zoom_min: float = param(1.0, "fewest pixels of the map, in a row, that become one of a view", min=0.1, max=10.0)
    zoom_max: float = param(1.0, "most of them", min=0.1, max=10.0)
    heading_deg: float = param(180.0, "largest heading of the first view away from north", unit="deg", min=0.0, max=180.0)
    rotation_deg: float = param(90.0, "largest rotation of the second view from the first", unit="deg", min=0.0, max=180.0)
    scale: float = param(0.2, "largest change of the scale from the first view to the second", min=0.0, max=0.9)
    perspective: float = param(0.2, "largest change of the scale within a view, from its centre to a border", min=0.0, max=0.5)
    shift: float = param(0.15, "largest shift of the second view along an axis, of the side of a view", min=0.0, max=0.5)


@dataclass(frozen=True)
class GroundChangeSettings:
    """What time does to the ground between two views; light, lens and sensor are those of ``augmentation``."""

    recoloured: float = param(0.7, "so many of the views have the colours of another season", min=0.0, max=1.0)
    toned: float = param(0.3, "so many of the views have another tone curve", min=0.0, max=1.0)
    inverted: float = param(0.1, "in so many of the views a part has its contrast inverted", min=0.0, max=1.0)
    patches: int = param(3, "in the second view up to so many patches show other ground", min=0, max=50)
    patch: float = param(0.25, "greatest diameter of a patch, of the side of a view", min=0.01, max=1.0)
    ease: float = param(0.0, "share of the training in which everything grows from easy to what is set", min=0.0, max=1.0)
    displaced: float = param(1.0, "deviation of a smooth displacement of the second view, which nobody knows", unit="px", min=0.0)


def eased(
    view: GroundViewSettings, changes: GroundChangeSettings, light: AugmentationSettings, share: float
) -> tuple[GroundViewSettings, GroundChangeSettings, AugmentationSettings]:
    """Settings of which a share from 0 to 1 is in force: what two views have in common is seen at all while they differ little."""
    if share >= 1.0:
        return view, changes, light
    return (
        replace(view, rotation_deg=view.rotation_deg * share, scale=view.scale * share, perspective=view.perspective * share),
        replace(
            changes,
            recoloured=changes.recoloured * share,
            toned=changes.toned * share,
            inverted=changes.inverted * share,
            patches=round(changes.patches * share),
            displaced=changes.displaced * share,
        ),
        replace(light, strength=light.strength * max(share, _LEAST_LIGHT)),
    )


@dataclass(frozen=True, slots=True)
class GroundView:
    """What is seen of a site.

    Attributes:
        image: (S, S) grey.
        known: (S, S) which pixels show the site as it was, and neither what is beyond its border nor other ground.
        view_H_site: (3, 3) homography from pixels of the site to those of the view.
    """

    image: Pixels
    known: Mask
    view_H_site: Array


def homography(
    centre: Array, zoom: float, heading: float, tilt: Array, settings: GroundViewSettings, side: int | None = None
) -> Array:
    """(3, 3) homography from pixels of a site to those of a view.

    Args:
        centre: (2,) of the view, in the site [px].
        zoom: pixels of the site, in a row, that become one of the view at its centre.
        heading: by how much the view is turned [rad].
        tilt: (2,) change of the scale from the centre to the borders of the view, along its axes.
        settings: size of the view.
        side: another size of it [px].
    """
    size = side or settings.side
    half, cosine, sine = 0.5 * (size - 1), np.cos(heading) / zoom, np.sin(heading) / zoom
    moved = np.array([[1.0, 0.0, -centre[0]], [0.0, 1.0, -centre[1]], [0.0, 0.0, 1.0]])
    turned = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    tilted = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0 * tilt[0] / size, 2.0 * tilt[1] / size, 1.0]])
    to_corner = np.array([[1.0, 0.0, half], [0.0, 1.0, half], [0.0, 0.0, 1.0]])
    return np.asarray(to_corner @ tilted @ turned @ moved)


def random_pair(centre: Array, rng: np.random.Generator, settings: GroundViewSettings) -> tuple[Array, Array]:
    """Homographies from a site to two random views around a (2,) position [px]."""
    zoom = float(np.exp(rng.uniform(np.log(settings.zoom_min), np.log(max(settings.zoom_min, settings.zoom_max)))))
    heading = np.deg2rad(rng.uniform(-1.0, 1.0) * settings.heading_deg)
    first = homography(centre, zoom, heading, _tilt(rng, settings), settings)
    heading += np.deg2rad(rng.uniform(-1.0, 1.0) * settings.rotation_deg)
    moved = centre + rng.uniform(-1.0, 1.0, 2) * settings.shift * settings.side * zoom
    zoom *= float(np.exp(rng.uniform(-1.0, 1.0) * np.log1p(settings.scale)))
    return first, homography(moved, zoom, heading, _tilt(rng, settings), settings)


def _tilt(rng: np.random.Generator, settings: GroundViewSettings) -> Array:
    # Of both axes together, so that no corner is farther away than the strongest tilt along one axis makes a border.
    return np.asarray(rng.uniform(-1.0, 1.0, 2) * 0.5 * settings.perspective)


def seen(source: GroundSource, site: int, condition: int, view_H_site: Array, side: int) -> tuple[Pixels, Mask]:
    """The (side, side, 3) RGB view of a site through a homography, and which of its pixels show the site.

    Beyond the border the site is mirrored.

    Raises:
        DataError: the image of the site cannot be read.
    """
    width, height = source.sites[site].size
    halved = abs(np.linalg.det(view_H_site[:2, :2])) < 0.5  # what shrinks is averaged first, or it would flicker
    image = source.image(site, condition, halved)
    # Pixel (0, 0) is a pixel centre: the image spans from -0.5, which is the point that halving leaves in place.
    shrink = np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]]) if halved else np.eye(3)
    size = (side, side)
    view = cv2.warpPerspective(image, view_H_site @ shrink, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    corners = np.array([[0.0, 0.0], [side - 1.0, 0.0], [0.0, side - 1.0], [side - 1.0, side - 1.0]])
    there = mapped(np.linalg.inv(view_H_site), corners)
    if (there >= 0.0).all() and (there <= (width - 1.0, height - 1.0)).all():
        return np.asarray(view, dtype=np.uint8), np.ones((side, side), dtype=np.bool_)
    whole = np.ones((height, width), dtype=np.uint8)
    mask = cv2.warpPerspective(whole, view_H_site, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(view, dtype=np.uint8), np.asarray(mask > 0)


def mapped(matrix: NDArray[Any], points: NDArray[Any]) -> Array:
    """(N, 2) points through a homography, NaN where they lie behind."""
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    depth = np.where(homogeneous[:, 2:] > 1e-9, homogeneous[:, 2:], np.nan)
    return np.asarray(homogeneous[:, :2] / depth)


def altered(
    view: Pixels,
    known: Mask,
    rng: np.random.Generator,
    changes: GroundChangeSettings,
    light: AugmentationSettings,
    drifted: bool,
) -> tuple[Pixels, Mask]:
    """A (S, S, 3) RGB view as the network gets to see it: grey, in another season and light; and what is still known of it.

    Args:
        view: the view.
        known: (S, S) which of its pixels show the site.
        rng: decides.
        changes: of the ground.
        light: of light, lens and sensor.
        drifted: whether the ground itself has changed.
    """
    grey = season(view, rng, changes)
    if drifted:
        grey, known = drift(grey, known, rng, changes)
    return augment(grey, rng, light), known


def season(view: Pixels, rng: np.random.Generator, changes: GroundChangeSettings) -> Pixels:
    """(S, S) grey view in the colours of another season: what was brighter than what is beside it may be darker."""
    if rng.random() < changes.recoloured:
        # A change of hue, to a grey camera, is another weight of each colour.
        grey = view @ (_GREY + rng.normal(0.0, 0.35, 3).astype(np.float32))
        low, high = np.percentile(grey[::4, ::4], (1.0, 99.0))
        dark, bright = rng.uniform(0.0, 80.0), rng.uniform(150.0, 255.0)
        values = (grey - np.float32(low)) * np.float32((bright - dark) / max(high - low, 1.0)) + np.float32(dark)
        made = np.asarray(np.clip(values + 0.5, 0.0, 255.0), dtype=np.uint8)
    else:
        made = np.asarray(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if rng.random() < changes.toned:
        made = np.asarray(_curve(rng)[made], dtype=np.uint8)
    if rng.random() < changes.inverted:
        part = _smooth(rng, made.shape[0], 3, 1.0) > 0.0
        made = np.asarray(np.where(part, 255 - made, made), dtype=np.uint8)
    return made


def _curve(rng: np.random.Generator) -> Pixels:
    """(256,) a tone curve of random slopes, all upwards but for one in ten."""
    slopes = np.exp(rng.normal(0.0, 0.8, 6)) * np.where(rng.random(6) < 0.1, -1.0, 1.0)
    knots = np.concatenate([[0.0], np.cumsum(slopes)])
    knots = (knots - knots.min()) / max(float(np.ptp(knots)), 1e-6) * 255.0
    return np.asarray(np.interp(np.arange(256), np.linspace(0.0, 255.0, 7), knots), dtype=np.uint8)


def drift(grey: Pixels, known: Mask, rng: np.random.Generator, changes: GroundChangeSettings) -> tuple[Pixels, Mask]:
    """A view of ground that has changed: patches show other ground, and everything is displaced a little, smoothly."""
    side = grey.shape[0]
    count = int(rng.integers(changes.patches + 1))
    if count:
        patch = np.zeros(grey.shape, dtype=np.uint8)
        for _ in range(count):
            axes = np.maximum(rng.uniform(0.2, 0.5, 2) * changes.patch * side, 1.0).astype(int).tolist()
            at = rng.integers(side, size=2).tolist()
            cv2.ellipse(patch, at, axes, float(rng.uniform(0.0, 180.0)), 0.0, 360.0, 1, -1)
        other = np.roll(grey[::-1], (int(rng.integers(side)), int(rng.integers(side))), axis=(0, 1))
        changed = patch > 0
        grey, known = np.where(changed, other, grey), known & ~changed
    if changes.displaced > 0.0:
        v, u = np.mgrid[:side, :side].astype(np.float32)
        du, dv = (_smooth(rng, side, 5, changes.displaced) for _ in range(2))
        grey = np.asarray(cv2.remap(grey, u + du, v + dv, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), dtype=np.uint8)
    return grey, known


def _smooth(rng: np.random.Generator, side: int, knots: int, deviation: float) -> NDArray[np.float32]:
    """(side, side) smooth random values."""
    coarse = rng.normal(0.0, deviation, (knots, knots)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
