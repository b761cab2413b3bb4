"""The solver in a process of its own: it answers, it may die or hang and nothing is lost, and the caller never waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from vloc_ros.errors import DataError
from vloc_ros.pose_graph import Label
from vloc_ros.pose_graph.gnc import solve_gnc
from vloc_ros.pose_graph.gnc_settings import GncMethod, GncSettings, Optimizer
from vloc_ros.pose_graph.labelling import label_closures
from vloc_ros.pose_graph.settings import PoseGraphSettings
from vloc_ros.pose_graph.solver_messages import SolveRequest, request_from_message, request_to_message
from vloc_ros.pose_graph.solver_process import SolveFailure, SolverProcess
from vloc_ros.pose_graph.synthetic import two_laps
from vloc_ros.pose_graph.wire import LENGTH_BYTES, Message, decode, encode, length_of
from vloc_ros.processes import child_environment

SETTINGS = PoseGraphSettings()
SLOW = PoseGraphSettings(GncSettings(method=GncMethod.GTSAM, optimizer=Optimizer.LEVENBERG_MARQUARDT))
SMALL, _, _ = two_laps(60, 8, 4, 1)
LARGE, _, _ = two_laps(2000, 200, 100, 1)


@contextmanager
def solver(**options):
    process = SolverProcess(**options)
    try:
        yield process
    finally:
        process.close()


def ready(process):
    """Wait until the child runs; its process."""
    deadline = time.monotonic() + 60.0
    while process.pid is None:
        assert time.monotonic() < deadline, "the child did not start"
        time.sleep(0.02)
    return psutil.Process(process.pid)


def solved(process, graph=SMALL, **request):
    process.submit(graph, SETTINGS, **request)
    outcome = process.wait(60.0)
    assert outcome is not None
    return outcome


# --- the wire


def test_what_goes_over_the_wire_arrives_as_it_was():
    message = Message({"text": "ä", "number": 1.5, "none": None}, {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0, np.int64)})
    frame = encode(message)
    assert length_of(frame[:LENGTH_BYTES]) == len(frame) - LENGTH_BYTES
    found = decode(frame[LENGTH_BYTES:])
    assert found.meta == message.meta
    for name, array in message.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_a_frame_that_is_none_is_refused():
    with pytest.raises(DataError, match="something else writes into its pipe"):
        length_of(b"\xff" * LENGTH_BYTES)
    with pytest.raises(DataError, match="cannot be read"):
        decode(b"not arrays")
    with pytest.raises(DataError, match="cannot be read"):
        decode(encode(Message({}, {"a": np.zeros(100)}))[LENGTH_BYTES:-50])
    with pytest.raises(TypeError, match="Python objects"):
        encode(Message({}, {"a": np.array([object()])}))


def test_a_request_arrives_as_it_was():
    request = SolveRequest(SMALL, SLOW, SMALL.poses[::-1].copy(), 7)
    found = request_from_message(decode(encode(request_to_message(request))[LENGTH_BYTES:]))
    assert (found.settings, found.revision) == (SLOW, 7)
    np.testing.assert_array_equal(found.start, request.start)
    np.testing.assert_array_equal(found.graph.information, SMALL.information)
    assert found.graph.trusted.dtype == np.bool_


# --- answers


def test_it_answers_as_a_call_does_and_is_used_again():
    direct = solve_gnc(SMALL, SETTINGS.gnc)
    with solver() as process:
        first = solved(process, revision=5)
        assert process.start_seconds > 0.0
        pid = process.pid
        assert first.failure is None and first.attempts == 1
        np.testing.assert_allclose(first.solution.poses, direct.poses, atol=1e-9)
        np.testing.assert_allclose(first.solution.weights, direct.weights, atol=1e-9)
        assert first.verdicts == label_closures(SMALL, first.solution, SETTINGS.labels, 5)
        assert {verdict.label for verdict in first.verdicts if verdict} == {Label.INLIER, Label.OUTLIER}
        second = solved(process, start=first.solution.poses)
        np.testing.assert_allclose(second.solution.poses, direct.poses, atol=1e-3)
        assert (process.pid, process.restarts) == (pid, 0)
        assert psutil.Process(pid).nice() == psutil.Process().nice() + 5
    assert not psutil.pid_exists(pid)


def test_one_graph_at_a_time_and_none_after_the_end():
    with solver() as process:
        process.submit(SMALL, SETTINGS)
        with pytest.raises(RuntimeError, match="busy"):
            process.submit(SMALL, SETTINGS)
        assert process.wait(60.0) is not None
        assert process.poll() is None, "an outcome is given once"
        assert not process.busy
    with pytest.raises(RuntimeError, match="closed"):
        process.submit(SMALL, SETTINGS)
    process.close()


def test_a_graph_that_cannot_be_solved_is_refused_with_the_reason_and_the_child_lives_on():
    with solver() as process:
        outcome = solved(process, start=SMALL.poses[:-1])
        assert (outcome.failure, outcome.solution, outcome.attempts) == (SolveFailure.REFUSED, None, 1)
        assert "finite poses of shape" in outcome.text
        assert solved(process).failure is None
        assert process.restarts == 0


def test_the_caller_never_waits():
    with solver() as process:
        ready(process)
        gaps, stop = [], threading.Event()

        def beat():
            last = time.perf_counter()
            while not stop.wait(0.005):
                now = time.perf_counter()
                gaps.append(now - last)
                last = now

        heart = threading.Thread(target=beat)
        heart.start()
        begun = time.perf_counter()
        process.submit(LARGE, SLOW)
        submitting = time.perf_counter() - begun
        polls = []
        while time.perf_counter() - begun < 2.0:
            at = time.perf_counter()
            assert process.poll() is None
            polls.append(time.perf_counter() - at)
            time.sleep(0.01)
        stop.set()
        heart.join()
        assert process.busy, "the graph was meant to take long"
        assert submitting < 0.01
        assert np.median(polls) < 0.001
        assert np.median(gaps) < 0.02
        begun = time.perf_counter()
    assert time.perf_counter() - begun < 1.0, "the end does not wait for the solution either"


# --- what goes wrong


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_over_a_request_is_replaced_and_the_request_is_tried_again(number):
    with solver() as process:
        child = ready(process)
        child.suspend()
        process.submit(SMALL, SETTINGS)
        time.sleep(0.3)
        child.send_signal(number)
        child.resume()
        outcome = process.wait(60.0)
        assert outcome.failure is None
        assert outcome.attempts == 2
        assert process.restarts == 1
        assert process.pid != child.pid
        np.testing.assert_allclose(outcome.solution.poses, solve_gnc(SMALL, SETTINGS.gnc).poses, atol=1e-9)


def test_a_child_that_died_while_it_had_nothing_to_do_costs_no_attempt():
    with solver() as process:
        ready(process).kill()
        time.sleep(0.2)
        outcome = solved(process)
        assert (outcome.failure, outcome.attempts, process.restarts) == (None, 1, 1)


def test_a_child_that_hangs_is_replaced_at_the_deadline():
    with solver(deadline_s=1.0) as process:
        child = ready(process)
        child.suspend()
        outcome = solved(process)
        assert (outcome.failure, outcome.attempts, process.restarts) == (None, 2, 1)
        assert outcome.seconds > 1.0
        assert not child.is_running()


def test_a_graph_that_takes_too_long_is_given_up_after_the_second_attempt():
    with solver(deadline_s=0.5) as process:
        process.submit(LARGE, SLOW, revision=3)
        outcome = process.wait(60.0)
        assert (outcome.failure, outcome.attempts, outcome.revision) == (SolveFailure.DEADLINE, 2, 3)
        assert outcome.solution is None and outcome.verdicts == []
        assert "deadline of 0.5 s" in outcome.text
        assert solved(process).failure is None, "the next graph is solved"


def test_the_child_ends_with_its_parent(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from vloc_ros.pose_graph.gnc_settings import GncMethod, GncSettings\n"
        "from vloc_ros.pose_graph.settings import PoseGraphSettings\n"
        "from vloc_ros.pose_graph.solver_process import SolverProcess\n"
        "from vloc_ros.pose_graph.synthetic import two_laps\n"
        "solver = SolverProcess()\n"
        "while solver.pid is None:\n"
        "    time.sleep(0.02)\n"
        "solver.submit(two_laps(2000, 200, 100, 1)[0], PoseGraphSettings(GncSettings(method=GncMethod.GTSAM)))\n"
        "time.sleep(1.0)\n"
        "print(solver.pid, flush=True)\n"
        "time.sleep(60.0)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], env=child_environment({}), stdout=subprocess.PIPE, text=True)
    try:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.cpu_percent(0.3) > 10.0, "it solves"
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10.0)
        child.wait(5.0)
        assert not child.is_running()
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
