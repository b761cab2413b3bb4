"""Which rows are worth comparing with a query: an inverted file (Sivic and Zisserman, ICCV 2003) over coarse clusters, by faiss.

The file keeps each vector in 8 bits per element; the caller compares the rows it names in full precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError

_LISTS_PER_ROOT = 3.2
"""Lists per square root of the number of rows: about a hundred rows lie in each list of a file of 100 000."""
_SAMPLES_PER_LIST = 40
_ITERATIONS = 8
_SEED = 1
_SPARE = 40
"""Rows named beyond those asked for, among which the 8-bit comparison may err in the order."""


class InvertedFile:
    """Rows by cluster. Learns its clusters once; rows that come later go into the nearest one."""

    def __init__(self, index: Any, learned_from: int) -> None:
        """Around a trained faiss index whose clusters were learned when there were ``learned_from`` rows."""
        self._index = index
        self.learned_from = learned_from

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> InvertedFile:
        """Learn clusters from (N, D) unit rows and file them; N >= 1000 for it to be of use."""
        import faiss  # takes a moment, and small maps never need it

        lists = max(1, round(_LISTS_PER_ROOT * math.sqrt(len(rows))))
        dimension = rows.shape[1]
        kind, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(dimension), dimension, lists, kind, metric)
        index.cp.niter, index.cp.seed, index.cp.min_points_per_centroid = _ITERATIONS, _SEED, 1
        count = min(len(rows), _SAMPLES_PER_LIST * lists)
        index.train(rows[np.random.default_rng(_SEED).permutation(len(rows))[:count]])
        index.add(rows)
        return cls(index, len(rows))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return int(self._index.d)

    @property
    def size_bytes(self) -> int:
        """Memory [bytes]: an element in 8 bits, a row's number in 64, a cluster's centre in float32."""
        return len(self) * (int(self._index.d) + 8) + int(self._index.nlist) * int(self._index.d) * 4

    @property
    def is_outgrown(self) -> bool:
        """Whether so many rows have come since that the clusters should be learned anew."""
        return len(self) > 2 * self.learned_from

    def add(self, rows: NDArray[np.float32]) -> None:
        """File (N, D) more unit rows."""
        self._index.add(rows)

    def near(self, query: NDArray[np.float32], probes: int, k: int) -> NDArray[np.int64]:
        """Numbers, in order, of about the ``k`` best rows and some more in the ``probes`` clusters nearest to a (D,) query."""
        self._index.nprobe = min(probes, int(self._index.nlist))
        _, rows = self._index.search(query[None], min(k + _SPARE, len(self)))
        return np.asarray(np.sort(rows[0][rows[0] >= 0]), dtype=np.int64)

    def to_bytes(self) -> bytes:
        """The file as faiss writes it."""
        import faiss

        return bytes(faiss.serialize_index(self._index).tobytes())

    @classmethod
    def from_bytes(cls, data: bytes, learned_from: int) -> InvertedFile:
        """Inverse of :meth:`to_bytes`; only for data whose checksum has been compared.

        Raises:
            DataError: it is no inverted file.
        """
        import faiss

        try:
            index = faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))
        except RuntimeError as error:
            raise DataError(f"faiss cannot read the inverted file: {str(error).splitlines()[-1]}") from error
        if not isinstance(index, faiss.IndexIVF):
            raise DataError(f"it holds a {type(index).__name__} where an inverted file should be")
        return cls(index, learned_from)
