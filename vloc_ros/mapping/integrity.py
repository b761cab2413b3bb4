"""Whether a map is healthy: every row, blob, pose and chain of edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from vloc_ros.errors import MapError
from vloc_ros.features.contract import Features
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import Array
from vloc_ros.mapping import codec
from vloc_ros.mapping.assets import damaged_assets
from vloc_ros.mapping.closures import damaged_closures
from vloc_ros.mapping.database import checksum, row_name
from vloc_ros.mapping.keyframe import Edge, EdgeKind, Keyframe, KeyframeId
from vloc_ros.mapping.model_state import damaged_versions
from vloc_ros.mapping.rows import edge_of_row, keyframe_of_row
from vloc_ros.mapping.searches import damaged_searches
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.training_tuples import damaged_tuples

# Optimised poses differ from the odometry that joins them; a damaged pose or edge differs by far more than this.
_TRANSLATION_TOLERANCE_M = 0.5
_TRANSLATION_TOLERANCE_RATIO = 0.1
_ROTATION_TOLERANCE_RAD = np.deg2rad(10.0)
_PIXEL_MARGIN = 1.0
_MAX_STRUCTURE_PROBLEMS = 20
_HEADER_BYTES, _WRITE_VERSION_OFFSET = 100, 18


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a map.

    Attributes:
        text: one sentence.
        keyframe: the keyframe that it concerns, if it is one.
    """

    text: str
    keyframe: KeyframeId | None = None

    def __str__(self) -> str:
        return self.text


def check_map(path: Path) -> list[Problem]:
    """Look for damage; an empty list means a healthy map. Reads all of the file and changes nothing in it.

    Raises:
        MapError: there is no file at ``path``, or it may not be read.
    """
    path = Path(path)
    try:
        path.open("rb").close()
    except OSError as error:
        raise MapError(f"the map {path} cannot be opened: {error.strerror}") from error
    try:
        with MapStore.open(path, read_only=True) as store, store.database.snapshot():
            return list(_problems(store))
    except MapError as error:
        return [Problem(str(error))]


def _problems(store: MapStore) -> Iterator[Problem]:
    structure = list(_structure(store))
    yield from structure
    if structure:
        return  # what the rows say is not worth reading then
    damaged = list(_damaged_rows(store))
    yield from damaged
    if any(problem.keyframe is None for problem in damaged):
        return  # a pose, an edge or a session cannot be trusted: what follows from it would only repeat that
    bad = {problem.keyframe for problem in damaged}
    keyframes, edges = store.keyframes(), store.edges()
    for keyframe in keyframes:
        if keyframe.id not in bad:
            yield from _content(store, keyframe)
    for edge in edges:
        yield from _edge(edge)
    yield from _descriptor_kinds(store)
    for text in (
        *damaged_closures(store.database.rows("closure")),
        *damaged_assets(store),
        *damaged_tuples(store),
        *damaged_searches(store),
    ):
        yield Problem(text)
    for text in damaged_versions(store):
        yield Problem(text)
    odometry = {(edge.a, edge.b): edge for edge in edges if edge.kind is EdgeKind.ODOMETRY}
    for session in store.sessions():
        chain = [keyframe for keyframe in keyframes if keyframe.id.session == session.id]
        for before, after in pairwise(chain):
            yield from _step(before, after, odometry.get((before.id, after.id)))


def _structure(store: MapStore) -> Iterator[Problem]:
    with store.path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if header[_WRITE_VERSION_OFFSET] not in (1, 2):
        yield Problem("the file is damaged: its header forbids writing")  # SQLite reads such a file without a word
    for (text,) in store.database.execute(f"PRAGMA integrity_check({_MAX_STRUCTURE_PROBLEMS})"):
        if text != "ok":
            yield Problem(f"the file is damaged: {' '.join(str(text).split())}")
    for table, _, parent, _ in store.database.execute("PRAGMA foreign_key_check"):
        yield Problem(f"a row of the table {table} refers to a missing {parent}")


