"""The transforms map -> odom -> base, with tf2_ros, with tf2_msgs alone, or with neither."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest
import ros_samples as samples

from vloc_ros.geometry import se3
from vloc_ros.localization import FrameResult, State
from vloc_ros.ros.conversions import pose_from_ros, stamp_to_ns
from vloc_ros.ros.node_settings import FrameSettings
from vloc_ros.ros.odometry_track import OdometryTrack
from vloc_ros.ros.tf import FrameBroadcaster

HAS_TF = importlib.util.find_spec("tf2_msgs") is not None
ODOM_T_BASE = se3.exp(np.array([1.0, 2.0, 0.1, 0.0, 0.1, 0.7]))
MAP_T_BASE = se3.exp(np.array([-3.0, 1.0, 0.0, 0.0, 0.0, -0.4]))


@pytest.mark.skipif(HAS_TF, reason="a tf package is installed here")
def test_without_a_tf_package_there_is_one_warning_and_no_tf(caplog):
    with samples.probe(samples.ros_environment()) as probe, caplog.at_level(logging.WARNING):
        broadcaster = FrameBroadcaster(probe.node, FrameSettings())
        for stamp in range(3):
            broadcaster.send(stamp, ODOM_T_BASE, MAP_T_BASE)
        broadcaster.close()
        assert "/tf" not in dict(probe.node.get_topic_names_and_types())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "tf2_ros" in caplog.records[0].message


@pytest.mark.skipif(not HAS_TF, reason="no tf package is installed here")
def test_the_chain_from_map_to_base_is_the_believed_pose():
    from tf2_msgs.msg import TFMessage

    with samples.probe(samples.ros_environment()) as probe:
        heard = probe.listen(TFMessage, "/tf")
        broadcaster = FrameBroadcaster(probe.node, FrameSettings(base="base_footprint"))
        probe.wait(lambda: probe.node.count_publishers("/tf") and probe.node.count_subscribers("/tf"), "/tf")
        broadcaster.send(6, None, MAP_T_BASE)
        broadcaster.send(7, ODOM_T_BASE, None)
        broadcaster.send(8, ODOM_T_BASE, MAP_T_BASE)
        probe.wait(lambda: len(heard) >= 2 and len(heard[-1].transforms) == 2, "the transforms")
        broadcaster.close()
    assert [len(message.transforms) for message in heard] == [1, 2]
    poses = {}
    for transform in heard[-1].transforms:
        assert stamp_to_ns(transform.header.stamp) == 8
        poses[transform.header.frame_id, transform.child_frame_id] = as_matrix(transform.transform)
    np.testing.assert_allclose(poses["map", "odom"] @ poses["odom", "base_footprint"], MAP_T_BASE, atol=1e-9)


def as_matrix(transform) -> np.ndarray:
    from geometry_msgs.msg import Point, Pose

    t = transform.translation
    return pose_from_ros(Pose(position=Point(x=t.x, y=t.y, z=t.z), orientation=transform.rotation))


def result(stamp_ns: int, pose: np.ndarray | None, covariance: np.ndarray | None) -> FrameResult:
    return FrameResult(stamp_ns, State.LOCALISED, None, pose, covariance, None, None, False, None, 0, 0)


def test_the_covariance_of_the_odometry_grows_with_the_way_and_the_twist_is_the_velocity():
    track, step = OdometryTrack(), np.diag([1e-4, 1e-4, 1e-4, 1e-6, 1e-6, 1e-6])
    motion = se3.exp(np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.02]))
    pose, samples_of = np.eye(4), []
    for index in range(20):
        samples_of.append(track.add(result(index * 100_000_000, pose, step if index else None)))
        pose = pose @ motion
    np.testing.assert_array_equal(samples_of[0].covariance, np.zeros((6, 6)))
    assert samples_of[0].twist is None
    np.testing.assert_allclose(samples_of[-1].twist, [1.0, 0.0, 0.0, 0.0, 0.0, 0.2], atol=1e-9)
    np.testing.assert_allclose(samples_of[-1].twist_covariance, step / 0.01)
    expected = np.zeros((6, 6))
    for _ in range(19):
        expected = se3.compose_covariance(expected, motion, step)
    np.testing.assert_allclose(samples_of[-1].covariance, expected, atol=1e-15)
    assert track.add(result(3_000_000_000, None, None)) is None
