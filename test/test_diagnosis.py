"""The checks of `vloc doctor` on plain facts: one spoilt thing makes one sentence, and a camera in good order makes none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import ros_samples
from data_samples import development_data
from diagnosis_samples import IMAGE, NOW, S, camera, info, of, stream, topic, with_dots

from vloc_ros.data import open_recording
from vloc_ros.diagnosis import Check, ClockFacts, Level, Publisher, Qos, TfFacts, check_topic, examine, examine_topics
from vloc_ros.diagnosis.catalogue import CATALOGUE, table
from vloc_ros.diagnosis.disk import FULL_BYTES, check_disk, judge_room
from vloc_ros.diagnosis.finding import Finding
from vloc_ros.diagnosis.frames import chain
from vloc_ros.diagnosis.images import check_emitter, check_moment, check_rows, measure_spots, measure_spread
from vloc_ros.diagnosis.machine import check_features, check_map, check_variables
from vloc_ros.diagnosis.packages import Package, check_package
from vloc_ros.diagnosis.report import as_json, as_table, worst
from vloc_ros.diagnosis.stamps import difference_s
from vloc_ros.geometry import se3
from vloc_ros.ros.findings import FoundProblems, problem_of
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.settings import Settings

MOUNT = se3.BASE_T_OPTICAL.copy()
MOUNT[:3, 3] = (0.3, 0.0, 0.5)


def troubles(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level > Level.OK]


def test_a_camera_in_good_order_has_no_trouble():
    pixels = ros_samples.pair(np.eye(4))
    findings = examine(camera(pixels=pixels, tf=TfFacts("base_link", "camera", MOUNT, {("base_link", "camera"): MOUNT}, 1)))
    assert troubles(findings) == []
    seen = {finding.check for finding in findings}
    machine = {Check.ROS, Check.PACKAGES, Check.FEATURES, Check.MAP, Check.DISK, Check.DOMAIN}
    assert seen == set(Check) - machine


SPOILT = {
    "camera_info empty": ({"calibrations": (info(K=np.zeros((3, 3)), P=np.zeros((3, 4))), info(0.2))}, Check.CALIBRATION, "fx = 0"),
    "camera_info 0x0": ({"calibrations": (info(width=0, height=0), info(0.2))}, Check.CALIBRATION, "0x0 images"),
    "NaN": ({"calibrations": (info(P=np.full((3, 4), np.nan)), info(0.2))}, Check.CALIBRATION, "not numbers"),
    "two sizes": ({"calibrations": (info(), info(0.2, width=640))}, Check.CALIBRATION, "right camera_info of 640x240"),
    "binning": ({"calibrations": (info(binning=(2, 2)), info(0.2))}, Check.CALIBRATION, "2x2 binning"),
    "baseline zero": ({"calibrations": (info(), info(0.0))}, Check.BASELINE, "the baseline is zero"),
    "baseline negative": ({"calibrations": (info(), info(-0.2))}, Check.BASELINE, "wrong sign, -0.2 m"),
    "size": ({"calibrations": (info(width=640, height=480), info(0.2, width=640, height=480))}, Check.IMAGE_SIZE, "is 320x240 but"),
    "skew": (
        {"streams": (stream(), stream("/right/image_rect", NOW + S // 20)), "paired": False},
        Check.SKEW,
        "no two stamps within sync.slop = 0.01 s (their newest stamps differ by",
    ),
    "epoch": (
        {"streams": (stream(start_ns=5 * S, lag_s=(NOW - 5 * S) / S),) * 2},
        Check.CLOCK,
        "56 years before the clock of this machine",
    ),
    "no stamp": ({"streams": (stream(start_ns=0, step_s=0.0, lag_s=NOW / S),) * 2}, Check.CLOCK, "have no stamp"),
    "no /clock": ({"clock": ClockFacts(True, 0, 0)}, Check.CLOCK, "nobody publishes /clock"),
    "rate": ({"streams": (stream(step_s=1.0),) * 2}, Check.RATE, "come at 1 Hz"),
    "raw": (
        {"images": (topic("/left/image_raw"), topic("/right/image_rect")), "calibrations": (info(D=np.array([0.1])), info(0.2))},
        Check.DISTORTION,
        "/left/image_raw seems not to be rectified",
    ),
    "tf": ({"tf": TfFacts("base_link", "camera", None, None, 0)}, Check.TF, "no transform from base_link to camera"),
    "damage": ({"damage": "unknown image encoding 'octarine'"}, Check.DECODING, "octarine"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_one_cause_makes_one_sentence(spoilt):
    changes, check, text = SPOILT[spoilt]
    found = troubles(examine(camera(**changes)))
    assert [finding.check for finding in found] == [check], found
    assert text in found[0].sentence
    assert found[0].remedy and found[0].level <= CATALOGUE[check].worst
    assert "\n" not in found[0].text and not found[0].text.endswith(".")


def test_a_clock_that_is_published_but_not_used_is_the_remedy():
    far = (stream(start_ns=5 * S, lag_s=(NOW - 5 * S) / S),) * 2
    played = troubles(examine(camera(streams=far, clock=ClockFacts(False, NOW, 1))))
    assert "set use_sim_time to true" in played[0].remedy
    live = troubles(examine(camera(streams=(stream(lag_s=-1e9),) * 2, clock=ClockFacts(True, 5 * S, 1))))
    assert "after /clock" in live[0].sentence and "unset use_sim_time" in live[0].remedy


def test_topics_that_bring_nothing():
    alone = {"publishers": (), "heard": 0, "silent_s": 4.0}
    nobody = check_topic(topic("/left/image_rect", **alone))
    assert nobody.text == (
        "nothing has come on /left/image_rect for 3 s: nobody publishes it; start the camera, or check the remapping"
    )
    assert check_topic(topic("/a", **alone, alike=("/cam/a",))).remedy == "is it /cam/a?"
    assert check_topic(topic("/a", publishers=(), heard=0, silent_s=1.0)) is None, "it is not known yet"
    assert check_topic(topic("/a", heard=0, silent_s=4.0)).check is Check.SILENCE
    unreliable = Publisher("/camera", Qos(False), IMAGE)
    misfit = check_topic(topic("/a", publishers=(unreliable,), heard=0))
    assert (misfit.check, misfit.level) == (Check.QOS, Level.ERROR) and "best effort but asked for as reliable" in misfit.sentence
    one_of_two = check_topic(topic("/a", publishers=(unreliable, Publisher("/b", Qos(True), IMAGE))))
    assert one_of_two.level is Level.WARNING
    other = check_topic(topic("/a", publishers=(Publisher("/camera", Qos(True), "sensor_msgs/msg/CompressedImage"),), heard=0))
    assert "publishes sensor_msgs/msg/CompressedImage there" in other.sentence
    volatile = check_topic(replace(topic("/keyframes", "nav_msgs/msg/Odometry"), wanted=Qos(True, latched=True)))
    assert "volatile" in volatile.sentence


def test_the_domain_is_told_when_nobody_is_seen_at_all():
    alone = {"publishers": (), "heard": 0, "silent_s": 4.0}
    nothing = camera(
        images=(topic("/l", **alone), topic("/r", **alone)),
        infos=(topic("/li", **alone), topic("/ri", **alone)),
        calibrations=(None, None),
        environment={"ROS_DOMAIN_ID": "7", "ROS_LOCALHOST_ONLY": "1", "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"},
    )
    (found,) = of(examine_topics(nothing), Check.DOMAIN)
    for text in ("ROS_DOMAIN_ID is 7", "ROS_LOCALHOST_ONLY hides", "OFF (this process alone)"):
        assert text in found.sentence
    assert of(examine_topics(replace(nothing, infos=(topic("/li"), topic("/ri")))), Check.DOMAIN) == []


def test_camera_info_that_does_not_come_is_not_the_silence_of_images():
    silent = topic("/left/camera_info", "sensor_msgs/msg/CameraInfo", heard=0, silent_s=4.0)
    (found,) = troubles(examine_topics(camera(infos=(silent, silent), calibrations=(None, info(0.2)))))
    assert found.check is Check.CAMERA_INFO
    assert problem_of(found) is Problem.NO_CAMERA_INFO


def test_the_difference_of_stamps_is_that_to_the_nearest():
    assert difference_s([], [1]) is None
    assert difference_s([10 * S], [10 * S - 5]) == pytest.approx(5e-9)
    assert difference_s([10 * S, 11 * S], [11 * S + S // 10, 10 * S + S // 10]) == pytest.approx(-0.1)


def test_tf_is_followed_through_any_frames():
    turn = se3.exp(np.array([0.1, 0.2, 0.3, 0.0, 0.0, 1.0]))
    transforms = {("base_link", "mast"): turn, ("camera", "mast"): se3.inverse(MOUNT)}
    assert np.allclose(chain(transforms, "base_link", "camera"), turn @ MOUNT)
    assert chain(transforms, "base_link", "gripper") is None

    def tf(mount: np.ndarray | None, transform: np.ndarray) -> list[Finding]:
        facts = TfFacts("base_link", "camera", mount, {("base_link", "camera"): transform}, 1)
        return troubles(examine(camera(tf=facts)))

    assert tf(MOUNT, MOUNT) == [] and tf(None, se3.BASE_T_OPTICAL) == []
    (default,) = tf(None, MOUNT)
    assert default.remedy.startswith("set base_T_camera to [0.3, 0, 0.5, ")
    (other,) = tf(MOUNT, se3.BASE_T_OPTICAL)
    assert "0.583 m and 0.0 deg away" in other.sentence


def test_rows_that_disagree_and_sides_that_are_swapped():
    left, right = ros_samples.pair(np.eye(4))
    assert check_rows(left, right).level is Level.OK
    shifted = check_rows(left, np.roll(right, 5, axis=0))
    assert shifted.level is Level.WARNING and "5.0 px (median)" in shifted.sentence
    swapped = check_rows(right, left)
    assert swapped.level is Level.ERROR and "swapped" in swapped.sentence
    assert check_rows(np.zeros_like(left), right) is None


def test_a_pair_of_two_moments_is_told_by_a_robot_that_moves():
    """Forward and backward; rows that are off by the same amount are another trouble."""
    still, ahead = (ros_samples.pair(pose) for pose in ros_samples.walk(2))
    assert check_moment(*still).level is Level.OK
    assert check_moment(still[0], np.roll(still[1], 5, axis=0)).level is Level.OK
    for left, right in ((still[0], ahead[1]), (ahead[0], still[1])):
        found = check_moment(left, right)
        assert found.level is Level.WARNING and "not of one moment" in found.sentence
    assert check_moment(np.zeros_like(still[0]), still[1]) is None
    assert check_moment(still[0], still[1][:100]) is None


@pytest.mark.data
def test_real_pairs_are_of_one_moment_and_of_two_when_one_side_is_late():
    recording = open_recording(development_data("kitti_stereo_51"))
    frames = [recording.frame(index) for index in range(0, len(recording), 4)]
    spreads = [measure_spread(frame.left_grey, frame.right_grey) for frame in frames]
    assert max(abs(spread) for spread in spreads if spread is not None) < 0.2
    late = [measure_spread(recording.frame(i).left_grey, recording.frame(i + 1).right_grey) for i in range(0, 50, 4)]
    assert min(abs(spread) for spread in late if spread is not None) > 1.0


def test_the_dots_of_an_emitter_are_seen():
    noise = ros_samples.render(np.eye(4))
    assert check_emitter("left", noise).level is Level.OK, "specks as dark as bright"
    plain = cv2.GaussianBlur(noise, (0, 0), 2.0)
    assert check_emitter("left", plain).level is Level.OK
    found = check_emitter("left", with_dots(plain))
    assert found.level is Level.WARNING and "emitter" in found.sentence
    assert check_emitter("left", np.zeros((60, 60), np.uint8)) is None


@pytest.mark.data
@pytest.mark.parametrize("name", ["kitti_stereo_51", "kimera_vio/MicroEuroc", "rtabmap_stereo_rect", "tum_fr1_desk"])
def test_real_images_have_no_emitter_until_dots_are_added(name):
    recording = open_recording(development_data(name))
    frames = [recording.frame(index).left_grey for index in range(0, len(recording), max(1, len(recording) // 4))]
    assert [measure_spots(image).pattern for image in frames] == [False] * len(frames)
    assert all(measure_spots(with_dots(image)).pattern for image in frames if max(image.shape) < 1000)


@pytest.mark.data
def test_a_real_pair_is_rectified():
    frame = open_recording(development_data("kitti_stereo_51")).frame(0)
    assert check_rows(frame.left_grey, frame.right_grey).level is Level.OK
    assert check_rows(frame.right_grey, frame.left_grey).level is Level.ERROR


def test_room_on_the_disk(tmp_path):
    levels = [judge_room(Path("d"), free).level for free in (FULL_BYTES - 1, 500_000_000, 2_000_000_000)]
    assert levels == [Level.ERROR, Level.WARNING, Level.OK]
    assert str(tmp_path) in check_disk(tmp_path / "there" / "is" / "no.vloc").sentence


@pytest.mark.parametrize(
    ("body", "use", "text"),
    [
        ("import os\nos.kill(os.getpid(), 11)", "", "crashes (SIGSEGV)"),
        ("raise ImportError('numpy.core.multiarray failed to import')", "", "failed to import"),
        ("", "raise TypeError('arrays are of another ABI')", "TypeError: arrays are of another ABI"),
    ],
)
def test_a_package_that_does_not_fit_is_named(body, use, text, tmp_path, monkeypatch):
    (tmp_path / "ill_package.py").write_text(body + "\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = check_package(Package("ill_package", use, "the pose graph", "ill-package"))
    assert found.level is Level.ERROR
    assert text in found.sentence and "the pose graph needs it" in found.sentence


def test_a_package_that_is_missing_or_well():
    assert "not installed" in check_package(Package("no_such_package", "", "nothing", "none")).sentence
    assert check_package(Package("json", "json.dumps(float(numpy.ones(1)[0]))", "nothing", "none")).level is Level.OK


def test_machine_checks(tmp_path):
    assert check_variables({"ROS_DOMAIN_ID": "x"}).level is Level.ERROR
    assert check_variables({"ROS_AUTOMATIC_DISCOVERY_RANGE": "MOON"}).level is Level.ERROR
    assert check_variables({"ROS_DOMAIN_ID": "3"}).level is Level.OK
    damaged = tmp_path / "damaged.vloc"
    damaged.write_bytes(b"no map")
    assert [finding.level for finding in check_map(damaged, Settings())] == [Level.ERROR]
    assert check_map(tmp_path / "none" / "x.vloc", Settings())[0].level is Level.ERROR
    assert check_map(tmp_path / "x.vloc", Settings())[0].level is Level.OK
    settings = Settings()
    missing = replace(settings, features=replace(settings.features, name="no.safetensors"))
    assert check_features(missing).level is Level.ERROR


def test_problems_follow_the_findings_and_spare_what_the_node_reports_itself():
    said: list[str] = []
    problems = Problems(said.append)
    found = FoundProblems(problems)
    problems.report(Problem.BAD_CALIBRATION, "the node's own")
    bad = Finding(Check.CALIBRATION, Level.ERROR, "found", "do")
    rare = Finding(Check.RATE, Level.WARNING, "rare", "do")
    found.set([bad, rare, Finding(Check.TF, Level.OK, "fine")])
    assert problems.active == {Problem.BAD_CALIBRATION: "the node's own", Problem.RARE_IMAGES: "rare; do"}
    found.set([rare])
    found.set([])
    assert problems.active == {Problem.BAD_CALIBRATION: "the node's own"}
    assert said == ["the node's own", "rare; do"]


def test_every_check_has_a_problem_or_is_of_the_doctor_alone():
    alone = {Check.ROS, Check.PACKAGES, Check.FEATURES, Check.MAP}
    for check in set(Check) - alone:
        assert isinstance(problem_of(Finding(check, Level.ERROR, "x")), Problem)


def test_reports():
    findings = [Finding(Check.DISK, Level.OK, "room"), Finding(Check.QOS, Level.ERROR, "no", "do", "/a")]
    text = as_table(findings, [Check.TF])
    assert "error   qos   no" in text and "-> do" in text and "1 error(s), 0 warning(s)" in text and "tf" in text
    assert as_json(findings)["findings"][1] == {"check": "qos", "level": "error", "topic": "/a", "sentence": "no", "remedy": "do"}
    assert worst([]) is Level.OK and worst(findings) is Level.ERROR


def test_the_documentation_has_the_table_of_the_code():
    assert set(CATALOGUE) == set(Check)
    assert list(CATALOGUE) == list(Check), "in one order"
    page = (Path(__file__).parents[1] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert table() in page, "write the output of vloc_ros.diagnosis.catalogue.table() into docs/doctor.md"
