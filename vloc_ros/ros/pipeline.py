"""Teaching or localising behind one face for the node. Imports no ROS; belongs to one thread, as the map does."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import dump_yaml, to_flat_dict
from vloc_ros.data.frame import Image, StereoFrame
from vloc_ros.errors import ConfigError, MapError, VlocError
from vloc_ros.evaluation import RunLog
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.motion import Motion
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.localization import FrameResult, Localizer
from vloc_ros.mapping import Keyframe, KeyframeId, MapStore, Teacher
from vloc_ros.retrieval.stages import Stages
from vloc_ros.ros.node_settings import LocalizationNodeSettings, Mode
from vloc_ros.settings import Settings

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)


class Pipeline:
    """One run of teaching or localising.

    Call :meth:`prepare` first, :meth:`begin` when the camera is known, then :meth:`process` for each frame, and :meth:`close`.
    """

    def __init__(self, node: LocalizationNodeSettings, settings: Settings, base_T_camera: Array) -> None:
        self._node, self._settings, self._base_T_camera = node, settings, base_T_camera
        self._store: MapStore | None = None
        self._teacher: Teacher | None = None
        self._localizer: Localizer | None = None
        self._stages: Stages | None = None
        self._run_log: RunLog | None = None
        self._force_keyframe = False
        self._finished = False
        self._keyframes = 0
        self._model: dict[str, str] = {}

    @property
    def map_report(self) -> dict[str, str]:
        """What the diagnostics say of the map: its size, and what it is compared by; any thread may ask."""
        localizer = self._localizer
        keyframes = {"map_keyframes": str(self._keyframes)} if self._model else {}
        return {"map": self._node.map, **keyframes, **self._model, **({} if localizer is None else localizer.search_report)}

    @property
    def mode(self) -> Mode:
        """What is done with the frames."""
        return self._node.mode

    @property
    def begun(self) -> bool:
        """Whether the camera is known and frames can be processed."""
        return self._teacher is not None or self._localizer is not None

    @property
    def finished(self) -> bool:
        """Whether teaching was finished: further frames are refused."""
        return self._finished

    @property
    def route(self) -> list[Keyframe]:
        """The taught path in order; empty while teaching."""
        return [] if self._localizer is None else list(self._localizer.route)

    def prepare(self) -> None:
        """Open the map, and the log of the run.

        Raises:
            ConfigError: no map is named, or a stage after the search is unknown or cannot be computed here.
            WeightsError: the file of weights of a stage is missing, damaged or of another network.
            MapError: the map cannot be opened, or (teaching) exists already or cannot be made.
            VlocError: the folder for the results cannot be written.
        """
        if not self._node.map:
            raise ConfigError("no map is named; set the parameter 'map', for example map:=site.vloc")
        if self.mode is not Mode.TEACH:
            self._stages = Stages.chosen(self._settings.localization)
        path = Path(self._node.map).expanduser()
        if self.mode is not Mode.TEACH or (self._node.append and path.exists()):
            self._store = MapStore.open(path, read_only=self.mode is not Mode.TEACH)
            self._compare_mounting(self._store)
        else:
            _require_new(path)
        if self._node.out:
            config = dump_yaml(self._settings)
            self._run_log = RunLog(Path(self._node.out).expanduser(), config, self._node.source, match_every=10)

    def _compare_mounting(self, store: MapStore) -> None:
        given = self._base_T_camera
        if not np.allclose(given, BASE_T_OPTICAL) and not np.allclose(given, store.base_T_camera, atol=1e-3):
            _log.warning("base_T_camera is not that of the map %s, whose own is used", store.path)

    def begin(self, camera: StereoCamera) -> None:
        """Start with a camera.

        Raises:
            MapError: the map is of another camera or of other features, or cannot be made.
            ConfigError: the descriptor cannot be computed here, or nobody knows the condition of the settings.
        """
        if self.mode is not Mode.TEACH:
            assert self._store is not None
            self._localizer = Localizer(camera, self._store, self._settings, self._stages)
            self._note(self._store, {"descriptor": self._localizer.descriptor})
            return
        if self._store is None:
            extractor = self._settings.features.create()
            path = Path(self._node.map).expanduser()
            self._store = MapStore.create(path, camera, self._base_T_camera, extractor.name, extractor.fingerprint)
        self._teacher = Teacher(camera, self._store, self._settings, self._node.source)
        self._note(self._store, {})

    def _note(self, store: MapStore, model: dict[str, str]) -> None:
        self._keyframes = sum(session.keyframes for session in store.sessions())
        self._model = {"features": f"{store.feature_name} ({store.feature_fingerprint})", **model}

    def tune(self, node: LocalizationNodeSettings, settings: Settings) -> None:
        """Take over the live ones of other settings, from the next frame on; the record of the run says so.

        Raises:
            VlocError: the record cannot be written; they are taken over all the same.
        """
        before, now = to_flat_dict(self._settings), to_flat_dict(settings)
        self._node, self._settings = node, settings
        for part in (self._teacher, self._localizer):
            if part is not None:
                part.tune(settings)
        changes = {name: (before[name], value) for name, value in now.items() if before[name] != value}
        if self._run_log is not None and changes:
            self._run_log.changed(dump_yaml(settings), changes)

    def look_after_map(self) -> str:
        """Whether the map's file was removed or replaced while it is open, in a sentence; empty when all is well.

        While teaching, a file that was removed is written anew: nothing of what was taught is lost.

        Raises:
            MapError: that cannot be done; it can be tried again.
        """
        if self._store is None or self._store.in_place:
            return ""
        if self.mode is not Mode.TEACH:
            return (
                f"the map {self._store.path} was removed or replaced while it is in use: what was opened is used on; "
                "put it back, or start the node again with the new one"
            )
        self._store.put_back()
        return f"the map {self._store.path} was removed while it was taught; it was written anew, with all that was taught"

    def take_stage_problem(self) -> str:
        """What was wrong with what the map holds for the stages after a search since the last call; empty when nothing was."""
        return "" if self._localizer is None else self._localizer.take_stage_problem()

    def require_known(self, condition: str) -> None:
        """Make sure that somebody knows a condition of live images, where it is known already who is asked; any thread may ask.

        Raises:
            ConfigError: nobody does.
        """
        localizer = self._localizer
        if localizer is not None:
            localizer.require_known(condition)

    def process(self, frame: StereoFrame, motion: Motion | None) -> FrameResult:
        """Process one frame.

        Raises:
            MapError: the map cannot be read or written; it holds what it held before, and the next frame may be tried.
        """
        if self._teacher is None:
            assert self._localizer is not None
            return self._localizer.process(frame, motion)
        result = self._teacher.process(frame, motion, force_keyframe=self._force_keyframe)
        self._force_keyframe = False
        return result

    def log(self, result: FrameResult) -> None:
        """Record the result of a frame, where that is asked for.

        Raises:
            VlocError: the log cannot be written.
        """
        if self._run_log is not None:
            self._run_log.add(result)

    def force_keyframe(self) -> str:
        """Make the next frame a keyframe.

        Raises:
            VlocError: nothing is being taught.
        """
        if self.mode is not Mode.TEACH or self._finished:
            raise VlocError("keyframes are made only while teaching")
        self._force_keyframe = True
        return "the next frame becomes a keyframe"

    def reset(self) -> str:
        """Forget where the robot is.

        Raises:
            VlocError: nothing has begun, or a route is being taught.
        """
        if self._localizer is None:
            teaching = self.mode is Mode.TEACH
            raise VlocError(
                "a route is being taught: there is no localisation to reset" if teaching else "no camera_info has arrived yet"
            )
        self._localizer.reset()
        return "searching the whole map"

    def set_pose(self, map_T_base: Array, covariance: Array) -> None:
        """The operator says where the robot is.

        Raises:
            VlocError: nothing has begun, or a route is being taught.
        """
        if self._localizer is None:
            raise VlocError("an initial pose was ignored: it needs a map to localise against, and camera_info")
        self._localizer.set_pose(map_T_base, covariance)

    def finish(self) -> str:
        """Stop teaching and close the map.

        Raises:
            VlocError: nothing is being taught.
        """
        if self.mode is not Mode.TEACH:
            raise VlocError("nothing is being taught: the node runs in mode " + self.mode.value)
        taught = 0 if self._store is None else sum(session.keyframes for session in self._store.sessions())
        self.close()
        self._finished = True
        return f"the map {self._node.map} is closed with {taught} keyframes"

    def image_of(self, keyframe: KeyframeId) -> Image | None:
        """The image of a keyframe; None when the map has none."""
        return None if self._store is None else self._store.image(keyframe)

    def close(self) -> None:
        """Close the map and the log. Closing twice does no harm.

        Raises:
            VlocError: the last of the data cannot be written.
        """
        teacher, self._teacher = self._teacher, None
        store, self._store = self._store, None
        log, self._run_log = self._run_log, None
        self._localizer = None
        closers = [part.close for part in (teacher, store, log) if part is not None]
        failures: list[VlocError] = []
        if self.mode is Mode.TEACH and store is not None and not store.in_place:
            closers.insert(0, store.put_back)
        for close in closers:
            try:
                close()
            except VlocError as error:
                failures.append(error)
                _log.error("%s", error)
        if failures:
            raise failures[0]


def _require_new(path: Path) -> None:
    """A map that cannot be made should be known before the robot drives off.

    Raises:
        MapError: the file exists, or its folder does not, or it cannot be written.
    """
    if path.exists():
        raise MapError(f"the map {path} exists already; set append:=true to add to it, or choose another name")
    if not path.parent.is_dir():
        raise MapError(f"the map {path} cannot be made: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise MapError(f"the map {path} cannot be made: the folder {path.parent} cannot be written")
