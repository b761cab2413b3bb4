"""Messages of the node aerial: NavSatFix, footprint, pose; and what instruments and camera_info must be like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion
from sensor_msgs.msg import CameraInfo, FluidPressure, Imu, NavSatFix, NavSatStatus, Range
from visualization_msgs.msg import Marker

from vloc_ros.aerial.attitude import airframe_rotation
from vloc_ros.aerial.fix import AerialFix, AerialReject
from vloc_ros.aerial.georeference import LatLon, LocalFrame
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.ros import aerial_messages as messages
from vloc_ros.ros.aerial_camera import AerialCamera
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header
from vloc_ros.ros.images import image_to_ros

FRAME = LocalFrame(LatLon(47.06, 8.4))
CORNERS = np.array([[-40.0, 30.0], [40.0, 30.0], [40.0, -30.0], [-40.0, -30.0]])
FIX = AerialFix(
    position=LatLon(47.061, 8.402),
    metres=np.array([151.0, 111.0]),
    covariance=np.array([[4.0, 1.0], [1.0, 9.0]]),
    height_m=80.0,
    heading_deg=90.0,
    footprint=FRAME.latlon(CORNERS),
    inliers=50,
    matches=80,
    tile="a",
    reason=None,
)
REFUSED = AerialFix.failure(AerialReject.TOO_FEW_INLIERS, 20, 3, "a")
CAMERA = StereoCamera(64, 48, 50.0, 50.0, 31.5, 23.5, 0.1)


def test_a_position_is_a_navsatfix_with_its_covariance_in_east_north_up() -> None:
    message = messages.fix_to_ros(5_000_000_123, "camera", FIX)
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (5, 123, "camera")
    assert (message.latitude, message.longitude) == (47.061, 8.402) and math.isnan(message.altitude)
    assert message.status.status == NavSatStatus.STATUS_FIX
    assert message.position_covariance_type == NavSatFix.COVARIANCE_TYPE_KNOWN
    assert message.position_covariance.tolist() == [4.0, 1.0, 0.0, 1.0, 9.0, 0.0, 0.0, 0.0, 1e6]


def test_a_refusal_has_no_fix_and_no_numbers() -> None:
    message = messages.fix_to_ros(5, "camera", REFUSED)
    assert math.isnan(message.latitude) and math.isnan(message.longitude) and math.isnan(message.altitude)
    assert message.status.status == NavSatStatus.STATUS_NO_FIX
    assert message.position_covariance_type == NavSatFix.COVARIANCE_TYPE_UNKNOWN
    assert not message.position_covariance.any()


def test_the_footprint_is_a_closed_line_in_the_frame_of_the_map_and_goes_with_the_position() -> None:
    marker = messages.footprint_to_ros(1, "map", FIX, FRAME)
    assert (marker.header.frame_id, marker.action, marker.type) == ("map", Marker.ADD, Marker.LINE_STRIP)
    points = np.array([[p.x, p.y, p.z] for p in marker.points])
    np.testing.assert_allclose(points[:4, :2], CORNERS, atol=1e-6)
    np.testing.assert_array_equal(points[4], points[0])
    assert messages.footprint_to_ros(1, "map", REFUSED, FRAME).action == Marker.DELETE
    lifetime = messages.footprint_to_ros(1, "map", FIX, FRAME, 2.5).lifetime
    assert (lifetime.sec, lifetime.nanosec) == (2, 500_000_000)


def test_the_pose_points_where_the_nose_does() -> None:
    """The image is up to the east, and the camera is mounted with up to the right: the nose points north, yaw 90 degrees."""
    message = messages.pose_of_fix(1, "map", FIX, 75.0, camera_yaw_deg=90.0)
    position, q = message.pose.pose.position, message.pose.pose.orientation
    assert (position.x, position.y, position.z) == (151.0, 111.0, 80.0)
    assert (q.z, q.w) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))
    covariance = np.array(message.pose.covariance).reshape(6, 6)
    np.testing.assert_array_equal(covariance[:2, :2], FIX.covariance)
    assert (np.diag(covariance)[2:] == messages.NOT_KNOWN_M2).all()
    with pytest.raises(ValueError, match="no pose"):
        messages.pose_of_fix(1, "map", REFUSED, 75.0, 0.0)


def test_the_origin_of_the_map() -> None:
    message = messages.origin_to_ros(1, "map", FRAME.origin, 2.0)
    assert (message.latitude, message.longitude, message.header.frame_id) == (47.06, 8.4, "map")
    assert message.position_covariance[0] == 4.0


def test_orientations_come_back_and_what_is_none_is_refused() -> None:
    message = messages.imu_to_ros(7, "base_link", 123.0, 0.1, -0.2)
    np.testing.assert_allclose(messages.orientation_from_imu(message), airframe_rotation(123.0, 0.1, -0.2), atol=1e-12)
    message.orientation_covariance[0] = -1.0
    with pytest.raises(DataError, match="no orientation"):
        messages.orientation_from_imu(message)
    for values in ((0.0, 0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 30.0)):
        with pytest.raises(DataError, match="unit quaternion"):
            messages.orientation_from_imu(Imu(orientation=Quaternion(**dict(zip("xyzw", values, strict=True)))))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 0.0, -5.0, 1.0, 200.0])
def test_out_of_range_nothing_is_known_and_nothing_is_wrong(value: float) -> None:
    assert messages.range_from_ros(Range(range=80.0, min_range=2.0, max_range=150.0)) == 80.0
    assert messages.range_from_ros(Range(range=80.0)) == 80.0  # drivers that do not say what they can
    assert messages.range_from_ros(Range(range=value, min_range=2.0, max_range=150.0)) is None
    with pytest.raises(DataError, match="failed"):
        messages.range_from_ros(Range(range=float("nan"), min_range=2.0, max_range=150.0))


def test_pressures_in_hectopascal_are_refused() -> None:
    assert messages.pressure_from_ros(FluidPressure(fluid_pressure=95000.0)) == 95000.0
    with pytest.raises(DataError, match="hectopascal"):
        messages.pressure_from_ros(FluidPressure(fluid_pressure=950.0))


def info(**changes: object) -> CameraInfo:
    message = camera_info(CAMERA, 0, "camera")[0]
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def test_a_camera_without_distortion_leaves_the_image_as_it_is() -> None:
    camera = AerialCamera.of_message(info(), rectified=False)
    assert camera.lens.focal == 50.0 and camera.lens.centre == (31.5, 23.5)
    assert np.array_equal(camera.photo(image_to_ros(picture(), header(0, "c"))), picture())
    assert camera == AerialCamera.of_message(info(), rectified=False)
    with pytest.raises(DataError, match="camera_info says 64x48"):
        camera.photo(image_to_ros(picture()[:40], header(0, "c")))


@pytest.mark.parametrize(
    ("model", "coefficients"), [("plumb_bob", [0.5, 0.0, 0.0, 0.0, 0.0]), ("equidistant", [-0.4, 0.0, 0.0, 0.0])]
)
def test_distortion_is_taken_out(model: str, coefficients: list[float]) -> None:
    """A dot is drawn where the lens, by its own formula, shows a point; it must end up where a pinhole camera has it."""
    x, y = -0.4, 0.3
    r = math.hypot(x, y)
    angle = math.atan(r)
    k = coefficients[0]
    grown = 1.0 + k * r**2 if model == "plumb_bob" else angle * (1.0 + k * angle**2) / r
    image = np.zeros((48, 64), dtype=np.uint8)
    u, v = 31.5 + 50.0 * grown * x, 23.5 + 50.0 * grown * y
    image[round(v), round(u)] = 255
    camera = AerialCamera.of_message(info(distortion_model=model, d=coefficients), rectified=False)
    found = np.unravel_index(camera.photo(image_to_ros(image, header(0, "c"))).argmax(), image.shape)
    assert np.hypot(found[1] - (31.5 + 50.0 * x), found[0] - (23.5 + 50.0 * y)) < 1.0
    assert np.hypot(u - (31.5 + 50.0 * x), v - (23.5 + 50.0 * y)) > 0.4, "there was something to take out"


def test_a_rectified_image_counts_by_p() -> None:
    p = np.array([40.0, 0.0, 30.0, 0.0, 0.0, 40.0, 20.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    camera = AerialCamera.of_message(info(p=p, d=[0.5, 0.0, 0.0, 0.0, 0.0]), rectified=True)
    assert camera.lens.focal == 40.0 and camera.distortion == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"width": 0}, "0x48 pixels"),
        ({"width": 4_000_000_000}, "no usable photo"),
        ({"k": np.full(9, np.nan)}, "not numbers"),
        ({"k": np.zeros(9)}, "must be alike"),
        ({"k": np.array([1e-45, 0, 31.5, 0, 1e-45, 23.5, 0, 0, 1])}, "those of a camera"),
        ({"k": np.array([50.0, 0, 31.5, 0, 80.0, 23.5, 0, 0, 1])}, "alike"),
        ({"k": np.array([50.0, 0, 99.0, 0, 50.0, 23.5, 0, 0, 1])}, "outside"),
        ({"distortion_model": "magic", "d": [0.1]}, "'magic' with 1 coefficients"),
        ({"d": [0.1, 0.0, 0.0]}, "'plumb_bob' with 3 coefficients"),
        ({"d": [1e308, 0.0, 0.0, 0.0]}, "no lens has"),
        ({"d": [float("nan"), 0.0, 0.0, 0.0]}, "no lens has"),
    ],
)
def test_camera_info_that_makes_no_sense(changes: dict[str, object], text: str) -> None:
    with pytest.raises(CalibrationError, match=text):
        AerialCamera.of_message(info(**changes), rectified=False)
