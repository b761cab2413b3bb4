"""A data set of place recognition: pictures to ask for, pictures to find, and the truth to judge by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vloc_ros.data.frame import Image
from vloc_ros.errors import DataError


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, read when it is asked for.

    Attributes:
        name: for people.
        read: returns the (H, W) grey or (H, W, 3) RGB image; raises DataError when it is damaged.
        condition: in which it was taken, empty where nobody says.
    """

    name: str
    read: Callable[[], Image]
    condition: str = ""


@dataclass(frozen=True, slots=True)
class PlacePoses:
    """From where the pictures of a data set were taken, in one world.

    Attributes:
        queries: (4, 4) ``world_T_camera`` of each query; None where nobody says, as a benchmark that judges by itself. For judging
            only.
        database: of each picture of the database; that of the best answer is what a query is given.
    """

    queries: tuple[NDArray[np.float64] | None, ...]
    database: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True)
class PlaceDataset:
    """Queries, a database, and which pictures of the database show the place of each query.

    Attributes:
        name: for people.
        queries: in the order in which they were taken.
        database: in the order in which they were taken.
        positives: for each query the rows of the database that show its place, sorted; empty when none does. For judging only.
        poses: of all pictures, where they are known.
        area: the part of the world that it is of, where there are several.

    Raises:
        DataError: the parts do not fit each other.
    """

    name: str
    queries: tuple[Picture, ...]
    database: tuple[Picture, ...]
    positives: tuple[NDArray[np.int64], ...]
    poses: PlacePoses | None = None
    area: str = ""

    def __post_init__(self) -> None:
        if len(self.positives) != len(self.queries):
            raise DataError(f"{self.name}: the truth of {len(self.positives)} queries does not fit {len(self.queries)} queries")
        if any(len(rows) and not 0 <= rows.min() <= rows.max() < len(self.database) for rows in self.positives):
            raise DataError(f"{self.name}: the truth names pictures that the database of {len(self.database)} does not have")
        sizes = (len(self.queries), len(self.database))
        if self.poses is not None and (len(self.poses.queries), len(self.poses.database)) != sizes:
            raise DataError(
                f"{self.name}: there must be a pose, or that it is secret, of each query, and one of each other picture"
            )

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """(Q,) queries whose pose is kept secret: nobody here can judge the answers to them."""
        secret = [False] * len(self.queries) if self.poses is None else [pose is None for pose in self.poses.queries]
        return np.array(secret, dtype=bool)


def thinned(data: PlaceDataset, most: int) -> PlaceDataset:
    """A data set with at most so many of its queries, evenly chosen, and the whole database."""
    if len(data.queries) <= most:
        return data
    chosen = np.linspace(0, len(data.queries) - 1, most).round().astype(int).tolist()
    poses = data.poses and PlacePoses(tuple(data.poses.queries[k] for k in chosen), data.poses.database)
    queries, positives = (tuple(side[k] for k in chosen) for side in (data.queries, data.positives))
    return replace(data, queries=queries, positives=positives, poses=poses)


def nearby(queries: NDArray[np.float64], database: NDArray[np.float64], radius: float) -> tuple[NDArray[np.int64], ...]:
    """For each of (Q, D) positions the rows of (N, D) positions at most ``radius`` away, sorted."""
    found = cKDTree(database).query_ball_point(queries, radius)
    return tuple(np.array(sorted(rows), dtype=np.int64) for rows in found)
