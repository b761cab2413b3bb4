"""The topics of a simulated drone: its camera and instruments go out, the positions that the node ``aerial`` finds come back."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo as Info
from sensor_msgs.msg import FluidPressure, Image, Imu, NavSatFix, NavSatStatus, Range

from vloc_ros.aerial.attitude import standard_pressure_pa
from vloc_ros.data.frame import Image as Pixels
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.ros.aerial_messages import imu_to_ros
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header, stamp_to_ns
from vloc_ros.ros.images import image_to_ros
from vloc_ros.ros.qos import reliable
from vloc_ros.simulation.flight import Readings

GROUND_M = 430.0
"""Altitude of the mean ground of a simulated world above the sea."""
_DEPTH, _SPIN_S = 100, 0.05


class DroneTopics:
    """A node in a context and a domain of its own, spun by a thread."""

    def __init__(self, domain_id: int, camera: StereoCamera, *, laser: bool = True) -> None:
        """Advertise.

        Args:
            domain_id: ROS domain of the node ``aerial``.
            camera: what camera_info says.
            laser: publish the range; else the pressure.
        """
        self._context = rclpy.Context()  # type: ignore[attr-defined]
        rclpy.init(context=self._context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("drone", context=self._context)
        self._info = camera_info(camera, 0, "camera")[0]
        self._camera_info = self._node.create_publisher(Info, "camera_info", reliable())
        self._image = self._node.create_publisher(Image, "image", reliable())
        self._imu = self._node.create_publisher(Imu, "imu", reliable(_DEPTH))
        self._range = self._node.create_publisher(Range, "range", reliable(_DEPTH)) if laser else None
        self._pressure = None if laser else self._node.create_publisher(FluidPressure, "pressure", reliable(_DEPTH))
        self._answers: dict[int, tuple[NavSatFix, float]] = {}
        self._changed = threading.Condition()
        self._node.create_subscription(NavSatFix, "fix", self._take, reliable(_DEPTH))
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, reliable())
        self.diagnostics: dict[str, str] = {}
        """Keys and values of the newest that the node said."""
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="drone", daemon=True)
        self._thread.start()

    def __enter__(self) -> DroneTopics:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=_SPIN_S)

    def _take(self, message: NavSatFix) -> None:
        with self._changed:
            self._answers[stamp_to_ns(message.header.stamp)] = message, time.monotonic()
            self._changed.notify_all()

    def _hear(self, message: DiagnosticArray) -> None:
        self.diagnostics = {pair.key: pair.value for status in message.status for pair in status.values}

    def refusals(self, wait_s: float = 2.5) -> dict[str, int]:
        """Photos without a position by reason, as the node counts them; waits for the report after the last photo."""
        time.sleep(wait_s)
        before = "refused_"
        counts = {key.removeprefix(before): value for key, value in self.diagnostics.items() if key.startswith(before)}
        return {reason: int(count) for reason, count in counts.items() if count.isdigit()}

    @property
    def is_heard(self) -> bool:
        """Whether somebody listens to the images, and somebody answers."""
        return self._image.get_subscription_count() > 0 and self._node.count_publishers("fix") > 0

    def feel(self, readings: Readings) -> None:
        """Publish what the instruments say, and the calibration of the camera."""
        stamp_ns = readings.stamp_ns
        self._camera_info.publish(self._info)
        self._imu.publish(imu_to_ros(stamp_ns, "base_link", readings.heading_deg, readings.roll, readings.pitch))
        if self._range is not None:
            self._range.publish(
                Range(header=header(stamp_ns, "laser"), range=readings.range_m, min_range=1.0, max_range=1000.0, field_of_view=0.01)
            )
        if self._pressure is not None:
            pressure = standard_pressure_pa(GROUND_M + readings.height_m)
            self._pressure.publish(FluidPressure(header=header(stamp_ns, "barometer"), fluid_pressure=pressure))

    def photograph(self, stamp_ns: int, image: Pixels) -> float:
        """Publish a photo; when that was, on the steady clock [s]."""
        message = image_to_ros(image, header(stamp_ns, "camera"))
        begun = time.monotonic()
        self._image.publish(message)
        return begun

    def answer(self, stamp_ns: int, timeout_s: float) -> tuple[NavSatFix, float] | None:
        """What was said of the photo of a stamp [ns], and when on the steady clock [s]; None after the time."""
        with self._changed:
            self._changed.wait_for(lambda: stamp_ns in self._answers, timeout_s)
            return self._answers.pop(stamp_ns, None)

    def close(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


def position_of(message: NavSatFix) -> tuple[np.ndarray, np.ndarray] | None:  # type: ignore[type-arg]
    """(2,) latitude and longitude [deg] and (2, 2) covariance east and north [m^2]; None of a message without a fix."""
    if message.status.status == NavSatStatus.STATUS_NO_FIX or not math.isfinite(message.latitude + message.longitude):
        return None
    covariance = np.array(message.position_covariance, dtype=np.float64).reshape(3, 3)[:2, :2]
    return np.array([message.latitude, message.longitude]), covariance
