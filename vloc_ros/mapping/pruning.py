"""Thinning of a map: keyframes that show almost the same as their neighbours go, the chain of odometry stays whole."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vloc_ros.errors import MapError
from vloc_ros.geometry import se3
from vloc_ros.mapping.database import Database
from vloc_ros.mapping.inspection import file_size
from vloc_ros.mapping.keyframe import Edge, EdgeKind, Keyframe, KeyframeId
from vloc_ros.mapping.opening import explained
from vloc_ros.mapping.rows import edge_of_row, edge_row, keyframe_of_row

_log = logging.getLogger(__name__)
Chain = dict[tuple[KeyframeId, KeyframeId], Edge]


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What pruning did.

    Attributes:
        kept, removed: numbers of keyframes.
        bytes_before, bytes_after: size of the file.
    """

    kept: int
    removed: int
    bytes_before: int
    bytes_after: int

    @property
    def bytes_saved(self) -> int:
        """By how much the file shrank."""
        return self.bytes_before - self.bytes_after


def prune_map(
    path: Path, min_distance_m: float, keep_every: int | None = None, min_angle_rad: float = math.radians(10.0)
) -> PruneResult:
    """Remove keyframes that follow a kept one by less than a distance along the route and less than an angle.

    The first and last keyframe of a session are kept, and so are those that spatial edges or closures refer to. The two
    odometry edges at a removed keyframe become one, with composed pose and covariance. All happens in one transaction, then the
    file is compacted. Names of keyframes do not change.

    Args:
        path: the map; no other process may have it open.
        min_distance_m: smaller steps along the route are thinned [m]; > 0.
        keep_every: of so many successive keyframes at least one is kept, however small the steps; None for no such bound.
        min_angle_rad: a keyframe turned by more against the last kept one is kept [rad].

    Raises:
        MapError: another process uses the map, it is damaged, or it cannot be written.
    """
    if not min_distance_m > 0.0 or not min_angle_rad >= 0.0 or (keep_every is not None and keep_every < 1):
        raise MapError(
            f"cannot prune with min_distance_m={min_distance_m}, min_angle_rad={min_angle_rad}, keep_every={keep_every}: "
            "they must be > 0, >= 0 and >= 1"
        )
    path = Path(path)
    bytes_before = file_size(path) if path.exists() else 0
    database = Database.open(path, exclusive=True)
    try:
        kept, removed = _thin(database, min_distance_m, keep_every, min_angle_rad)
        if removed:
            _compact(database)
    finally:
        database.close()
    return PruneResult(kept, removed, bytes_before, file_size(path))


def _thin(database: Database, min_distance_m: float, keep_every: int | None, min_angle_rad: float) -> tuple[int, int]:
    with database.transaction():
        keyframes = [keyframe_of_row(row) for row in database.rows("keyframe", "ORDER BY session, keyframe")]
        edges = [edge_of_row(row) for row in database.rows("edge")]
        odometry = {(edge.a, edge.b): edge for edge in edges if edge.kind is EdgeKind.ODOMETRY}
        fixed = _referred_to(database, keyframes, edges)
        removed = 0
        for session in sorted({keyframe.id.session for keyframe in keyframes}):
            route = [keyframe for keyframe in keyframes if keyframe.id.session == session]
            gone = _superfluous(route, odometry, fixed, min_distance_m, keep_every or len(route), min_angle_rad)
            merged = merge_chain(route, odometry, gone)
            for id in gone:
                database.execute("DELETE FROM keyframe WHERE session = ? AND keyframe = ?", id)
            for edge in merged:
                database.insert("edge", edge_row(edge))
            removed += len(gone)
    return len(keyframes) - removed, removed


def _referred_to(database: Database, keyframes: Sequence[Keyframe], edges: Sequence[Edge]) -> set[KeyframeId]:
    """Keyframes at an edge that is not a step of a session's chain, or at a closure."""
    steps = {(a.id, b.id) for a, b in pairwise(keyframes) if a.id.session == b.id.session}
    others = [edge for edge in edges if edge.kind is not EdgeKind.ODOMETRY or (edge.a, edge.b) not in steps]
    fixed = {id for edge in others for id in (edge.a, edge.b)}
    for row in database.rows("closure"):
        fixed |= {KeyframeId(row[0], row[1]), KeyframeId(row[2], row[3])}
    return fixed


def _superfluous(
    route: Sequence[Keyframe],
    odometry: Chain,
    fixed: set[KeyframeId],
    min_distance_m: float,
    keep_every: int,
    min_angle_rad: float,
) -> set[KeyframeId]:
    gone: set[KeyframeId] = set()
    kept, travelled, skipped = route[0], 0.0, 0
    for before, keyframe, after in zip(route, route[1:], route[2:], strict=False):
        travelled += se3.translation_norm(se3.between(before.map_T_base, keyframe.map_T_base))
        turned = se3.rotation_angle(se3.between(kept.map_T_base, keyframe.map_T_base))
        joined = (before.id, keyframe.id) in odometry and (keyframe.id, after.id) in odometry
        near = travelled < min_distance_m and turned < min_angle_rad and skipped + 1 < keep_every
        if near and joined and keyframe.id not in fixed:
            gone.add(keyframe.id)
            skipped += 1
        else:
            kept, travelled, skipped = keyframe, 0.0, 0
    return gone


def merge_chain(route: Sequence[Keyframe], odometry: Chain, gone: set[KeyframeId]) -> list[Edge]:
    """The odometry edges that replace those at the keyframes that are ``gone``."""
    merged: list[Edge] = []
    open_edge: Edge | None = None
    for before, keyframe in pairwise(route):
        step = odometry.get((before.id, keyframe.id))
        if before.id in gone and open_edge is not None and step is not None:
            open_edge = compose(open_edge, step)
            if keyframe.id not in gone:
                merged.append(open_edge)
        else:
            open_edge = step
    return merged


def compose(first: Edge, second: Edge) -> Edge:
    """The odometry edge over two successive ones whose errors are independent."""
    covariance = se3.compose_covariance(first.covariance, second.a_T_b, second.covariance)
    return Edge(first.a, second.b, EdgeKind.ODOMETRY, se3.normalised(first.a_T_b @ second.a_T_b), covariance)


def _compact(database: Database) -> None:
    try:
        with explained(database.path):
            database.connection.execute("VACUUM")
    except MapError as error:
        _log.warning("the map is pruned but its file could not be made smaller: %s", error)
