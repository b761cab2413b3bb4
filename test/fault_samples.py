"""A localization node under faults: a camera that can be told what to do wrong, and a judge who knows the truth of the corridor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from vloc_ros.config import replace
from vloc_ros.data import StereoFrame
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.mapping.integrity import check_map
from vloc_ros.ros import qos
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header, pose_from_ros, stamp_to_ns
from vloc_ros.ros.images import image_to_ros
from vloc_ros.settings import Settings

SETTINGS = {"keyframes.distance": 0.25, "features.max_features": 500}
PARAMETERS = {**SETTINGS, "qos.reliability": "reliable", "qos.depth": 20, "timeout": 1.0}
COUNT = 10
POSES = samples.walk(COUNT)
PERIOD_S, PATIENCE_S = 0.1, 60.0
WRONG_M, WRONG_RAD = 0.08, 0.04
"""A published pose further from the truth than this is wrong: the poses of the corridor lie 0.08 m apart."""

Sending = list[tuple[float, str, Any]]
"""What is sent for one frame: delay [s], side, and a message."""
Play = Callable[["Bench", int, int], Sending]
"""Makes what is sent of a bench's pose number at a stamp [ns]."""


@cache
def views(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right image from the pose of a number."""
    return samples.pair(POSES[index])


def teach(file: Path, keyframe_distance: float = SETTINGS["keyframes.distance"]) -> Path:
    """Teach the corridor into a new map, by the library."""
    settings = replace(Settings(), {**SETTINGS, "keyframes.distance": keyframe_distance})
    extractor = settings.features.create()
    with MapStore.create(file, samples.CAMERA, BASE_T_OPTICAL, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(samples.CAMERA, store, settings)
        for index in range(COUNT):
            teacher.process(StereoFrame(index * 100_000_000, *views(index)))
        teacher.close()
    return file


def kept(path: Path) -> list[str]:
    """Names of the keyframes of a map that is in good order."""
    assert check_map(path) == []
    with MapStore.open(path, read_only=True) as store:
        return [str(keyframe.id) for keyframe in store.keyframes()]


class Camera:
    """A node that publishes images and camera_info; another one has other GUIDs."""

    def __init__(self, probe: samples.Probe, kind: Any = Image, topics: tuple[str, str] = ("left/image_rect", "right/image_rect")):
        self._probe, self.topics = probe, topics
        self.node = rclpy.create_node("camera", context=probe.node.context)
        self.images = {
            side: self.node.create_publisher(kind, topic, qos.reliable(20))
            for side, topic in zip(("left", "right"), topics, strict=True)
        }
        sides = ("left", "right") if topics[0].startswith("left") else ("rgb",)
        self.infos = [self.node.create_publisher(CameraInfo, f"{side}/camera_info", qos.reliable()) for side in sides]

    def connect(self) -> None:
        """Wait until somebody listens to everything."""
        for publisher in (*self.images.values(), *self.infos):
            self._probe.wait(publisher.get_subscription_count, f"a subscriber of {publisher.topic_name}", PATIENCE_S)

    def calibrate(self, camera: StereoCamera = samples.CAMERA, change: Callable[[CameraInfo], None] | None = None) -> None:
        """Publish camera_info, changed where that is asked for."""
        for publisher, info in zip(self.infos, camera_info(camera, 0, "camera"), strict=False):
            if change is not None:
                change(info)
            publisher.publish(info)

    def unplug(self) -> None:
        """Destroy the publishers and their node."""
        self.node.destroy_node()


class Bench:
    """The node, the camera beside it, and what is heard from both."""

    def __init__(self, node: samples.NodeProcess, probe: samples.Probe, camera: Camera, environment: Mapping[str, str]) -> None:
        self.node, self.probe, self.camera, self.environment = node, probe, camera, environment
        self.poses = probe.listen(PoseWithCovarianceStamped, "pose")
        self.processed = probe.listen(Header, "processed")
        self._diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        self.truth: dict[int, np.ndarray] = {}
        self.clock: Callable[[], int] = time.time_ns
        self.before_frame: Callable[[int], None] | None = None
        self.offset_ns = self._shown = 0
        self._pending: list[tuple[float, str, Any]] = []

    @property
    def values(self) -> dict[str, str]:
        """Keys and values of the newest diagnostics of the node."""
        newest = self._diagnostics[-1] if self._diagnostics else DiagnosticArray()
        return {pair.key: pair.value for status in newest.status for pair in status.values}

    @property
    def problems(self) -> dict[str, str]:
        """What the newest diagnostics complain of; a disk of this machine that is nearly full is nobody's fault here."""
        return {key: text for key, text in self.values.items() if key.startswith("problem_") and key != "problem_disk"}

    def number(self, key: str) -> int:
        return int(self.values.get(key, "0"))

    def stamp(self) -> int:
        """The next stamp [ns]: of ``clock``, moved by ``offset_ns``."""
        return self.clock() + self.offset_ns

    def wait(self, until: Callable[[], Any], what: str) -> None:
        """As :meth:`play`, but the camera shows nothing."""
        self.probe.wait(until, what, PATIENCE_S)

    def play(self, until: Callable[[], Any], what: str, make: Play | None = None) -> None:
        """Drive to and fro along the corridor, a frame in 0.1 s, until something holds."""
        deadline, frame_at = time.monotonic() + PATIENCE_S, time.monotonic()
        while not until():
            now = time.monotonic()
            assert self.node.process.poll() is None, f"the node has ended:\n{self.node.output}"
            assert now < deadline, f"{what} did not come; {self.values}\n{self.node.output[-3000:]}"
            if now >= frame_at:
                frame_at = now + PERIOD_S
                self._make_frame(now, make or usual)
            self._send_due(now)
            time.sleep(0.01)

    def _make_frame(self, now: float, make: Play) -> None:
        lap = [*range(COUNT), *range(COUNT - 2, 0, -1)]
        index, self._shown = lap[self._shown % len(lap)], self._shown + 1
        stamp_ns = self.stamp()
        self.truth[stamp_ns] = POSES[index]
        if self.before_frame is not None:
            self.before_frame(stamp_ns)
        self._pending += [(now + delay, side, message) for delay, side, message in make(self, index, stamp_ns)]

    def _send_due(self, now: float) -> None:
        due = sorted((entry for entry in self._pending if entry[0] <= now), key=lambda entry: entry[0])
        self._pending = [entry for entry in self._pending if entry[0] > now]
        for _, side, message in due:
            self.camera.images[side].publish(message)

    def play_to_poses(self, what: str, make: Play | None = None) -> None:
        """Drive until some poses have come, more than can be left of what was shown before."""
        before = len(self.poses)
        self.play(lambda: len(self.poses) > before + 3, f"poses {what}", make)

    def recover(self) -> None:
        """The fault is over: drive with a camera in good order until all is well, and judge every pose on the way."""
        self.offset_ns, self._pending = 0, []
        self.well()

    def well(self) -> None:
        """Drive until it is localised by new frames and the newest diagnostics complain of nothing."""
        poses, reports = len(self.poses), len(self._diagnostics)
        self.play(
            lambda: len(self.poses) > poses + 2 and len(self._diagnostics) > reports and self._is_well,
            f"poses and diagnostics without a problem ({self.problems})",
        )
        self.judge()

    @property
    def _is_well(self) -> bool:
        return not self.problems and self.values.get("state") == "localised" and self.values.get("reason") == ""

    def judge(self, tolerance_m: float = WRONG_M, tolerance_rad: float = WRONG_RAD) -> int:
        """Compare every pose published so far with the truth; returns how many there were, and forgets them."""
        heard, self.poses[:] = list(self.poses), []
        world_T_map = POSES[0] @ se3.inverse(BASE_T_OPTICAL)
        for message in heard:
            stamp_ns = stamp_to_ns(message.header.stamp)
            found = world_T_map @ pose_from_ros(message.pose.pose) @ BASE_T_OPTICAL
            # The stamps of the camera of fault_peer.py tell the pose themselves.
            truth = self.truth[stamp_ns] if stamp_ns in self.truth else POSES[stamp_ns % 1000]
            error = se3.between(truth, found)
            # A pose that is only predicted, as of a blank image, must say how unsure it is.
            unsure_m = 3.0 * float(np.sqrt(np.linalg.eigvalsh(message.pose.covariance.reshape(6, 6)[:3, :3])[-1]))
            assert se3.translation_norm(error) < max(tolerance_m, unsure_m), f"a wrong pose at {stamp_ns}: {error}"
            assert se3.rotation_angle(error) < tolerance_rad, f"a wrong attitude at {stamp_ns}: {error}"
        return len(heard)


def message(stamp_ns: int, image: np.ndarray, **changes: Any) -> Image:
    """An image message, with some fields changed."""
    made = image_to_ros(image, header(stamp_ns, "camera"))
    for name, changed in changes.items():
        setattr(made, name, changed)
    return made


@cache
def depth_view(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Left image and its (H, W) float32 depth [m] from the pose of a number."""
    return samples.render_with_depth(POSES[index])


def usual(_bench: Bench, index: int, stamp_ns: int) -> Sending:
    """A camera in good order."""
    left, right = views(index)
    return [(0.0, "left", message(stamp_ns, left)), (0.0, "right", message(stamp_ns, right))]


@contextmanager
def bench(parameters: Mapping[str, Any], folder: Path, kind: Any = Image, topics: tuple[str, str] | None = None) -> Iterator[Bench]:
    """A node with its camera, not yet calibrated; in the end the node must still run, and end as it should."""
    environment = samples.ros_environment()
    with (
        samples.node("localization", {**PARAMETERS, **parameters}, folder, environment) as node,
        samples.probe(environment) as probe,
    ):
        camera = Camera(probe, kind) if topics is None else Camera(probe, kind, topics)
        made = Bench(node, probe, camera, environment)
        camera.connect()
        yield made
        assert node.end() == 0, node.output
        assert "Traceback" not in node.output
