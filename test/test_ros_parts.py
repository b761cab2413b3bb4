"""Worker, counters, problems, wheel odometry and the growth of the odometry's covariance."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from vloc_ros.errors import ConfigError
from vloc_ros.geometry import se3
from vloc_ros.geometry.motion_buffer import MotionBuffer
from vloc_ros.ros.errands import Errands
from vloc_ros.ros.node_settings import base_T_camera_from_numbers, numbers_of_base_T_camera
from vloc_ros.ros.problems import Problem, Problems, printable
from vloc_ros.ros.statistics import DropReason, Statistics
from vloc_ros.ros.worker import Worker

SECOND = 1_000_000_000


class Work:
    """A worker whose items wait for a signal."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.dropped: list[int] = []
        self.errors: list[BaseException] = []
        self.go, self.began = threading.Event(), threading.Event()
        self.worker: Worker[int] = Worker(self._process, self.dropped.append, self.errors.append, "test")

    def _process(self, item: int) -> None:
        self.began.set()
        assert self.go.wait(5)
        if item < 0:
            raise ValueError(item)
        self.done.append(item)


def test_what_waits_when_a_worker_is_shut_is_not_processed_when_it_opens_again():
    work = Work()
    work.go.set()
    work.worker.put(1)
    work.worker.shut()
    assert work.dropped == [1]
    work.worker.open()
    work.worker.put(2)
    work.worker.call(lambda: None).result(5)
    assert work.worker.stop(5)
    assert 1 not in work.done


def test_the_newest_item_wins_and_the_others_are_counted():
    work = Work()
    work.worker.open()
    work.worker.put(1)
    assert work.began.wait(5)
    for item in range(2, 6):
        work.worker.put(item)
    assert work.dropped == [2, 3, 4]
    work.go.set()
    assert work.worker.call(lambda: None).result(5) is None
    while len(work.done) < 2:
        time.sleep(0.01)
    assert work.worker.stop(5)
    assert work.done == [1, 5]


def test_items_wait_until_it_is_opened_and_commands_do_not():
    work = Work()
    work.go.set()
    work.worker.put(1)
    assert work.worker.call(lambda: "command").result(5) == "command"
    assert work.done == []
    work.worker.open()
    while not work.done:
        time.sleep(0.01)
    work.worker.shut()
    work.worker.put(2)
    assert work.worker.call(threading.get_ident).result(5) != threading.get_ident()
    assert work.worker.stop(5)
    assert work.done == [1]
    assert work.dropped == [2]


def test_commands_carry_their_exceptions_and_an_error_ends_the_processing():
    work = Work()
    work.go.set()
    with pytest.raises(ZeroDivisionError):
        work.worker.call(lambda: 1 // 0).result(5)
    work.worker.open()
    work.worker.put(-1)
    while not work.errors:
        time.sleep(0.01)
    work.worker.put(7)
    assert work.worker.call(lambda: "still here").result(5) == "still here"
    assert work.worker.stop(5)
    assert work.done == []
    with pytest.raises(RuntimeError, match="stopped"):
        work.worker.call(lambda: None).result(5)


def test_an_errand_reports_bad_input_and_hands_on_what_nobody_expected():
    work, problems, done = Work(), Problems(), []

    def fail(error: Exception) -> None:
        raise error

    errands = Errands(work.worker, problems, work.errors.append)
    errands(lambda: fail(ConfigError("not so")))
    errands(lambda: fail(KeyError("k")))
    errands(lambda: done.append(threading.get_ident()))
    assert work.worker.stop(5)
    assert problems.active == {Problem.BAD_INPUT: "not so"}
    assert [type(error) for error in work.errors] == [KeyError]
    assert len(done) == 1 and done[0] != threading.get_ident()


def test_statistics_count_by_reason_and_measure_the_rate():
    now = [100.0]
    statistics = Statistics(clock=lambda: now[0])
    assert statistics.age("left") == float("inf")
    statistics.received("left")
    for _ in range(11):
        now[0] += 0.1
        statistics.processed({"match": 5.0})
    statistics.dropped(DropReason.SUPERSEDED, 3)
    assert statistics.rate_hz() == pytest.approx(10.0)
    assert statistics.age("left") == pytest.approx(1.1)
    assert statistics.percentiles()["match"].p99 == 5.0
    assert statistics.summary(0) == "11 frames processed, 3 dropped (3 SUPERSEDED)"
    statistics.lost(4)
    assert statistics.summary(2).endswith("2 images without a partner, 4 lost before they arrived")


def test_a_problem_is_told_once_and_listed_until_it_is_gone():
    now, told = [0.0], []
    problems = Problems(told.append, clock=lambda: now[0])
    for _ in range(100):
        problems.report(Problem.NO_IMAGES, "no images")
    assert told == ["no images"]
    assert problems.active == {Problem.NO_IMAGES: "no images"}
    problems.clear(Problem.NO_IMAGES)
    assert problems.active == {}
    now[0] += 60.0
    for index in range(20):
        problems.report(Problem.NO_IMAGES, f"no images {index}")
    assert len(told) == 1 + 5, "a text that changes all the time does not flood the log"


def circle(stamp_ns: int) -> np.ndarray:
    """1 m/s and 0.2 rad/s."""
    return se3.exp(np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.2]) * stamp_ns / SECOND)