def _damaged_rows(store: MapStore) -> Iterator[Problem]:
    """Rows whose checksum or coding is wrong; ``keyframe`` is set where only features, image, descriptor or patches are lost."""
    for table in store.database.tables:
        heavy = table in ("features", "image", "global_descriptor", "descriptor_variance", "patches")
        try:
            for row in store.database.raw_rows(table):
                if checksum(row[:-1]) != row[-1]:
                    yield Problem(f"{row_name(table, row)} fails its checksum", KeyframeId(*row[:2]) if heavy else None)
                elif table == "taught_pose":
                    codec.decode_transform(row[2], f"the taught pose of keyframe {KeyframeId(row[0], row[1])}")
                elif table == "keyframe":
                    keyframe_of_row(row[:-1])
                elif table == "edge":
                    edge_of_row(row[:-1])
        except MapError as error:
            yield Problem(str(error))


def _content(store: MapStore, keyframe: Keyframe) -> Iterator[Problem]:
    id = keyframe.id
    if not codec.is_rigid(keyframe.map_T_base):
        yield Problem(f"keyframe {id}: its pose is not a rigid transform", id)
    try:
        yield from _features(store, id, store.features(id))
        store.image(id)
    except MapError as error:
        yield Problem(str(error), id)


def _features(store: MapStore, id: KeyframeId, features: Features) -> Iterator[Problem]:
    inside = store.camera.contains(features.keypoints.astype(np.float64), -_PIXEL_MARGIN)
    if not inside.all():
        yield Problem(f"keyframe {id}: {int((~inside).sum())} of {len(features)} key points lie outside the image", id)
    if (features.disparity < 0.0).any():
        yield Problem(f"keyframe {id}: it has negative disparities", id)


def _edge(edge: Edge) -> Iterator[Problem]:
    if not codec.is_rigid(edge.a_T_b):
        yield Problem(f"the edge {edge.a} to {edge.b}: its pose is not a rigid transform")
    if not codec.is_covariance(edge.covariance):
        yield Problem(f"the edge {edge.a} to {edge.b}: its covariance is not symmetric and positive semi-definite")


def _descriptor_kinds(store: MapStore) -> Iterator[Problem]:
    kinds = store.database.execute("SELECT DISTINCT encoding, dimension FROM features WHERE count > 0 ORDER BY 1, 2")
    if len(kinds) > 1:
        texts = ", ".join(f"{dimension} x {encoding}" for encoding, dimension in kinds)
        yield Problem(f"the map mixes descriptors that cannot be compared ({texts})")
    query = "SELECT session, keyframe, model FROM global_descriptor JOIN model_card ON name = model"
    for session, keyframe, model in store.database.execute(f"{query} WHERE length(vector) != 4 * dimension"):
        id = KeyframeId(session, keyframe)
        yield Problem(f"keyframe {id}: its descriptor of '{model}' has the wrong length", id)


def _step(before: Keyframe, after: Keyframe, edge: Edge | None) -> Iterator[Problem]:
    if after.stamp_ns <= before.stamp_ns:
        yield Problem(f"keyframe {after.id}: its stamp is not later than that of {before.id}", after.id)
    if edge is None:
        yield Problem(f"keyframe {after.id}: no odometry edge joins it to {before.id}", after.id)
    elif all(codec.is_rigid(pose) for pose in (before.map_T_base, after.map_T_base, edge.a_T_b)):
        yield from _consistency(se3.between(before.map_T_base, after.map_T_base), edge, after.id)


def _consistency(a_T_b: Array, edge: Edge, id: KeyframeId) -> Iterator[Problem]:
    difference = se3.between(edge.a_T_b, a_T_b)
    translation, rotation = se3.translation_norm(difference), se3.rotation_angle(difference)
    allowed = _TRANSLATION_TOLERANCE_M + _TRANSLATION_TOLERANCE_RATIO * se3.translation_norm(edge.a_T_b)
    if translation > allowed or rotation > _ROTATION_TOLERANCE_RAD:
        yield Problem(
            f"keyframe {id}: its pose differs by {translation:.2f} m and {np.rad2deg(rotation):.1f} deg from the odometry edge "
            f"that joins it to {edge.a}",
            id,
        )
