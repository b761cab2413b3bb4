"""The pose graph of a UTIAS path: a teach run, a chain or a loop, from which the vertices of all repeats hang."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.utias import Vertex, read_transforms, run_folders, run_number
from vloc_ros.errors import DataError
from vloc_ros.geometry.se3 import inverse, normalised

Array = NDArray[np.float64]
_TEACH = "run_000000"


@dataclass(frozen=True)
class UtiasGraph:
    """Vertices are (run, number); transforms are of the vehicle frame.

    Attributes:
        path: folder of the runs.
        chain: world_T_vehicle of the teach vertices in their order; the world is the first.
        closing: first_T_last, when the teach run is a loop, else None.
        place: of each vertex, where on the chain it hangs: the place in its order.
        teach_T_vertex: of each vertex, its pose in the vehicle frame of the teach vertex there.
    """

    path: Path
    chain: list[Array]
    closing: Array | None
    place: dict[Vertex, int]
    teach_T_vertex: dict[Vertex, Array]

    @classmethod
    def read(cls, path: Path) -> UtiasGraph:
        """Read the transforms of all runs.

        Raises:
            DataError: there is no teach run, or a file is damaged; the text names it.
        """
        temporal = path / _TEACH / "transforms_temporal.txt"
        if not temporal.is_file():
            raise DataError(f"{path} has no {_TEACH}/transforms_temporal.txt: it is no UTIAS path, or its teach run is missing")
        place: dict[Vertex, int] = {}
        chain: list[Array] = []
        closing = None
        for this, following, next_T_this in read_transforms(temporal):
            if not chain:
                place[this], chain = 0, [np.eye(4)]
            if place.get(this) != len(chain) - 1 or closing is not None:
                raise DataError(f"{temporal}: vertex {this} is not the last one so far; is a line missing?")
            if following in place:
                if place[following] != 0:
                    raise DataError(f"{temporal}: vertex {this} leads back to {following}, which is not the first one")
                closing = next_T_this
                continue
            place[following] = len(chain)
            chain.append(normalised(chain[-1] @ inverse(next_T_this)))
        if len(chain) < 2:
            raise DataError(f"{temporal} holds no transforms")
        graph = cls(path, chain, closing, place, {vertex: np.eye(4) for vertex in place})
        for run in run_folders(path):
            graph._hang(run)
        return graph

    def _hang(self, run: Path) -> None:
        """Add the vertices of a repeat; those whose teach vertex is unknown are left out."""
        spatial = run / "transforms_spatial.txt"
        if not spatial.is_file():
            return
        number = run_number(run)
        for this, teach, teach_T_this in read_transforms(spatial):
            if this[0] == number and this not in self.place and teach in self.place:
                self.place[this] = self.place[teach]
                self.teach_T_vertex[this] = self.teach_T_vertex[teach] @ teach_T_this

    def runs(self) -> list[int]:
        """Numbers of the runs that have vertices."""
        return sorted({run for run, _ in self.place})

    def vertices(self, runs: Iterable[int]) -> list[Vertex]:
        """Vertices of some runs, in the order of runs and numbers."""
        wanted = set(runs)
        return sorted(vertex for vertex in self.place if vertex[0] in wanted)

    def distance(self, a: Vertex, b: Vertex) -> int:
        """Edges along the teach run between where two vertices hang, the shorter way round."""
        return self._way(self.place[a], self.place[b])[0]

    def _way(self, a: int, b: int) -> tuple[int, bool]:
        """Edges from one place to another, and whether the shorter way leads over the closing edge."""
        straight = abs(a - b)
        round_about = len(self.chain) - straight
        return (round_about, True) if self.closing is not None and round_about < straight else (straight, False)

    def b_T_a(self, a: Vertex, b: Vertex) -> Array:
        """(4, 4) pose of vertex a in the vehicle frame of b, along the shorter way."""
        i, j = self.place[a], self.place[b]
        world_T_i = self.chain[i]
        if self._way(i, j)[1]:
            assert self.closing is not None  # as the way leads over it
            closed = self.closing @ inverse(self.chain[-1])  # the first place, reached from the other side
            # From the first part of the chain the way leads back over the last place, from the last part on over the first.
            world_T_i = (inverse(closed) if i < j else closed) @ world_T_i
        between = inverse(self.chain[j]) @ world_T_i
        return normalised(inverse(self.teach_T_vertex[b]) @ between @ self.teach_T_vertex[a])
