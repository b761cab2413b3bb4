"""The keyframes of a growing graph: chains of odometry, held by a few solved keyframes, with the rest in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph.chain import OdometryChain, sandwich
from vloc_ros.pose_graph.manifold import adjoint, exp, inverse, log

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


class Place(NamedTuple):
    """Where a keyframe is: the number of its chain, and its row in it."""

    chain: int
    row: int


@dataclass(slots=True)
class Track:
    """A chain of odometry and where its joints are.

    Attributes:
        chain: the odometry.
        ids: names of its keyframes.
        rows: (J,) rows whose poses the last solution gave, in order; the first is 0.
        poses: (J, 4, 4) those poses in the world.
    """

    chain: OdometryChain
    poses: Array
    ids: list[int] = field(default_factory=list)
    rows: Rows = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    def move(self, new_T_old: Array) -> None:
        """Put the whole track elsewhere: (4, 4) from the old world to the new one."""
        self.poses = new_T_old @ self.poses

    def at(self, rows: Rows) -> tuple[Array, Array]:
        """Poses of keyframes, those between two joints by the conditional mean given the joints.

        With ``p`` the joint before keyframe k and ``q`` the one after, ``delta`` the difference of the solution from the
        odometry at q and C the covariances of the odometry, the first-order mean is
        ``p_T_k exp(C_pk Ad(q_T_k)^T C_pq^-1 delta)``, and its covariance ``C_pk - C_pk Ad^T C_pq^-1 Ad C_pk``: the
        back-substitution of the eliminated keyframes.

        Args:
            rows: (M,) rows.

        Returns:
            (M, 4, 4) poses in the world, and their (M, 6, 6) covariances given the joints (zero at a joint).
        """
        before = np.searchsorted(self.rows, rows, side="right") - 1
        p = self.rows[before]
        p_T_k, c_pk = self.chain.between(p, rows)
        poses, covariances = self.poses[before] @ p_T_k, c_pk.copy()
        inner = np.flatnonzero((before + 1 < len(self.rows)) & (rows > p))
        if len(inner):
            after = before[inner] + 1
            p_T_q, c_pq = self.chain.between(p[inner], self.rows[after])
            delta = log(inverse(self.poses[before[inner]] @ p_T_q) @ self.poses[after])
            lever = adjoint(inverse(p_T_q) @ p_T_k[inner])
            gain = c_pk[inner] @ lever.transpose(0, 2, 1) @ np.linalg.inv(c_pq)
            poses[inner] = poses[inner] @ exp((gain @ delta[:, :, None])[:, :, 0])
            covariances[inner] -= sandwich(gain, c_pq)
        return poses, covariances


class Tracks:
    """All chains, and which keyframe is where. The first keyframe of all holds the world."""

    def __init__(self) -> None:
        self.all: list[Track] = []
        self.places: dict[int, Place] = {}

    def begin(self, id: int, world_T_keyframe: Array) -> None:
        """A keyframe that no odometry joins to others."""
        self.all.append(Track(OdometryChain(), world_T_keyframe[None].copy(), [id]))
        self.places[id] = Place(len(self.all) - 1, 0)

    def extend(self, chain: int, id: int, last_T_new: Array, covariance: Array) -> None:
        """The next keyframe of a chain."""
        track = self.all[chain]
        track.chain.append(last_T_new, covariance)
        track.ids.append(id)
        self.places[id] = Place(chain, len(track.ids) - 1)

    def at(self, places: list[Place]) -> tuple[Array, Array]:
        """(M, 4, 4) poses in the world and (M, 6, 6) covariances given the joints, see :meth:`Track.at`."""
        poses, covariances = np.tile(np.eye(4), (len(places), 1, 1)), np.zeros((len(places), 6, 6))
        where = np.array(places, dtype=np.int64).reshape(-1, 2)
        for chain in np.unique(where[:, 0]).tolist():
            rows = np.flatnonzero(where[:, 0] == chain)
            poses[rows], covariances[rows] = self.all[chain].at(where[rows, 1])
        return poses, covariances
