"""Loop closures in a map: the measured relative poses (spatial edges) and what the pose graph says of them (closures)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vloc_ros.errors import MapError
from vloc_ros.mapping.keyframe import Edge, EdgeKind, KeyframeId
from vloc_ros.mapping.rows import edge_row
from vloc_ros.mapping.store import MapStore
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict


@dataclass(frozen=True, slots=True)
class Closure:
    """The verdict of the pose graph on the loop closure between two keyframes."""

    a: KeyframeId
    b: KeyframeId
    verdict: Verdict


def closures_of(store: MapStore) -> list[Closure]:
    """All verdicts in a map, ordered by their end (b) and then their start (a).

    Raises:
        MapError: one is damaged.
    """
    rows = store.database.rows("closure", "ORDER BY b_session, b_keyframe, a_session, a_keyframe")
    return [closure_of_row(row) for row in rows]


def graph_revision(store: MapStore) -> int:
    """Number of the newest solution that has verdicts in a map, 0 when there is none."""
    return int(store.database.scalar("SELECT coalesce(max(graph_revision), 0) FROM closure"))


def replace_closures(store: MapStore, closures: Sequence[Closure]) -> None:
    """Put the verdicts of a new solution in the place of all that a map holds, in one transaction.

    Raises:
        MapError: a keyframe is unknown, a pair occurs twice, or the map cannot be written; the old verdicts stay then.
    """
    with store.database.transaction():
        store.database.execute("DELETE FROM closure")
        for closure in closures:
            store.database.insert("closure", _row(closure))


def put_spatial_edges(store: MapStore, edges: Sequence[Edge]) -> None:
    """Store the measured relative poses of loop closures in one transaction; one of the same pair is replaced.

    Raises:
        MapError: a keyframe is unknown, an edge is not spatial, or its pose or covariance is not one; none is stored then.
    """
    for edge in edges:
        if edge.kind is not EdgeKind.SPATIAL:
            raise MapError(f"the edge {edge.a} to {edge.b} is not a loop closure but {edge.kind.value}")
    rows = [edge_row(edge) for edge in edges]
    where = "WHERE a_session = ? AND a_keyframe = ? AND b_session = ? AND b_keyframe = ? AND kind = ?"
    with store.database.transaction():
        for row in rows:
            store.database.execute(f"DELETE FROM edge {where}", (*row[2:4], *row[:2], EdgeKind.SPATIAL.value))
            store.database.insert("edge", row, replace=True)


def forget_closures(store: MapStore) -> int:
    """Remove all loop closures with their verdicts, in one transaction; odometry and poses stay. Returns how many there were."""
    with store.database.transaction():
        store.database.execute("DELETE FROM closure")
        count = int(store.database.scalar("SELECT count(*) FROM edge WHERE kind = ?", (EdgeKind.SPATIAL.value,)))
        store.database.execute("DELETE FROM edge WHERE kind = ?", (EdgeKind.SPATIAL.value,))
    return count


def closure_of_row(row: Sequence[Any]) -> Closure:
    """A row of the table ``closure`` (without ``crc``).

    Raises:
        MapError: its label or reason is none that this release knows.
    """
    a, b = KeyframeId(row[0], row[1]), KeyframeId(row[2], row[3])
    _, _, _, _, label, weight, chi2, revision, reason = row
    try:
        return Closure(a, b, Verdict(Label(label), float(weight), float(chi2), int(revision), LabelReason[reason]))
    except (ValueError, KeyError):
        raise MapError(f"the closure {a} to {b} is damaged: '{label}' because of '{reason}' is not a verdict") from None


def damaged_closures(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """One sentence for each row of the table ``closure`` that says nothing sensible."""
    for row in rows:
        try:
            closure = closure_of_row(row)
        except MapError as error:
            yield str(error)
            continue
        verdict = closure.verdict
        if not 0.0 <= verdict.weight <= 1.0 or not verdict.chi2 >= 0.0:
            yield f"the closure {closure.a} to {closure.b}: weight {verdict.weight} or chi2 {verdict.chi2} is out of range"


def _row(closure: Closure) -> tuple[Any, ...]:
    verdict = closure.verdict
    numbers = (float(verdict.weight), float(verdict.chi2), int(verdict.revision))
    return (*closure.a, *closure.b, verdict.label.value, *numbers, verdict.reason.name)
