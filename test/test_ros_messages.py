"""Messages to arrays, cameras and transforms, and back."""

from __future__ import annotations

import importlib.util
import sys
import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.ros.camera_info import camera_info, rgbd_camera, stereo_camera
from vloc_ros.ros.conversions import (
    covariance_from_ros,
    covariance_to_ros,
    odometry_to_ros,
    path_to_ros,
    pose_from_ros,
    pose_to_ros,
    pose_with_covariance_from_ros,
    pose_with_covariance_to_ros,
    stamp_from_ns,
    stamp_to_ns,
    transform_to_ros,
)
from vloc_ros.ros.images import (
    UnknownEncodingError,
    byte_array,
    decode_builtin,
    decode_cv_bridge,
    depth_from_ros,
    image_from_ros,
    image_to_ros,
)

CAMERA = StereoCamera(64, 48, 50.0, 51.0, 31.5, 23.25, 0.12)
RNG = np.random.default_rng(0)
POSE = se3.exp(np.array([1.0, -2.0, 0.5, 0.3, -0.4, 1.2]))
needs_cv_bridge = pytest.mark.skipif(importlib.util.find_spec("cv_bridge") is None, reason="cv_bridge is not installed here")


def random_covariance() -> np.ndarray:
    root = RNG.standard_normal((6, 6)) * 0.05
    return root @ root.T


@pytest.mark.parametrize(
    "image",
    [
        RNG.integers(0, 256, (48, 64), dtype=np.uint8),
        RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8),
        RNG.integers(0, 256, (48, 128), dtype=np.uint8)[:, ::2],
    ],
)
def test_an_image_survives_the_message(image):
    message = image_to_ros(image, Header(frame_id="c"))
    assert (message.height, message.width, message.step) == (48, 64, image[0].size)
    np.testing.assert_array_equal(image_from_ros(message), image)


def test_depth_survives_the_message():
    depth = RNG.uniform(0, 9, (48, 64)).astype(np.float32)
    depth[3, 4], depth[5, 6] = np.nan, np.inf
    np.testing.assert_array_equal(depth_from_ros(image_to_ros(depth, Header())), depth)


@pytest.mark.parametrize("scale", [0.001, 0.0002])
def test_millimetres_and_other_units_of_depth(scale):
    raw = RNG.integers(0, 60000, (48, 64), dtype=np.uint16)
    message = Image(height=48, width=64, step=128, encoding="16UC1", data=byte_array(raw), is_bigendian=int(sys.byteorder == "big"))
    np.testing.assert_allclose(depth_from_ros(message, scale), raw * scale, rtol=1e-6)


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.float64), np.zeros((4, 4, 2), np.uint8), np.zeros((4,), np.uint8)])
def test_what_is_no_image_is_not_sent(array):
    with pytest.raises(DataError, match="cannot hold"):
        image_to_ros(array, Header())


def test_bad_messages_are_refused_with_a_sentence():
    message = image_to_ros(np.zeros((48, 64), np.uint8), Header())
    with pytest.raises(UnknownEncodingError, match="no encoding of depth"):
        depth_from_ros(message)
    with pytest.raises(UnknownEncodingError, match="a grey or colour image is expected"):
        image_from_ros(image_to_ros(np.zeros((48, 64), np.float32), Header()))
    message.encoding = "octarine"
    with pytest.raises(UnknownEncodingError, match="octarine"):
        image_from_ros(message)
    message.encoding, message.height = "mono8", 49
    with pytest.raises(DataError, match="holds 3072 bytes"):
        image_from_ros(message)
    with pytest.raises(DataError):
        image_from_ros(CompressedImage(format="jpeg", data=byte_array(np.arange(50, dtype=np.uint8))))


CONTRACT = {
    "mono8": RNG.integers(0, 256, (48, 64), dtype=np.uint8),
    "rgb8": RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8),
    "bgr8": RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8),
    "rgba8": RNG.integers(0, 256, (48, 64, 4), dtype=np.uint8),
    "bgra8": RNG.integers(0, 256, (48, 64, 4), dtype=np.uint8),
    "16UC1": RNG.integers(0, 5000, (48, 64), dtype=np.uint16),
    "32FC1": RNG.uniform(0, 9, (48, 64)).astype(np.float32),
}


