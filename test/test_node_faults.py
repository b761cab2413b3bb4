"""What the localization node does with bad input: says why, goes on, and never publishes a pose that it does not believe."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from vloc_ros.config import replace
from vloc_ros.data import StereoFrame
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.mapping.integrity import check_map
from vloc_ros.ros.conversions import header, stamp_to_ns
from vloc_ros.ros.images import image_to_ros
from vloc_ros.settings import Settings

MS = 1_000_000
SETTINGS = {"keyframes.distance": 0.25, "features.max_features": 500}
RELIABLE = {"qos.reliability": "reliable", "qos.depth": 20}
POSES = samples.walk(6, step=0.15)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A map of the corridor, taught by the library."""
    file = tmp_path_factory.mktemp("site") / "site.vloc"
    settings = replace(Settings(), SETTINGS)
    features = settings.features
    extractor = features.create()
    with MapStore.create(file, samples.CAMERA, BASE_T_OPTICAL, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(samples.CAMERA, store, settings)
        for index, pose in enumerate(POSES):
            left, right = samples.pair(pose)
            teacher.process(StereoFrame(index * 100 * MS, left, right))
        teacher.close()
    return file


def value(statuses: list[DiagnosticArray], key: str) -> str | None:
    """The newest value of a diagnostic key."""
    found = [pair.value for array in statuses for status in array.status for pair in status.values if pair.key == key]
    return found[-1] if found else None


def state_of(message: DiagnosticStatus) -> str:
    return {pair.key: pair.value for pair in message.values}["state"]


def test_a_pose_is_published_only_while_it_is_believed(site, tmp_path):
    environment = samples.ros_environment()
    parameters = {"mode": "repeat", "map": str(site), **SETTINGS, **RELIABLE}
    with samples.node("localization", parameters, tmp_path, environment) as node, samples.probe(environment) as probe:
        poses = probe.listen(PoseWithCovarianceStamped, "pose")
        states = probe.listen(DiagnosticStatus, "state", latched=True)
        processed = probe.listen(Header, "processed")
        paths = probe.listen(PathMessage, "path", latched=True)
        probe.calibrate()
        strange = [samples.pair(pose, place=1) for pose in POSES[:3]]
        for index, (left, right) in enumerate(strange):
            probe.show((1000 + index * 100) * MS, left, right)
            probe.wait(lambda count=index + 1: len(processed) >= count, "processed")
        assert poses == []
        assert state_of(states[-1]) == "relocalising"
        assert states[-1].level == DiagnosticStatus.WARN
        assert states[-1].message != "all is well"
        for index in range(3):
            probe.show((2000 + index * 100) * MS, *samples.pair(POSES[index + 1]))
            probe.wait(lambda count=index + 4: len(processed) >= count, "processed")
        probe.wait(lambda: state_of(states[-1]) == "localised" and poses, "a believed pose")
        assert min(stamp_to_ns(pose.header.stamp) for pose in poses) >= 2000 * MS
        assert poses[-1].header.frame_id == "map"
        assert abs(poses[-1].pose.pose.position.x - POSES[3][2, 3]) < 0.05
        assert np.all(np.linalg.eigvalsh(np.reshape(poses[-1].pose.covariance, (6, 6))) > 0)
        probe.wait(lambda: paths, "the taught route")
        assert len(paths[-1].poses) >= 3
        assert [stamp_to_ns(head.stamp) for head in processed] == [1000 * MS, 1100 * MS, 1200 * MS, 2000 * MS, 2100 * MS, 2200 * MS]
        assert node.end() == 0
        assert "6 frames processed, none dropped" in node.output


def test_bad_frames_are_refused_with_a_reason_and_the_node_goes_on(site, tmp_path):
    environment = samples.ros_environment()
    parameters = {"mode": "localize", "map": str(site), **SETTINGS, **RELIABLE}
    left, right = samples.pair(POSES[0])
    with samples.node("localization", parameters, tmp_path, environment) as node, samples.probe(environment) as probe:
        processed = probe.listen(Header, "processed")
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        poses = probe.listen(PoseWithCovarianceStamped, "pose")
        matches = probe.listen(Image, "matches/image")
        probe.calibrate()
        shown = 0

        def show(stamp_ns: int, a, b) -> None:
            nonlocal shown
            probe.show(stamp_ns, a, b)
            shown += 1
            probe.wait(lambda: len(processed) >= shown, f"an answer to frame {shown}")

        def message(stamp_ns: int, image, **changes) -> Image:
            made = image_to_ros(image, header(stamp_ns, "camera"))
            for name, changed in changes.items():
                setattr(made, name, changed)
            return made

        show(1000 * MS, message(1000 * MS, left, encoding="octarine"), right)
        show(1100 * MS, left, np.ascontiguousarray(right[:120]))
        show(1200 * MS, message(1200 * MS, left, height=239), right)
        show(1300 * MS, left, message(1300 * MS, right, data=message(0, right).data[:1000]))
        show(1400 * MS, np.zeros_like(left), np.zeros_like(right))
        assert poses == []
        for index in range(3):
            show((1500 + 100 * index) * MS, *samples.pair(POSES[index + 1]))
        probe.wait(lambda: poses, "a pose after the bad frames")
        probe.wait(lambda: matches, "the picture of a match")
        assert (matches[-1].encoding, matches[-1].width) == ("rgb8", 2 * samples.CAMERA.width)
        # The clock starts again: what was known is void, but the node finds itself anew.
        before = len(poses)
        for index in range(3):
            show(100 * index * MS, *samples.pair(POSES[index + 1]))
        probe.wait(lambda: len(poses) > before, "a pose after time jumped back")
        # Another camera in mid-run: refused until it is as before.
        before = len(poses)
        other = StereoCamera(320, 240, 210.0, 210.0, 159.5, 119.5, 0.2)
        probe.calibrate(other)
        show(600 * MS, *samples.pair(POSES[4]))
        assert len(poses) == before
        probe.calibrate()
        show(700 * MS, *samples.pair(POSES[4]))
        probe.wait(lambda: value(diagnostics, "dropped_calibration_changed") == "1", "the diagnostics")
        assert value(diagnostics, "dropped_unknown_encoding") == "1"
        assert value(diagnostics, "dropped_wrong_size") == "2"
        assert value(diagnostics, "dropped_bad_image") == "1"
        assert float(value(diagnostics, "latency_ms_p50")) > 0.0
        assert int(value(diagnostics, "rejected_blank_image")) >= 1 and ": " in value(diagnostics, "last_rejection")
        with MapStore.open(site, read_only=True) as store:
            assert value(diagnostics, "map_keyframes") == str(len(store.keyframes()))
            assert value(diagnostics, "features") == f"{store.feature_name} ({store.feature_fingerprint})"
        assert value(diagnostics, "descriptor")
        reset = probe.call("localization/reset", Trigger.Request())
        assert (reset.success, reset.message) == (True, "searching the whole map")
        refused = probe.call("localization/finish", Trigger.Request())
        assert not refused.success
        assert "localize" in refused.message
        probe.publish("initialpose", PoseWithCovarianceStamped(header=Header(frame_id="moon")))
        node.wait_for_output("'moon' was ignored")
        assert node.end(signal.SIGTERM) == 0
        for text in ("octarine", "320x120", "cut off", "jumped back", "camera_info changed"):
            assert text in node.output
        assert "Traceback" not in node.output


def test_teaching_by_services(tmp_path):
    environment = samples.ros_environment()
    file = tmp_path / "new.vloc"
    parameters = {"mode": "teach", "map": str(file), **SETTINGS, **RELIABLE, "keyframes.distance": 50.0}
    with samples.node("localization", parameters, tmp_path, environment) as node, samples.probe(environment) as probe:
        keyframes = probe.listen(Odometry, "keyframes")
        odometry = probe.listen(Odometry, "odometry")
        processed = probe.listen(Header, "processed")
        probe.calibrate()
        for index, pose in enumerate(POSES[:4]):
            if index == 2:
                assert probe.call("localization/keyframe", Trigger.Request()).success
            probe.show((1000 + 100 * index) * MS, *samples.pair(pose))
            probe.wait(lambda count=index + 1: len(processed) >= count, "processed")
        # Time that jumps back cannot be taught, but does no harm.
        probe.show(0, *samples.pair(POSES[0]))
        probe.wait(lambda: len(processed) >= 5, "processed")
        probe.wait(lambda: len(keyframes) >= 2 and len(odometry) >= 4, "keyframes and odometry")
        assert [message.child_frame_id for message in keyframes] == ["s1/k1", "s1/k2"]
        assert stamp_to_ns(keyframes[1].header.stamp) == 1200 * MS
        assert odometry[-1].child_frame_id == "base_link"
        assert abs(odometry[-1].twist.twist.linear.x - 1.5) < 0.1
        finished = probe.call("localization/finish", Trigger.Request())
        assert finished.success
        assert "2 keyframes" in finished.message
        assert check_map(file) == []
        probe.show(1500 * MS, *samples.pair(POSES[5]))
        probe.wait(lambda: len(processed) >= 6, "processed")
        assert not probe.call("localization/keyframe", Trigger.Request()).success
        assert node.end() == 0
        assert "1 OLD" in node.output
        assert "1 FINISHED" in node.output
    with MapStore.open(file, read_only=True) as store:
        assert len(store.keyframes()) == 2


def test_the_map_of_another_camera_is_refused(site, tmp_path):
    environment = samples.ros_environment()
    with (
        samples.node("localization", {"map": str(site), **SETTINGS, **RELIABLE}, tmp_path, environment) as node,
        samples.probe(environment) as probe,
    ):
        probe.calibrate(StereoCamera(320, 240, 250.0, 250.0, 159.5, 119.5, 0.2))
        assert node.wait() == 1
        fatal = [line for line in node.output.splitlines() if "FATAL" in line]
        assert len(fatal) == 1
        assert "another camera" in fatal[0]
        assert "Traceback" not in node.output


def test_silence_is_explained_and_an_empty_calibration_is_refused(site, tmp_path):
    environment = samples.ros_environment()
    parameters = {"map": str(site), **SETTINGS, "timeout": 0.5, "qos.reliability": "reliable"}
    with samples.node("localization", parameters, tmp_path, environment) as node, samples.probe(environment) as probe:
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        node.wait_for_output("nothing has come on /left/camera_info for 0.5 s: nobody publishes it")
        node.wait_for_output("nothing has come on /right/image_rect")
        info = samples.camera_info(samples.CAMERA, 0, "camera")[0]
        probe.publish("left/camera_info", type(info)())
        probe.publish("right/camera_info", info)
        node.wait_for_output("0x0 images")
        probe.wait(lambda: value(diagnostics, "problem_bad_calibration"), "the diagnostics")
        left, right = samples.pair(POSES[0])
        probe.calibrate()
        # A camera that goes on, as real ones do: the explanation needs images on both sides when the node looks for its cause.
        for index in range(100):
            probe.publish("left/image_rect", image_to_ros(left, header(index * 1000 * MS, "camera")))
            probe.publish("right/image_rect", image_to_ros(right, header((index * 1000 + 50) * MS, "camera")))
            time.sleep(0.1)
            if "no two stamps within" in node.output:
                break
        node.wait_for_output("no two stamps within sync.slop = 0.01 s (their newest stamps differ by ")
        assert node.end() == 0


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"map": "/nowhere/site.vloc"}, "there is no map at /nowhere/site.vloc"),
        ({"map": "x.vloc", "sync.slopp": 0.1}, "unknown parameter 'sync.slopp'; did you mean sync.slop"),
        ({"mode": "teach", "map": "/nowhere/site.vloc"}, "the folder /nowhere does not exist"),
    ],
)
def test_a_node_that_cannot_start_says_why_in_one_sentence(parameters, text, tmp_path):
    with samples.node("localization", parameters, tmp_path, samples.ros_environment()) as node:
        assert node.wait() == 1
        lines = [line for line in node.output.splitlines() if line and "tf2" not in line]
        assert len(lines) == 1
        assert text in lines[0]
