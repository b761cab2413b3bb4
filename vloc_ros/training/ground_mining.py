"""Mining of negatives for retrieval: places that the present network takes for another one, from tiles of all sites.

As published (source_systems 5.1): the network looks at tiles every so many queries; full mining looks at all of them, partial
mining at random ones, and at those that were mined for the same place before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.errors import TrainingError
from vloc_ros.training.ground_sites import GroundSource
from vloc_ros.training.ground_views import GroundViewSettings
from vloc_ros.training.sampling import Weighted

_STREAM = 62  # of random numbers, apart from other uses of the seed
_FORMAT, _VERSION = "vloc mined ground", 1


@unique
class GroundMining(Enum):
    """Where the negatives of a query are from."""

    FULL = "full"
    """The nearest of all tiles."""
    PARTIAL = "partial"
    """The nearest of random tiles and of those that were mined for the same place before."""
    RANDOM = "random"
    """Any tiles."""


@dataclass(frozen=True)
class GroundMiningSettings:
    """Negatives of retrieval."""

    mining: GroundMining = param(GroundMining.FULL, "full, partial or random (published: full)")
    negatives: int = param(10, "mined for each query (published: 10)", min=0, max=100)
    refresh: int = param(1000, "queries after which the network looks at tiles again (published: 1000)", min=1)
    samples: int = param(1000, "random tiles that partial mining looks at (published: 1000)", min=1)


class Shown(NamedTuple):
    """A tile in one condition."""

    tile: int
    condition: int


class MinedPlace(NamedTuple):
    """A query: a place in the conditions of its two views, and other places, the nearest of their descriptors first."""

    place: Shown
    other: int
    negatives: tuple[Shown, ...]


Describe = Callable[[Sequence[Shown]], NDArray[np.float32]]
"""(N, D) descriptors of tiles."""


class Tiles:
    """Places: squares of all sites, half overlapping.

    Attributes:
        sources: with their weights.
        source: (T,) number of the source of each tile.
        site: (T,) number of its site in the source.
        centre: (T, 2) its centre in the site [px].
        number: (T,) number of its site among those of all sources.
        zoom: pixels of a site, in a row, that become one of a tile's view.
    """

    def __init__(self, sources: Sequence[Weighted[GroundSource]], view: GroundViewSettings) -> None:
        """Cut the sites; one smaller than a tile is one tile."""
        self.sources, self._view = tuple(sources), view
        self.zoom = float(np.sqrt(view.zoom_min * max(view.zoom_min, view.zoom_max)))
        extent, rows, number = view.side * self.zoom, list[tuple[int, int, float, float, int]](), 0
        for source, entry in enumerate(sources):
            for site, one in enumerate(entry.source.sites):
                columns, lines = (_centres(length, extent) for length in one.size)
                rows += [(source, site, u, v, number) for v in lines for u in columns]
                number += 1
        values = np.array(rows, dtype=np.float64)
        self.source, self.site, self.number = (values[:, k].astype(np.int64) for k in (0, 1, 4))
        self.centre = values[:, 2:4]
        self._apart = 1.5 * extent  # views of one place may be turned, and shifted

    def __len__(self) -> int:
        """Tiles."""
        return len(self.site)

    def conditions(self, tile: int) -> int:
        """How many conditions a tile is known in."""
        return len(self.sources[int(self.source[tile])].source.sites[int(self.site[tile])].files)

    def elsewhere(self, tile: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some tiles surely show another place than a tile does."""
        distance = np.linalg.norm(self.centre[others] - self.centre[tile], axis=1)
        return np.asarray((self.number[others] != self.number[tile]) | (distance >= self._apart))


def _centres(length: int, extent: float) -> list[float]:
    count = 1 + max(0, int(np.ceil(2.0 * (length - extent) / extent)))
    if count == 1:
        return [0.5 * (length - 1)]
    return [float(centre) for centre in np.linspace(0.5 * extent - 0.5, length - 0.5 * extent - 0.5, count)]


