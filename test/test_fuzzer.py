"""Malformed messages on every subscription of every node: it lives, says why, believes nothing wrong, and still does its work.

60 messages for each subscription here, and 1000 with ``pytest test/test_fuzzer.py -m slow``; the same ones each time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import hostile_messages
import numpy as np
import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from flight_samples import FRAME, area_map, barometer, imu, info, laser, view
from fuzzed_node import FuzzedNode, Target, fuzzed
from fuzzed_robot import MS, POSES, Robot, topics_of
from geometry_msgs.msg import TwistStamped
from graph_samples import ODOMETRY, GraphListener, GraphPlayer, candidate, keyframe
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, NavSatFix
from std_msgs.msg import Float64, Header, String
from std_srvs.srv import Trigger
from tiny_robot import TinyRobot, arc

from vloc_ros.config import replace
from vloc_ros.data import StereoFrame
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.interfaces import NODES
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.mapping.integrity import check_map
from vloc_ros.pose_graph.synthetic import two_laps
from vloc_ros.ros.camera_info import camera_info, rgbd_camera
from vloc_ros.ros.conversions import header, odometry_to_ros, path_to_ros, pose_with_covariance_to_ros, stamp_from_ns
from vloc_ros.ros.images import byte_array, image_to_ros
from vloc_ros.settings import Settings

SETTINGS = {"keyframes.distance": 0.25, "features.max_features": 500}
RELIABLE = {"qos.reliability": "reliable", "qos.depth": 20}
SURE = 1e-4 * np.eye(6)
INFOS = ("left/camera_info", "right/camera_info")
COUNTS = [60, pytest.param(1000, marks=pytest.mark.slow)]


INITIAL, WHEELS, CLOCK = "initialpose", "odom", "/clock"
ATTACKS = {
    ("localization", "stereo"): {*topics_of("stereo"), *INFOS, INITIAL, WHEELS, CLOCK},
    ("localization", "stereo compressed"): {*topics_of("stereo compressed"), *INFOS},
    ("localization", "rgbd"): {*topics_of("rgbd"), "rgb/camera_info"},
    ("localization", "rgbd compressed"): {*topics_of("rgbd compressed"), "rgb/camera_info"},
    ("path_follower", ""): {"path", "pose", "odometry", CLOCK},
    ("place_recognition", ""): {"keyframes", "model", CLOCK},
    ("pose_graph", ""): {"keyframes", "loop_closures/candidates", "state", CLOCK},
    ("calibration", ""): {*(f"loop_closures/{label}" for label in ("inliers", "outliers", "undecided")), "odometry", CLOCK},
    ("aerial", "raw"): {"image", "camera_info", "range", "pressure", "imu", CLOCK},
    ("aerial", "compressed"): {"image/compressed", "camera_info"},
    ("simulator", ""): {"cmd_vel", "processed", "keyframes", "path_follower/state", "simulator/kidnap"},
    ("player", ""): {"processed"},
}
"""What is attacked, by node and setting."""


def test_every_subscription_of_every_node_is_attacked() -> None:
    attacked: dict[str, set[str]] = {}
    for (name, _), topics in ATTACKS.items():
        attacked.setdefault(name, set()).update(topics)
    assert attacked == {name: set(node.subscribes) for name, node in NODES.items()}


def teach(file: Path, camera: StereoCamera, frames: list[StereoFrame]) -> Path:
    settings = replace(Settings(), SETTINGS)
    extractor = settings.features.create()
    with MapStore.create(file, camera, BASE_T_OPTICAL, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(camera, store, settings)
        for frame in frames:
            teacher.process(frame)
        teacher.close()
    return file


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A map of the corridor, alone in the folder where the node may write."""
    frames = [StereoFrame(index * 100 * MS, *samples.pair(pose)) for index, pose in enumerate(POSES)]
    return teach(folder_of(tmp_path) / "site.vloc", samples.CAMERA, frames)


