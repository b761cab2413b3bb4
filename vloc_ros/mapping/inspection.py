"""What is in a map: counts, lengths and sizes, without reading its images and features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.mapping.keyframe import EdgeKind, Keyframe
from vloc_ros.mapping.model_state import ModelState, model_state
from vloc_ros.mapping.opening import side_files
from vloc_ros.mapping.patches import PatchCount, patch_counts
from vloc_ros.mapping.session import Session
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.training_tuples import TupleCounts, tuple_counts

_PARTS = {
    "keypoints": "SELECT total(length(points)) FROM features",
    "descriptors": "SELECT total(length(descriptors)) FROM features",
    "image": "SELECT total(length(jpeg)) FROM image",
    "global_descriptors": "SELECT total(length(vector)) FROM global_descriptor",
}
_LATER_PARTS = {  # of tables that an older map lacks
    "patches": "SELECT total(length(content)) FROM patches",
    "model_weights": "SELECT total(length(content)) FROM model_weights",
}


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session with what its keyframes say.

    Attributes:
        session: the session.
        length_m: distance driven, summed from keyframe to keyframe [m].
        first_stamp_ns, last_stamp_ns: time of its first and last keyframe [ns], None without keyframes.
    """

    session: Session
    length_m: float
    first_stamp_ns: int | None
    last_stamp_ns: int | None


@dataclass(frozen=True, slots=True)
class MapInfo:
    """Summary of a map file.

    Attributes:
        path: the file.
        size_bytes: its size, with the write-ahead log beside it if there is one.
        schema: version of its tables.
        created: ISO 8601 time (UTC) at which it was made.
        camera, feature_name, feature_fingerprint: what its images and features are of.
        sessions: its sessions, by number.
        keyframes, odometry_edges, spatial_edges, closures: how many it has.
        training: how many training tuples it has.
        features: mean number of features of a keyframe.
        models: what made its global descriptors.
        patches: what re-rankers keep of its keyframes.
        versions: its own models, and which of them is in use.
        route_length_m: distance driven, summed over the sessions [m].
        first_stamp_ns, last_stamp_ns: smallest and largest stamp of a keyframe [ns], None without keyframes.
        bytes_per_keyframe: mean size of each part of a keyframe; ``other`` is poses, edges and what SQLite adds.
    """

    path: Path
    size_bytes: int
    schema: int
    created: str
    camera: StereoCamera
    feature_name: str
    feature_fingerprint: str
    sessions: tuple[SessionInfo, ...]
    keyframes: int
    odometry_edges: int
    spatial_edges: int
    closures: int
    training: TupleCounts
    features: float
    models: tuple[ModelCard, ...]
    patches: tuple[PatchCount, ...]
    versions: ModelState
    route_length_m: float
    first_stamp_ns: int | None
    last_stamp_ns: int | None
    bytes_per_keyframe: dict[str, float]


def inspect_map(path: Path) -> MapInfo:
    """Summarise a map.

    Raises:
        MapError: it cannot be opened or is damaged.
    """
    path = Path(path)
    with MapStore.open(path, read_only=True) as store, store.database.snapshot():
        database = store.database
        sessions = tuple(_session_info(session, store.keyframes(session.id)) for session in store.sessions())
        keyframes = sum(info.session.keyframes for info in sessions)
        edges = {str(kind): int(count) for kind, count in database.execute("SELECT kind, count(*) FROM edge GROUP BY kind")}
        size = file_size(path)
        parts = {name: float(database.scalar(query)) for name, query in _PARTS.items()}
        parts |= {name: float(database.scalar(query)) for name, query in _LATER_PARTS.items() if name in database.tables}
        parts["other"] = max(0.0, size - sum(parts.values()))
        stamps = [stamp for info in sessions for stamp in (info.first_stamp_ns, info.last_stamp_ns) if stamp is not None]
        return MapInfo(
            path=path,
            size_bytes=size,
            schema=database.pragma("user_version"),
            created=store.created,
            camera=store.camera,
            feature_name=store.feature_name,
            feature_fingerprint=store.feature_fingerprint,
            sessions=sessions,
            keyframes=keyframes,
            odometry_edges=edges.get(EdgeKind.ODOMETRY.value, 0),
            spatial_edges=edges.get(EdgeKind.SPATIAL.value, 0),
            closures=int(database.scalar("SELECT count(*) FROM closure")),
            training=tuple_counts(store),
            features=float(database.scalar("SELECT total(count) FROM features")) / max(keyframes, 1),
            models=_models(store),
            patches=tuple(patch_counts(store)),
            versions=model_state(store),
            route_length_m=sum(info.length_m for info in sessions),
            first_stamp_ns=min(stamps, default=None),
            last_stamp_ns=max(stamps, default=None),
            bytes_per_keyframe={name: size / max(keyframes, 1) for name, size in parts.items()},
        )


def _models(store: MapStore) -> tuple[ModelCard, ...]:
    """Cards of the models that have described a keyframe."""
    names = {str(name) for (name,) in store.database.execute("SELECT DISTINCT model FROM global_descriptor")}
    return tuple(card for card in store.model_cards() if card.name in names)


def file_size(path: Path) -> int:
    """Size of a map file [bytes], with the write-ahead log beside it if there is one.

    Raises:
        MapError: it cannot be read.
    """
    try:
        log = side_files(path)[0]
        return path.stat().st_size + (log.stat().st_size if log.exists() else 0)
    except OSError as error:
        raise MapError(f"the size of the map {path} cannot be read: {error.strerror}") from error


def _session_info(session: Session, keyframes: list[Keyframe]) -> SessionInfo:
    if not keyframes:
        return SessionInfo(session, 0.0, None, None)
    positions = np.array([keyframe.map_T_base[:3, 3] for keyframe in keyframes])
    length = float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum())
    return SessionInfo(session, length, keyframes[0].stamp_ns, keyframes[-1].stamp_ns)
