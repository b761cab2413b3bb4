"""The truth of place recognition from poses, and long-term benchmarks as data sets of places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.places import PlaceDataset, PlacePoses, nearby
from vloc_ros.data.seasons import SeasonsDataset, SeasonsPicture
from vloc_ros.geometry.se3 import between, rotation_angle


def seen_from(poses: PlacePoses, radius_m: float, angle_deg: float) -> tuple[NDArray[np.int64], ...]:
    """For each query the rows of the database taken so near to it and nearly in its direction, sorted; none for a secret pose."""
    known = [pose for pose in poses.queries if pose is not None]
    if not known:
        return tuple(np.zeros(0, dtype=np.int64) for _ in poses.queries)
    near = iter(nearby(_centres(known), _centres(poses.database), radius_m))
    limit = math.radians(angle_deg)
    found = []
    for pose in poses.queries:
        rows = [] if pose is None else [k for k in next(near) if rotation_angle(between(pose, poses.database[k])) <= limit]
        found.append(np.array(rows, dtype=np.int64))
    return tuple(found)


def places_of_seasons(data: SeasonsDataset, radius_m: float = 5.0, angle_deg: float = 10.0) -> list[PlaceDataset]:
    """A long-term benchmark as data sets of places, one for each camera side and condition of the queries.

    So a side is searched among pictures of its own side only, and each set of queries is one traverse, in its order.

    Args:
        data: the benchmark.
        radius_m: pictures taken this far apart or less show the same place [m].
        angle_deg: and look this far apart or less [deg].
    """
    found = []
    for condition, side in dict.fromkeys((one.picture.condition, one.side) for one in data.queries):
        queries = [one for one in data.queries if (one.picture.condition, one.side) == (condition, side)]
        database = [one for one in data.database if one.side == side]
        poses = PlacePoses(tuple(one.world_T_camera for one in queries), _poses(database))
        found.append(
            PlaceDataset(
                ", ".join(part for part in (data.name, condition, side) if part),
                tuple(one.picture for one in queries),
                tuple(one.picture for one in database),
                seen_from(poses, radius_m, angle_deg),
                poses,
                data.area or data.name,
            )
        )
    return found


def _poses(database: Sequence[SeasonsPicture]) -> tuple[NDArray[np.float64], ...]:
    return tuple(one.world_T_camera for one in database if one.world_T_camera is not None)


def _centres(poses: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.array([pose[:3, 3] for pose in poses], dtype=np.float64).reshape(-1, 3)
