"""Numbers for the places of several sources, by which every process of a training can tell which places are different."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vloc_ros.training.places import PlaceSource


class PlaceNumbers:
    """Place ``index`` of the k-th source has the number 2 (first_k + index), and its mirror image the next odd one."""

    def __init__(self, sources: Sequence[PlaceSource]) -> None:
        """Number the places of sources, which must be the same in all processes."""
        self._sources = tuple(sources)
        self._first = [sum(len(source) for source in sources[:k]) for k in range(len(sources))]

    def number(self, source: int, index: int, mirrored: bool = False) -> int:
        """The number of a place of the ``source``-th source."""
        return 2 * (self._first[source] + index) + int(mirrored)

    def different(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N, N): which of N places are different ones; those that are the same, or near each other, are not."""
        unique, inverse = np.unique(numbers, return_inverse=True)
        result = ~np.eye(len(unique), dtype=np.bool_)
        found = [self._place(int(number)) for number in unique]
        for a, (source, index, mirrored) in enumerate(found):
            near = self._sources[source].near(index)
            for b, (other_source, other, other_mirrored) in enumerate(found):
                if source == other_source and mirrored == other_mirrored and other in near:
                    result[a, b] = result[b, a] = False
        return np.asarray(result[np.ix_(inverse, inverse)])

    def _place(self, number: int) -> tuple[int, int, bool]:
        plain, mirrored = divmod(number, 2)
        source = bisect_right(self._first, plain) - 1
        return source, plain - self._first[source], bool(mirrored)