class GroundMiner:
    """Mines the queries of each cache; what is random follows from the seed and the number of the cache."""

    def __init__(self, tiles: Tiles, settings: GroundMiningSettings, seed: int) -> None:
        """Remember what there is."""
        self._tiles, self._settings, self._seed = tiles, settings, seed

    def mine(self, cache: int, before: Sequence[MinedPlace], describe: Describe) -> list[MinedPlace]:
        """The queries of a cache, in the order in which they are learned from; those that lack negatives have fewer.

        Args:
            cache: its number.
            before: those of the last cache.
            describe: by the present network.

        Raises:
            VlocError: an image cannot be read.
        """
        rng = np.random.default_rng([self._seed, _STREAM, cache])
        places = self._places(rng)
        settings = self._settings
        if settings.negatives == 0 or settings.mining is GroundMining.RANDOM:
            pool = np.arange(len(self._tiles))
            return [self._random(place, other, pool, rng) for place, other in places]
        shown = self._pool(rng)
        known: dict[int, list[Shown]] = {}
        if settings.mining is GroundMining.PARTIAL:
            for one in before:
                known.setdefault(one.place.tile, []).extend(one.negatives)
        wanted = list(
            dict.fromkeys([*shown, *(place for place, _ in places), *(s for place, _ in places for s in known.get(place.tile, []))])
        )
        vectors = describe(wanted)
        row = {one: k for k, one in enumerate(wanted)}
        rows = np.array([row[one] for one in shown], dtype=np.int64)
        tile_of = np.array([one.tile for one in wanted], dtype=np.int64)
        found = []
        for place, other in places:
            own = [row[one] for one in known.get(place.tile, [])]
            candidates = np.unique(np.concatenate([rows, np.array(own, dtype=np.int64)]))
            candidates = candidates[self._tiles.elsewhere(place.tile, tile_of[candidates])]
            distance = np.square(vectors[candidates].astype(np.float64) - vectors[row[place]]).sum(1)
            best = candidates[np.argsort(distance, kind="stable")[: settings.negatives]]
            found.append(MinedPlace(place, other, tuple(wanted[k] for k in best.tolist())))
        return found

    def _places(self, rng: np.random.Generator) -> list[tuple[Shown, int]]:
        """The places of a cache in the conditions of their first and second views: sources by weight, of each all in turn."""
        tiles, count = self._tiles, self._settings.refresh
        weights = np.array([entry.weight for entry in tiles.sources])
        sources = rng.choice(len(weights), count, p=weights / weights.sum())
        asked = np.zeros(count, dtype=np.int64)
        for number in range(len(weights)):
            mine, own = np.flatnonzero(sources == number), np.flatnonzero(tiles.source == number)
            rounds = -(-len(mine) // len(own))
            order = np.concatenate([np.zeros(0, dtype=np.int64), *(rng.permutation(own) for _ in range(rounds))])
            asked[mine] = order[: len(mine)]
        return [self._seen(tile, rng) for tile in asked.tolist()]

    def _seen(self, tile: int, rng: np.random.Generator) -> tuple[Shown, int]:
        order = rng.permutation(self._tiles.conditions(tile)).tolist()
        return Shown(tile, order[0]), order[1 % len(order)]

    def _pool(self, rng: np.random.Generator) -> list[Shown]:
        """The tiles that are looked at, each in a random condition."""
        count, settings = len(self._tiles), self._settings
        chosen = np.arange(count)
        if settings.mining is GroundMining.PARTIAL and settings.samples < count:
            chosen = np.sort(rng.choice(count, settings.samples, replace=False))
        return [Shown(tile, int(rng.integers(self._tiles.conditions(tile)))) for tile in chosen.tolist()]

    def _random(self, place: Shown, other: int, pool: NDArray[np.int64], rng: np.random.Generator) -> MinedPlace:
        allowed = pool[self._tiles.elsewhere(place.tile, pool)]
        chosen = rng.choice(allowed, min(self._settings.negatives, len(allowed)), replace=False).tolist()
        return MinedPlace(place, other, tuple(Shown(tile, int(rng.integers(self._tiles.conditions(tile)))) for tile in chosen))


def dumps(places: Sequence[MinedPlace], cache: int) -> str:
    """As JSON."""
    rows = [[*one.place, one.other, *(value for negative in one.negatives for value in negative)] for one in places]
    return json.dumps({"format": _FORMAT, "version": _VERSION, "cache": cache, "places": rows})


def loads(text: str, cache: int, tiles: Tiles, count: int, what: str) -> list[MinedPlace]:
    """The inverse.

    Args:
        text: what :func:`dumps` has made.
        cache: the number that it must have.
        tiles: of the training.
        count: queries of a cache.
        what: it is called in messages.

    Raises:
        TrainingError: it is damaged, or of something else.
    """
    try:
        values = json.loads(text)
        right = (values["format"], values["version"], values["cache"]) == (_FORMAT, _VERSION, cache)
        places = [_place([int(value) for value in row]) for row in values["places"]]
    except (ValueError, KeyError, TypeError, IndexError):
        right, places = False, []
    if not right or len(places) != count or not all(_known(one, tiles) for one in places):
        raise TrainingError(f"{what} is damaged: remove it, and its places are mined again by the network as it is now")
    return places


def _place(row: list[int]) -> MinedPlace:
    if len(row) % 2 == 0:
        raise ValueError
    return MinedPlace(Shown(row[0], row[1]), row[2], tuple(Shown(*row[k : k + 2]) for k in range(3, len(row), 2)))


def _known(one: MinedPlace, tiles: Tiles) -> bool:
    shown = (one.place, Shown(one.place.tile, one.other), *one.negatives)
    return all(0 <= tile < len(tiles) and 0 <= condition < tiles.conditions(tile) for tile, condition in shown)
