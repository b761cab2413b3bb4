"""What happens to each pair of images in the worker's thread: decode, process, publish, count."""

from __future__ import annotations

import time

from vloc_ros.data.frame import StereoFrame
from vloc_ros.errors import CalibrationError, MapError, VlocError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.motion_buffer import MotionBuffer
from vloc_ros.localization import FrameResult
from vloc_ros.ros.decoding import FrameRejectedError, Pair, decode_pair
from vloc_ros.ros.node_settings import CameraSettings, Mode
from vloc_ros.ros.outputs import Outputs
from vloc_ros.ros.pipeline import Pipeline
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.statistics import DropReason, Statistics
from vloc_ros.ros.sync import JUMP_BACK_NS

_JUMP_FORWARD_S = 10.0
"""Stamps that go on by so much more than the time between two arrivals are not of a clock that runs."""


class FrameLoop:
    """Takes pairs to results. Lives in one thread, but for ``last``."""

    def __init__(
        self, camera: CameraSettings, pipeline: Pipeline, outputs: Outputs, statistics: Statistics, problems: Problems
    ) -> None:
        self._settings, self._pipeline, self._outputs = camera, pipeline, outputs
        self._statistics, self._problems = statistics, problems
        self._camera: StereoCamera | None = None
        self._stamp_ns: int | None = None
        self._arrived = 0.0
        self._unstored = False
        self.wheel = MotionBuffer()
        self.output_at = float("-inf")
        """When a believed pose was published last, on the steady clock [s]."""
        self.last: FrameResult | None = None
        """The newest result, for whoever wants to look at it."""

    def begin(self, camera: StereoCamera) -> None:
        """The camera is known.

        Raises:
            VlocError: the map does not fit it.
        """
        self._pipeline.begin(camera)
        self._camera = camera
        self._outputs.path(0, self._pipeline.route)

    def handle(self, pair: Pair) -> None:
        """Process one pair and publish what came of it; ``processed`` is published in any case."""
        try:
            self._handle(pair)
        except FrameRejectedError as error:
            self._statistics.dropped(error.reason)
            self._problems.report(Problem.BAD_FRAME, f"a frame was refused: {error}")
        except MapError as error:
            # A full disk or a map that was taken away is no reason to end: there may be room again, and nothing stored is lost.
            self._unstored = self._pipeline.mode is Mode.TEACH
            self._statistics.dropped(DropReason.MAP)
            self._problems.report(Problem.MAP, str(error))
        finally:
            self._outputs.processed(pair.stamp_ns, pair.left.header.frame_id)

    def _handle(self, pair: Pair) -> None:
        if self._camera is None:
            raise CalibrationError("a frame was handed in before the camera was known")
        if self._pipeline.finished:
            self._statistics.dropped(DropReason.FINISHED)
            return
        if self._jumped_back(pair.stamp_ns) and self._pipeline.mode is Mode.TEACH:
            self._statistics.dropped(DropReason.OLD)
            return
        started = time.monotonic()
        frame = decode_pair(pair, self._camera, self._settings)
        decoded = time.monotonic()
        self._problems.clear(Problem.BAD_FRAME)
        motion = None if self._stamp_ns is None else self.wheel.motion(self._stamp_ns, pair.stamp_ns)
        trouble = self._pipeline.look_after_map()
        result = self._pipeline.process(frame, motion)
        self._map_used(result, trouble)
        self._look_ahead(pair)
        self._stamp_ns, self._arrived = pair.stamp_ns, pair.arrived
        processed = time.monotonic()
        self._publish(result, frame, pair.left.header.frame_id)
        done = time.monotonic()
        stages = {
            "decode": decoded - started,
            "process": processed - decoded,
            "publish": done - processed,
            "waited": started - pair.arrived,
            "latency": done - pair.arrived,
        }
        self._statistics.processed({stage: 1e3 * seconds for stage, seconds in stages.items()} | result.timings_ms)

    def _map_used(self, result: FrameResult, trouble: str) -> None:
        """What became of the map; after a failed write all is well only when a keyframe was stored again."""
        if trouble or result.keyframe is not None:
            self._unstored = False
        if trouble:
            self._problems.report(Problem.MAP, trouble)
        elif not self._unstored:
            self._problems.clear(Problem.MAP)
        self._problems.report_or_clear(Problem.PATCHES, self._pipeline.take_stage_problem())
        try:
            self._pipeline.log(result)
        except VlocError as error:
            self._problems.report(Problem.OUTPUT, str(error))
        else:
            self._problems.clear(Problem.OUTPUT)

    def _publish(self, result: FrameResult, frame: StereoFrame, frame_id: str) -> None:
        self.last = result
        self._outputs.frame(result)
        if result.map_T_base is not None:
            self.output_at = time.monotonic()
        if result.reason is not None:
            self._statistics.rejected(result.reason, result.stamp_ns)
        if self._outputs.wants_matches:
            self._outputs.matches(result, frame.left, self._pipeline.image_of, frame_id)

    def _look_ahead(self, pair: Pair) -> None:
        """Whether the stamps jumped forward; the motion is that of the images, so localisation goes on."""
        ahead = 0.0 if self._stamp_ns is None else (pair.stamp_ns - self._stamp_ns) * 1e-9 - (pair.arrived - self._arrived)
        if ahead <= _JUMP_FORWARD_S:
            self._problems.clear(Problem.TIME_JUMPED_FORWARD)
            return
        text = f"the stamps of the images jumped forward by {ahead:.0f} s: was a clock set, or does a recording have a gap?"
        self._problems.report(Problem.TIME_JUMPED_FORWARD, text)

    def _jumped_back(self, stamp_ns: int) -> bool:
        """Whether time has started again (a bag in a loop): localisation starts afresh then, and teaching cannot go on."""
        if self._stamp_ns is None or stamp_ns >= self._stamp_ns - JUMP_BACK_NS:
            self._problems.clear(Problem.TIME_JUMPED_BACK)
            return False
        teaching = self._pipeline.mode is Mode.TEACH
        what = "frames are refused until it has caught up" if teaching else "localisation starts afresh (a bag in a loop?)"
        back = (self._stamp_ns - stamp_ns) * 1e-9
        self._problems.report(Problem.TIME_JUMPED_BACK, f"the stamps of the images jumped back by {back:.1f} s: {what}")
        return True
