"""`vloc doctor` and the nodes beside a camera with faults: real processes over real topics, and both say the same sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from vloc_ros.cli import main
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.processes import child_environment
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header
from vloc_ros.ros.images import image_to_ros

ROOT = Path(__file__).resolve().parents[1]
FAST = {"features.name": "sift_fast", "features.max_features": 500, "stereo.min_depth": 0.8}
NODE = {"mode": "teach", "timeout": 1.0, **FAST}
OTHER_SIZE = StereoCamera(640, 480, 400.0, 400.0, 319.5, 239.5, 0.2)


@dataclass(frozen=True)
class Faults:
    """What is wrong with the camera."""

    camera: StereoCamera = samples.CAMERA
    infos: bool = True
    empty_info: bool = False
    zero_baseline: bool = False
    skew_s: float = 0.0
    old_s: float = 0.0
    best_effort: bool = False


@contextmanager
def streaming(probe: samples.Probe, faults: Faults) -> Iterator[None]:
    """A camera at 10 Hz in a thread, whoever listens."""
    policy = ReliabilityPolicy.BEST_EFFORT if faults.best_effort else ReliabilityPolicy.RELIABLE
    profile = QoSProfile(depth=5, reliability=policy)
    topics = {"left/image_rect": Image, "right/image_rect": Image, "left/camera_info": CameraInfo, "right/camera_info": CameraInfo}
    publishers = {topic: probe.node.create_publisher(kind, topic, profile) for topic, kind in topics.items()}
    left, right = samples.pair(samples.walk(1)[0])
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.1):
            stamp_ns = time.time_ns() - round(faults.old_s * 1e9)
            for side, image, late in (("left", left, 0.0), ("right", right, faults.skew_s)):
                message = image_to_ros(image, header(stamp_ns + round(late * 1e9), "camera_left_optical_frame"))
                publishers[f"{side}/image_rect"].publish(message)
            for side, info in zip(("left", "right"), infos_of(faults, stamp_ns), strict=True):
                publishers[f"{side}/camera_info"].publish(info)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def infos_of(faults: Faults, stamp_ns: int) -> tuple[CameraInfo, CameraInfo]:
    if faults.empty_info:
        return CameraInfo(), CameraInfo()
    left, right = camera_info(faults.camera, stamp_ns, "camera_left_optical_frame")
    return left, left if faults.zero_baseline else right


def doctor(environment: dict[str, str], *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "vloc_ros", "doctor", "--json", "--seconds", "2", "--features", "sift_fast", *arguments]
    variables = child_environment(environment) | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen) -> tuple[int, dict[str, str]]:
    """Exit code, and the text of each finding that is not fine by its check."""
    out, err = process.communicate(timeout=90)
    assert "Traceback" not in err, err
    found = json.loads(out)["findings"]
    texts: dict[str, str] = {}
    for finding in found:
        if finding["level"] != "ok":
            texts[finding["check"]] = texts.get(finding["check"], "") + f"{finding['sentence']}; {finding['remedy']}\n"
    return process.returncode, texts


NOBODY = {
    "publisher": "/left/image_rect for 1 s: nobody publishes it; start the camera, or check the remapping",
    "domain": "ROS_DOMAIN_ID is",
}
CASES = {
    "no publisher": (None, (), NOBODY),
    "QoS": (
        Faults(best_effort=True),
        ("--set", "qos.reliability=reliable"),
        {"qos": "it is published best effort but asked for as reliable; set qos.reliability to auto or best_effort"},
    ),
    "empty, skewed, of another clock": (
        Faults(empty_info=True, skew_s=0.05, old_s=1e9),
        (),
        {
            "calibration": "left camera_info is of 0x0 images",
            "skew": "no two stamps within sync.slop = 0.01 s (their newest stamps differ by",
            "clock": "32 years before the clock of this machine (use_sim_time is not set); synchronise the clocks",
        },
    ),
    "another size": (
        Faults(camera=OTHER_SIZE),
        (),
        {
            "image_size": "the left image is 320x240 but camera_info describes 640x480 images",
            "tf": "tf has no transform from base_link to camera_left_optical_frame: nobody publishes /tf or /tf_static",
        },
    ),
    "zero baseline": (Faults(zero_baseline=True), (), {"baseline": "the baseline is zero: P[3] is the same in left and right"}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_doctor_and_the_node_say_the_same(case, tmp_path):
    faults, arguments, expected = CASES[case]
    environment = samples.ros_environment()
    reliability = {"qos.reliability": "reliable"} if arguments else {}
    parameters = {**NODE, **reliability, "map": str(tmp_path / "new.vloc")}
    with samples.node("localization", parameters, tmp_path, environment) as node, samples.probe(environment) as probe:
        heard = probe.listen(DiagnosticArray, "/diagnostics")
        with streaming(probe, faults) if faults is not None else nothing():
            asked = doctor(environment, *arguments)
            code, texts = answer(asked)
            assert code == 1, texts
            for check, text in expected.items():
                # In the tests the patience of the node and that of the doctor are the same: 1 s.
                assert text in texts.get(check, ""), texts
                node.wait_for_output(text, 30.0)
                probe.wait(lambda text=text: text in problems_of(heard), f"'{text}' in the diagnostics")
        if faults is not None:
            assert set(texts) <= {*expected, "tf", "rate", "silence"}, texts
        assert node.end() == 0
        assert "Traceback" not in node.output


@contextmanager
def nothing() -> Iterator[None]:
    yield


def problems_of(heard: list[DiagnosticArray]) -> str:
    """All problems in the newest diagnostics."""
    pairs: list[Any] = [pair for status in heard[-1].status for pair in status.values] if heard else []
    return "\n".join(pair.value for pair in pairs if pair.key.startswith("problem_"))


def test_a_camera_in_good_order_passes_and_makes_no_problem(tmp_path):
    environment = samples.ros_environment()
    parameters = {**NODE, "map": str(tmp_path / "new.vloc")}
    with samples.node("localization", parameters, tmp_path, environment) as node, samples.probe(environment) as probe:
        heard = probe.listen(DiagnosticArray, "/diagnostics")
        with streaming(probe, Faults()):
            code, texts = answer(doctor(environment, "--map", str(tmp_path / "other.vloc")))
            assert code == 0, texts
            assert set(texts) <= {"tf", "disk"}
            probe.wait(lambda: heard and not problems_of(heard), "diagnostics without a problem")
        # The camera is unplugged: its publishers are still there, and the cause is another one.
        node.wait_for_output("does the camera work?")
        assert node.end() == 0


def test_place_recognition_says_why_no_keyframe_comes(tmp_path):
    environment = samples.ros_environment()
    parameters = {"map": str(tmp_path / "none.vloc")}
    with samples.node("place_recognition", parameters, tmp_path, environment) as node, samples.probe(environment) as probe:
        heard = probe.listen(DiagnosticArray, "/diagnostics")
        node.wait_for_output("nothing has come on /keyframes for 3 s: nobody publishes it; start the node that does")
        publisher = probe.node.create_publisher(Odometry, "keyframes", QoSProfile(depth=5))
        probe.wait(lambda: "volatile, but it is asked for as transient local" in problems_of(heard), "the QoS")
        probe.node.destroy_publisher(publisher)
        assert node.end() == 0


def test_a_wrong_option_is_one_sentence(capsys):
    for arguments in (["--seconds", "0"], ["--remap", "left"], ["--set", "camera.type=sonar"]):
        assert main(["doctor", *arguments]) == 1
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("vloc doctor: ") and len(captured.err.splitlines()) == 1


def test_without_ros_only_the_machine_is_looked_at(tmp_path):
    """In a process that cannot import rclpy."""
    (tmp_path / "rclpy.py").write_text("raise ModuleNotFoundError('no ROS on this machine', name='rclpy')\n")
    variables = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    variables.pop("ROS_DISTRO", None)
    command = [sys.executable, "-m", "vloc_ros", "doctor", "--features", "orb"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the topics are not looked at: ROS 2 for Python (rclpy) is not installed" in done.stdout
    assert "fit each other" in done.stdout
