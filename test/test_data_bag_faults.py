"""Bags that are damaged or say too little, and the truth in bags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_samples import KINDS, LEFT, RIGHT, SECOND, BagBuilder, stereo_bag
from data_samples import CAMERA, SyntheticReader, assert_poses_close, texture

from vloc_ros.data import BagReader, open_recording, write_recording
from vloc_ros.data.bag_topics import CAMERA_INFO, IMAGE
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry import se3

RGB = texture(3, colour=True)


def test_a_bag_without_images(tmp_path: Path) -> None:
    builder = BagBuilder("mcap")
    builder.tf_static(builder.transform("a", "b", (0, 0, 0), (0, 0, 0, 1)))
    path = builder.write(tmp_path / "recording")
    with pytest.raises(DataError, match=r"no left and right images, .* the bag holds: /tf_static \(TFMessage\)"):
        open_recording(path)


@pytest.mark.parametrize("kind", ["bag", "mcap"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p": np.zeros(12)}, "projection matrix is empty"),
        ({"width": 0, "height": 0}, "0x0 is not positive"),
    ],
)
def test_an_empty_camera_info(tmp_path: Path, kind: str, changes: dict[str, Any], message: str) -> None:
    builder = BagBuilder(kind)
    builder.stereo_infos(**changes)
    for topic in (LEFT, RIGHT):
        builder.image(topic, SECOND, texture(1), "mono8")
    with pytest.raises(CalibrationError, match=f"recording.*{message}"):
        open_recording(builder.write(tmp_path / "recording"))


def test_contradicting_camera_infos(tmp_path: Path) -> None:
    P_left, P_right = CAMERA.projection_matrices
    for name, (left, right, message) in {
        "swapped": (P_right, P_left, "must be positive"),
        "same": (P_left, P_left, "baseline .* must be positive"),
        "other": (P_left, P_right * 1.01, "not rectified"),
    }.items():
        builder = BagBuilder("mcap")
        builder.info("/stereo/left/camera_info", left)
        builder.info("/stereo/right/camera_info", right)
        for topic in (LEFT, RIGHT):
            builder.image(topic, SECOND, texture(1), "mono8")
        with pytest.raises(CalibrationError, match=message):
            open_recording(builder.write(tmp_path / name))


def test_missing_camera_info(tmp_path: Path) -> None:
    builder = BagBuilder("mcap")
    for topic in (LEFT, RIGHT):
        builder.image(topic, SECOND, texture(1), "mono8")
    with pytest.raises(DataError, match="no camera_info is beside '/stereo/left/image_rect'; name its topic"):
        open_recording(builder.write(tmp_path / "recording"))


@pytest.mark.parametrize("kind", ["bag", "db3"])
@pytest.mark.parametrize(
    ("encoding", "changes", "message"),
    [
        ("bayer_rggb12", {}, "unknown image encoding 'bayer_rggb12'"),
        ("mono8", {"step": 50}, "step of a 'mono8' image is 50 bytes"),
        ("mono8", {"data": np.zeros(100, dtype=np.uint8)}, "holds 100 bytes instead of"),
        ("mono8", {"width": 32, "step": 64}, "is 32x48 px but the camera of this recording is 64x48"),
        ("16UC1", {"width": 32}, "holds depth where an image was expected"),
    ],
)
def test_damaged_images_are_named(tmp_path: Path, kind: str, encoding: str, changes: dict[str, Any], message: str) -> None:
    builder = stereo_bag(kind, 1)
    builder.image(LEFT, 200 * SECOND, texture(1), encoding, **changes)
    builder.image(RIGHT, 200 * SECOND, texture(1), "mono8")
    reader = open_recording(builder.write(tmp_path / "recording"))
    reader.frame(0)
    with pytest.raises(DataError, match=f"recording.*topic /stereo/left/image_rect: stamp 200000000000.*{message}"):
        reader.frame(1)


def test_an_image_where_depth_was_expected(tmp_path: Path) -> None:
    builder = BagBuilder("mcap")
    builder.info("/camera/color/camera_info", CAMERA.projection_matrices[0])
    builder.image("/camera/color/image_raw", SECOND, RGB, "rgb8")
    builder.image("/camera/depth_registered/image", SECOND, RGB, "rgb8")
    with pytest.raises(DataError, match="holds an image where depth was expected"):
        open_recording(builder.write(tmp_path / "recording")).frame(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.8])
def test_a_recording_that_was_cut_off(tmp_path: Path, kind: str, kept: float) -> None:
    path = stereo_bag(kind, 12).write(tmp_path / "recording")
    file = path if path.is_file() else next(child for child in path.iterdir() if child.suffix == f".{kind}")
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DataError, match="recording"):
        reader = open_recording(path)
        for _ in reader:
            pass


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    for suffix in (".bag", ".db3", ".mcap"):
        (tmp_path / f"notes{suffix}").write_text("hello")
        with pytest.raises(DataError, match=r"cannot be read .*repair it"):
            open_recording(tmp_path / f"notes{suffix}")
    with pytest.raises(DataError, match="different kinds"):
        BagReader(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_truth_of_the_base_and_of_the_camera(tmp_path: Path, kind: str) -> None:
    turned = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
    for child, name in (("/base_link", "base"), ("cam", "cam"), ("", "pose")):
        builder = stereo_bag(kind)
        builder.tf_static(builder.transform("base_link", "mast", (0.5, 0.0, 1.0), (0, 0, 0, 1)))
        builder.tf_static(builder.transform("mast", "cam", (0.0, 0.1, 0.0), turned))
        for k in range(5):
            stamp = 100 * SECOND + k * SECOND // 20
            if child:
                moved = builder.transform("world", child, (float(k), 0.0, 0.0), turned)
                moved.header = builder.header(stamp, "world")
                builder.add("/mocap/ground_truth", "geometry_msgs/msg/TransformStamped", stamp, moved)
            else:
                pose = builder.make(
                    "geometry_msgs/msg/Pose",
                    position=builder.make("geometry_msgs/msg/Point", x=float(k), y=0.0, z=0.0),
                    orientation=builder.make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", turned, strict=True))),
                )
                stamped = builder.make("geometry_msgs/msg/PoseStamped", header=builder.header(stamp, "world"), pose=pose)
                builder.add("/groundtruth_pose", "geometry_msgs/msg/PoseStamped", stamp, stamped)
        reader = open_recording(builder.write(tmp_path / name))
        truth = reader.ground_truth
        assert truth is not None and len(truth) == 5
        quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
        base_T_cam = se3.from_rotation_translation(quarter, np.array([0.5, 0.1, 1.0]))
        assert_poses_close(reader.base_T_camera, base_T_cam)
        world_T_child = se3.from_rotation_translation(quarter, np.array([3.0, 0.0, 0.0]))
        assert_poses_close(truth.poses[3], world_T_child if child == "cam" else world_T_child @ base_T_cam)


def test_static_frames_are_followed_against_their_direction(tmp_path: Path) -> None:
    builder = stereo_bag("mcap", 1)
    turned = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
    builder.tf_static(
        builder.transform("cam", "imu", (1.0, 2.0, 3.0), turned), builder.transform("base_link", "imu", (0, 0, 1), (0, 0, 0, 1))
    )
    reader = open_recording(builder.write(tmp_path / "recording"))
    cam_T_imu = se3.from_rotation_translation(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2.0, 3.0]))
    base_T_imu = se3.from_rotation_translation(np.eye(3), np.array([0.0, 0.0, 1.0]))
    assert_poses_close(reader.base_T_camera, base_T_imu @ np.linalg.inv(cam_T_imu))


def test_our_own_bag_plays_anywhere(tmp_path: Path) -> None:
    """Types, topics and latching as ROS tools expect them."""
    path = write_recording(SyntheticReader(3), tmp_path / "out", "mcap")
    metadata = (path / "metadata.yaml").read_text()
    assert "relative_file_paths:\n  - recording.mcap" in metadata and "version: 8" in metadata
    reader = open_recording(path)
    assert isinstance(reader, BagReader)
    assert reader._source.types == {
        "/tf_static": "tf2_msgs/msg/TFMessage",
        "/ground_truth/odometry": "nav_msgs/msg/Odometry",
        "/left/camera_info": CAMERA_INFO,
        "/left/image_rect": IMAGE,
        "/right/camera_info": CAMERA_INFO,
        "/right/image_rect": IMAGE,
    }
    static = next(c for c in reader._source._reader.connections if c.topic == "/tf_static")
    assert static.ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
    reader.close()
    with pytest.raises(DataError):
        reader.frame(0)
