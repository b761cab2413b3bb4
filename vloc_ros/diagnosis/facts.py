"""What the checks look at, as plain values: whoever knows ROS fills them in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Qos:
    """The policies of a publisher or a subscription that decide whether they match.

    Attributes:
        reliable: reliable, else best effort.
        latched: transient local, else volatile.
    """

    reliable: bool
    latched: bool = False


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes a topic, and how."""

    node: str
    qos: Qos
    type: str


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """One topic that is listened to.

    Attributes:
        name: after remapping.
        type: of its messages, as ``sensor_msgs/msg/Image``.
        wanted: how it is subscribed to.
        publishers: those that are known now.
        alike: published topics whose names end alike.
        silent_s: how long nothing has come although something should have [s]; 0 when it is not silent.
        patience_s: silence of so long is worth a word [s].
        heard: messages that have come.
    """

    name: str
    type: str
    wanted: Qos
    publishers: tuple[Publisher, ...] = ()
    alike: tuple[str, ...] = ()
    silent_s: float = 0.0
    patience_s: float = 3.0
    heard: int = 0

    @property
    def silent(self) -> bool:
        """Whether it has been silent for too long."""
        return self.silent_s > self.patience_s


@dataclass(frozen=True, slots=True)
class CameraInfoFacts:
    """One camera_info message.

    Attributes:
        width, height: of the images [px].
        K: (3, 3) intrinsics of the raw image; all zero when the camera is not calibrated.
        D: distortion coefficients of the raw image, any number of them.
        P: (3, 4) projection of the rectified image.
        binning: (x, y); 0 and 1 mean none.
        roi: (x_offset, y_offset, width, height) [px]; all zero means the whole image.
    """

    width: int
    height: int
    K: Array
    D: Array
    P: Array
    binning: tuple[int, int] = (0, 0)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """The newest images of one side, without their pixels.

    Attributes:
        topic: their topic.
        stamps_ns: stamps in the order of arrival [ns].
        lags_s: the clock in use when each arrived, minus its stamp [s].
        size: (width, height) of the newest [px]; None when that is not known without decoding.
        frame_id: of the newest.
    """

    topic: str
    stamps_ns: tuple[int, ...] = ()
    lags_s: tuple[float, ...] = ()
    size: tuple[int, int] | None = None
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """The clock of the node that listens.

    Attributes:
        use_sim_time: whether it follows ``/clock``.
        now_ns: what it shows [ns]; 0 before the first message of ``/clock``.
        publishers: how many nodes publish ``/clock``.
    """

    use_sim_time: bool
    now_ns: int
    publishers: int


@dataclass(frozen=True, slots=True)
class TfFacts:
    """What is known of where the camera sits on the robot.

    Attributes:
        base: frame of the robot.
        camera: frame named in the headers of the images.
        mount: (4, 4) ``base_T_camera`` as configured; None when that was left at its default.
        transforms: (4, 4) ``parent_T_child`` by (parent, child); None when tf messages cannot be read here.
        publishers: how many other nodes publish ``/tf`` or ``/tf_static``.
    """

    base: str
    camera: str
    mount: Array | None
    transforms: dict[tuple[str, str], Array] | None
    publishers: int


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """All that is known of the input of a camera.

    Attributes:
        names: what the two images are called: left and right, or rgb and depth.
        images: their topics.
        infos: the camera_info topics.
        calibrations: the newest message of each of these; None where none has come.
        streams: the newest images.
        slop_s: largest difference of the stamps of a pair [s].
        paired: whether pairs have come lately.
        baseline: overrides that of camera_info when positive [m].
        clock: of the listener.
        environment: variables of the process.
        tf: None when it was not looked at.
        pixels: decoded images of one pair, (H, W) or (H, W, 3); None when there is none, or no right one.
        damage: why an image could not be decoded; empty when it could.
    """

    names: tuple[str, str]
    images: tuple[TopicFacts, TopicFacts]
    infos: tuple[TopicFacts, ...]
    calibrations: tuple[CameraInfoFacts | None, ...]
    streams: tuple[StreamFacts, StreamFacts]
    slop_s: float
    paired: bool
    baseline: float
    clock: ClockFacts
    environment: dict[str, str] = field(default_factory=dict)
    tf: TfFacts | None = None
    pixels: tuple[Pixels, Pixels | None] | None = None
    damage: str = ""

    @property
    def is_stereo(self) -> bool:
        """Whether both images are of cameras."""
        return len(self.infos) == 2
