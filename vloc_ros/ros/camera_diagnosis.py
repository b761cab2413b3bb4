"""Why a node that listens to a camera has no output: the checks of `vloc doctor`, while it is so."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from vloc_ros.diagnosis import Finding, check_disk, examine_messages, examine_pixels, examine_topics
from vloc_ros.diagnosis.frames import check_tf
from vloc_ros.ros.camera_input import CameraInput
from vloc_ros.ros.findings import FoundProblems
from vloc_ros.ros.pairing_watch import PairingWatch
from vloc_ros.ros.problems import Problems
from vloc_ros.ros.tf_facts import TfListener

Array = NDArray[np.float64]
Run = Callable[[Callable[[], list[Finding]]], "Future[list[Finding]]"]
EVERY_S = 10.0
"""The checks that cost something, pixels and tf and disk, are made once in this time."""
_MOMENT_S = 3.0
"""Whether left and right are of one moment is looked at so often, also while all is well: it spoils poses without a sign."""


class CameraDiagnosis:
    """Call :meth:`look` about once a second. Belongs to the executor's thread, but for the pixels, which ``run`` takes away."""

    def __init__(
        self, node: Node, problems: Problems, camera: CameraInput, base: str, mount: Array | None, map_path: Path, run: Run
    ) -> None:
        """Begin.

        Args:
            node: whose input it is.
            problems: told what is found.
            camera: the input.
            base: frame of the robot.
            mount: (4, 4) ``base_T_camera`` as configured; None when that was left at its default.
            map_path: of the map, for the room on its disk.
            run: runs the checks of pixels in a thread where they hold nothing up.
        """
        self._node, self._camera, self._base, self._mount = node, camera, base, mount
        self._map, self._run = map_path, run
        self._found, self._room = FoundProblems(problems), FoundProblems(problems)
        self._pairing, self._moment = PairingWatch(problems), FoundProblems(problems)
        self._of_moment: list[Finding] = []
        self._tf: TfListener | None = None
        self._of_pixels: list[Finding] = []
        self._of_tf: list[Finding] = []
        self._looked_at = self._room_at = self._moment_at = float("-inf")

    def look(self, idle_s: float, patience_s: float) -> None:
        """Find the cause if there has been no output for so long; forget what was found when there is some again."""
        self._look_at_disk()
        self._pairing.look(self._camera.counts)
        self._look_at_moment()
        if idle_s <= patience_s:
            self._camera.watch()
            self._rest()
            return
        facts = self._camera.facts()
        now = time.monotonic()
        if self._tf is not None:
            # It has listened since the last look.
            tf = self._tf.facts(self._base, facts.streams[0].frame_id, self._mount)
            found_of_tf = check_tf(tf)
            self._of_tf = [] if found_of_tf is None else [found_of_tf]
            self._close_tf()
        elif now - self._looked_at > EVERY_S:
            self._looked_at = now
            self._tf = TfListener(self._node)
            self._run(lambda: examine_pixels(self._camera.pixels_of(facts))).add_done_callback(self._pixels_seen)
        found = [*examine_topics(facts), *examine_messages(facts), *self._of_tf, *self._of_pixels]
        self._found.set(found, [topic.name for topic in facts.infos])

    def _look_at_disk(self) -> None:
        now = time.monotonic()
        if now - self._room_at > EVERY_S:
            self._room_at = now
            self._room.set([check_disk(self._map)])

    def _look_at_moment(self) -> None:
        self._moment.set(self._of_moment)
        now = time.monotonic()
        if now - self._moment_at > _MOMENT_S:
            self._moment_at = now
            self._run(self._camera.moment).add_done_callback(self._moment_seen)

    def _moment_seen(self, outcome: Future[list[Finding]]) -> None:
        """What cannot be told now leaves it at what was told last."""
        if not outcome.cancelled() and outcome.exception() is None:
            self._of_moment = outcome.result() or self._of_moment

    def _pixels_seen(self, outcome: Future[list[Finding]]) -> None:
        if not outcome.cancelled() and outcome.exception() is None:
            self._of_pixels = outcome.result()
        else:
            self._of_pixels = []
            self._node.get_logger().warning(f"the images could not be looked at: {outcome.exception()!r}")

    def _rest(self) -> None:
        self._of_pixels, self._of_tf = [], []
        self._looked_at = float("-inf")
        self._close_tf()
        self._found.set([])

    def _close_tf(self) -> None:
        if self._tf is not None:
            self._tf.close()
            self._tf = None

    def close(self) -> None:
        """Listen no more, and take back what was found of the input."""
        self._pairing.close()
        self._of_moment = []
        self._moment.set([])
        self._rest()
