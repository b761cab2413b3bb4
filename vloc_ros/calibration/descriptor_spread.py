"""Whether descriptors still tell places apart, without knowing which places they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DescriptorSpread:
    """How unlike each other unit descriptors are.

    Attributes:
        variance: mean squared distance from their mean; 0 when all are alike, near 1 when they point everywhere.
        dimension: effective number of dimensions of their covariance, the participation ratio trace(C)^2 / trace(C^2); 0 when
            all are alike, 1 when they lie in one line.
    """

    variance: float
    dimension: float

    @classmethod
    def of(cls, vectors: NDArray[Any]) -> DescriptorSpread:
        """Of (N, D) descriptors; NaN when a value is not finite or there are none.

        All zeros, the descriptor of an image with nothing to describe, are counted as they are: a model that has nothing to say of
        any image has collapsed.
        """
        if len(vectors) == 0 or not np.isfinite(vectors).all():
            return cls(float("nan"), float("nan"))
        centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
        variance = float(np.mean(np.sum(centred**2, axis=1)))
        if variance < 1e-12:
            return cls(0.0, 0.0)
        # the smaller of the two Gram matrices has the same eigenvalues
        gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
        return cls(variance, float(np.trace(gram) ** 2 / np.sum(gram**2)))

    @property
    def finite(self) -> bool:
        """Whether both are numbers."""
        return bool(np.isfinite([self.variance, self.dimension]).all())
