"""Samples of a training of GLVL: a place seen twice, what of it corresponds, its key points, and views of other places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.ground_labels import GroundPoints, labelled_pixels, pair_labels
from vloc_ros.training.ground_mining import GroundMiningSettings, MinedPlace, Shown, Tiles
from vloc_ros.training.ground_sites import GroundSource, Pixels
from vloc_ros.training.ground_views import (
    Array,
    GroundChangeSettings,
    GroundView,
    GroundViewSettings,
    altered,
    eased,
    homography,
    mapped,
    random_pair,
    seen,
)


@dataclass(frozen=True, slots=True)
class GroundFeedSettings:
    """How places are seen and mined.

    Attributes:
        view: geometry of views.
        changes: of the ground.
        augmentation: of light, lens and sensor.
        mining: of negatives.
        correspondences: of each place that descriptors are compared at.
        per_view: the best key points of a view are kept, one in so many of its pixels.
    """

    view: GroundViewSettings
    changes: GroundChangeSettings
    augmentation: AugmentationSettings
    mining: GroundMiningSettings
    correspondences: int
    per_view: float

    def eased(self, share: float) -> GroundFeedSettings:
        """With a share from 0 to 1 of what makes views differ."""
        view, changes, augmentation = eased(self.view, self.changes, self.augmentation, share)
        return replace(self, view=view, changes=changes, augmentation=augmentation)


class GroundSample(NamedTuple):
    """One place.

    Attributes:
        images: (2 + its negatives, S, S) uint8.
        labels: (2, S / 8, S / 8) uint8.
        points: (N, 4) float32 (u, v) in the first and in the second view [px]; NaN at the end where there are fewer.
        tiles: of the images, the first two are of one.
        tag: which site.
    """

    images: Pixels
    labels: NDArray[np.uint8]
    points: NDArray[np.float32]
    tiles: tuple[int, ...]
    tag: str


class GroundSampler:
    """Makes samples; what is random in one follows from the given generator alone."""

    def __init__(self, tiles: Tiles, points: Sequence[Sequence[GroundPoints]], parts: GroundFeedSettings) -> None:
        """Remember where places are from.

        Args:
            tiles: of all sites.
            points: key points of the sites of each source.
            parts: how places are seen.
        """
        self._tiles, self._points, self._parts = tiles, points, parts

    def plain(self, shown: Shown) -> Pixels:
        """(S, S, 3) RGB view of a tile, north up and not altered.

        Raises:
            VlocError: its image cannot be read.
        """
        source, site = self._place(shown.tile)
        centre, view = self._tiles.centre[shown.tile], self._parts.view
        return seen(source, site, shown.condition, homography(centre, self._tiles.zoom, 0.0, np.zeros(2), view), view.side)[0]

    def sample(self, mined: MinedPlace, rng: np.random.Generator, share: float) -> GroundSample:
        """The views of a place and of its negatives.

        Args:
            mined: the place.
            rng: decides how it is seen and altered.
            share: of what makes views differ, from 0 to 1.

        Raises:
            VlocError: an image cannot be read.
        """
        tile, parts = mined.place.tile, self._parts.eased(share)
        source, site = self._place(tile)
        pair = random_pair(self._strayed(tile, rng), rng, parts.view)
        other = mined.other if rng.random() < share else mined.place.condition
        a = self._view(source, site, mined.place.condition, pair[0], rng, parts, drifted=False)
        b = self._view(source, site, other, pair[1], rng, parts, drifted=True)
        points = self._points[int(self._tiles.source[tile])][site]
        labels = pair_labels(points, a, b, parts.per_view)
        images = [a.image, b.image, *(self._negative(shown, rng, parts) for shown in mined.negatives)]
        tiles = (tile, tile, *(shown.tile for shown in mined.negatives))
        matched = correspondences(a, b, labels[0], parts.correspondences, rng)
        return GroundSample(np.stack(images), labels, matched, tiles, source.sites[site].name)

    def _place(self, tile: int) -> tuple[GroundSource, int]:
        return self._tiles.sources[int(self._tiles.source[tile])].source, int(self._tiles.site[tile])

    def _strayed(self, tile: int, rng: np.random.Generator) -> Array:
        """A position near the centre of a tile, so that not only tiles are learned."""
        extent = 0.25 * self._parts.view.side * self._tiles.zoom
        return np.asarray(self._tiles.centre[tile] + rng.uniform(-extent, extent, 2))

    def _view(
        self,
        source: GroundSource,
        site: int,
        condition: int,
        there: Array,
        rng: np.random.Generator,
        parts: GroundFeedSettings,
        drifted: bool,
    ) -> GroundView:
        view, known = seen(source, site, condition, there, parts.view.side)
        return GroundView(*altered(view, known, rng, parts.changes, parts.augmentation, drifted), there)

    def _negative(self, shown: Shown, rng: np.random.Generator, parts: GroundFeedSettings) -> Pixels:
        source, site = self._place(shown.tile)
        there = random_pair(self._tiles.centre[shown.tile], rng, self._parts.view)[0]
        return self._view(source, site, shown.condition, there, rng, parts, drifted=False).image


def correspondences(
    a: GroundView, b: GroundView, labels: NDArray[np.uint8], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(count, 4) positions in two views that show the same [px], half of them at key points of the first view; NaN where too few.

    Args:
        a: the first view.
        b: the second view.
        labels: of the cells of the first.
        count: how many.
        rng: decides.
    """
    side, b_H_a = len(a.known), b.view_H_site @ np.linalg.inv(a.view_H_site)
    keypoints = labelled_pixels(labels)
    keypoints = keypoints[rng.permutation(len(keypoints))[: count // 2]]
    drawn = rng.integers(side, size=(4 * count, 2))
    at = np.concatenate([keypoints, drawn])
    there = mapped(b_H_a, at)
    with np.errstate(invalid="ignore"):
        nearest = np.nan_to_num(np.rint(there), nan=-1.0).astype(np.intp)
    good = ((nearest >= 0) & (nearest < side)).all(1) & a.known[at[:, 1], at[:, 0]]
    inside = np.clip(nearest, 0, side - 1)
    good &= b.known[inside[:, 1], inside[:, 0]]
    found = np.column_stack([at, there])[good][:count].astype(np.float32)
    made = np.full((count, 4), np.nan, dtype=np.float32)
    made[: len(found)] = found
    return made
