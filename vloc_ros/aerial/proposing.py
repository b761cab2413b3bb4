"""Which pieces of a map a photo is compared with: those that resemble it, or those near a prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.contract import GroundMap, Level
from vloc_ros.aerial.fix import AerialReject
from vloc_ros.aerial.locator_settings import LocatorSettings
from vloc_ros.aerial.looks import Looks
from vloc_ros.aerial.matching import Region, merged
from vloc_ros.aerial.nadir import NadirView, square
from vloc_ros.aerial.photo import Photo
from vloc_ros.errors import ConfigError
from vloc_ros.retrieval import DescriptorIndex, GlobalDescriptor, Needs, View
from vloc_ros.retrieval.rows import RowStore

Array = NDArray[np.float64]
_NEAR_TILES = 1.0
"""A gate of this radius, in sides of a tile, is searched as a whole: its tiles need not be told apart (published: 3 x 3 tiles)."""


@dataclass(frozen=True, slots=True)
class Prior:
    """Where a drone should be by what it knew before; never from the truth.

    Attributes:
        metres: (2,) east and north in the frame of the map.
        covariance: (2, 2) of that [m^2].
    """

    metres: Array
    covariance: Array

    def radius(self, sigmas: float) -> float:
        """Of the smallest circle around the gate of so many standard deviations [m]."""
        return sigmas * float(np.sqrt(np.linalg.eigvalsh(self.covariance)[-1]))


@dataclass(frozen=True, slots=True)
class Plan:
    """How a photo is compared with a level.

    Attributes:
        level: of the map.
        scale: pixels of the level to one of the photo.
        half_m: half of the diagonal of what is compared of the photo, on the ground [m].
    """

    level: Level
    scale: float
    half_m: float


class Proposer:
    """Proposes regions for a photo. It looks at tiles and their vectors alone."""

    def __init__(self, ground: GroundMap, descriptor: GlobalDescriptor, settings: LocatorSettings) -> None:
        """Index the tiles.

        Raises:
            ConfigError: the map was described by another global descriptor, or the descriptor needs local features.
        """
        if descriptor.needs is not Needs.IMAGE:
            raise ConfigError(
                f"tiles of maps are described from their pixels, which '{descriptor.name}' cannot do; name another one"
            )
        dimension = ground.vectors.shape[1]
        if descriptor.card.dimension != dimension:
            raise ConfigError(
                f"the map was described by '{ground.descriptor}' with {dimension} elements, not by '{descriptor.name}' with "
                f"{descriptor.card.dimension}: name that descriptor, or build the map anew"
            )
        self._ground, self._descriptor, self._settings = ground, descriptor, settings
        # Over the map's own vectors: a copy of them would be as large as all that a locator keeps.
        self._index = DescriptorIndex.of(range(len(ground.tiles)), RowStore(dimension, ground.vectors))
        self._headings = np.unique(ground.tiles.headings).astype(np.float64)

    def plans(self, photo: Photo) -> list[Plan]:
        """The levels that a photo can be compared with; one where its ground resolution is known, none when none fits."""
        height, width = photo.image.shape[:2]
        short, diagonal = min(height, width), float(np.hypot(height, width))
        resolution = photo.ground_per_pixel
        if resolution is None:
            found = []
            for level in self._ground.levels:
                guess = level.tile_m / short
                found.append(self._plan(level, guess, diagonal))
            return found
        fitting = [
            level
            for level in self._ground.levels
            if resolution * short >= self._settings.smallest_part * level.tile_m
            and resolution <= self._settings.max_enlarged * level.ground_per_pixel
        ]
        whole = [level for level in fitting if level.tile_m <= resolution * short]
        # The largest tile that the photo covers: more ground is more distinctive; if it covers none, the smallest.
        chosen = whole[-1:] or fitting[:1]
        return [self._plan(level, resolution, diagonal) for level in chosen]

    def _plan(self, level: Level, resolution: float, diagonal: float) -> Plan:
        largest = float(np.sqrt(2.0)) * self._settings.part * level.tile_m
        return Plan(level, resolution / level.ground_per_pixel, 0.5 * min(resolution * diagonal, largest))

    def propose(self, looks: Looks, plans: list[Plan], prior: Prior | None) -> list[Region] | AerialReject:
        """Regions, the most promising first.

        Args:
            looks: at the photo.
            plans: from :meth:`plans`.
            prior: where to look; the whole map without it.

        Returns:
            The regions; or NO_CANDIDATE, or why the photo cannot be looked at.
        """
        heading = looks.photo.heading_deg
        if prior is not None and heading is not None and len(plans) == 1:
            near = self._near(looks, plans[0], prior, heading)
            if near is not None:
                return near
        found: list[tuple[float, Region]] = []
        for plan in plans:
            scored = self._resembling(looks, plan, prior)
            if isinstance(scored, AerialReject):
                return scored
            found += scored
        found.sort(key=lambda scored: -scored[0])
        regions = [region for _, region in found[: self._settings.candidates]]
        if not regions:
            return AerialReject.NO_CANDIDATE
        return merged(regions)

    def _near(self, looks: Looks, plan: Plan, prior: Prior, heading: float) -> list[Region] | AerialReject | None:
        """The gate as one region; None when it is too large for that."""
        radius = prior.radius(self._settings.gate_sigmas)
        if radius > _NEAR_TILES * plan.level.tile_m:
            return None
        view = looks.view(plan.scale, heading)
        if isinstance(view, AerialReject):
            return view
        centre = prior.metres + _ahead(view, plan)
        tiles = self._ground.tiles
        rows = np.flatnonzero(tiles.levels == plan.level.index)
        if len(rows) == 0:
            return AerialReject.NO_CANDIDATE
        nearest = int(rows[np.argmin(((tiles.centres[rows] - centre) ** 2).sum(axis=1))])
        return [Region.around(nearest, plan.level.index, heading, centre, radius + plan.half_m)]

    def _resembling(self, looks: Looks, plan: Plan, prior: Prior | None) -> list[tuple[float, Region]] | AerialReject:
        """Scores and regions of the best tiles of a level."""
        photo, tiles = looks.photo, self._ground.tiles
        up = None if photo.heading_deg is None else self._nearest_heading(photo.heading_deg)
        view = looks.view(plan.scale, 0.0 if photo.heading_deg is None or up is None else photo.heading_deg - up)
        if isinstance(view, AerialReject):
            return view
        eligible = tiles.levels == plan.level.index
        if up is not None:
            eligible &= np.abs(tiles.headings - up) < 1e-3
        if prior is not None:
            reach = prior.radius(self._settings.gate_sigmas) + 0.75 * plan.level.tile_m + self._offset(looks, plan)
            eligible &= np.asarray(((tiles.centres - prior.metres) ** 2).sum(axis=1) <= reach**2)
        side = max(1, round(plan.level.tile_m / plan.level.ground_per_pixel))
        scores = self._index.scores(self._descriptor.describe(View(square(view, side))))
        rows = np.flatnonzero(eligible & (scores > 0.0))
        best = rows[np.argsort(-scores[rows], kind="stable")[: self._settings.candidates]]
        half = plan.half_m + 0.25 * plan.level.tile_m
        return [(float(scores[row]), self._region(int(row), photo, half)) for row in best]

    def _region(self, row: int, photo: Photo, half: float) -> Region:
        tiles = self._ground.tiles
        up = float(tiles.headings[row]) if photo.heading_deg is None else photo.heading_deg
        return Region.around(row, int(tiles.levels[row]), up, tiles.centres[row], half)

    def _nearest_heading(self, heading: float) -> float:
        """The one of the map's headings that is nearest."""
        apart = np.abs((self._headings - heading + 180.0) % 360.0 - 180.0)
        return float(self._headings[int(np.argmin(apart))])

    def _offset(self, looks: Looks, plan: Plan) -> float:
        """How far from the drone the middle of the photo is on the ground [m]; in which direction is not always known."""
        view = looks.view(plan.scale, 0.0)
        return 0.0 if isinstance(view, AerialReject) else float(np.linalg.norm(_ahead(view, plan)))


def _ahead(view: NadirView, plan: Plan) -> Array:
    """(2,) metres east and north from the drone to the middle of a photo whose view has north up."""
    made: Array = (view.centre - view.nadir) * np.array([1.0, -1.0]) * plan.level.ground_per_pixel
    return made