@pytest.mark.parametrize("encoding", CONTRACT)
@pytest.mark.parametrize("decode", [decode_builtin, pytest.param(decode_cv_bridge, marks=needs_cv_bridge)])
def test_contract_of_the_decoders(decode, encoding):
    pixels = CONTRACT[encoding]
    message = Image(height=48, width=64, step=pixels[0].nbytes, encoding=encoding, data=byte_array(pixels))
    message.is_bigendian = int(sys.byteorder == "big")
    order = {"bgr8": [2, 1, 0], "bgra8": [2, 1, 0], "rgb8": [0, 1, 2], "rgba8": [0, 1, 2]}.get(encoding)
    expected = pixels if order is None else pixels[..., order]
    result = decode(message)
    assert result.dtype == (np.float32 if encoding in ("16UC1", "32FC1") else np.uint8)
    np.testing.assert_allclose(result, expected / 1000 if encoding == "16UC1" else expected, rtol=1e-6)


def test_making_a_message_does_not_touch_each_byte():
    image = RNG.integers(0, 256, (370, 1226), dtype=np.uint8)
    header = Header()
    ours, slow = [], []
    for _ in range(5):
        start = time.perf_counter()
        message = image_to_ros(image, header)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        Image(data=image.ravel().tolist())
        slow.append(time.perf_counter() - start)
    assert bytes(message.data) == image.tobytes()
    assert min(ours) < min(slow) / 5


def test_a_camera_survives_camera_info():
    assert stereo_camera(*camera_info(CAMERA, 5, "c")) == CAMERA
    left, right = camera_info(CAMERA, 5, "c")
    assert stereo_camera(left, right, baseline=0.5).baseline == pytest.approx(0.5)
    assert rgbd_camera(left, 0.05) == StereoCamera(64, 48, 50.0, 51.0, 31.5, 23.25, 0.05)
    assert rgbd_camera(left, 0.0).baseline > 0.0


def broken(**changes) -> tuple[CameraInfo, CameraInfo]:
    left, right = camera_info(CAMERA, 5, "c")
    for name, value in changes.items():
        setattr(right, name, value)
    return left, right


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        ((CameraInfo(), CameraInfo()), "0x0"),
        ((camera_info(CAMERA, 0, "")[0], CameraInfo(width=64, height=48)), "fx = 0"),
        (broken(width=32), "32x48"),
        (broken(p=np.full(12, np.nan)), "not numbers"),
        (broken(binning_x=2), "binning"),
        (broken(roi=RegionOfInterest(x_offset=3, width=10, height=10)), "region of interest"),
        ((camera_info(CAMERA, 0, "")[0], camera_info(CAMERA, 0, "")[0]), "baseline"),
        (camera_info(CAMERA, 0, "")[::-1], "swapped"),
        ((camera_info(CAMERA, 0, "")[0], camera_info(StereoCamera(64, 48, 70.0, 51.0, 31.5, 23.0, 0.1), 0, "")[1]), "intrinsics"),
    ],
)
def test_camera_info_that_does_not_describe_a_pair(pair, text):
    with pytest.raises(CalibrationError, match=text):
        stereo_camera(*pair)


def test_stamps_survive_exactly():
    for stamp in (0, 1, 999_999_999, 1_000_000_000, 1_700_000_000_123_456_789):
        assert stamp_to_ns(stamp_from_ns(stamp)) == stamp


def test_poses_survive():
    np.testing.assert_allclose(pose_from_ros(pose_to_ros(POSE)), POSE, atol=1e-12)
    message = transform_to_ros(7, "map", "odom", POSE)
    assert (message.header.frame_id, message.child_frame_id) == ("map", "odom")
    assert message.transform.translation.y == pytest.approx(POSE[1, 3])
    path = path_to_ros(0, "map", [1, 2], [POSE, np.eye(4)])
    assert [stamp_to_ns(pose.header.stamp) for pose in path.poses] == [1, 2]