@pytest.fixture
def rgbd_site(tmp_path: Path) -> Path:
    """The same, of an RGB-D camera."""
    frames = []
    for index, pose in enumerate(POSES):
        image, depth = samples.render_with_depth(pose)
        frames.append(StereoFrame(index * 100 * MS, image, depth=depth))
    camera = rgbd_camera(camera_info(samples.CAMERA, 0, "camera")[0], 0.0)
    return teach(folder_of(tmp_path) / "rgbd.vloc", camera, frames)


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("setting", ["stereo", "stereo compressed", "rgbd", "rgbd compressed"])
def test_localization(site: Path, rgbd_site: Path, tmp_path: Path, setting: str, count: int) -> None:
    file = rgbd_site if "rgbd" in setting else site
    kind = {"camera.type": setting.split()[0], "camera.transport": "compressed" if "compressed" in setting else "raw"}
    parameters = {"mode": "localize", "map": str(file), "use_wheel_odometry": True, **kind, **SETTINGS, **RELIABLE}
    before = file.read_bytes()
    with fuzzed("localization", parameters, folder_of(tmp_path)) as node:
        robot = Robot(node, setting)
        robot.is_localised()
        node.attack(robot.images(), count, 1)
        robot.is_localised()
        said = node.fresh()
        refused = sum(int(said.get(f"dropped_{reason}", 0)) for reason in ("unknown_encoding", "bad_image", "wrong_size"))
        assert refused > 0 and int(said["images_unpaired"]) > 0, said
        node.attack(robot.calibrations(), count, 2)
        assert {"problem_bad_calibration", "problem_calibration_changed"} & node.fresh().keys()
        robot.is_localised()
        assert robot.wrong() == []
        if setting == "stereo":
            the_rest_of_localization(node, robot, count)
        assert node.attacked == ATTACKS["localization", setting]
        node.end()
    assert check_map(file) == [] and file.read_bytes() == before


def the_rest_of_localization(node: FuzzedNode, robot: Robot, count: int) -> None:
    """Where an operator and the wheels say that it is, the clock, and its services."""
    true = BASE_T_OPTICAL @ POSES[2] @ se3.inverse(BASE_T_OPTICAL)
    said = pose_with_covariance_to_ros(0, "map", true, 0.04 * np.eye(6))
    node.attack(
        [Target("initialpose", said), Target("odom", odometry_to_ros(robot.stamp_ns, "odom", "base_link", true, SURE))], count
    )
    assert "problem_bad_input" in node.fresh()
    robot.is_localised()
    node.graph.set({"use_sim_time": True})
    clock(node, count)
    robot.is_localised()
    node.attack_services(40)
    for service in ("reset", "keyframe", "finish"):
        node.probe.call(f"localization/{service}", Trigger.Request())
    robot.is_localised()


def clock(node: FuzzedNode, count: int) -> None:
    """Times that no clock tells; the diagnostics go on all the while."""
    node.attack([Target("/clock", Clock(clock=stamp_from_ns(5000 * MS)))], count, 5)
    assert "before 1970" in node.fresh()["refused_clock"]


@pytest.mark.parametrize("count", COUNTS)
def test_path_follower(tmp_path: Path, count: int) -> None:
    with fuzzed("path_follower", {"speed": 1.0}, folder_of(tmp_path)) as node:
        commands: list[TwistStamped] = node.probe.listen(TwistStamped, "cmd_vel")
        now, pose = time.time_ns(), np.eye(4)
        path = path_to_ros(now, "map", [now] * 40, arc(9.75, 0.1))
        node.attack([Target("path", path)], count, 1)
        odometry = odometry_to_ros(now, "odom", "base_link", pose, SURE)
        both = [Target("pose", pose_with_covariance_to_ros(now, "map", pose, SURE)), Target("odometry", odometry)]
        node.attack(both, count, 2)
        said = node.fresh()
        assert "problem_bad_input" in said, said
        node.attack_services(40)
        speeds = np.array([[m.twist.linear.x, m.twist.angular.z] for m in commands])
        assert len(speeds) and np.all(np.isfinite(speeds)) and np.max(np.abs(speeds[:, 0])) <= 1.0
        node.forget_publishers()
        with TinyRobot(node.probe, arc(60.0, 0.0)) as robot:
            robot.wait_for_speed(0.9, 40.0)
        node.graph.set({"use_sim_time": True})
        clock(node, count)
        assert node.attacked == ATTACKS["path_follower", ""]
        node.end()


@pytest.mark.parametrize("count", COUNTS)
def test_place_recognition(site: Path, tmp_path: Path, count: int) -> None:
    parameters = {"map": str(site), "begin_with": 2, "loops.descriptor": "thumbnail", "use_sim_time": True}
    with MapStore.open(site, read_only=True) as store:
        known = [odometry_to_ros(k.stamp_ns, "map", str(k.id), k.map_T_base, SURE) for k in store.keyframes()]
    with fuzzed("place_recognition", parameters, folder_of(tmp_path)) as node:
        model = String(data='{"version": "site-1", "sha256": "' + "0" * 64 + '"}')
        node.attack([Target("keyframes", known[0]), Target("model", model)], count, 1)
        said = node.fresh()
        assert "problem_bad_model_message" in said, said
        node.publisher("keyframes", Odometry).publish(Odometry(child_frame_id="s999999999/k999999999"))
        node.wait(lambda: "left_out_unreadable" in node.said(), "the end of the attempts")
        clock(node, count)
        node.attack_services(40)
        searched = int(node.said()["keyframes_searched"])
        new = teach_more(site)
        for message in new:
            node.publisher("keyframes", Odometry).publish(message)
        node.wait(lambda: int(node.said()["keyframes_searched"]) == searched + len(new), "the search for the new keyframes")
        assert node.attacked == ATTACKS["place_recognition", ""]
        node.end()
    assert check_map(site) == []


