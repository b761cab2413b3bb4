"""The subscriptions of a camera: pairs of images, the calibration, and a watch over what does not arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vloc_ros.errors import CalibrationError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.ros.camera_info import rgbd_camera, stereo_camera
from vloc_ros.ros.conversions import stamp_to_ns
from vloc_ros.ros.decoding import Pair, names
from vloc_ros.ros.events import lost_message_events
from vloc_ros.ros.node_settings import CameraType, LocalizationNodeSettings, Transport
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.qos import sensor
from vloc_ros.ros.silence import describe_silence
from vloc_ros.ros.statistics import Statistics
from vloc_ros.ros.sync import Stream, SyncCounts, create_synchroniser

_ENOUGH_UNPAIRED = 3
"""So many images of each side without a pair are no accident."""
_TOPICS = {
    CameraType.STEREO: (("left/image_rect", "right/image_rect"), ("left/camera_info", "right/camera_info")),
    CameraType.RGBD: (("rgb/image_rect", "depth/image_rect"), ("rgb/camera_info",)),
}


def topics(settings: LocalizationNodeSettings) -> tuple[tuple[str, str], tuple[str, ...]]:
    """Names of the two image topics and of the camera_info topics, before remapping."""
    images, infos = _TOPICS[settings.camera.type]
    if settings.camera.transport is Transport.COMPRESSED:
        depth = "/compressedDepth" if settings.camera.type is CameraType.RGBD else "/compressed"
        images = (images[0] + "/compressed", images[1] + depth)
    return images, infos


class CameraInput:
    """Subscribes to a camera. All its methods run in the executor's thread; none of them decodes an image."""

    def __init__(
        self,
        node: Node,
        settings: LocalizationNodeSettings,
        statistics: Statistics,
        problems: Problems,
        on_camera: Callable[[StereoCamera], None],
        on_pair: Callable[[Pair], None],
    ) -> None:
        self._node, self._settings, self._statistics, self._problems = node, settings, statistics, problems
        self._on_camera, self._on_pair = on_camera, on_pair
        self._sync = create_synchroniser(int(settings.sync.slop * 1e9), settings.sync.queue, self._pair)
        self._infos: dict[str, CameraInfo] = {}
        self._camera: StereoCamera | None = None
        self._unchanged = True
        self._started = time.monotonic()
        self._last_pair = self._started
        self._unpaired = [0, 0]
        self._published_since: dict[str, float] = {}
        self._image_topics, self._info_topics = topics(settings)
        self._profile = sensor(node, self._all_topics, settings.qos)
        self._subscriptions = self._subscribe()

    @property
    def _all_topics(self) -> tuple[str, ...]:
        return (*self._image_topics, *self._info_topics)

    def _subscribe(self) -> list[Any]:
        return [
            *(self._subscribe_image(Stream(index), topic) for index, topic in enumerate(self._image_topics)),
            *(self._subscribe_info(topic) for topic in self._info_topics),
        ]

    def _subscribe_image(self, stream: Stream, topic: str) -> Any:
        kind = CompressedImage if self._settings.camera.transport is Transport.COMPRESSED else Image
        return self._node.create_subscription(
            kind,
            topic,
            partial(self._image, stream, topic),
            self._profile,
            event_callbacks=lost_message_events(self._statistics.lost),
        )

    def _subscribe_info(self, topic: str) -> Any:
        return self._node.create_subscription(CameraInfo, topic, partial(self._info, topic), self._profile)

    @property
    def counts(self) -> SyncCounts:
        """What became of the images."""
        return self._sync.counts

    @property
    def camera(self) -> StereoCamera | None:
        """The camera that this run began with."""
        return self._camera

    def _image(self, stream: Stream, topic: str, message: Any) -> None:
        self._statistics.received(topic)
        self._unpaired[stream] += 1
        self._sync.add(stream, stamp_to_ns(message.header.stamp), message)

    def _pair(self, stamp_ns: int, left: Any, right: Any) -> None:
        self._last_pair = time.monotonic()
        self._unpaired = [0, 0]
        self._on_pair(Pair(stamp_ns, left, right, self._last_pair, self._unchanged))

    def _info(self, topic: str, message: CameraInfo) -> None:
        self._statistics.received(topic)
        previous = self._infos.get(topic)
        self._infos[topic] = message
        if len(self._infos) < len(self._info_topics) or (previous is not None and _same(previous, message)):
            return
        try:
            camera = self._make_camera()
        except CalibrationError as error:
            self._unchanged = self._camera is None
            self._problems.report(Problem.BAD_CALIBRATION, str(error))
            return
        self._problems.clear(Problem.BAD_CALIBRATION)
        self._accept(camera)

    def _make_camera(self) -> StereoCamera:
        infos = [self._infos[topic] for topic in self._info_topics]
        if self._settings.camera.type is CameraType.RGBD:
            return rgbd_camera(infos[0], self._settings.camera.baseline)
        return stereo_camera(infos[0], infos[1], self._settings.camera.baseline)

    def _accept(self, camera: StereoCamera) -> None:
        if self._camera is None:
            self._camera = camera
            self._on_camera(camera)
        self._unchanged = camera == self._camera
        if self._unchanged:
            self._problems.clear(Problem.CALIBRATION_CHANGED)
        else:
            self._problems.report(
                Problem.CALIBRATION_CHANGED,
                f"camera_info changed from {self._camera} to {camera}; frames are refused until it is as before",
            )

    def watch(self) -> None:
        """Look for what does not arrive, and follow the publishers' reliability; call it now and then."""
        self._follow_publishers()
        timeout = self._settings.timeout
        silent = [topic for topic in self._image_topics if self._statistics.age(topic) > timeout and self._is_due(topic)]
        self._tell(Problem.NO_IMAGES, [describe_silence(self._node, topic, self._profile, timeout) for topic in silent])
        missing = [topic for topic in self._info_topics if topic not in self._infos and self._is_due(topic)]
        self._tell(Problem.NO_CAMERA_INFO, [describe_silence(self._node, topic, self._profile, timeout) for topic in missing])
        late = time.monotonic() - self._last_pair > timeout
        unpaired = late and not silent and min(self._unpaired) >= _ENOUGH_UNPAIRED
        self._tell(Problem.NOT_SYNCHRONISED, [self._describe_unpaired()] if unpaired else [])

    def _is_due(self, topic: str) -> bool:
        """Whether something should have come by now: some time after the start, and after a publisher has appeared."""
        now = time.monotonic()
        if self._node.count_publishers(self._node.resolve_topic_name(topic)) == 0:
            self._published_since.pop(topic, None)
        else:
            self._published_since.setdefault(topic, now)
        return now - max(self._started, self._published_since.get(topic, 0.0)) > self._settings.timeout

    def _follow_publishers(self) -> None:
        profile = sensor(self._node, self._all_topics, self._settings.qos)
        if profile.reliability != self._profile.reliability:
            self.close()
            self._profile = profile
            self._subscriptions = self._subscribe()

    def _tell(self, problem: Problem, texts: list[str]) -> None:
        if texts:
            self._problems.report(problem, "; ".join(texts))
        else:
            self._problems.clear(problem)

    def _describe_unpaired(self) -> str:
        left, right = names(self._settings.camera.type)
        difference = self._sync.newest_difference_ns
        by = "" if difference is None else f" (their newest stamps differ by {difference * 1e-9:.3f} s)"
        return (
            f"{left} and {right} images arrive, but no two stamps within sync.slop = {self._settings.sync.slop:g} s{by}; "
            "synchronise the cameras or raise sync.slop"
        )

    def close(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


def _same(a: CameraInfo, b: CameraInfo) -> bool:
    return (a.width, a.height, a.binning_x, a.binning_y) == (b.width, b.height, b.binning_x, b.binning_y) and np.array_equal(
        np.asarray(a.p), np.asarray(b.p), equal_nan=True
    )
