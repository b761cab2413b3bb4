"""The world: everything that stands still, by seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.furnishing import build_furniture, build_houses, plant
from vloc_ros.simulation.lamps import fill_with_lamps
from vloc_ros.simulation.layout import Layout
from vloc_ros.simulation.mesh import Mesh
from vloc_ros.simulation.parking import find_more_parking, park
from vloc_ros.simulation.plot import Plot
from vloc_ros.simulation.route import Route
from vloc_ros.simulation.route_shapes import RouteShape
from vloc_ros.simulation.rows import build_rows
from vloc_ros.simulation.season import Season
from vloc_ros.simulation.shadows import bake_openness
from vloc_ros.simulation.terrain import GroundCover, Terrain

Array = NDArray[np.float64]
STEEPEST_GRADE = 0.12
"""Of the route of a hilly world, rise over run."""


@dataclass(frozen=True, slots=True)
class World:
    """A place to drive in; two worlds of the same arguments are equal to the last bit.

    The world frame has x east, y north, z up [m].

    Attributes:
        seed: what it was generated from.
        route: the centre line of the track.
        terrain: the ground.
        cover: what covers the ground.
        mesh: all triangles.
        lamps: (L, 3) positions of the lights of the street lamps [m], in the order of their stations.
        parking: (P, 3) parking spots [m]; about 60 % are taken, which ones is up to the season.
        season: what the trees wear and where cars stand.
        layout: what kind of place it is.
    """

    seed: int
    route: Route
    terrain: Terrain
    cover: GroundCover
    mesh: Mesh
    lamps: Array

    parking: Array
    season: Season = Season()
    layout: Layout = Layout.MIXED

    @classmethod
    def generate(
        cls,
        seed: int,
        length_m: float,
        season: Season = Season(),  # noqa: B008 - frozen
        layout: Layout = Layout.MIXED,
        shape: RouteShape = RouteShape.LOOP,
    ) -> World:
        """A world around a closed route of the given length and shape.

        Raises:
            ConfigError: the seed is negative, or the length outside 30 to 2000 m (50 to 2000 m unless the shape is a loop).
        """
        route = Route.generate(seed, length_m, shape)
        terrain = Terrain.around(seed, route.samples(1.0))
        if layout is Layout.HILLY:
            terrain = terrain.with_grade(route.samples(0.5), STEEPEST_GRADE)
        return cls._built(route, terrain, None, season, layout)

    def in_season(self, season: Season) -> World:
        """The same place in another season; itself if nothing changes.

        Route, terrain and cover are shared. Leaves let less light through than bare twigs: the openness of what stands
        under them changes as well.
        """
        return self if season == self.season else self._built(self.route, self.terrain, self.cover, season, self.layout)

    @classmethod
    def _built(cls, route: Route, terrain: Terrain, cover: GroundCover | None, season: Season, layout: Layout) -> World:
        plot = Plot(route, terrain)
        terrain.add_to(plot.builder)
        bare = not season.leaves
        lamps = build_rows(plot, bare).lamps if layout is Layout.LOOKALIKE else []
        build_houses(plot)
        more_lamps, usual = build_furniture(plot)
        plant(plot, bare)
        lamps = fill_with_lamps(plot, lamps + more_lamps)
        parking = find_more_parking(plot, usual)
        park(plot, parking, season.parked_cars)
        mesh = plot.builder.build()
        bake_openness(mesh)
        cover = cover or GroundCover.build(terrain, route.samples(0.1), np.array(plot.bare).reshape(-1, 3))
        places = np.array([plot.ground(spot.centre) for spot in parking]).reshape(-1, 3)
        return cls(terrain.seed, route, terrain, cover, mesh.frozen(), np.array(lamps).reshape(-1, 3), places, season, layout)
