"""From a pair of image messages to a :class:`~vloc_ros.data.frame.StereoFrame`, with a reason for each pair that makes none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vloc_ros.data.frame import StereoFrame
from vloc_ros.diagnosis.calibration import size_trouble
from vloc_ros.errors import DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.ros.images import UnknownEncodingError, depth_from_ros, image_from_ros, size_of
from vloc_ros.ros.node_settings import CameraSettings, CameraType
from vloc_ros.ros.statistics import DropReason


@dataclass(frozen=True, slots=True)
class Pair:
    """Two messages that belong together: left and right image, or colour and depth.

    Attributes:
        stamp_ns: stamp of the left image [ns].
        left, right: the messages.
        arrived: when the pair was complete, on the steady clock [s].
        camera_unchanged: whether the newest camera_info still describes the camera that this run began with.
    """

    stamp_ns: int
    left: Any
    right: Any
    arrived: float
    camera_unchanged: bool = True


class FrameRejectedError(DataError):
    """A pair of messages cannot be made into a frame."""

    def __init__(self, reason: DropReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def decode_pair(pair: Pair, camera: StereoCamera, settings: CameraSettings) -> StereoFrame:
    """Decode a pair.

    Raises:
        FrameRejectedError: a message is damaged, of an unknown encoding, or of another size than the camera's images.
    """
    if not pair.camera_unchanged:
        raise FrameRejectedError(
            DropReason.CALIBRATION_CHANGED,
            "camera_info changed after the first frame: frames are refused until it is as before, or the node is restarted",
        )
    left_name, right_name = names(settings.type)
    _check_sizes(camera, {left_name: size_of(pair.left), right_name: size_of(pair.right)})
    try:
        left = image_from_ros(pair.left)
        if settings.type is CameraType.RGBD:
            frame = StereoFrame(pair.stamp_ns, left, depth=depth_from_ros(pair.right, settings.depth_scale))
        else:
            frame = StereoFrame(pair.stamp_ns, left, right=image_from_ros(pair.right))
    except UnknownEncodingError as error:
        raise FrameRejectedError(DropReason.UNKNOWN_ENCODING, str(error)) from error
    except DataError as error:
        raise FrameRejectedError(DropReason.BAD_IMAGE, str(error)) from error
    _check_sizes(camera, {left_name: frame.size})
    return frame


def names(camera: CameraType) -> tuple[str, str]:
    """What the two images of a frame are called."""
    return ("rgb", "depth") if camera is CameraType.RGBD else ("left", "right")


def _check_sizes(camera: StereoCamera, sizes: dict[str, tuple[int, int] | None]) -> None:
    for name, size in sizes.items():
        trouble = None if size is None else size_trouble(name, size, (camera.width, camera.height))
        if trouble is not None:
            raise FrameRejectedError(DropReason.WRONG_SIZE, trouble)
