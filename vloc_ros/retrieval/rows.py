"""Unit vectors in memory or mapped from a file, that grow and whose rows can be buried."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError, DataError

_NOTHING = 1e-12


def checked_rows(vectors: NDArray[Any], dimension: int) -> NDArray[np.float32]:
    """(N, D) float32 rows of unit length, those of zeros left as they are.

    Raises:
        DataError: they have another dimension, or a value that is not finite.
    """
    given = np.asarray(vectors)
    if given.ndim != 2 or given.shape[1] != dimension:
        shape = given.shape[1] if given.ndim == 2 else given.shape
        raise DataError(f"the index holds vectors of {dimension} elements, not of {shape}; was another descriptor used?")
    rows = given.astype(np.float32)
    norm = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if not np.isfinite(norm).all():
        row = int(np.flatnonzero(~np.isfinite(norm))[0])
        raise DataError(f"vector {row} holds a value that is not finite; the descriptor that made it is at fault")
    return np.asarray(rows / np.where(norm > _NOTHING, norm, 1.0)[:, None], dtype=np.float32)


class RowStore:
    """(N, D) unit vectors: a part that is never written to (it may be a mapped file), and one that grows."""

    def __init__(self, dimension: int, base: NDArray[np.float32] | None = None, hidden: NDArray[np.bool_] | None = None) -> None:
        """Over ``base`` (N, D), unit rows or zeros, which is only read; ``hidden`` (N,) says which rows are zeros.

        Raises:
            ConfigError: the dimension is not positive.
        """
        if dimension < 1:
            raise ConfigError(f"vectors of {dimension} elements cannot be compared; the dimension must be 1 or more")
        self.dimension = dimension
        self._base = np.zeros((0, dimension), dtype=np.float32) if base is None else base
        self._grown = np.zeros((0, dimension), dtype=np.float32)
        self._hidden: NDArray[np.bool_] = np.asarray(~self._base.any(axis=1) if hidden is None else hidden, dtype=np.bool_)
        self._count = len(self._base)

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """Size of the vectors [bytes]."""
        return 4 * self.dimension * self._count

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add (N, D) checked rows at the end."""
        used, needed = self._count - len(self._base), self._count - len(self._base) + len(rows)
        if needed > len(self._grown):
            capacity = max(needed, 2 * len(self._grown), 64)
            grown = np.zeros((capacity, self.dimension), dtype=np.float32)
            grown[:used] = self._grown[:used]
            self._grown = grown
        self._grown[used:needed] = rows
        # A vector of zeros is at the same distance from everything: it is never found.
        self._hidden = np.concatenate([self._hidden[: self._count], ~rows.any(axis=1)])
        self._count += len(rows)

    def bury(self, row: int) -> None:
        """Let no search find a row any more."""
        self._hidden[row] = True

    def findable(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that are neither zeros nor buried."""
        return rows[self.is_findable(rows)]

    def is_findable(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some rows are neither zeros nor buried."""
        return np.asarray(~self._hidden[rows], dtype=np.bool_)

    def read(self, which: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """(M, D) some of the rows."""
        split, tail = len(self._base), self._grown[: self._count - len(self._base)]
        if isinstance(which, slice):
            which = np.arange(*which.indices(self._count), dtype=np.int64)
        rows = np.empty((len(which), self.dimension), dtype=np.float32)
        old = which < split
        rows[old] = self._base[which[old]]
        rows[~old] = tail[which[~old] - split]
        return rows

    def products(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M, N) dot products of (M, D) queries with all rows, -2 for those that must not be found."""
        parts = [part for part in (self._base, self._grown[: self._count - len(self._base)]) if len(part)]
        # A matrix times one vector is read straight through, a product of matrices would be packed first.
        columns = [part @ queries[0] if len(queries) == 1 else queries @ part.T for part in parts]
        scores = np.concatenate([np.atleast_2d(part) for part in columns] or [np.zeros((len(queries), 0))], axis=1)
        scores = np.asarray(scores, dtype=np.float32)
        scores[:, self._hidden] = -2.0
        return scores

    def exact(self, rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M,) dot products of some rows, summed in double precision: equal rows have equal scores wherever they lie."""
        chosen = self.read(rows).astype(np.float64)
        return np.asarray(np.einsum("ij,j->i", chosen, query.astype(np.float64)), dtype=np.float32)
