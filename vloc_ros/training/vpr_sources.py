"""What retrieval and re-ranking are trained with together: queries, a database, and which of it shows what a query shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.errors import DataError
from vloc_ros.training.places import UNNAMED, PlaceSource

Rows = NDArray[np.int64]
_NOTE = 14
"""Number of the field with the note, in names of VPR-datasets that are parted at every @."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture.

    Attributes:
        name: for people.
        read: returns the (H, W) grey or (H, W, 3) RGB uint8 image; raises a VlocError when it cannot. Thread- and process-safe.
        condition: in which it was taken, empty when nobody knows.
    """

    name: str
    read: Callable[[], Image]
    condition: str = ""


@dataclass(frozen=True)
class VprSource:
    """Pictures, by rows of ``shots``.

    Attributes:
        name: for people.
        shots: all of them.
        queries: (Q,) rows.
        database: (D,) rows, sorted.
        positives: of each query the rows of the database that show its place; at least one.
        near: of each query the rows that are no negatives, sorted: its positives, itself, and what shows some of its place.
        negatives: of each query the only rows that may be negatives; None where the whole database but ``near`` may.
        flat: query and positive are one photo, of which chance makes two views.

    Raises:
        DataError: there is no query with a positive.
    """

    name: str
    shots: tuple[Shot, ...]
    queries: Rows
    database: Rows
    positives: Sequence[Rows]
    near: Sequence[Rows] = field(repr=False)
    negatives: Sequence[Rows] | None = None
    flat: bool = False

    def __post_init__(self) -> None:
        if len(self.queries) == 0:
            raise DataError(f"{self.name}: no picture of the database shows the place of any query; widen the distances of truth")

    def __len__(self) -> int:
        """Queries."""
        return len(self.queries)

    def may_be_negative(self, query: int, rows: Rows) -> Rows:
        """Those of some rows of the database that are negatives of the query of a number."""
        if self.negatives is not None:
            return rows[np.isin(rows, self.negatives[query])]
        return rows[~np.isin(rows, self.near[query])]


def of_datasets(tight: PlaceDataset, wide: PlaceDataset) -> VprSource:
    """A data set whose positives are those of ``tight``, and whose negatives those that ``wide`` does not call positive.

    Raises:
        DataError: no query has a positive.
    """
    count = len(tight.database)
    chosen = [query for query, rows in enumerate(tight.positives) if len(rows)]
    shots = [_shot(picture) for picture in (*tight.database, *(tight.queries[query] for query in chosen))]
    return VprSource(
        tight.name,
        tuple(shots),
        np.arange(count, count + len(chosen), dtype=np.int64),
        np.arange(count, dtype=np.int64),
        [tight.positives[query] for query in chosen],
        [wide.positives[query] for query in chosen],
    )


def _shot(picture: Picture) -> Shot:
    """With the note that names of VPR-datasets may have: night, sideways."""
    fields = picture.name.split("@")
    return Shot(picture.name, picture.read, fields[_NOTE].strip() if len(fields) > _NOTE + 1 else "")


def of_places(places: PlaceSource, name: str, *, other_pose: bool = False) -> VprSource:
    """Places, each view of which is looked for among all others.

    Its positives are the views of the same place in another condition; its negatives the views of places that are not near.

    Args:
        places: the places.
        name: for people.
        other_pose: views from the very same pose are no positives.

    Raises:
        DataError: no place was seen in two conditions.
    """
    shots, rows_of, keys = list[Shot](), list[Rows](), list[tuple[str, int | None]]()
    for index in range(len(places)):
        place = places.place(index)
        rows_of.append(np.arange(len(shots), len(shots) + len(place.views), dtype=np.int64))
        for view in place.views:
            known = "" if view.condition.startswith(UNNAMED) else view.condition
            shots.append(Shot(f"{place.name} {view.condition}", view.read, known))
            keys.append((view.condition, view.pose))
    queries, positives, near = list[int](), list[Rows](), list[Rows]()
    for index, own in enumerate(rows_of):
        around = np.sort(np.concatenate([own, *(rows_of[other] for other in places.near(index))]))
        for row in own.tolist():
            right = [other for other in own.tolist() if _differs(keys[row], keys[other], other_pose)]
            if right:
                queries.append(row)
                positives.append(np.array(right, dtype=np.int64))
                near.append(around)
    everything = np.arange(len(shots), dtype=np.int64)
    return VprSource(name, tuple(shots), np.array(queries, dtype=np.int64), everything, positives, near)


def _differs(query: tuple[str, int | None], other: tuple[str, int | None], other_pose: bool) -> bool:
    return query[0] != other[0] and not (other_pose and query[1] is not None and query[1] == other[1])


def of_photos(places: PlaceSource, name: str) -> VprSource:
    """Photos, each of which is its own positive, through random homographies; those of one folder are not told from another."""
    shots = []
    for index in range(len(places)):
        place = places.place(index)
        shots.append(Shot(place.name, place.views[0].read))
    rows = np.arange(len(shots), dtype=np.int64)
    return VprSource(name, tuple(shots), rows, rows, [rows[k : k + 1] for k in rows.tolist()], [rows] * len(rows), flat=True)
