"""What the nodes need to know beside the :class:`~vloc_ros.settings.Settings` of the algorithms. Imports no ROS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vloc_ros.config import param, section
from vloc_ros.errors import ConfigError
from vloc_ros.geometry.se3 import BASE_T_OPTICAL, from_quaternion, quaternion
from vloc_ros.mapping.self_calibration import RectificationMode


@unique
class Mode(Enum):
    """What the localization node does with the frames."""

    TEACH = "teach"
    """Records a route into a new session of the map."""
    REPEAT = "repeat"
    """Localises against the map, for a robot that follows the taught route."""
    LOCALIZE = "localize"
    """Localises against the map, for a robot that somebody else drives."""


@unique
class CameraType(Enum):
    """Which topics make a frame."""

    STEREO = "stereo"
    RGBD = "rgbd"


@unique
class Transport(Enum):
    """How images cross the wire."""

    RAW = "raw"
    COMPRESSED = "compressed"


@unique
class Reliability(Enum):
    """DDS reliability of the camera topics."""

    AUTO = "auto"
    """Reliable when all publishers are, else best effort."""
    BEST_EFFORT = "best_effort"
    RELIABLE = "reliable"


@dataclass(frozen=True, slots=True)
class QosSettings:
    """Quality of service of the camera topics."""

    reliability: Reliability = param(
        Reliability.AUTO,
        "best_effort hears every camera but loses large images; reliable hears only reliable publishers; auto: as they publish",
    )
    depth: int = param(2, "how many messages of each camera topic the middleware keeps", min=1, max=1000)


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """Pairing of the two images of a frame."""

    slop: float = param(0.01, "largest difference of the stamps of a pair", unit="s", min=0.0, max=1.0)
    queue: int = param(5, "how many images of each side may wait for their partner", min=1, max=1000)


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """Names of the coordinate frames (REP-105)."""

    map: str = param("map", "frame of the map")
    odom: str = param("odom", "frame of the smooth odometry")
    base: str = param("base_link", "frame of the robot")


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What camera_info does not say."""

    type: CameraType = param(CameraType.STEREO, "stereo: a rectified pair; rgbd: an image with registered depth")
    transport: Transport = param(
        Transport.RAW, "raw: sensor_msgs/Image; compressed: sensor_msgs/CompressedImage on <topic>/compressed"
    )
    baseline: float = param(
        0.0,
        "baseline; 0: stereo takes it from camera_info, rgbd that of its virtual right camera, 0.1 m",
        unit="m",
        min=0.0,
        max=10.0,
    )
    depth_scale: float = param(0.001, "metres per unit of a 16-bit depth image", unit="m", min=1e-6, max=1.0)


@dataclass(frozen=True, slots=True)
class LocalizationNodeSettings:
    """Parameters of the node ``localization``."""

    mode: Mode = param(Mode.REPEAT, "teach: record a route; repeat: localise along it; localize: localise for another driver")
    map: str = param("", "path of the map file, *.vloc")
    append: bool = param(False, "teach into a map that exists; else it must not exist")
    source: str = param("ros", "what is taught, as noted in the map")
    out: str = param("", "folder for the trajectory, the log of each frame and the effective configuration; empty: none")
    publish_tf: bool = param(True, "broadcast map->odom->base")
    use_wheel_odometry: bool = param(False, "subscribe to wheel odometry on the topic odom")
    match_rate: float = param(
        4.0, "pictures of matches/image while somebody looks; 0: one for each frame", unit="Hz", min=0.0, max=100.0, live=True
    )
    timeout: float = param(
        3.0, "look for the cause after this long without a believed pose", unit="s", min=0.1, max=3600.0, live=True
    )
    autostart: bool = param(True, "configure and activate at start; false leaves it to a lifecycle manager", fixed=True)
    camera: CameraSettings = section(CameraSettings)
    frames: FrameSettings = section(FrameSettings)
    qos: QosSettings = section(QosSettings)
    sync: SyncSettings = section(SyncSettings)


