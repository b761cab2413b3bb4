"""The odometry of one session, from which the motion between any two of its keyframes is had in logarithmic time.

Motions with covariances compose associatively (to first order), so that a segment tree of them answers any span by some
2 log2(N) compositions; all spans that are asked together are composed level by level, in arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3
from vloc_ros.pose_graph.manifold import adjoint, inverse

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
_FIRST_CAPACITY = 64


def sandwich(left: Array, middle: Array) -> Array:
    """``left @ middle @ left.T`` of each of (M, k, k) matrices."""
    return np.asarray(left @ middle @ left.transpose(0, 2, 1))


def compose(a_T_b: Array, cov_a_T_b: Array, b_T_c: Array, cov_b_T_c: Array) -> tuple[Array, Array]:
    """:func:`vloc_ros.geometry.se3.compose_covariance` of each: (M, 4, 4) products with their (M, 6, 6) covariances."""
    return a_T_b @ b_T_c, sandwich(adjoint(inverse(b_T_c)), cov_a_T_b) + cov_b_T_c


class _Level:
    """Motions with covariances, appended one by one; kept as (N, 4, 4) and (N, 6, 6)."""

    def __init__(self) -> None:
        self.count = 0
        self.motions, self.covariances = np.zeros((_FIRST_CAPACITY, 4, 4)), np.zeros((_FIRST_CAPACITY, 6, 6))

    def append(self, motion: Array, covariance: Array) -> None:
        if self.count == len(self.motions):
            self.motions = np.concatenate([self.motions, np.zeros_like(self.motions)])
            self.covariances = np.concatenate([self.covariances, np.zeros_like(self.covariances)])
        self.motions[self.count], self.covariances[self.count] = motion, covariance
        self.count += 1


class OdometryChain:
    """Keyframes 0, 1, 2, ... of a session with the measured motion from each to the next."""

    def __init__(self) -> None:
        self._levels = [_Level()]

    def __len__(self) -> int:
        """Number of keyframes: one more than motions."""
        return self._levels[0].count + 1

    def append(self, last_T_new: Array, covariance: Array) -> None:
        """Add a keyframe at the end.

        Args:
            last_T_new: (4, 4) motion from the last keyframe.
            covariance: (6, 6) of it.
        """
        self._levels[0].append(last_T_new, covariance)
        height = 0
        while self._levels[height].count % 2 == 0:  # a pair is complete: its product goes one level up
            level = self._levels[height]
            end = level.count
            pair, of_pair = level.motions[end - 2 : end], level.covariances[end - 2 : end]
            height += 1
            if height == len(self._levels):
                self._levels.append(_Level())
            both = se3.normalised(pair[0] @ pair[1])
            self._levels[height].append(both, se3.compose_covariance(of_pair[0], pair[1], of_pair[1]))

    def between(self, i: Rows, j: Rows) -> tuple[Array, Array]:
        """Motions from keyframes i to keyframes j with covariances.

        Args:
            i: (M,) rows.
            j: (M,) rows, none smaller than its i.

        Returns:
            (M, 4, 4) ``i_T_j`` and (M, 6, 6) covariances; identity and zeros where i equals j.
        """
        i, j = np.array(i, dtype=np.int64), np.array(j, dtype=np.int64)
        if np.any(i > j) or np.any(i < 0) or np.any(j >= len(self)):
            raise IndexError(f"spans of a chain of {len(self)} keyframes must run forward and lie in it")
        front, back = _Product(len(i)), _Product(len(i))
        for level in self._levels:
            if not np.any(i < j):
                break
            odd = np.flatnonzero((i < j) & (i % 2 == 1))
            front.multiply_right(odd, level, i[odd])
            i[odd] += 1
            odd = np.flatnonzero((i < j) & (j % 2 == 1))
            j[odd] -= 1
            back.multiply_left(odd, level, j[odd])
            i, j = i // 2, j // 2
        return compose(front.motions, front.covariances, back.motions, back.covariances)


class _Product:
    """Running products, one for each span that is asked."""

    def __init__(self, count: int) -> None:
        self.motions, self.covariances = np.tile(np.eye(4), (count, 1, 1)), np.zeros((count, 6, 6))

    def multiply_right(self, which: Rows, level: _Level, rows: Rows) -> None:
        factor = level.motions[rows], level.covariances[rows]
        self.motions[which], self.covariances[which] = compose(self.motions[which], self.covariances[which], *factor)

    def multiply_left(self, which: Rows, level: _Level, rows: Rows) -> None:
        factor = level.motions[rows], level.covariances[rows]
        self.motions[which], self.covariances[which] = compose(*factor, self.motions[which], self.covariances[which])
