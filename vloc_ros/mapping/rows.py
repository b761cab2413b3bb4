"""Keyframes and edges to rows of the map and back (rows without ``crc``)."""

from __future__ import annotations

from typing import Any

from vloc_ros.errors import MapError
from vloc_ros.mapping import codec
from vloc_ros.mapping.keyframe import Edge, EdgeKind, Keyframe, KeyframeId
from vloc_ros.mapping.session import Session, SessionKind


def session_of_row(row: tuple[Any, ...], keyframes: int) -> Session:
    """A row of the table ``session``.

    Raises:
        MapError: its kind is none of :class:`SessionKind`.
    """
    id, kind, source, started = row
    try:
        return Session(id, SessionKind(kind), source, started, keyframes)
    except ValueError:
        raise MapError(f"session {id} is damaged: '{kind}' is not a kind of session") from None


def keyframe_of_row(row: tuple[Any, ...]) -> Keyframe:
    """A row of the table ``keyframe``.

    Raises:
        MapError: its pose is damaged.
    """
    id = KeyframeId(row[0], row[1])
    return Keyframe(id, int(row[2]), codec.decode_transform(row[3], f"keyframe {id}"))


def edge_row(edge: Edge) -> tuple[Any, ...]:
    """Inverse of :func:`edge_of_row`.

    Raises:
        MapError: the edge joins a keyframe to itself, or its pose or covariance is not one.
    """
    what = f"the edge {edge.a} to {edge.b}"
    if edge.a == edge.b:
        raise MapError(f"{what} joins a keyframe to itself")
    pose = codec.encode_transform(edge.a_T_b, what)
    return (*edge.a, *edge.b, edge.kind.value, pose, codec.encode_covariance(edge.covariance, what))


def edge_of_row(row: tuple[Any, ...]) -> Edge:
    """A row of the table ``edge``.

    Raises:
        MapError: its kind, pose or covariance is damaged.
    """
    a, b = KeyframeId(row[0], row[1]), KeyframeId(row[2], row[3])
    what = f"the edge {a} to {b}"
    try:
        kind = EdgeKind(row[4])
    except ValueError:
        raise MapError(f"{what} is damaged: '{row[4]}' is not a kind of edge") from None
    return Edge(a, b, kind, codec.decode_transform(row[5], what), codec.decode_covariance(row[6], what))
