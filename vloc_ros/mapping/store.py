"""The map: sessions of keyframes with their features and images, the edges between them, and global descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import CalibrationError, MapError
from vloc_ros.features.contract import Features
from vloc_ros.geometry.camera import Array, StereoCamera
from vloc_ros.mapping import codec
from vloc_ros.mapping.compatibility import require_same_camera, require_same_features
from vloc_ros.mapping.database import Database, checksum, row_name
from vloc_ros.mapping.keyframe import Edge, Keyframe, KeyframeId
from vloc_ros.mapping.rows import edge_of_row, edge_row, keyframe_of_row, session_of_row
from vloc_ros.mapping.session import Session, SessionKind
from vloc_ros.mapping.variances import put_variance

_OF = "WHERE session = ? AND keyframe = ?"


class MapStore:
    """A map file. Use it from one thread; other processes may read the same file while one writes it.

    Every method raises MapError when the file is damaged, closed, or cannot be read or written. Each change is one transaction:
    after an error, or the death of the process, the map holds what it held before.
    """

    def __init__(self, database: Database) -> None:
        """Take over an open database; callers use :meth:`create` or :meth:`open`."""
        self.database = database
        rows = database.rows("map")
        if len(rows) != 1:
            raise MapError(f"the map {database.path} is damaged: its description is missing; restore a copy")
        _, self._created, width, height, fx, fy, cx, cy, baseline, base_T_camera, name, fingerprint = rows[0]
        try:
            self._camera = StereoCamera(width, height, fx, fy, cx, cy, baseline)
        except CalibrationError as error:
            raise MapError(f"the map {database.path} is damaged: {error}") from error
        self._base_T_camera = codec.decode_transform(base_T_camera, f"the map {database.path}")
        self._feature_name, self._feature_fingerprint = str(name), str(fingerprint)

    @classmethod
    def create(
        cls, path: Path, camera: StereoCamera, base_T_camera: Array, feature_name: str, feature_fingerprint: str
    ) -> MapStore:
        """Make a new map.

        Args:
            path: file to make; its folder must exist.
            camera: the rectified camera of all images.
            base_T_camera: (4, 4) pose of the left optical frame in the robot's base frame.
            feature_name: name of the feature extractor.
            feature_fingerprint: its ``fingerprint``.

        Raises:
            MapError: the file exists, or cannot be written; nothing is left behind then.
        """
        path = Path(path)
        numbers = [float(value) for value in (camera.fx, camera.fy, camera.cx, camera.cy, camera.baseline)]
        pose = codec.encode_transform(base_T_camera, f"the map {path}")
        row = (1, _now(), int(camera.width), int(camera.height), *numbers, pose, feature_name, feature_fingerprint)
        return cls(Database.create(path, [("map", row)]))

    @classmethod
    def open(cls, path: Path, read_only: bool = False, *, exclusive: bool = False) -> MapStore:
        """Open an existing map without reading its images and features; ``exclusive`` keeps every other process out.

        Raises:
            MapError: it is absent, not a map, damaged, made by a newer release, in use (exclusive), or (unless ``read_only``)
                cannot be written.
        """
        database = Database.open(Path(path), read_only, exclusive)
        try:
            return cls(database)
        except MapError:
            database.close()
            raise

    @property
    def path(self) -> Path:
        """The file."""
        return self.database.path

    @property
    def in_place(self) -> bool:
        """Whether the file still has its name, and was neither removed nor replaced; any thread may ask."""
        return self.database.in_place

    def put_back(self) -> None:
        """Write the file anew, whole, after it was removed while it was open.

        Raises:
            MapError: another file has its name, or it cannot be written; what was stored is still open then.
        """
        self.database.put_back()

    @property
    def created(self) -> str:
        """ISO 8601 time (UTC) at which the map was made."""
        return str(self._created)

    @property
    def camera(self) -> StereoCamera:
        """The rectified camera of all images of the map."""
        return self._camera

    @property
    def base_T_camera(self) -> Array:
        """(4, 4) pose of the left optical frame in the robot's base frame."""
        return self._base_T_camera.copy()

    @property
    def feature_name(self) -> str:
        """Name of the feature extractor."""
        return self._feature_name

    @property
    def feature_fingerprint(self) -> str:
        """Fingerprint of the feature extractor."""
        return self._feature_fingerprint

    def require_compatible(self, camera: StereoCamera, feature_fingerprint: str) -> None:
        """Make sure that frames of ``camera`` and features of that fingerprint can be compared with the map.

        Raises:
            MapError: they cannot; the text says what differs (focal lengths and principal point by more than 0.5 px, baseline
                by more than 0.5 %, size at all) and what to do.
        """
        require_same_camera(self.path, self._camera, camera)
        require_same_features(self.path, self._feature_name, self._feature_fingerprint, feature_fingerprint)

    def begin_session(self, kind: SessionKind, source: str) -> int:
        """Start a drive; ``source`` says what it is made from. Sessions count from 1."""
        source = source.encode("utf-8", "replace").decode("utf-8")
        with self.database.transaction():
            session = int(self.database.scalar("SELECT coalesce(max(id), 0) + 1 FROM session"))
            self.database.insert("session", (session, kind.value, source, _now()))
        return session

    def next_keyframe_id(self, session: int) -> KeyframeId:
        """The name that :meth:`add_keyframe` will give to the next keyframe of a session; keyframes count from 1.

        Raises:
            MapError: there is no such session.
        """
        if self.database.scalar("SELECT id FROM session WHERE id = ?", (session,)) is None:
            raise MapError(f"the map {self.path} has no session {session}: begin one first")
        last = self.database.scalar("SELECT max(keyframe) FROM keyframe WHERE session = ?", (session,))
        return KeyframeId(int(session), 1 if last is None else int(last) + 1)

    def add_keyframe(
        self,
        session: int,
        stamp_ns: int,
        map_T_base: Array,
        features: Features,
        image: Image | None,
        edge: Edge | None,
        *,
        jpeg_quality: int = 90,
    ) -> Keyframe:
        """Store a keyframe with all its parts in one transaction.

        Args:
            session: the session it belongs to.
            stamp_ns: time of exposure [ns]; larger than that of the session's last keyframe.
            map_T_base: (4, 4) pose of the base in the map.
            features: its features; unit float32 descriptors are kept as float16, all else exactly.
            image: (H, W) grey or (H, W, 3) RGB image of the map's camera, kept as JPEG in the colours given; None for none.
            edge: joins an earlier keyframe (``edge.a``) to this one (``edge.b``, see :meth:`next_keyframe_id`), or None.
            jpeg_quality: 1 (small) to 100.

        Raises:
            MapError: a part is not as described, or the map cannot be written.
        """
        # Everything that takes time is packed before the transaction, so that others wait as little as possible.
        expected = self.next_keyframe_id(session)
        what = f"keyframe {expected}"
        pose = codec.encode_transform(map_T_base, what)
        packed = codec.encode_features(features, what)
        jpeg = None if image is None else self._jpeg(image, jpeg_quality, what)
        joint = None if edge is None else edge_row(edge)
        if edge is not None and edge.b != expected:
            raise MapError(f"{what}: its edge ends at {edge.b}; edge.b must be the new keyframe, edge.a an earlier one")
        with self.database.transaction():
            self._require_next(expected, int(stamp_ns))
            self.database.insert("keyframe", (*expected, int(stamp_ns), pose))
            self.database.insert("features", (*expected, *packed))
            if jpeg is not None:
                self.database.insert("image", (*expected, jpeg))
            if joint is not None:
                self._insert_edge(joint)
        return Keyframe(expected, int(stamp_ns), codec.decode_transform(pose, what))

    def _require_next(self, expected: KeyframeId, stamp_ns: int) -> None:
        query = "SELECT keyframe, stamp_ns FROM keyframe WHERE session = ? ORDER BY keyframe DESC LIMIT 1"
        for last, last_stamp in self.database.execute(query, (expected.session,)):
            if last >= expected.keyframe:
                raise MapError(f"the map {self.path}: another process is adding keyframes to session {expected.session}")
            if stamp_ns <= last_stamp:
                raise MapError(
                    f"keyframe {expected}: its stamp {stamp_ns} ns is not later than {last_stamp} ns of the one before; "
                    "begin a new session when time jumps back"
                )

    def _jpeg(self, image: Image, quality: int, what: str) -> bytes:
        if image.shape[:2] != (self._camera.height, self._camera.width):
            size = f"{self._camera.width}x{self._camera.height}"
            raise MapError(f"{what}: its image has shape {image.shape}, but the map's camera is of {size} px")
        return codec.encode_image(image, quality, what)

    def update_poses(self, poses: Mapping[KeyframeId, Array], *, keep_taught: bool = False) -> None:
        """Move keyframes (``map_T_base``), all in one transaction; edges stay as they were measured.

        Args:
            poses: where to.
            keep_taught: remember where each was before it was first moved, for :meth:`restore_taught_poses`.

        Raises:
            MapError: a keyframe is unknown or a pose not rigid; none is moved then.
        """
        with self.database.transaction():
            known = set(self.database.execute("SELECT session, keyframe FROM taught_pose")) if keep_taught else set()
            for id, map_T_base in poses.items():
                pose = codec.encode_transform(map_T_base, f"keyframe {id}")
                if keep_taught and tuple(id) not in known:
                    self.database.insert("taught_pose", (*id, self._row("keyframe", id)[3]))
                self._move(id, pose)

    def restore_taught_poses(self) -> int:
        """Move the keyframes back to where they were before :meth:`update_poses` with ``keep_taught``; returns how many."""
        with self.database.transaction():
            rows = self.database.rows("taught_pose")
            for session, keyframe, pose in rows:
                self._move(KeyframeId(session, keyframe), pose)
            self.database.execute("DELETE FROM taught_pose")
        return len(rows)

    def _move(self, id: KeyframeId, pose: bytes) -> None:
        *key, stamp_ns, _ = self._row("keyframe", id)
        values = (pose, checksum((*key, stamp_ns, pose)), *key)
        self.database.execute(f"UPDATE keyframe SET map_T_base = ?, crc = ? {_OF}", values)

    def add_edge(self, edge: Edge) -> None:
        """Join two keyframes of the map.

        Raises:
            MapError: a keyframe is unknown, the same edge exists, or its pose or covariance is not one.
        """
        row = edge_row(edge)
        with self.database.transaction():
            self._insert_edge(row)

    def _insert_edge(self, row: tuple[Any, ...]) -> None:
        for id in (KeyframeId(*row[:2]), KeyframeId(*row[2:4])):
            self._row("keyframe", id)
        where = "WHERE a_session = ? AND a_keyframe = ? AND b_session = ? AND b_keyframe = ? AND kind = ?"
        if self.database.scalar(f"SELECT 1 FROM edge {where}", row[:5]) is not None:
            raise MapError(f"the map {self.path} already holds {row_name('edge', row)} of kind {row[4]}")
        self.database.insert("edge", row)

    def sessions(self) -> list[Session]:
        """All sessions, by number."""
        query = "SELECT session, count(*) FROM keyframe GROUP BY session"
        with self.database.snapshot():
            rows = self.database.rows("session", "ORDER BY id")
            counts = {int(session): int(count) for session, count in self.database.execute(query)}
        return [session_of_row(row, counts.get(row[0], 0)) for row in rows]

    def keyframes(self, session: int | None = None) -> list[Keyframe]:
        """Keyframes of one session or of all, ordered by session and keyframe; their features and images stay on disk."""
        order = "ORDER BY session, keyframe"
        where, values = ("", ()) if session is None else ("WHERE session = ? ", (session,))
        return [keyframe_of_row(row) for row in self.database.rows("keyframe", where + order, values)]

    def keyframe(self, id: KeyframeId) -> Keyframe:
        """One keyframe.

        Raises:
            MapError: the map does not hold it.
        """
        return keyframe_of_row(self._row("keyframe", id))

    def holds(self, id: KeyframeId) -> bool:
        """Whether a keyframe is in the map.

        Raises:
            MapError: the map cannot be read.
        """
        return bool(self.database.rows("keyframe", _OF, id))

    def features(self, id: KeyframeId) -> Features:
        """Features of a keyframe.

        Raises:
            MapError: the keyframe is unknown, or its features are damaged.
        """
        _, _, *columns = self._row("features", id)
        return codec.decode_features(codec.FeatureRow(*columns), f"the map {self.path}: keyframe {id}")

    def image(self, id: KeyframeId) -> Image | None:
        """Image of a keyframe in the colours it was stored in; None when none was stored.

        Raises:
            MapError: the keyframe is unknown, or its image is damaged.
        """
        rows = self.database.rows("image", _OF, id)
        if not rows:
            self._row("keyframe", id)
            return None
        return codec.decode_image(rows[0][2], self._camera.width, self._camera.height, f"the map {self.path}: keyframe {id}")

    def keyframes_without_image(self) -> int:
        """How many keyframes have no image; none is read."""
        query = "SELECT (SELECT count(*) FROM keyframe) - (SELECT count(*) FROM image)"
        return int(self.database.scalar(query))

    def edges(self) -> list[Edge]:
        """All edges, ordered by their end (b) and then their start (a)."""
        return [edge_of_row(row) for row in self.database.rows("edge", "ORDER BY b_session, b_keyframe, a_session, a_keyframe")]

    def add_model_card(self, card: ModelCard) -> None:
        """Say what makes the global descriptors called ``card.name``; saying the same again does no harm.

        Raises:
            MapError: the map holds descriptors of another model under that name; the text says what differs.
        """
        known = next((other for other in self.model_cards() if other.name == card.name), None)
        if known is None:
            with self.database.transaction():
                self.database.insert("model_card", (card.name, int(card.dimension), card.sha256, card.preprocessing))
        elif known != card:
            raise MapError(
                f"the map {self.path} has descriptors of another model '{card.name}' (map: {known}; given: {card}): "
                "use that model, or give this one another name"
            )

    def model_cards(self) -> list[ModelCard]:
        """What made the global descriptors of the map, by name."""
        return [ModelCard(*row) for row in self.database.rows("model_card", "ORDER BY name")]

    def set_global_descriptor(self, id: KeyframeId, model: str, vector: NDArray[np.float32], variance: float | None = None) -> None:
        """Store (or replace) the global descriptor of a keyframe, (D,) float32, exactly, and its variance if it has one.

        Raises:
            MapError: the keyframe is unknown, the vector does not have the dimension of the model's other descriptors, or the
                variance is not positive.
        """
        what = f"keyframe {id}"
        blob = codec.encode_vector(vector, what)
        with self.database.transaction():
            self._row("keyframe", id)
            dimension = self.database.scalar("SELECT dimension FROM model_card WHERE name = ?", (model,))
            if dimension is None:
                self.database.insert("model_card", (model, len(vector), "", ""))
            elif dimension != len(vector):
                raise MapError(f"{what}: a descriptor of '{model}' has {dimension} elements in this map, not {len(vector)}")
            self.database.insert("global_descriptor", (*id, model, blob), replace=True)
            if variance is not None:
                put_variance(self.database, id, model, variance)

    def global_descriptors(self, model: str) -> tuple[list[KeyframeId], NDArray[np.float32]]:
        """Keyframes that have a global descriptor of a model, in order, and their (N, D) float32 descriptors."""
        with self.database.snapshot():
            dimension = self.database.scalar("SELECT dimension FROM model_card WHERE name = ?", (model,)) or 0
            rows = self.database.rows("global_descriptor", "WHERE model = ? ORDER BY session, keyframe", (model,))
        ids = [KeyframeId(session, keyframe) for session, keyframe, _, _ in rows]
        what = f"the map {self.path}: a global descriptor"
        vectors = [codec.decode_vector(blob, dimension, what) for *_, blob in rows]
        return ids, np.array(vectors, dtype=np.float32).reshape(len(ids), dimension)

    def _row(self, table: str, id: KeyframeId) -> tuple[Any, ...]:
        rows = self.database.rows(table, _OF, id)
        if not rows:
            raise MapError(f"the map {self.path} does not hold {row_name(table, id)}")
        return rows[0]

    def close(self) -> None:
        """Close the file and make everything durable. Closing twice does no harm."""
        self.database.close()

    def __enter__(self) -> MapStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
