"""Keyframes of a map as files that other programs read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path

import numpy as np

from vloc_ros.data import g2o
from vloc_ros.errors import MapError
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import Array
from vloc_ros.geometry.uncertainty import information
from vloc_ros.mapping.keyframe import Edge, Keyframe
from vloc_ros.mapping.store import MapStore


@unique
class ExportFormat(Enum):
    """What a map can be written as."""

    TUM = "tum"
    """``stamp tx ty tz qx qy qz qw``: the base in the map, one line per keyframe."""
    KITTI = "kitti"
    """Twelve numbers per line, row by row: the left camera (optical frame) in the map, as KITTI's own poses are."""
    G2O = "g2o"
    """Pose graph of the bases, see :mod:`vloc_ros.data.g2o`."""
    IMAGES = "images"
    """A folder of the stored JPEG files, unchanged, named like ``s1_k000042.jpg``."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written.

    Attributes:
        path: file or folder.
        keyframes: how many keyframes are in it.
        edges: how many edges are in it (g2o).
    """

    path: Path
    keyframes: int
    edges: int = 0


def export_map(path: Path, out: Path, format: ExportFormat | str, session: int | None = None) -> ExportResult:
    """Write the keyframes of a map (or of one of its sessions) to ``out``, which must not exist.

    Raises:
        MapError: the map cannot be read, ``out`` exists or cannot be written, or the format is unknown.
    """
    try:
        format = ExportFormat(format)
    except ValueError:
        known = ", ".join(member.value for member in ExportFormat)
        raise MapError(f"a map cannot be exported as '{format}'; known: {known}") from None
    out = Path(out)
    with MapStore.open(Path(path), read_only=True) as store, store.database.snapshot():
        keyframes = store.keyframes(session)
        if not keyframes:
            which = "no keyframes" if session is None else f"no keyframes in session {session}"
            raise MapError(f"the map {path} has {which}: there is nothing to export")
        try:
            return _WRITERS[format](store, keyframes, out)
        except FileExistsError:
            raise MapError(f"{out} exists already: remove it or name another file") from None
        except OSError as error:
            raise MapError(f"{out} cannot be written: {error.strerror or error}") from error


def _write_tum(store: MapStore, keyframes: list[Keyframe], out: Path) -> ExportResult:
    def lines() -> Iterator[str]:
        yield "# timestamp tx ty tz qx qy qz qw (map_T_base of each keyframe)"
        for keyframe in keyframes:
            seconds, nanoseconds = divmod(keyframe.stamp_ns, 1_000_000_000)
            yield f"{seconds}.{nanoseconds:09d} {_pose_text(keyframe.map_T_base)}"

    _write_lines(out, lines())
    return ExportResult(out, len(keyframes))


def _write_kitti(store: MapStore, keyframes: list[Keyframe], out: Path) -> ExportResult:
    poses = (keyframe.map_T_base @ store.base_T_camera for keyframe in keyframes)
    _write_lines(out, (_numbers(map_T_camera[:3].ravel()) for map_T_camera in poses))
    return ExportResult(out, len(keyframes))


def _write_g2o(store: MapStore, keyframes: list[Keyframe], out: Path) -> ExportResult:
    vertex = {keyframe.id: number for number, keyframe in enumerate(keyframes)}
    edges = [edge for edge in store.edges() if edge.a in vertex and edge.b in vertex]
    matrices = [edge_information(edge) for edge in edges]

    def lines() -> Iterator[str]:
        for keyframe in keyframes:
            yield f"# vertex {vertex[keyframe.id]} is keyframe {keyframe.id}"
        for keyframe in keyframes:
            yield g2o.vertex_line(vertex[keyframe.id], keyframe.map_T_base)
        for edge, matrix in zip(edges, matrices, strict=True):
            yield g2o.edge_line(vertex[edge.a], vertex[edge.b], edge.a_T_b, matrix)

    _write_lines(out, lines())
    return ExportResult(out, len(keyframes), len(edges))


def edge_information(edge: Edge) -> Array:
    """(6, 6) inverse of the covariance of an edge.

    Raises:
        MapError: the covariance is singular.
    """
    matrix = information(edge.covariance)
    if matrix is None:
        raise MapError(f"the edge {edge.a} to {edge.b} has a singular covariance: it cannot be written as g2o")
    return matrix


def _write_images(store: MapStore, keyframes: list[Keyframe], out: Path) -> ExportResult:
    out.mkdir()
    written = 0
    for keyframe in keyframes:
        for _, _, jpeg in store.database.rows("image", "WHERE session = ? AND keyframe = ?", keyframe.id):
            (out / f"s{keyframe.id.session}_k{keyframe.id.keyframe:06d}.jpg").write_bytes(jpeg)
            written += 1
    return ExportResult(out, written)


_WRITERS: dict[ExportFormat, Callable[[MapStore, list[Keyframe], Path], ExportResult]] = {
    ExportFormat.TUM: _write_tum,
    ExportFormat.KITTI: _write_kitti,
    ExportFormat.G2O: _write_g2o,
    ExportFormat.IMAGES: _write_images,
}


def _write_lines(out: Path, lines: Iterator[str]) -> None:
    with out.open("x", encoding="ascii") as file:
        file.writelines(line + "\n" for line in lines)


def _pose_text(a_T_b: Array) -> str:
    return _numbers(np.concatenate([a_T_b[:3, 3], se3.quaternion(a_T_b)]))


def _numbers(values: Array) -> str:
    return " ".join(f"{value:.9g}" for value in values)
