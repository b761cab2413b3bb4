"""Between the messages of the node ``aerial`` and what the locator knows: instruments in, positions out."""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from geometry_msgs.msg import PoseWithCovarianceStamped as PoseStamped
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import FluidPressure, Imu, NavSatFix, NavSatStatus, Range
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

from vloc_ros.aerial.attitude import airframe_rotation, is_air_pressure
from vloc_ros.aerial.fix import AerialFix
from vloc_ros.aerial.georeference import LatLon, LocalFrame
from vloc_ros.errors import DataError
from vloc_ros.ros.conversions import header, pose_to_ros

Array = NDArray[np.float64]
NOT_KNOWN_M2 = 1e6
"""Variance of what a message must have and nobody has estimated [m^2, rad^2]."""
_ANY_LENGTH = (0.5, 2.0)
_LINE_M = 1.0
_FARTHEST_M = 20_000.0


def orientation_from_imu(message: Imu) -> Array:
    """(3, 3) enu_R_flu.

    Raises:
        DataError: the message holds no orientation.
    """
    if message.orientation_covariance[0] == -1.0:  # REP-145
        raise DataError("imu carries no orientation (its orientation_covariance begins with -1): filter it first")
    q = message.orientation
    values = np.array([q.x, q.y, q.z, q.w])
    length = float(np.linalg.norm(values)) if np.all(np.isfinite(values)) else 0.0
    if not _ANY_LENGTH[0] < length < _ANY_LENGTH[1]:
        raise DataError("the orientation in an imu message is no unit quaternion")
    return np.asarray(Rotation.from_quat(values / length).as_matrix())


def range_from_ros(message: Range) -> float | None:
    """Distance [m]; None when nothing is in range, as above the reach of a range finder (REP-117: infinite, or beyond its limits).

    Raises:
        DataError: the number is none.
    """
    value, low, high = float(message.range), float(message.min_range), float(message.max_range)
    if math.isnan(value):
        raise DataError("range is not a number: the range finder says that its measurement failed (REP-117)")
    return value if 0.0 < value < _FARTHEST_M and value >= low and not (0.0 < high < value) else None


def pressure_from_ros(message: FluidPressure) -> float:
    """Pressure of the air [Pa].

    Raises:
        DataError: the number is none.
    """
    value = float(message.fluid_pressure)
    if not is_air_pressure(value):
        raise DataError(f"pressure {value:g} is not that of air in pascal, about 50000 to 105000; is it in hectopascal?")
    return value


def fix_to_ros(stamp_ns: int, frame_id: str, fix: AerialFix) -> NavSatFix:
    """NavSatFix of a photo: the height is not known; a photo without a position has STATUS_NO_FIX and no numbers.

    The covariance is of east, north and up; that of up says that nothing is known of it.
    """
    message = NavSatFix(header=header(stamp_ns, frame_id), latitude=math.nan, longitude=math.nan, altitude=math.nan)
    message.status = NavSatStatus(status=NavSatStatus.STATUS_NO_FIX, service=0)
    message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_UNKNOWN
    if fix.position is None or fix.covariance is None:
        return message
    message.latitude, message.longitude = float(fix.position.lat), float(fix.position.lon)
    message.status.status = NavSatStatus.STATUS_FIX
    covariance = np.diag([0.0, 0.0, NOT_KNOWN_M2])
    covariance[:2, :2] = fix.covariance
    message.position_covariance = covariance.reshape(9)
    message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_KNOWN
    return message


def origin_to_ros(stamp_ns: int, frame_id: str, origin: LatLon, accuracy_m: float) -> NavSatFix:
    """Where the origin of the map's frame is on the earth."""
    variance = [accuracy_m**2, accuracy_m**2, NOT_KNOWN_M2]
    return NavSatFix(
        header=header(stamp_ns, frame_id),
        status=NavSatStatus(status=NavSatStatus.STATUS_FIX, service=0),
        latitude=float(origin.lat),
        longitude=float(origin.lon),
        altitude=math.nan,
        position_covariance=np.diag(variance).reshape(9),
        position_covariance_type=NavSatFix.COVARIANCE_TYPE_APPROXIMATED,
    )


def pose_of_fix(stamp_ns: int, frame_id: str, fix: AerialFix, height_m: float | None, camera_yaw_deg: float) -> PoseStamped:
    """Pose of a level airframe in the frame of the map, x east and y north; z is its height above the ground.

    Only x and y have a covariance; the other variances say that nobody has estimated them.

    Raises:
        ValueError: the fix is none.
    """
    if fix.metres is None or fix.covariance is None or fix.heading_deg is None:
        raise ValueError("a photo without a position has no pose")
    map_T_base = np.eye(4)
    map_T_base[:3, :3] = airframe_rotation(fix.heading_deg - camera_yaw_deg)
    map_T_base[:3, 3] = [*fix.metres, fix.height_m if fix.height_m is not None else height_m or 0.0]
    covariance = NOT_KNOWN_M2 * np.eye(6)
    covariance[:2, :2] = fix.covariance
    message = PoseStamped(header=header(stamp_ns, frame_id))
    message.pose.pose = pose_to_ros(map_T_base)
    message.pose.covariance = covariance.reshape(36)
    return message


def footprint_to_ros(stamp_ns: int, frame_id: str, fix: AerialFix, frame: LocalFrame, lifetime_s: float = 0.0) -> Marker:
    """Outline of a photo on the ground, in the frame of the map; a photo without a position takes the last outline away.

    Args:
        stamp_ns: of the photo [ns].
        frame_id: frame of the map.
        fix: of the photo.
        frame: of the map.
        lifetime_s: after so long without another one it vanishes; 0 for never [s].
    """
    message = Marker(header=header(stamp_ns, frame_id), ns="aerial", id=0, type=Marker.LINE_STRIP, action=Marker.DELETE)
    message.pose = Pose(orientation=Quaternion(x=0.0, y=0.0, z=0.0, w=1.0))
    message.scale = Vector3(x=_LINE_M, y=_LINE_M, z=_LINE_M)
    message.color = ColorRGBA(r=0.1, g=0.7, b=0.2, a=1.0)
    message.lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1.0 * 1e9))
    if fix.footprint is not None:
        corners = frame.metres(fix.footprint)
        message.action = Marker.ADD
        message.points = [Point(x=float(east), y=float(north), z=0.0) for east, north in (*corners, corners[0])]
    return message


def imu_to_ros(stamp_ns: int, frame_id: str, heading_deg: float, roll: float, pitch: float) -> Imu:
    """Imu message of an airframe: its orientation alone, as REP-145 has it."""
    x, y, z, w = Rotation.from_matrix(airframe_rotation(heading_deg, roll, pitch)).as_quat().tolist()
    message = Imu(header=header(stamp_ns, frame_id), orientation=Quaternion(x=x, y=y, z=z, w=w))
    message.angular_velocity_covariance[0] = message.linear_acceleration_covariance[0] = -1.0
    return message
