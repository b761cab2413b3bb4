"""A small rendered corridor with known truth, and nodes as processes, for the tests of the ROS side."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from vloc_ros.config import replace
from vloc_ros.data import StereoFrame
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.processes import NodeSpec, child_environment, command_of, free_domain_id
from vloc_ros.ros import qos
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header
from vloc_ros.ros.images import image_to_ros
from vloc_ros.settings import Settings

MAP_SETTINGS = {"keyframes.distance": 0.25, "features.max_features": 500}
CAMERA = StereoCamera(320, 240, 200.0, 200.0, 159.5, 119.5, 0.2)
_TEXEL_M, _TEXELS = 0.02, 1024
# Planes of a corridor: (normal, offset, axes of the texture), n . p = d in the frame of the first camera (z forward, y down).
_PLANES = (
    (np.array([0.0, 1.0, 0.0]), 1.2, (0, 2)),
    (np.array([0.0, -1.0, 0.0]), 1.5, (0, 2)),
    (np.array([1.0, 0.0, 0.0]), 2.0, (1, 2)),
    (np.array([-1.0, 0.0, 0.0]), 2.2, (1, 2)),
    (np.array([0.0, 0.0, 1.0]), 12.0, (0, 1)),
)


@cache
def _texture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    total = np.zeros((_TEXELS, _TEXELS), dtype=np.float32)
    for cells, weight in ((400, 1.0), (150, 1.5), (50, 2.0)):
        noise = rng.standard_normal((cells, cells)).astype(np.float32)
        total += weight * cv2.resize(noise, (_TEXELS, _TEXELS), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(128 + 55 * total / np.std(total), 0, 255), dtype=np.float32)


def render(world_T_camera: np.ndarray, place: int = 0, camera: StereoCamera = CAMERA) -> np.ndarray:
    """(H, W) uint8 view of the corridor number ``place`` from a camera pose."""
    return render_with_depth(world_T_camera, place, camera)[0]


def render_with_depth(world_T_camera: np.ndarray, place: int = 0, camera: StereoCamera = CAMERA) -> tuple[np.ndarray, np.ndarray]:
    """The view, and its (H, W) float32 depth [m]."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float64)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
    rays = rays @ world_T_camera[:3, :3].T
    origin = world_T_camera[:3, 3]
    nearest = np.full(u.shape, np.inf)
    image = np.zeros(u.shape, dtype=np.float32)
    for number, (normal, offset, axes) in enumerate(_PLANES):
        with np.errstate(divide="ignore"):
            depth = (offset - normal @ origin) / (rays @ normal)
        seen = (depth > 0.05) & (depth < nearest)
        points = origin + depth[..., None].clip(0, 100) * rays
        texture = _texture(100 * place + number)
        x, y = (np.asarray((points[..., axis] + 5.0) / _TEXEL_M % (_TEXELS - 1), dtype=np.float32) for axis in axes)
        image = np.where(seen, cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), image)
        nearest = np.where(seen, depth, nearest)
    return image.astype(np.uint8), nearest.astype(np.float32)


