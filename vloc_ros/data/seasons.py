"""Long-term benchmarks: pictures of one reference condition with their poses, and queries of all other conditions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.places import Picture


@dataclass(frozen=True, slots=True)
class SeasonsPicture:
    """One picture of a long-term benchmark.

    Attributes:
        picture: its image, name and condition.
        side: which camera took it, as "c0" or "rear", empty where there is one only; sides are searched separately.
        world_T_camera: (4, 4) pose of the optical frame, None where the benchmark keeps it secret.
    """

    picture: Picture
    side: str
    world_T_camera: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class SeasonsDataset:
    """Database and queries of a long-term benchmark.

    Attributes:
        name: for people.
        database: pictures of the reference condition, each with a pose.
        queries: pictures of the other conditions, in their order.
        conditions: names, the reference first.
    """

    name: str
    database: tuple[SeasonsPicture, ...]
    queries: tuple[SeasonsPicture, ...]
    conditions: tuple[str, ...]