def test_wheel_odometry_is_interpolated_at_the_stamps_of_the_images():
    buffer = MotionBuffer()
    for tick in range(0, 101):
        buffer.add(tick * SECOND // 50, circle(tick * SECOND // 50))
    start, end = 310_000_000, 1_777_000_000
    motion = buffer.motion(start, end)
    assert motion is not None
    np.testing.assert_allclose(motion.a_T_b, se3.between(circle(start), circle(end)), atol=1e-9)
    assert np.all(np.linalg.eigvalsh(motion.covariance) > 0)


def test_wheel_odometry_is_not_made_up():
    buffer = MotionBuffer()
    assert buffer.motion(0, SECOND) is None
    for stamp in (0, SECOND // 50, 5 * SECOND):
        buffer.add(stamp, circle(stamp))
    assert buffer.motion(0, SECOND) is None, "inside a gap"
    assert buffer.motion(-SECOND, 0) is None, "before the first"
    assert buffer.motion(0, 6 * SECOND) is None, "long after the last"
    assert buffer.motion(SECOND, 0) is None, "backwards"
    buffer.add(SECOND, circle(SECOND))
    assert buffer.motion(0, SECOND // 50) is None, "time jumped back, all is forgotten"


def test_the_twist_covariance_of_the_message_counts():
    buffer = MotionBuffer()
    covariance = np.diag([1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4])
    for stamp in (0, SECOND // 10, SECOND // 5):
        buffer.add(stamp, circle(stamp), covariance)
    motion = buffer.motion(0, SECOND // 5)
    assert motion is not None
    np.testing.assert_allclose(motion.covariance, covariance * 0.04)


@pytest.mark.parametrize("count", [7, 16])
def test_the_pose_of_the_camera_in_numbers(count):
    pose = se3.exp(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    numbers = numbers_of_base_T_camera(pose) if count == 7 else pose.ravel().tolist()
    np.testing.assert_allclose(base_T_camera_from_numbers(numbers), pose, atol=1e-12)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([1.0] * 5, "not 5"),
        ([0.0] * 7, "unit quaternion"),
        ([np.nan] * 7, "not a number"),
        (np.diag([1.0, 1.0, -1.0, 1.0]).ravel().tolist(), "rigid"),
        (np.diag([1.0, 1.0, 1.0, 2.0]).ravel().tolist(), "rigid"),
    ],
)
def test_numbers_that_are_no_pose(numbers, text):
    with pytest.raises(ConfigError, match=text):
        base_T_camera_from_numbers(numbers)


def test_wheels_that_jump_are_not_believed():
    buffer = MotionBuffer()
    for stamp_ns, metres in ((0, 0.0), (100_000_000, 0.2), (200_000_000, 1e8)):
        pose = np.eye(4)
        pose[0, 3] = metres
        buffer.add(stamp_ns, pose)
    assert buffer.motion(0, 100_000_000) is not None
    assert buffer.motion(100_000_000, 200_000_000) is None


def test_a_text_from_the_network_stays_on_one_line_and_is_cut():
    told = []
    problems = Problems(told.append)
    problems.report(Problem.BAD_INPUT, "frame 'a\nTraceback\0\x1b[31m' " + "x" * 1_000_000)
    assert told == [problems.active[Problem.BAD_INPUT]]
    assert told[0].startswith("frame 'a\\nTraceback\\x00\\x1b[31m' xxx") and told[0].endswith("characters)")
    assert len(told[0]) < 1000 and "\n" not in told[0]
    assert printable("größer als 3 µm") == "größer als 3 µm"