@dataclass(frozen=True, slots=True)
class PlayerNodeSettings:
    """Parameters of the node ``player``."""

    source: str = param("", "folder or file of the recording")
    format: str = param("", "format of the recording; empty: recognised")
    rectification: RectificationMode = param(
        RectificationMode.AUTO,
        "auto: correct a significant rectification error of a stereo recording, as vloc repeat does; off",
    )
    start: int = param(0, "first frame", min=0)
    stop: int = param(-1, "frame to stop before; -1: the end", min=-1)
    step: int = param(1, "play every n-th frame", min=1)
    rate: float = param(1.0, "speed as a multiple of real time; 0: as fast as possible", min=0.0, max=1000.0)
    lockstep: bool = param(False, "wait until each frame has been processed: nothing is dropped, the rate is the localization's")
    ack_timeout: float = param(
        30.0, "how long lockstep waits for a frame; the first may take twice that", unit="s", min=0.1, max=3600.0
    )
    loop: bool = param(False, "start again at the end; the stamps jump back as those of a bag in a loop do")
    wait_for_subscriber: float = param(
        30.0,
        "how long to wait for a subscriber of the images before the first frame; 0: do not wait",
        unit="s",
        min=0.0,
        max=3600.0,
    )
    exit_when_done: bool = param(True, "end the process after the last frame")
    frame_id: str = param("camera_left_optical_frame", "frame named in the headers of the images")
    truth_frame: str = param("world", "frame of the ground truth")
    truth_child_frame: str = param("base_link_truth", "child frame of the ground truth")
    autostart: bool = param(True, "configure and activate at start; false leaves it to a lifecycle manager", fixed=True)


@dataclass(frozen=True, slots=True)
class FollowerNodeSettings:
    """Parameters of the node ``path_follower``, beside those of the follower itself."""

    stamped: bool = param(True, "publish cmd_vel as geometry_msgs/TwistStamped; false: as Twist")
    enabled_at_start: bool = param(True, "drive as soon as there is a pose; false waits for the service enable")
    dead_man: bool = param(False, "drive only while the service dead_man is called with true, again and again")
    dead_man_timeout: float = param(0.5, "how long one call of dead_man allows to drive", unit="s", min=0.05, max=5.0, live=True)
    watchdog: float = param(0.3, "tell the robot to stand when no command was computed for so long", unit="s", min=0.05, max=60.0)
    base_frame: str = param("base_link", "frame named in the header of cmd_vel")
    autostart: bool = param(True, "configure and activate at start; false leaves it to a lifecycle manager", fixed=True)


def base_T_camera_from_numbers(numbers: list[float]) -> NDArray[np.float64]:
    """(4, 4) pose of the left optical frame in the base frame.

    Args:
        numbers: none for the REP-103 rotation at the origin of the base, 7 for x y z qx qy qz qw, or 16 for a matrix by rows.

    Raises:
        ConfigError: they are not a rigid transform.
    """
    values = np.asarray(numbers, dtype=np.float64)
    if values.size == 0:
        return BASE_T_OPTICAL
    if not np.all(np.isfinite(values)):
        raise ConfigError(f"'base_T_camera' holds a value that is not a number: {list(numbers)}")
    if values.size == 7:
        if abs(np.linalg.norm(values[3:]) - 1.0) > 1e-3:
            raise ConfigError(
                f"the last four numbers of 'base_T_camera' must be a unit quaternion x y z w, not {values[3:].tolist()}"
            )
        return from_quaternion(values[:3], values[3:])
    if values.size == 16:
        matrix = values.reshape(4, 4)
        rotation = matrix[:3, :3]
        rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0.0
        if not rigid or not np.allclose(matrix[3], [0.0, 0.0, 0.0, 1.0]):
            raise ConfigError(
                "'base_T_camera' is not a rigid transform: its rotation is not orthonormal or its last row is not 0 0 0 1"
            )
        rotation = Rotation.from_matrix(rotation).as_matrix()
        return np.block([[rotation, matrix[:3, 3:]], [np.zeros((1, 3)), np.ones((1, 1))]])
    raise ConfigError(f"'base_T_camera' takes 7 numbers (x y z qx qy qz qw) or 16 (a matrix by rows), not {values.size}")


def numbers_of_base_T_camera(base_T_camera: NDArray[np.float64]) -> list[float]:
    """The 7 numbers of :func:`base_T_camera_from_numbers`."""
    return [*base_T_camera[:3, 3].tolist(), *quaternion(base_T_camera).tolist()]