def pair(world_T_camera: np.ndarray, place: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Left and right image."""
    right = se3.from_rotation_translation(np.eye(3), np.array([CAMERA.baseline, 0.0, 0.0]))
    return render(world_T_camera, place), render(world_T_camera @ right, place)


def walk(count: int, offset: float = 0.0, step: float = 0.08) -> list[np.ndarray]:
    """Poses of a camera that walks down the corridor and sways a little."""
    poses = []
    for index in range(count):
        z = offset + step * index
        twist = np.array([0.1 * np.sin(z), 0.02 * np.sin(2 * z), z, 0.0, 0.05 * np.sin(z), 0.0])
        pose = se3.exp(np.array([0.0, 0.0, 0.0, *twist[3:]]))
        pose[:3, 3] = twist[:3]
        poses.append(pose)
    return poses


def write_recording(folder: Path, poses: list[np.ndarray], place: int = 0, camera: StereoCamera = CAMERA) -> Path:
    """A KITTI folder of the corridor, 10 Hz."""
    for side in ("image_0", "image_1"):
        (folder / side).mkdir(parents=True)
    for index, pose in enumerate(poses):
        for side, image in zip(("image_0", "image_1"), pair(pose, place), strict=True):
            cv2.imwrite(str(folder / side / f"{index:06d}.png"), image)
    left, right = camera.projection_matrices
    lines = [f"P{number}: " + " ".join(f"{value:.12g}" for value in P.ravel()) for number, P in enumerate((left, right))]
    (folder / "calib.txt").write_text("\n".join(lines) + "\n")
    np.savetxt(folder / "poses.txt", [pose[:3].ravel() for pose in poses])
    np.savetxt(folder / "times.txt", 100.0 + 0.1 * np.arange(len(poses)))
    return folder


def teach_corridor(file: Path, poses: list[np.ndarray], place: int = 0) -> Path:
    """A map of the corridor, taught by the library."""
    settings = replace(Settings(), MAP_SETTINGS)
    extractor = settings.features.create()
    with MapStore.create(file, CAMERA, se3.BASE_T_OPTICAL, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(CAMERA, store, settings)
        for index, pose in enumerate(poses):
            teacher.process(StereoFrame(index * 100_000_000, *pair(pose, place)))
        teacher.close()
    return file


class NodeProcess:
    """A node in a process of its own."""

    def __init__(
        self, executable: str, parameters: Mapping[str, Any], folder: Path, environment: Mapping[str, str], **spec: Any
    ) -> None:
        name = spec.pop("name", executable)
        self._start(command_of(NodeSpec(name, executable, parameters, **spec), folder), folder / name, environment)

    @classmethod
    def of_command(cls, command: list[str], name: Path, environment: Mapping[str, str]) -> NodeProcess:
        """One that is started by another command; ``name`` is the beginning of the name of its log."""
        made = cls.__new__(cls)
        made._start(command, name, environment)
        return made

    def _start(self, command: list[str], name: Path, environment: Mapping[str, str]) -> None:
        self.output_file = name.with_name(f"{name.name}_{time.monotonic_ns()}.log")
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=child_environment(environment), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    @property
    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    def wait_for_output(self, text: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.output}"
            assert time.monotonic() < deadline, f"'{text}' did not come:\n{self.output}"
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGINT, timeout_s: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 20.0) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end within {timeout_s} s:\n{self.output}") from None


@contextmanager
def node(
    executable: str, parameters: Mapping[str, Any], folder: Path, environment: Mapping[str, str], **spec: Any
) -> Iterator[NodeProcess]:
    """Run a node; it is killed at the end if it still runs."""
    with ended(NodeProcess(executable, parameters, folder, environment, **spec)) as running:
        yield running


@contextmanager
def ended(running: NodeProcess) -> Iterator[NodeProcess]:
    """Kill it at the end if it still runs."""
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def ros_environment() -> dict[str, str]:
    """Variables that keep a test to itself."""
    return {"ROS_DOMAIN_ID": str(free_domain_id()), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


class Probe:
    """A node in this process that plays the camera and listens to the localization, spun by a thread."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = environment["ROS_AUTOMATIC_DISCOVERY_RANGE"]
        self._context = rclpy.Context()
        rclpy.init(
            context=self._context, domain_id=int(environment["ROS_DOMAIN_ID"]), signal_handler_options=SignalHandlerOptions.NO
        )
        self.node = rclpy.create_node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._publishers: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def listen(self, kind: Any, topic: str, latched: bool = False) -> list[Any]:
        """A list that fills with the messages of a topic."""
        received: list[Any] = []

        def take(message: Any) -> None:
            with self._changed:
                received.append(message)
                self._changed.notify_all()

        self.node.create_subscription(kind, topic, take, qos.latched(100) if latched else qos.reliable(100))
        return received

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = 25.0) -> None:
        with self._changed:
            deadline = time.monotonic() + timeout_s
            while not condition():
                assert time.monotonic() < deadline, f"{what} did not come"
                self._changed.wait(0.05)

    def publish(self, topic: str, message: Any) -> None:
        """Publish; the first time, wait for a subscriber."""
        if topic not in self._publishers:
            profile = qos.latched(1000) if topic in ("keyframes", "loop_closures/candidates", "model") else qos.reliable(20)
            self._publishers[topic] = self.node.create_publisher(type(message), topic, profile)
            self.wait(lambda: self._publishers[topic].get_subscription_count() > 0, f"a subscriber of {topic}")
            time.sleep(0.3)
        self._publishers[topic].publish(message)

    def subscribers(self) -> list[int]:
        """How many each topic that was published on has now."""
        return [publisher.get_subscription_count() for publisher in self._publishers.values()]

    def calibrate(self, camera: StereoCamera = CAMERA, space: str = "") -> None:
        for side, info in zip(("left", "right"), camera_info(camera, 0, "camera"), strict=True):
            self.publish(_within(space, f"{side}/camera_info"), info)

    def show(self, stamp_ns: int, left: Any, right: Any, space: str = "") -> None:
        """Publish a pair of arrays or of messages, in a namespace."""
        for side, image in (("left", left), ("right", right)):
            message = image if not isinstance(image, np.ndarray) else image_to_ros(image, header(stamp_ns, "camera"))
            self.publish(_within(space, f"{side}/image_rect"), message)

    def call(self, service: str, request: Any, kind: Any = Trigger) -> Any:
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(20.0), f"no service {service}"
        future = client.call_async(request)
        self.wait(future.done, f"the answer of {service}")
        self.node.destroy_client(client)
        return future.result()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


def _within(space: str, topic: str) -> str:
    return f"{space}/{topic}" if space else topic


@contextmanager
def probe(environment: Mapping[str, str]) -> Iterator[Probe]:
    listener = Probe(environment)
    try:
        yield listener
    finally:
        listener.close()
