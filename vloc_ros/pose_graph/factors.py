"""A pose graph as gtsam's factor graph, with the table of which edge is in which slot."""

from __future__ import annotations

from dataclasses import dataclass

import gtsam
import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph.anchors import components, first_rows
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.manifold import from_planar

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

_SWAP = np.array([3, 4, 5, 0, 1, 2])
"""gtsam's tangent of a pose in space is rotation first, ours translation first; in the plane both are x, y, yaw."""
_LOOSE = 1e-6
"""Stiffness, against that of the edges, of the anchor of a component that only closures join to the rest."""


@dataclass(frozen=True, slots=True)
class FactorTable:
    """gtsam's factors of a graph. Keys of variables are rows of poses; slots of factors are not rows of edges.

    Attributes:
        factors: gtsam's graph. Anchors come first, then trusted edges, then closures, so that the slots that never change
            are together.
        slots: (M,) int64 slot of each edge.
        anchors: (A,) int64 slots of the priors: one stiff prior per connected component, and a very loose one for each further
            part that only closures join to it (without it the rejection of those closures would leave the part floating).
    """

    factors: gtsam.NonlinearFactorGraph
    slots: Rows
    anchors: Rows

    def known_inliers(self, trusted: NDArray[np.bool_]) -> list[int]:
        """Slots of the anchors and of the trusted edges, as ``setKnownInliers`` takes them (slots, not keys)."""
        return sorted([*self.anchors.tolist(), *self.slots[trusted].tolist()])


def factor_table(graph: PoseGraph, poses: Array) -> FactorTable:
    """Factors of all edges at full weight, anchored at these (N, d + 1, d + 1) poses."""
    factors = gtsam.NonlinearFactorGraph()
    stiffness = _typical_stiffness(graph)
    whole = first_rows(components(graph, np.ones(len(graph.a), dtype=bool)))
    parts = first_rows(components(graph, graph.trusted))
    for row in parts.tolist():
        scale = 1.0 if row in whole else _LOOSE
        factors.push_back(_prior(row, poses[row], np.diag(stiffness * scale)))
    order = np.concatenate([np.flatnonzero(graph.trusted), np.flatnonzero(~graph.trusted)])
    slots = np.empty(len(graph.a), dtype=np.int64)
    slots[order] = len(parts) + np.arange(len(order))
    roots = square_roots(graph.information)
    for edge in order.tolist():
        factors.push_back(between_factor(graph, edge, roots[edge]))
    return FactorTable(factors, slots, np.arange(len(parts), dtype=np.int64))


def square_roots(information: Array) -> Array:
    """(M, k, k) upper triangular R with ``R.T @ R`` the information, in gtsam's order of the tangent."""
    if len(information) == 0:
        return information
    swapped = information[:, _SWAP[:, None], _SWAP] if information.shape[-1] == 6 else information
    return np.ascontiguousarray(np.linalg.cholesky(swapped).transpose(0, 2, 1))


def from_gtsam_tangent(matrix: Array) -> Array:
    """A (k, k) covariance of gtsam in our order of the tangent; the order is its own inverse."""
    return matrix[np.ix_(_SWAP, _SWAP)] if len(matrix) == 6 else matrix


def between_factor(graph: PoseGraph, edge: int, square_root: Array) -> gtsam.NoiseModelFactor:
    """The factor of one edge with a square root of its (weighted) information."""
    noise = gtsam.noiseModel.Gaussian.SqrtInformation(square_root, False)
    a, b, pose = int(graph.a[edge]), int(graph.b[edge]), gtsam_pose(graph.a_T_b[edge])
    if isinstance(pose, gtsam.Pose2):
        return gtsam.BetweenFactorPose2(a, b, pose, noise)
    return gtsam.BetweenFactorPose3(a, b, pose, noise)


def gtsam_pose(pose: Array) -> gtsam.Pose2 | gtsam.Pose3:
    """The pose in gtsam of a (3, 3) or (4, 4) matrix."""
    if pose.shape[0] == 4:
        return gtsam.Pose3(pose)
    return gtsam.Pose2(float(pose[0, 2]), float(pose[1, 2]), float(np.arctan2(pose[1, 0], pose[0, 0])))


def to_values(poses: Array) -> gtsam.Values:
    """The values in gtsam of (N, d + 1, d + 1) poses; keys are rows."""
    values = gtsam.Values()
    for row, pose in enumerate(poses):
        values.insert(row, gtsam_pose(pose))
    return values


def from_values(values: gtsam.Values, dimension: int) -> Array:
    """(N, d + 1, d + 1) poses of gtsam's values, in the order of the keys."""
    if dimension == 2:
        return from_planar(*np.asarray(gtsam.utilities.extractPose2(values)).reshape(-1, 3).T)
    rows = np.asarray(gtsam.utilities.extractPose3(values)).reshape(-1, 12)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rows[:, :9].reshape(-1, 3, 3), rows[:, 9:]
    return poses


def _typical_stiffness(graph: PoseGraph) -> Array:
    """(k,) median diagonal of the information matrices; ones in a graph without edges."""
    if len(graph.a) == 0:
        return np.ones(graph.freedoms)
    return np.asarray(np.median(np.diagonal(graph.information, axis1=1, axis2=2), axis=0))


def _prior(row: int, pose: Array, information: Array) -> gtsam.NoiseModelFactor:
    noise = gtsam.noiseModel.Gaussian.SqrtInformation(square_roots(information[None])[0], False)
    key = gtsam_pose(pose)
    return gtsam.PriorFactorPose2(row, key, noise) if isinstance(key, gtsam.Pose2) else gtsam.PriorFactorPose3(row, key, noise)