def test_a_pose_of_zeros_or_nan_is_refused():
    message = PoseWithCovarianceStamped()
    message.pose.pose.orientation.w = 0.0
    with pytest.raises(DataError, match="quaternion of zeros"):
        pose_with_covariance_from_ros(message)
    message.pose.pose.orientation.w = 1.0
    message.pose.covariance[3] = np.nan
    with pytest.raises(DataError, match="covariance"):
        pose_with_covariance_from_ros(message)


@pytest.mark.parametrize(
    ("where", "number", "text"),
    [("position", 1e300, "beyond 1e\\+09 m"), ("orientation", 1e308, "far from length one"), ("position", -np.inf, "not numbers")],
)
def test_a_pose_that_would_overflow_is_refused(where, number, text):
    message = PoseWithCovarianceStamped()
    getattr(message.pose.pose, where).x = number
    with pytest.raises(DataError, match=text):
        pose_with_covariance_from_ros(message)


@pytest.mark.parametrize(
    ("covariance", "text"),
    [
        (-np.eye(6), "negative variance"),
        (np.diag([1.0, 1.0, 1.0, 1.0, 1.0, -0.1]), "negative variance"),
        (np.eye(6) + 0.5 * np.eye(6, k=1), "not symmetric"),
        (np.eye(6) + 2.0 * (np.eye(6, k=1) + np.eye(6, k=-1)), "negative variance"),
        (1e300 * np.eye(6), "far too large"),
    ],
)
def test_numbers_that_are_no_covariance_are_refused(covariance, text):
    with pytest.raises(DataError, match=text):
        covariance_from_ros(POSE, covariance.ravel())


def test_a_covariance_without_extent_is_one():
    planar = np.diag([0.25, 0.25, 0.0, 0.0, 0.0, 0.07])
    np.testing.assert_allclose(covariance_from_ros(np.eye(4), planar.ravel()), planar)
    assert not covariance_from_ros(POSE, np.zeros(36)).any()


def test_a_stamp_beyond_what_a_message_holds_becomes_the_last_or_the_first():
    late = Time(sec=2**31 - 1, nanosec=2**32 - 1)
    assert stamp_from_ns(stamp_to_ns(late)) == Time(sec=2**31 - 1, nanosec=999_999_999)
    assert stamp_from_ns(-(10**30)) == Time(sec=-(2**31), nanosec=0)


def test_the_covariance_is_that_of_position_and_fixed_axis_rotation_in_the_header_frame():
    covariance = random_covariance() * 0.01
    samples = RNG.multivariate_normal(np.zeros(6), covariance, size=8_000)
    errors = np.empty_like(samples)
    for index, xi in enumerate(samples):
        moved = POSE @ se3.exp(xi)
        errors[index, :3] = moved[:3, 3] - POSE[:3, 3]
        errors[index, 3:] = Rotation.from_matrix(moved[:3, :3] @ POSE[:3, :3].T).as_euler("xyz")
    measured = np.cov(errors.T)
    converted = np.asarray(covariance_to_ros(POSE, covariance)).reshape(6, 6)
    scale = np.sqrt(np.outer(np.diag(converted), np.diag(converted)))
    assert np.max(np.abs(measured - converted) / scale) < 0.06


def test_covariances_survive():
    covariance = random_covariance()
    np.testing.assert_allclose(covariance_from_ros(POSE, covariance_to_ros(POSE, covariance)), covariance, atol=1e-12)
    pose, back = pose_with_covariance_from_ros(pose_with_covariance_to_ros(3, "map", POSE, covariance))
    np.testing.assert_allclose(pose, POSE, atol=1e-12)
    np.testing.assert_allclose(back, covariance, atol=1e-12)


def test_odometry_carries_the_twist_in_the_child_frame():
    twist, covariance = np.arange(6.0), random_covariance()
    message = odometry_to_ros(9, "odom", "base_link", POSE, covariance, twist, covariance)
    assert message.twist.twist.angular.z == 5.0
    np.testing.assert_array_equal(np.asarray(message.twist.covariance).reshape(6, 6), covariance)
