"""The subscriptions of a camera: pairs of images, the calibration, and what is known of the rest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vloc_ros.diagnosis import CameraFacts, Finding, TopicFacts
from vloc_ros.diagnosis.images import check_moment
from vloc_ros.diagnosis.stamps import ENOUGH_UNPAIRED
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.ros.camera_facts import camera_info_facts, clock_facts, topic_facts
from vloc_ros.ros.camera_info import rgbd_camera, stereo_camera
from vloc_ros.ros.camera_record import CameraRecord
from vloc_ros.ros.conversions import stamp_to_ns
from vloc_ros.ros.decoding import Pair, names
from vloc_ros.ros.events import lost_message_events
from vloc_ros.ros.images import depth_from_ros, image_from_ros, size_of
from vloc_ros.ros.node_settings import CameraType, LocalizationNodeSettings, Transport
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.qos import sensor
from vloc_ros.ros.statistics import Statistics
from vloc_ros.ros.sync import Stream, SyncCounts, create_synchroniser

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
        self._record = CameraRecord()
        self._unchanged = True
        self._started = time.monotonic()
        self._last_pair = self._started
        self._unpaired = [0, 0]
        self._published_since: dict[str, float] = {}
        self._image_topics, self._info_topics = topics(settings)
        self._profile = sensor(node, self._all_topics, settings.qos)
        self._subscriptions = self._subscribe()

    def tune(self, settings: LocalizationNodeSettings) -> None:
        """Take over the live ones of other settings: after which time without a pair a cause is looked for."""
        self._settings = settings

    @property
    def _all_topics(self) -> tuple[str, ...]:
        return (*self._image_topics, *self._info_topics)

    def _subscribe(self) -> list[Any]:
        return [
            *(self._subscribe_image(Stream(index), topic) for index, topic in enumerate(self._image_topics)),
            *(self._subscribe_info(topic) for topic in self._info_topics),
        ]

    def _subscribe_image(self, stream: Stream, topic: str) -> Any:
        return self._node.create_subscription(
            self._image_kind,
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
        stamp_ns = stamp_to_ns(message.header.stamp)
        self._record.image(stream, stamp_ns, self._node.get_clock().now().nanoseconds, message)
        self._sync.add(stream, stamp_ns, message)

    def _pair(self, stamp_ns: int, left: Any, right: Any) -> None:
        self._last_pair = time.monotonic()
        self._unpaired = [0, 0]
        self._record.pair = (left, right)
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
        """Follow the publishers' reliability, and see which topics are published; call it now and then."""
        self._follow_publishers()
        for topic in self._all_topics:
            if self._node.count_publishers(self._node.resolve_topic_name(topic)) == 0:
                self._published_since.pop(topic, None)
            else:
                self._published_since.setdefault(topic, time.monotonic())

    def facts(self) -> CameraFacts:
        """What is known of the input now, but for tf and the pixels."""
        self.watch()
        images = tuple(self._topic_facts(topic, self._image_kind) for topic in self._image_topics)
        resolved = [self._node.resolve_topic_name(topic) for topic in self._image_topics]
        newest = [self._record.newest(side) for side in (0, 1)]
        return CameraFacts(
            names=names(self._settings.camera.type),
            images=(images[0], images[1]),
            infos=tuple(self._topic_facts(topic, CameraInfo) for topic in self._info_topics),
            calibrations=tuple(
                camera_info_facts(self._infos[topic]) if topic in self._infos else None for topic in self._info_topics
            ),
            streams=self._record.streams(resolved, [None if message is None else size_of(message) for message in newest]),
            slop_s=self._settings.sync.slop,
            paired=self._is_paired(),
            baseline=self._settings.camera.baseline,
            clock=clock_facts(self._node),
            environment=dict(os.environ),
        )

    def pixels_of(self, facts: CameraFacts) -> CameraFacts:
        """The facts with the pixels of the newest pair; decodes, so call it where that holds nothing up."""
        messages = self._record.messages()
        if messages is None:
            return facts
        stereo = self._is_stereo
        try:
            left = image_from_ros(messages[0])
            if not stereo and messages[1] is not None:
                depth_from_ros(messages[1], self._settings.camera.depth_scale)
            right = image_from_ros(messages[1]) if stereo and self._record.pair is not None else None
        except DataError as error:
            return replace(facts, damage=str(error))
        return replace(facts, pixels=(left, right))

    def moment(self) -> list[Finding]:
        """Whether the newest pair is of one moment; decodes, so call it where that holds nothing up. Empty: nobody can tell."""
        pair = self._record.pair
        if pair is None or not self._is_stereo:
            return []
        try:
            found = check_moment(image_from_ros(pair[0]), image_from_ros(pair[1]))
        except DataError:
            return []  # whoever uses the pair says so
        return [] if found is None else [found]

    @property
    def _is_stereo(self) -> bool:
        return self._settings.camera.type is CameraType.STEREO

    def _is_paired(self) -> bool:
        return time.monotonic() - self._last_pair <= self._settings.timeout or min(self._unpaired) < ENOUGH_UNPAIRED

    def _topic_facts(self, topic: str, kind: Any) -> TopicFacts:
        """With how long it has been silent: since the start, or since a publisher has appeared, or the last message."""
        since = max(self._started, self._published_since.get(topic, 0.0))
        silent = min(time.monotonic() - since, self._statistics.age(topic))
        heard = self._statistics.messages(topic)
        return topic_facts(self._node, kind, topic, self._profile, silent, self._settings.timeout, heard)

    @property
    def _image_kind(self) -> Any:
        return CompressedImage if self._settings.camera.transport is Transport.COMPRESSED else Image

    def _follow_publishers(self) -> None:
        profile = sensor(self._node, self._all_topics, self._settings.qos)
        if profile.reliability != self._profile.reliability:
            self.close()
            self._profile = profile
            self._subscriptions = self._subscribe()

    def close(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


def _same(a: CameraInfo, b: CameraInfo) -> bool:
    return (a.width, a.height, a.binning_x, a.binning_y) == (b.width, b.height, b.binning_x, b.binning_y) and np.array_equal(
        np.asarray(a.p), np.asarray(b.p), equal_nan=True
    )
