"""Parameters of the node ``aerial``. Imports no ROS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from vloc_ros.aerial.locator_settings import LocatorSettings
from vloc_ros.aerial.tracker import TrackerSettings
from vloc_ros.config import param, section
from vloc_ros.ros.node_settings import QosSettings, Transport

_LEAST_PATIENCE_S = 3.0


@unique
class HeightSource(Enum):
    """What tells the height above the ground."""

    AUTO = "auto"
    """The range finder while it is heard, else the pressure."""
    RANGE = "range"
    PRESSURE = "pressure"
    NONE = "none"
    """Nothing does: photos are compared with every level of the map."""


@dataclass(frozen=True, slots=True)
class AerialCameraSettings:
    """What camera_info does not say."""

    transport: Transport = param(
        Transport.RAW, "raw: sensor_msgs/Image on image; compressed: sensor_msgs/CompressedImage on image/compressed"
    )
    rectified: bool = param(
        False, "the image is free of distortion and camera_info's P counts; else K and D, and it is undistorted"
    )
    yaw: float = param(
        0.0, "direction that is up in the image, clockwise from the nose as seen from above", unit="deg", min=-360.0, max=360.0
    )


@dataclass(frozen=True, slots=True)
class InstrumentsSettings:
    """What is taken from the other instruments."""

    height: HeightSource = param(
        HeightSource.AUTO, "auto: the range finder while it is heard, else the pressure; range; pressure; none"
    )
    reference_pressure: float = param(
        0.0,
        "pressure at the ground of the map; 0: the median of the first messages, which come while the drone stands there",
        unit="Pa",
        min=0.0,
        max=120000.0,
    )
    reference_messages: int = param(20, "so many first messages make the reference pressure", min=1, max=1000)
    heading: bool = param(True, "use the heading of imu; false: every heading is tried")
    heading_offset: float = param(
        0.0, "added to the heading of imu, such as the magnetic declination", unit="deg", min=-360.0, max=360.0, live=True
    )
    tilt: bool = param(True, "use roll and pitch of imu; false for a camera on a gimbal that keeps it level")
    tilt_rate: float = param(
        20.0,
        "how fast the airframe rolls and pitches (one sigma): a reading that is not of the moment counts less",
        unit="deg/s",
        min=0.0,
        max=1000.0,
        live=True,
    )
    wait: float = param(0.1, "how long an image waits for readings that are as new as it is", unit="s", min=0.0, max=2.0, live=True)
    max_age: float = param(
        0.5, "readings that are farther from the image in time are not used", unit="s", min=0.01, max=60.0, live=True
    )


@dataclass(frozen=True, slots=True)
class AerialNodeSettings:
    """Parameters of the node itself, and of how it locates and follows."""

    map: str = param("", "file of an aerial map, made by vloc map build-aerial")
    features: str = param("", "local features: a name or a file of weights; empty: those that the map names")
    descriptor: str = param("", "global descriptor: a name or a file of weights; empty: that which the map names")
    sequential: bool = param(
        True, "follow the flight by its own last position; false: search the whole map for each image", live=True
    )
    frame: str = param("map", "frame of footprint and pose: metres east, north and up of the origin of the map")
    niceness: int = param(0, "how far this process gives way to others, 0 to 19", min=0, max=19)
    autostart: bool = param(True, "configure and activate at start; false leaves it to a lifecycle manager", fixed=True)
    camera: AerialCameraSettings = section(AerialCameraSettings)
    instruments: InstrumentsSettings = section(InstrumentsSettings)
    qos: QosSettings = section(QosSettings)
    locator: LocatorSettings = section(LocatorSettings)
    tracker: TrackerSettings = section(TrackerSettings)

    @property
    def patience(self) -> float:
        """Without images or positions for so long, that is told, and the last footprint is taken away [s]."""
        return max(self.tracker.lost_after, _LEAST_PATIENCE_S)
