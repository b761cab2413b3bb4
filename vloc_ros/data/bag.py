"""ROS 1 and ROS 2 bags, read without ROS."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.bag_camera import BagCamera
from vloc_ros.data.bag_source import BagSource, Entry, is_bag
from vloc_ros.data.bag_topics import CAMERA_INFO, COMPRESSED, IMAGE, BagTopics, choose_topics, is_rectified
from vloc_ros.data.bag_truth import StaticFrames, read_truth
from vloc_ros.data.files import naming
from vloc_ros.data.frame import Image, StereoFrame
from vloc_ros.data.images import decode_compressed, decode_image
from vloc_ros.data.loading import check_size
from vloc_ros.data.reader import DatasetReader, Trajectory, register
from vloc_ros.data.trajectory import associate
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL

_log = logging.getLogger(__name__)
SLOP_NS = 5_000_000
_BASE_FRAMES = ("base_link", "base_footprint")


@register
class BagReader(DatasetReader):
    """A ROS 1 ``.bag``, a ROS 2 ``.db3`` or ``.mcap`` file, or a folder of such (``metadata.yaml``, or nothing else in it).

    Topics are guessed: a left and a right image (``left``/``right``, ``infra1``/``infra2``, ``cam0``/``cam1``), or else a
    colour image and depth registered to it, each with its ``camera_info``; rectified and uncompressed ones are preferred. The
    camera is that of the ``P`` matrices; images whose topic name does not say ``rect`` are rectified as their camera_info
    tells, depth images by nearest neighbour. Left and right are paired by the stamps of their headers.

    A pose topic named ``*ground_truth*`` is the truth. Where its child frame leads to the camera by ``/tf_static``, it is of
    that frame, else it is taken as the pose of the base; the base is ``base_link`` or ``base_footprint`` of ``/tf_static``.
    """

    name = "bag"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is a bag file or a folder of a bag."""
        try:
            return is_bag(path)
        except OSError:
            return False

    def __init__(
        self, path: Path, topics: Mapping[str, str] | None = None, slop_ns: int = SLOP_NS, rectified: bool | None = None
    ) -> None:
        """Open a bag and note the stamps of its images, without decoding them.

        Args:
            path: the bag.
            topics: any of ``left``, ``right``, ``depth``, ``left_info``, ``right_info``, ``ground_truth`` to topic names; what
                is not named is guessed.
            slop_ns: largest difference of the stamps of a pair [ns].
            rectified: whether the images are rectified; None: when the name of their topic says so.

        Raises:
            DataError: it is no bag or damaged, topics are missing, or no images belong together.
            CalibrationError: a camera_info is missing, empty or contradicts the other one.
        """
        self._source = BagSource(Path(path))
        with naming(self._source.path):
            self.topics = choose_topics(self._source.types, topics or {})
            self._check_types()
            self._log_choice()
            self._camera = self._read_camera(is_rectified(self.topics.left) if rectified is None else rectified)
            self._stamps, self._positions = self._pair(slop_ns)
        self._frames = StaticFrames(self._source)
        self._camera_frame = str(self._source.message(self._positions[0][0]).header.frame_id).lstrip("/")

    @property
    def camera(self) -> StereoCamera:
        """The rectified camera."""
        return self._camera.camera

    @property
    def base_T_camera(self) -> NDArray[np.float64]:
        """(4, 4) pose of the left camera in the base frame of ``/tf_static``, else at the camera."""
        candidates = (self._frames.lookup(base, self._camera_frame) for base in _BASE_FRAMES)
        return next((pose for pose in candidates if pose is not None), BASE_T_OPTICAL)

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) header stamps of the left images [ns], in the order of recording."""
        return self._stamps

    @property
    def ground_truth(self) -> Trajectory | None:
        """Poses of the left camera."""
        topic = self.topics.ground_truth
        if topic is None:
            return None
        return read_truth(self._source, topic, self._frames, self._camera_frame, self.base_T_camera)

    def frame(self, index: int) -> StereoFrame:
        """Read one frame."""
        topics, stamp = self.topics, int(self._stamps[index])
        first, second = self._positions[index]
        # In the order of recording, so that reading forward never goes back.
        messages = {position: self._source.message(position) for position in sorted((first, second))}
        left = self._image(topics.left, stamp, messages[first])
        if topics.depth is not None:
            depth = self._depth(topics.depth, stamp, messages[second])
            return StereoFrame(stamp, self._camera.rectify_left(left), depth=self._camera.rectify_depth(depth))
        right = self._image(topics.other, stamp, messages[second])
        return StereoFrame(stamp, self._camera.rectify_left(left), right=self._camera.rectify_right(right))

    def close(self) -> None:
        """Close the bag; no frame can be read afterwards."""
        self._source.close()

    def _check_types(self) -> None:
        types, topics = self._source.types, self.topics
        for topic in (topics.left, topics.other):
            if types[topic] not in (IMAGE, COMPRESSED):
                raise DataError(f"topic '{topic}' holds {types[topic]}, not images")
        for info in (topics.left_info, topics.right_info):
            if info is not None and types[info] != CAMERA_INFO:
                raise DataError(f"topic '{info}' holds {types[info]}, not camera_info")

    def _log_choice(self) -> None:
        topics: BagTopics = self.topics
        _log.info("%s: images of %s and %s, truth %s", self._source.path, topics.left, topics.other, topics.ground_truth)

    def _read_camera(self, rectified: bool) -> BagCamera:
        infos = []
        for topic in (self.topics.left_info, self.topics.right_info):
            message = None if topic is None else self._source.first(topic)
            if topic is not None and message is None:
                raise CalibrationError(f"topic '{topic}' holds no message, so that the camera is not known")
            infos.append(message)
        return BagCamera(infos[0], infos[1], rectified)

    def _pair(self, slop_ns: int) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
        topics = self.topics
        entries = self._source.build_index([topics.left, topics.other])
        lefts, others = (_of_topic(entries, topic) for topic in (topics.left, topics.other))
        left_ns, other_ns = (np.array([entries[p].stamp_ns for p in places], dtype=np.int64) for places in (lefts, others))
        pairs = associate(left_ns, other_ns, slop_ns)
        if len(pairs) == 0:
            raise DataError(
                f"none of the {len(lefts)} messages of {topics.left} and {len(others)} of {topics.other} have stamps within "
                f"{slop_ns / 1e6:g} ms; are the cameras synchronised?"
            )
        unpaired = len(lefts) + len(others) - 2 * len(pairs)
        if unpaired:
            _log.warning("%s: %d pairs; %d images have no partner within %g ms and are skipped",
                         self._source.path, len(pairs), unpaired, slop_ns / 1e6)  # fmt: skip
        return left_ns[pairs[:, 0]], [(lefts[i], others[j]) for i, j in pairs]

    def _image(self, topic: str, stamp: int, message: Any) -> Image:
        with naming(f"{self._source.path}: topic {topic}: stamp {stamp}"):
            image = _decode(self._source.types[topic], message, depth=False)
            if image.dtype != np.uint8:
                raise DataError("holds depth where an image was expected")
            check_size("the image", image, self._camera.size)
            return image

    def _depth(self, topic: str, stamp: int, message: Any) -> NDArray[np.float32]:
        with naming(f"{self._source.path}: topic {topic}: stamp {stamp}"):
            depth = _decode(self._source.types[topic], message, depth=True)
            if depth.dtype != np.float32 or depth.ndim != 2:
                raise DataError("holds an image where depth was expected")
            check_size("the depth image", depth, self._camera.size)
            return depth


def _of_topic(entries: list[Entry], topic: str) -> list[int]:
    return [position for position, entry in enumerate(entries) if entry.topic == topic]


def _decode(kind: str, message: Any, depth: bool) -> NDArray[Any]:
    if kind == COMPRESSED:
        return decode_compressed(str(message.format), message.data)
    encoding = str(message.encoding)
    if depth and encoding == "mono16":  # Some drivers call millimetres so.
        encoding = "16UC1"
    size = (int(message.height), int(message.width), int(message.step))
    return decode_image(encoding, *size, message.data, bool(message.is_bigendian))
