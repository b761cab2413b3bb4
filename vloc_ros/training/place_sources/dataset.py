"""Places from data sets of place recognition and from recordings with poses."""

from __future__ import annotations

from collections.abc import Collection

from vloc_ros.data.places import PlaceDataset
from vloc_ros.errors import DataError
from vloc_ros.training.places import Place, PlaceSource, PlaceView


class DatasetPlaces(PlaceSource):
    """Each query whose place is in the database, with the pictures there that show it.

    Queries that share such a picture are near each other.
    """

    def __init__(self, dataset: PlaceDataset) -> None:
        """Take the queries that have an answer.

        Raises:
            DataError: none has.
        """
        self._dataset = dataset
        self._queries = [query for query, rows in enumerate(dataset.positives) if len(rows) > 0]
        if not self._queries:
            raise DataError(f"{dataset.name}: no picture of the database shows the place of any query; widen truth.radius_m")
        showing: dict[int, list[int]] = {}
        for index, query in enumerate(self._queries):
            for row in dataset.positives[query].tolist():
                showing.setdefault(row, []).append(index)
        self._near = [
            frozenset(other for row in dataset.positives[query].tolist() for other in showing[row]) - {index}
            for index, query in enumerate(self._queries)
        ]

    def __len__(self) -> int:
        """Queries with an answer."""
        return len(self._queries)

    def place(self, index: int) -> Place:
        """As the contract says."""
        query = self._queries[index]
        asked = self._dataset.queries[query]
        based = [self._dataset.database[row] for row in self._dataset.positives[query].tolist()]
        views = [PlaceView("queries", asked.read), *(PlaceView("database", picture.read) for picture in based)]
        return Place(f"dataset:{self._dataset.name}:{asked.name}", tuple(views))

    def near(self, index: int) -> Collection[int]:
        """As the contract says."""
        return self._near[index]
