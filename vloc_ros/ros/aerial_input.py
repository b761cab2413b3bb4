"""The subscriptions of the node ``aerial``: what comes is checked, and an image leaves with what the instruments said then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, FluidPressure, Image, Imu, Range

from vloc_ros.aerial.photo import Photo
from vloc_ros.errors import CalibrationError, VlocError
from vloc_ros.ros.aerial_camera import AerialCamera
from vloc_ros.ros.aerial_instruments import Flown, Instruments
from vloc_ros.ros.aerial_messages import orientation_from_imu, pressure_from_ros, range_from_ros
from vloc_ros.ros.aerial_settings import AerialNodeSettings, HeightSource
from vloc_ros.ros.conversions import stamp_to_ns
from vloc_ros.ros.input_watch import InputWatch
from vloc_ros.ros.managed_node import ManagedNode
from vloc_ros.ros.node_settings import QosSettings, Transport
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.qos import sensor

_INSTRUMENTS_KEPT, _LOOK_S = 50, 0.02


@dataclass(frozen=True, slots=True)
class Shot:
    """An image message and what else is known of how it was taken.

    Attributes:
        stamp_ns: of the image [ns].
        frame_id: of its header.
        message: the image, not decoded yet.
        camera: that took it.
        flown: what the instruments said.
        settings: which of that counts.
    """

    stamp_ns: int
    frame_id: str
    message: Any
    camera: AerialCamera
    flown: Flown
    settings: AerialNodeSettings

    def photo(self) -> Photo:
        """The photo; decodes, so call it where that holds nothing up.

        Raises:
            DataError: the message is damaged, of an unknown encoding, or of another size than camera_info says.
        """
        wanted, attitude = self.settings.instruments, self.flown.attitude
        return Photo(
            image=self.camera.photo(self.message),
            name=str(self.stamp_ns),
            lens=self.camera.lens,
            height_m=self.flown.height_m,
            heading_deg=None if attitude is None or not wanted.heading else attitude.heading_deg,
            tilt=None if attitude is None or not wanted.tilt else attitude.tilt,
            stamp_ns=self.stamp_ns,
        )


class AerialInput:
    """Subscribes to camera and instruments. All its methods run in the executor's thread; none of them decodes an image."""

    def __init__(
        self,
        node: ManagedNode,
        settings: AerialNodeSettings,
        problems: Problems,
        watch: InputWatch,
        on_shot: Callable[[Shot], None],
        reference_pa: float | None = None,
    ) -> None:
        """Subscribe; a reference pressure [Pa] that was found before goes on counting."""
        self._node, self._settings, self._problems, self._watch, self._on_shot = node, settings, problems, watch, on_shot
        self._camera: AerialCamera | None = None
        self.instruments = Instruments(settings, reference_pa)
        self.without_camera_info = 0
        """Images that came before a usable camera_info."""
        self.newest: Flown | None = None
        """What the instruments said of the newest image."""
        self._kind: Any = CompressedImage if settings.camera.transport is Transport.COMPRESSED else Image
        self._topic = "image/compressed" if settings.camera.transport is Transport.COMPRESSED else "image"
        self._waiting: tuple[Any, float] | None = None
        """An image for which the readings have not come yet, and until when it waits, on the steady clock [s]."""
        self._heard_at = time.monotonic()
        """When the newest image came, or this began, on the steady clock [s]."""
        self._profile = self._wanted_profile()
        self._image: Any = watch.subscribe(self._kind, self._topic, self._take_image, self._profile)
        self._others: list[Any] = [
            # Not with the profile of the images, which may be reliable: a camera_info of best effort would never come.
            watch.subscribe(CameraInfo, "camera_info", self._take_info, sensor(node, (), settings.qos)),
            *self._subscribe_instruments(),
            node.steady_timer(_LOOK_S, self._send_if_ready),
        ]

    def _subscribe_instruments(self) -> list[Any]:
        """Those that count; nobody is missed who may be absent."""
        wanted, found = self._settings.instruments, []
        profile = sensor(self._node, (), QosSettings(depth=_INSTRUMENTS_KEPT))
        if wanted.height in (HeightSource.AUTO, HeightSource.RANGE):
            found.append(self._node.create_subscription(Range, "range", self._take_range, profile))
        if wanted.height in (HeightSource.AUTO, HeightSource.PRESSURE):
            found.append(self._node.create_subscription(FluidPressure, "pressure", self._take_pressure, profile))
        if wanted.heading or wanted.tilt:
            found.append(self._node.create_subscription(Imu, "imu", self._take_imu, profile))
        return found

    def _wanted_profile(self) -> Any:
        return sensor(self._node, (self._topic,), self._settings.qos)

    def tune(self, settings: AerialNodeSettings) -> None:
        """Take over the live ones of other settings."""
        self._settings = settings
        self.instruments.tune(settings)

    def look(self) -> None:
        """Follow the publishers' reliability, and say what keeps messages away; call it about once a second."""
        profile = self._wanted_profile()
        if profile.reliability != self._profile.reliability:
            self._profile = profile
            self._node.destroy_subscription(self._image)
            self._image = self._node.create_subscription(self._kind, self._topic, self._take_image, profile)
        self._watch.look()
        patience = self._settings.patience
        silent = time.monotonic() - self._heard_at > patience
        self._problems.report_or_clear(Problem.NO_IMAGES, f"no image has come for more than {patience:g} s" if silent else "")

    def close(self) -> None:
        """End the subscriptions."""
        self._node.destroy_all([self._image, *self._others])

    def _take_image(self, message: Any) -> None:
        self._heard_at = time.monotonic()
        if self._camera is None:
            self.without_camera_info += 1
            self._problems.report(Problem.NO_CAMERA_INFO, "images come, but no usable camera_info has come yet")
            return
        self._send()  # the one before has waited long enough
        self._waiting = message, time.monotonic() + self._settings.instruments.wait
        self._send_if_ready()

    def _send_if_ready(self) -> None:
        if self._waiting is not None:
            message, until = self._waiting
            if time.monotonic() >= until or self.instruments.reach(stamp_to_ns(message.header.stamp)):
                self._send()

    def _send(self) -> None:
        """Hand the image that waits over, with the readings that belong to it."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or self._camera is None:
            return
        message = waiting[0]
        stamp_ns = stamp_to_ns(message.header.stamp)
        self.newest = flown = self.instruments.at(stamp_ns)
        self._problems.report_or_clear(Problem.STALE_INSTRUMENTS, flown.missing)
        self._on_shot(Shot(stamp_ns, message.header.frame_id, message, self._camera, flown, self._settings))

    def _take_info(self, message: CameraInfo) -> None:
        try:
            camera = AerialCamera.of_message(message, self._settings.camera.rectified)
        except CalibrationError as error:
            self._problems.report(Problem.BAD_CALIBRATION, str(error))
            return
        if camera != self._camera:
            self._camera = camera
        self._problems.clear(Problem.BAD_CALIBRATION)
        self._problems.clear(Problem.NO_CAMERA_INFO)

    def _take_range(self, message: Range) -> None:
        self._take(lambda: self.instruments.add_range(stamp_to_ns(message.header.stamp), range_from_ros(message)))

    def _take_pressure(self, message: FluidPressure) -> None:
        self._take(lambda: self.instruments.add_pressure(stamp_to_ns(message.header.stamp), pressure_from_ros(message)))

    def _take_imu(self, message: Imu) -> None:
        self._take(lambda: self.instruments.add_orientation(stamp_to_ns(message.header.stamp), orientation_from_imu(message)))

    def _take(self, add: Callable[[], None]) -> None:
        try:
            add()
        except VlocError as error:
            self._problems.report(Problem.BAD_INPUT, str(error))
        else:
            self._problems.clear(Problem.BAD_INPUT)
            self._send_if_ready()
