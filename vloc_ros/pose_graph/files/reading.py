"""Reading g2o and TORO files."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum, unique
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import read_text
from vloc_ros.errors import DataError
from vloc_ros.pose_graph.anchors import components, odometry_poses
from vloc_ros.pose_graph.files.lines import KINDS, Kind, Line, parse_information, parse_pose
from vloc_ros.pose_graph.graph import PoseGraph

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)


@unique
class OdometryEdges(Enum):
    """Which edges of a file are odometry, and so trusted; the files do not say."""

    CONSECUTIVE = "consecutive"
    """Those between poses whose numbers differ by one."""
    ALL = "all"
    """All: plain least squares."""
    NONE = "none"
    """None: every edge may be false."""


@unique
class RotationInformation(Enum):
    """What the information of a rotation in space is of; g2o's files do not say who wrote them."""

    QUATERNION = "quaternion"
    """The vector part of the unit quaternion, as g2o itself has it (see :mod:`vloc_ros.data.g2o`)."""
    ROTATION_VECTOR = "rotation_vector"
    """The rotation vector, as gtsam and what is built on it write and read."""


@dataclass
class _Contents:
    """What a file has told so far: names to poses and their lines, edges with theirs."""

    path: Path
    of_quaternion: bool
    poses: dict[int, Array] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    edges: list[tuple[int, int, Array, Array]] = field(default_factory=list)
    edge_lines: list[Line] = field(default_factory=list)
    fixed: list[tuple[int, Line]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    dimension: int = 0


def read_graph(
    path: Path,
    odometry: OdometryEdges = OdometryEdges.CONSECUTIVE,
    rotation: RotationInformation = RotationInformation.QUATERNION,
) -> PoseGraph:
    """Read a pose graph in g2o's or TORO's format.

    g2o: ``VERTEX_SE2, EDGE_SE2, VERTEX_SE3:QUAT, EDGE_SE3:QUAT, FIX``; TORO: ``VERTEX2, EDGE2, VERTEX3, EDGE3``.

    Poses are in the order of the file, those that ``FIX`` names first (the first pose of a component anchors it). A file of
    edges alone gets poses from its odometry. Edges that are given twice are kept twice. Lines with other tags are left out,
    with one warning that names them.

    Args:
        path: the file.
        odometry: which edges are trusted.
        rotation: meaning of g2o's information matrices in space.

    Raises:
        DataError: the file is missing or malformed; the text names line and column.
    """
    contents = _Contents(path, rotation is RotationInformation.QUATERNION)
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        line = Line.of(path, number, text)
        if line is not None:
            _take(contents, line)
    if contents.unknown:
        names = ", ".join(f"{tag} ({count} lines)" for tag, count in sorted(contents.unknown.items()))
        _log.warning("%s: lines with unknown tags are left out: %s", path, names)
    if not contents.edges:
        raise DataError(f"{path} holds no edges of a pose graph; known tags: {', '.join(KINDS)}")
    return _graph(contents, odometry)


def _take(contents: _Contents, line: Line) -> None:
    tag = line.words[0]
    if tag == "FIX":
        contents.fixed += [(line.name(place), line) for place in range(1, len(line.words))]
        return
    kind = KINDS.get(tag)
    if kind is None:
        if not tag[0].isalpha():
            raise line.error(0, f"a line of a pose graph begins with a tag such as EDGE_SE3:QUAT, not with '{tag[:40]}'")
        contents.unknown[tag[:40]] += 1
        return
    if contents.dimension not in (0, kind.dimension):
        raise line.error(0, f"{tag} is {kind.dimension}D, but the lines before it are {contents.dimension}D")
    contents.dimension = kind.dimension
    line.expect(kind.fields)
    (_take_edge if kind.edge else _take_pose)(contents, line, kind)


def _take_pose(contents: _Contents, line: Line, kind: Kind) -> None:
    name = line.name(1)
    if name in contents.poses:
        raise line.error(1, f"pose {name} was given before, in line {contents.lines[name]}")
    contents.poses[name], contents.lines[name] = parse_pose(line, kind), line.number


def _take_edge(contents: _Contents, line: Line, kind: Kind) -> None:
    a, b = line.name(1), line.name(2)
    if a == b:
        raise line.error(2, f"the edge joins pose {a} to itself")
    contents.edges.append((a, b, parse_pose(line, kind), parse_information(line, kind, contents.of_quaternion)))
    contents.edge_lines.append(line)


def _graph(contents: _Contents, odometry: OdometryEdges) -> PoseGraph:
    without_poses = not contents.poses
    if without_poses:
        names = sorted({name for a, b, _, _ in contents.edges for name in (a, b)})
        contents.poses = {name: np.eye(contents.dimension + 1) for name in names}
    for name, line in contents.fixed:
        if name not in contents.poses:
            raise line.error(line.words.index(str(name)) if str(name) in line.words else 0, f"FIX names the unknown pose {name}")
    first = dict.fromkeys(name for name, _ in contents.fixed)
    names = [*first, *(name for name in contents.poses if name not in first)]
    rows = {name: row for row, name in enumerate(names)}
    for (a, b, _, _), line in zip(contents.edges, contents.edge_lines, strict=True):
        for place, name in ((1, a), (2, b)):
            if name not in rows:
                raise line.error(place, f"the edge names the unknown pose {name}")
    ends = np.array([(rows[a], rows[b]) for a, b, _, _ in contents.edges], dtype=np.int64)
    consecutive = np.array([abs(a - b) == 1 for a, b, _, _ in contents.edges])
    graph = PoseGraph(
        ids=np.array(names, dtype=np.int64),
        poses=np.array([contents.poses[name] for name in names]),
        a=ends[:, 0],
        b=ends[:, 1],
        a_T_b=np.array([edge[2] for edge in contents.edges]),
        information=np.array([edge[3] for edge in contents.edges]),
        trusted=_trusted(consecutive, odometry),
    )
    _warn_of_fixed(contents, graph, len(first))
    return replace(graph, poses=odometry_poses(graph)) if without_poses else graph


def _trusted(consecutive: NDArray[np.bool_], odometry: OdometryEdges) -> NDArray[np.bool_]:
    if odometry is OdometryEdges.CONSECUTIVE:
        return consecutive
    return np.full(len(consecutive), odometry is OdometryEdges.ALL)


def _warn_of_fixed(contents: _Contents, graph: PoseGraph, fixed: int) -> None:
    """One pose anchors a component; a second fixed one in it would be a measurement of its own."""
    labels = components(graph, np.ones(len(graph.a), dtype=bool))[:fixed]
    if len(np.unique(labels)) < fixed:
        _log.warning("%s fixes several poses of one connected graph: only the first of them is held", contents.path)
