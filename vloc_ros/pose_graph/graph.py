"""A pose graph as arrays: what goes into the solver's process and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PoseGraph:
    """Poses joined by measured relative poses, in the plane (d = 2, 3 degrees of freedom) or in space (d = 3, 6 of them).

    The tangent of a pose is translation first, then rotation (x, y, yaw; or x, y, z and the rotation vector), as in g2o and in
    the covariances of ROS and of the map. Information matrices are given in it.

    Attributes:
        ids: (N,) int64 name of each pose, unique.
        poses: (N, d + 1, d + 1) homogeneous ``world_T_pose``: the initial guess, or the solution.
        a: (M,) int64 row (not name) of the pose that each edge starts at.
        b: (M,) int64 row of the pose that it ends at.
        a_T_b: (M, d + 1, d + 1) measured relative poses.
        information: (M, k, k) inverse covariances of the measurements, symmetric and positive definite; k = 3 or 6.
        trusted: (M,) bool, True for odometry (never an outlier), False for a loop closure (to be judged).

    Raises:
        DataError: the shapes do not fit, a row is outside, a number is not finite, or an information matrix is not positive
            definite; the text names the edge or pose.
    """

    ids: Rows
    poses: Array
    a: Rows
    b: Rows
    a_T_b: Array
    information: Array
    trusted: NDArray[np.bool_]

    def __post_init__(self) -> None:
        size, freedoms = self.poses.shape[-1], 3 if self.poses.shape[-1] == 3 else 6
        count, edges = len(self.ids), len(self.a)
        shapes = {
            "poses": (self.poses.shape, (count, size, size)),
            "b": (self.b.shape, (edges,)),
            "a_T_b": (self.a_T_b.shape, (edges, size, size)),
            "information": (self.information.shape, (edges, freedoms, freedoms)),
            "trusted": (self.trusted.shape, (edges,)),
        }
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise DataError(f"a pose graph of {count} poses and {edges} edges has {name} of shape {found}, not {expected}")
        self._check_names()
        self._check_numbers()

    def _check_names(self) -> None:
        if len(np.unique(self.ids)) != len(self.ids):
            names, counts = np.unique(self.ids, return_counts=True)
            raise DataError(f"a pose graph names pose {int(names[counts > 1][0])} twice")
        outside = (np.minimum(self.a, self.b) < 0) | (np.maximum(self.a, self.b) >= len(self.ids))
        if outside.any():
            edge = int(np.argmax(outside))
            raise DataError(f"edge {edge} joins the rows {self.a[edge]} and {self.b[edge]} of a graph of {len(self.ids)} poses")
        if (self.a == self.b).any():
            edge = int(np.argmax(self.a == self.b))
            raise DataError(f"edge {edge} joins pose {self.ids[self.a[edge]]} to itself")

    def _check_numbers(self) -> None:
        for name, matrices in (("pose", self.poses), ("edge", self.a_T_b), ("the information of edge", self.information)):
            broken = ~np.isfinite(matrices).all(axis=(1, 2))
            if broken.any():
                row = int(np.argmax(broken))
                which = self.ids[row] if name == "pose" else row
                raise DataError(f"{name} {which} of a pose graph holds a number that is not finite")
        if len(self.a) == 0:
            return
        # Correlations are judged, so that units do not matter.
        diagonal = np.diagonal(self.information, axis1=1, axis2=2)
        scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
        smallest = np.linalg.eigvalsh(self.information / (scale[:, :, None] * scale[:, None, :]))[:, 0]
        if smallest.min() < 1e-12:
            edge = int(smallest.argmin())
            names = f"{self.ids[self.a[edge]]} to {self.ids[self.b[edge]]}"
            raise DataError(f"edge {edge} ({names}) has an information matrix that is not positive definite")

    @property
    def dimension(self) -> int:
        """2 for poses in the plane, 3 in space."""
        return int(self.poses.shape[-1]) - 1

    @property
    def freedoms(self) -> int:
        """Degrees of freedom of a pose: 3 or 6."""
        return 3 if self.dimension == 2 else 6
