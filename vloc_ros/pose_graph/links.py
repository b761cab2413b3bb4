"""What odometry joins across chains, and which chains hang together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph.tracks import Place

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Link:
    """Odometry between keyframes of two chains: trusted."""

    a: Place
    b: Place
    a_T_b: Array
    covariance: Array


class Groups:
    """Chains that are joined, directly or by others (union-find)."""

    def __init__(self, chains: int) -> None:
        self._parent = list(range(chains))

    def root(self, chain: int) -> int:
        """The smallest chain of a group."""
        while self._parent[chain] != chain:
            self._parent[chain] = self._parent[self._parent[chain]]
            chain = self._parent[chain]
        return chain

    def join(self, a: int, b: int) -> None:
        """Make one group of two."""
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low


def by_odometry(chains: int, links: Iterable[Link]) -> Groups:
    """Chains that odometry joins, of so many."""
    groups = Groups(chains)
    for link in links:
        groups.join(link.a.chain, link.b.chain)
    return groups