def teach_more(site: Path) -> list[Odometry]:
    """Drive the corridor once more; the keyframes of that session, as the localization announces them."""
    with MapStore.open(site) as store:
        teacher = Teacher(samples.CAMERA, store, replace(Settings(), SETTINGS))
        for index, pose in enumerate(POSES):
            teacher.process(StereoFrame((100_000 + index * 100) * MS, *samples.pair(pose)))
        teacher.close()
        keyframes = store.keyframes(2)
    return [odometry_to_ros(k.stamp_ns, "map", str(k.id), k.map_T_base, SURE) for k in keyframes]


@pytest.mark.parametrize("count", COUNTS)
def test_pose_graph(site: Path, tmp_path: Path, count: int) -> None:
    parameters = {"map": str(site), "solver.period": 0.2, "growth.max_wait": 5.0, "use_sim_time": True, **ODOMETRY}
    graph, _, is_true = two_laps(60, 8, 4, 1)
    with MapStore.open(site, read_only=True) as store:
        taught = store.keyframes()
    with fuzzed("pose_graph", parameters, folder_of(tmp_path)) as node:
        apart = odometry_to_ros(1, "s1/k1", "s1/k3", se3.between(taught[0].map_T_base, taught[2].map_T_base), 1e-2 * np.eye(6))
        first = odometry_to_ros(1, "map", "s3/k1", np.eye(4), SURE)
        teaching = DiagnosticStatus(name="localization", values=[KeyValue(key="mode", value="teach")])
        node.attack([Target("keyframes", first), Target("loop_closures/candidates", apart), Target("state", teaching)], count, 1)
        said = node.fresh()
        assert "problem_bad_input" in said and "rejected_not_finite" in said, said
        clock(node, count)
        node.attack_services(40)
        node.forget_publishers()
        listener, player = GraphListener(node.probe), GraphPlayer(node.probe)
        for message in shifted(graph):
            player.keyframe(message)
        for edge in np.flatnonzero(~graph.trusted).tolist():
            player.candidate(renamed(candidate(graph, edge)))
        pairs = [(renamed_name(int(graph.a[e])), renamed_name(int(graph.b[e]))) for e in np.flatnonzero(~graph.trusted).tolist()]
        node.wait(lambda: all(listener.label(*pair) for pair in pairs), "labels")
        accepted = np.array([listener.label(*pair) == "inliers" for pair in pairs])
        assert not np.any(accepted & ~is_true[~graph.trusted]) and np.any(accepted)
        assert node.attacked == ATTACKS["pose_graph", ""]
        node.end()
    assert check_map(site) == []


def renamed_name(row: int) -> str:
    return f"s5/k{row + 1}"


def renamed(message: Odometry) -> Odometry:
    """In a session of its own, of which no hostile message has spoken."""
    message.child_frame_id = message.child_frame_id.replace("s1/", "s5/")
    message.header.frame_id = message.header.frame_id.replace("s1/", "s5/")
    return message


def shifted(graph: Any) -> list[Odometry]:
    return [renamed(keyframe(graph, row)) for row in range(len(graph.ids))]


