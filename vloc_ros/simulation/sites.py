"""The places where autonomy is tested, by number."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.errors import ConfigError
from vloc_ros.simulation.layout import Layout
from vloc_ros.simulation.route_shapes import RouteShape
from vloc_ros.simulation.season import Season
from vloc_ros.simulation.world import World

DEFAULT_LENGTH_M = 120.0
_KINDS = (
    (RouteShape.LOOP, Layout.MIXED),
    (RouteShape.FIGURE_EIGHT, Layout.HILLY),
    (RouteShape.MEANDER, Layout.LOOKALIKE),
    (RouteShape.MEANDER, Layout.HILLY),
    (RouteShape.LOOP, Layout.LOOKALIKE),
    (RouteShape.FIGURE_EIGHT, Layout.MIXED),
)


@dataclass(frozen=True, slots=True)
class Site:
    """A route in a world, by name; ``dataclasses.replace`` changes its length.

    Attributes:
        name: what it is called in tables.
        seed: of the world.
        length_m: of the route [m].
        shape: how the route runs.
        layout: what kind of place it is.
    """

    name: str
    seed: int
    length_m: float = DEFAULT_LENGTH_M
    shape: RouteShape = RouteShape.LOOP
    layout: Layout = Layout.MIXED

    def build(self, season: Season | None = None) -> World:
        """The world of this site, in summer on an ordinary day unless a season is given.

        Raises:
            ConfigError: there is no route of this seed, length and shape.
        """
        return World.generate(self.seed, self.length_m, season or Season(), layout=self.layout, shape=self.shape)


def sites(count: int, seed0: int = 1) -> list[Site]:
    """The first ``count`` sites: every shape and layout in turn, each with the next seed.

    Raises:
        ConfigError: the count or the seed is negative.
    """
    if count < 0 or seed0 < 0:
        raise ConfigError(f"{count} sites from seed {seed0} on make no sense; both numbers must not be negative")
    kinds = [_KINDS[index % len(_KINDS)] for index in range(count)]
    return [
        Site(f"{layout.value}_{shape.value}_{seed0 + index}", seed0 + index, DEFAULT_LENGTH_M, shape, layout)
        for index, (shape, layout) in enumerate(kinds)
    ]


SITES: tuple[Site, ...] = tuple(sites(len(_KINDS)))
