"""Pairs of vertices of different runs of a UTIAS path, to learn from or to judge by; lists of them as CSV files.

After the two samplings of "Keeping an Eye on Things" (Gridseth and Barfoot 2022), deterministic by seed, and in time that grows
with the number of pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import exactly, parse_integer, read_rows
from vloc_ros.data.output import write_text
from vloc_ros.data.utias import Vertex
from vloc_ros.data.utias_graph import UtiasGraph
from vloc_ros.errors import ConfigError, DataError

_log = logging.getLogger(__name__)
_TRIES = 30  # random draws per pair, before it is said that there are not so many


class Runs(NamedTuple):
    """Numbers of the runs of a split."""

    learned: tuple[int, ...]
    held_out: tuple[int, ...]
    tested: tuple[int, ...]


# As published with "Keeping an Eye on Things".
MULTISEASON_RUNS = Runs(
    learned=(
        *(1, 2, 4, 7, 9, 10, 11, 12, 14, 15, 16, 18, 22, 24, 26, 28, 30, 32, 34, 35, 36, 37, 42, 44, 45, 47, 48, 49, 50, 51, 53),
        *(54, 55, 56, 59, 60, 61, 62, 63, 65, 67, 68, 69, 70, 71, 72, 73, 74, 75, 77, 78, 80, 81, 83, 84, 87, 89, 93, 94, 95, 96),
        *(97, 98, 101, 102, 104, 106, 107, 108, 110, 111, 113, 115, 116, 118, 119, 121, 123, 124, 126, 128, 129, 130, 131, 133),
        134,
    ),
    held_out=(8, 13, 17, 23, 27, 33, 46, 52, 58, 66, 82, 85, 88, 90, 99, 100, 103, 109, 112, 117, 120, 122, 127, 132),
    tested=(3, 5, 29, 43, 64, 105, 125),
)
IN_THE_DARK_RUNS = Runs(
    learned=(1, 5, 6, 8, 10, 13, 14, 18, 20, 21, 22, 24, 26, 27, 29, 30, 31, 33, 34, 36, 38),
    held_out=(3, 7, 9, 12, 15, 19, 25, 32, 37),
    tested=(2, 11, 16, 17, 23, 28, 35),
)


class Sample(NamedTuple):
    """Two vertices: the live one and that of the map."""

    live: Vertex
    map: Vertex


class _Places:
    """Vertices by their place on the teach run, one after the other."""

    def __init__(self, graph: UtiasGraph, runs: Iterable[int]) -> None:
        self._count, self._closed = len(graph.chain), graph.closing is not None
        ordered = sorted(graph.vertices(runs), key=lambda vertex: (graph.place[vertex], vertex))
        self.vertices = ordered
        places = np.array([graph.place[vertex] for vertex in ordered], dtype=np.intp)
        self._starts: NDArray[np.intp] = np.searchsorted(places, np.arange(self._count + 1))

    def at(self, place: int) -> range:
        """Numbers of the vertices at a place; of a loop, places go on round it."""
        if self._closed:
            place %= self._count
        if not 0 <= place < self._count:
            return range(0)
        return range(int(self._starts[place]), int(self._starts[place + 1]))

    def within(self, place: int, length: int) -> list[range]:
        """Those at most so many edges away, each once."""
        if self._closed and 2 * length + 1 >= self._count:
            return [range(len(self.vertices))]
        return [self.at(other) for other in range(place - length, place + length + 1)]


def random_samples(graph: UtiasGraph, runs: Sequence[int], count: int, length: int, seed: int) -> list[Sample]:
    """Pairs of different runs whose places are at most so many edges apart, no pair twice.

    Args:
        graph: of the path.
        runs: the vertices of which are taken.
        count: pairs that are wanted; fewer are found, with a warning, when there are hardly so many.
        length: edges along the teach run; the edge from a vertex to the teach run is the one beyond it.
        seed: decides.

    Raises:
        DataError: no two of these runs meet.
    """
    places = _Places(graph, runs)
    rng = np.random.default_rng([seed, count, length])
    found: dict[Sample, None] = {}
    if places.vertices:
        for _ in range(count * _TRIES):
            live = places.vertices[int(rng.integers(len(places.vertices)))]
            near = places.within(graph.place[live], length)
            chosen = int(rng.integers(sum(map(len, near))))
            for numbers in near:
                if chosen < len(numbers):
                    break
                chosen -= len(numbers)
            other = places.vertices[numbers[chosen]]
            if other[0] != live[0]:
                found[Sample(live, other)] = None
            if len(found) == count:
                break
    if not found:
        raise DataError(f"{graph.path}: no two of the runs {_some(runs)} have vertices near each other")
    if len(found) < count:
        _log.warning("%s: %d pairs of these runs were found, not %d", graph.path, len(found), count)
    return list(found)


def sequential_samples(graph: UtiasGraph, live_run: int, map_run: int, length: int, radius: int = 8) -> list[Sample]:
    """For each vertex of a run the metrically nearest one of another run, among those at the first distance that has any.

    Args:
        graph: of the path.
        live_run: every vertex of which is paired, if it can be.
        map_run: the other.
        length: edges along the teach run at least between them.
        radius: edges at most.

    Raises:
        ConfigError: the radius is smaller than the length.
    """
    if radius < length:
        raise ConfigError(f"the radius of {radius} edges is smaller than the length of {length}")
    places = _Places(graph, [map_run])
    samples = []
    for live in graph.vertices([live_run]):
        place = graph.place[live]
        for edges in range(length, radius + 1):
            ends = {place - edges, place + edges}
            near = [places.vertices[number] for end in sorted(ends) for number in places.at(end)]
            near = [vertex for vertex in near if graph.distance(live, vertex) == edges and vertex != live]
            if near:
                samples.append(Sample(live, min(near, key=lambda vertex: _metres(graph, live, vertex))))
                break
    return samples


def _metres(graph: UtiasGraph, a: Vertex, b: Vertex) -> float:
    return float(np.linalg.norm(graph.b_T_a(a, b)[:3, 3]))


def _some(runs: Sequence[int]) -> str:
    return ", ".join(map(str, runs[:5])) + (", ..." if len(runs) > 5 else "")


def save_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write a list of pairs: live run, live vertex, map run, map vertex.

    Raises:
        DataError: it cannot be written.
    """
    rows = "".join(f"{live[0]},{live[1]},{other[0]},{other[1]}\n" for live, other in samples)
    write_text(path, "# live run, live vertex, map run, map vertex\n" + rows)


def load_samples(path: Path) -> list[Sample]:
    """Read such a list.

    Raises:
        DataError: the file is missing or a line is damaged; the text names it.
    """
    samples = []
    for line, fields in read_rows(path, ","):
        a, b, c, d = (parse_integer(field, path, line) for field in exactly(fields, 4, path, line))
        samples.append(Sample((a, b), (c, d)))
    return samples