@pytest.mark.parametrize("count", COUNTS)
def test_calibration(site: Path, tmp_path: Path, count: int) -> None:
    with fuzzed("calibration", {"map": str(site), "use_sim_time": True}, folder_of(tmp_path)) as node:
        closure = odometry_to_ros(1, "s1/k1", "s1/k3", np.eye(4), SURE)
        labels = [Target(f"loop_closures/{label}", closure) for label in ("inliers", "outliers", "undecided")]
        node.attack([*labels, Target("odometry", odometry_to_ros(1, "odom", "base_link", np.eye(4), SURE))], count, 1)
        assert "problem_bad_stamp" in node.fresh()
        clock(node, count)
        node.attack_services(40)
        for service in ("pause", "resume"):
            assert node.probe.call(f"calibration/{service}", Trigger.Request()).success
        assert node.fresh()["state"]
        assert node.attacked == ATTACKS["calibration", ""]
        node.end()
    assert check_map(site) == []


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("setting", ["raw", "compressed"])
def test_aerial(tmp_path: Path, setting: str, count: int) -> None:
    """Whatever comes, a photo with good readings is located, and no false position is published with them."""
    file = area_map(folder_of(tmp_path) / "area.vloc")
    before, image = file.read_bytes(), image_to_ros(view((15.0, 20.0)), header(0, "camera"))
    topic, good = "image", image
    if setting == "compressed":
        data = cv2.imencode(".png", view((15.0, 20.0))[..., ::-1])[1]
        topic, good = "image/compressed", CompressedImage(format="png", data=byte_array(data))
    parameters = {"map": str(file), "camera.transport": setting, "sequential": False, **RELIABLE}
    parameters["use_sim_time"] = setting == "raw"
    with fuzzed("aerial", parameters, folder_of(tmp_path)) as node:
        fixes: list[NavSatFix] = node.probe.listen(NavSatFix, "fix")

        def is_located(second: int) -> None:
            stamp_ns = second * 1000 * MS
            good.header.stamp = stamp_from_ns(stamp_ns)
            for name, message in (("camera_info", info()), ("imu", imu(stamp_ns)), ("range", laser(stamp_ns)), (topic, good)):
                node.publisher(name, type(message)).publish(message)
                time.sleep(0.2)
            node.wait(lambda: any(m.header.stamp.sec == second and m.status.status == 0 for m in fixes), "a position")
            fix = next(m for m in fixes if m.header.stamp.sec == second)
            assert np.linalg.norm(FRAME.metres(np.array([[fix.latitude, fix.longitude]]))[0] - (15.0, 20.0)) < 2.0

        is_located(1000)
        others = [Target("range", laser(1)), Target("pressure", barometer(1)), Target("imu", imu(1))]
        node.attack([Target("camera_info", info()), *(others if setting == "raw" else [])], count, 1)
        is_located(2000)
        node.attack([Target(topic, good)], count, 2)
        said = node.fresh()
        assert int(said["damaged"]) > 0, said
        is_located(3000)
        if setting == "raw":
            clock(node, count)
            node.attack_services(40)
            is_located(4000)
        assert node.attacked == ATTACKS["aerial", setting]
        node.end()
    assert file.read_bytes() == before


@pytest.mark.slow  # it takes messages between two images only: a minute even for 60
@pytest.mark.parametrize("count", COUNTS)
def test_simulator(tmp_path: Path, count: int) -> None:
    parameters = {"seed": 3, "length": 40.0, "scale": 0.1, "driver": "topic", "exit_when_done": False}
    with fuzzed("simulator", parameters, folder_of(tmp_path)) as node:
        truth: list[Odometry] = node.probe.listen(Odometry, "ground_truth/odometry")
        node.wait(lambda: node.said().get("stage") == "driving", "the world", 120.0)
        follower = DiagnosticStatus(values=[KeyValue(key="state", value="stopped"), KeyValue(key="reason", value="NO_POSE")])
        targets = [
            Target("cmd_vel", TwistStamped()),
            Target("processed", Header()),
            Target("keyframes", odometry_to_ros(1, "map", "s1/k1", np.eye(4), SURE)),
            Target("path_follower/state", follower),
            Target("simulator/kidnap", Float64(data=3.0)),
        ]
        node.attack(targets, count, 1)
        assert "problem_bad_input" in node.fresh()
        node.attack_services(40)
        frames = int(node.said()["frames"])
        node.wait(lambda: int(node.said()["frames"]) > frames, "more images")
        positions = np.array([[m.pose.pose.position.x, m.pose.pose.position.y, m.pose.pose.position.z] for m in truth])
        assert np.all(np.isfinite(positions)) and np.max(np.abs(positions)) < 1000.0
        assert node.attacked == ATTACKS["simulator", ""]
        node.end()


@pytest.mark.parametrize("count", COUNTS)
def test_player(tmp_path: Path, count: int) -> None:
    """It has no diagnostics: its last words say how many were taken."""
    recording = samples.write_recording(folder_of(tmp_path) / "recording", POSES)
    environment = samples.ros_environment()
    parameters = {"source": str(recording), "loop": True, "rate": 1.0, "rectification": "off"}
    with (
        samples.probe(environment) as probe,
        samples.node("player", parameters, folder_of(tmp_path), environment) as node,
    ):
        images = probe.listen(Image, "left/image_rect"), probe.listen(Image, "right/image_rect")
        probe.wait(lambda: all(images), "the first images", 40.0)
        for message in hostile_messages.messages(Header, count, Header(), 1):
            probe.publish("processed", message)
            time.sleep(0.003)
        seen = len(images[0])
        probe.wait(lambda: len(images[0]) > seen + 3, "images, all the same", 40.0)
        assert node.end() == 0, node.output
        assert f"{count} acknowledged as processed" in node.output and "Traceback" not in node.output
