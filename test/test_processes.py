"""Running nodes as child processes: how they end, and what their end says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import ros_samples as samples

from vloc_ros.processes import NodeSpec, StopTimes, child_environment, command_of, free_domain_id, run_nodes


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return samples.write_recording(tmp_path_factory.mktemp("recording") / "sequence", samples.walk(2))


def player(recording, **parameters) -> NodeSpec:
    return NodeSpec("player", "player", {"source": str(recording), "rectification": "off", **parameters})


def test_a_failing_node_ends_the_others_and_gives_the_exit_code(recording):
    lines: list[str] = []
    started = time.monotonic()
    specs = [player(recording, wait_for_subscriber=100.0), NodeSpec("localization", "localization", {"map": "/nowhere/x.vloc"})]
    assert run_nodes(specs, environment=samples.ros_environment(), output=lines.append) == 1
    assert time.monotonic() - started < 30
    assert any(line.startswith("[localization]") and "there is no map" in line for line in lines)
    assert "localization ended with exit code 1; stopping the others" in lines


def test_the_time_limit_ends_them_cleanly(recording):
    lines: list[str] = []
    specs = [player(recording, wait_for_subscriber=100.0)]
    assert run_nodes(specs, timeout_s=3.0, environment=samples.ros_environment(), output=lines.append) == 124
    assert not any("does not end" in line for line in lines)


def test_the_end_of_the_named_node_ends_all_with_zero(recording):
    lines: list[str] = []
    specs = [
        player(recording, wait_for_subscriber=0.0),
        NodeSpec("other", "player", {"source": str(recording), "loop": True, "rectification": "off"}),
    ]
    assert run_nodes(specs, until="player", environment=samples.ros_environment(), output=lines.append) == 0
    assert any(line.startswith("[player]") and "2 of 2 frames published" in line for line in lines)


def test_what_ignores_ctrl_c_is_killed(tmp_path):
    from vloc_ros.processes import _Child, _Group

    code = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; print('up', flush=True); time.sleep(60)"
    up, lines = threading.Event(), []

    def output(line: str) -> None:
        lines.append(line)
        up.set()

    group = _Group(StopTimes(0.2, 0.2, 5.0), output)
    group._children.append(_Child(NodeSpec("deaf", "x"), [sys.executable, "-c", code], child_environment({}), output, 4))
    assert up.wait(20)
    assert group.stop() == 128 + signal.SIGKILL
    assert [line for line in lines if "sending" in line] == [
        "deaf does not end; sending SIGTERM",
        "deaf does not end; sending SIGKILL",
    ]


def test_ctrl_c_ends_the_nodes_and_a_killed_parent_leaves_none_behind(recording, tmp_path):
    script = tmp_path / "up.py"
    script.write_text(
        "import sys\nfrom vloc_ros.processes import NodeSpec, run_nodes\n"
        f"spec = NodeSpec('player', 'player', {{'source': {str(recording)!r}, 'wait_for_subscriber': 100.0}})\n"
        "sys.exit(run_nodes([spec]))\n"
    )
    for number, expected in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        environment = child_environment(samples.ros_environment())
        parent = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        while not (children := psutil.Process(parent.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        _wait_for_signal_handler(children[0].pid)
        parent.send_signal(number)
        assert parent.wait(25) == expected
        gone, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []
        assert len(gone) == 1


def _wait_for_signal_handler(pid: int) -> None:
    """Until the node has asked to die with its parent, which it does just before it catches SIGTERM."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.05)
    raise AssertionError("the node did not start")


def test_parameters_arrive_whatever_their_text(tmp_path):
    import yaml

    spec = NodeSpec("n", "player", {"source": "a b: 'c' $X\n#é", "start": 3, "left_out": None}, {"left": "/cam/left"}, "robot/")
    command = command_of(spec, tmp_path)
    assert command[:3] == [sys.executable, "-m", "vloc_ros.nodes.player"]
    assert command[command.index("__ns:=/robot") - 1 :][:2] == ["-r", "__ns:=/robot"]
    assert "left:=/cam/left" in command
    values = yaml.safe_load((tmp_path / "n.yaml").read_text(encoding="utf-8"))["/**"]["ros__parameters"]
    assert values == {"source": "a b: 'c' $X\n#é", "start": 3}


def test_two_nodes_of_one_name_are_refused(recording):
    with pytest.raises(ValueError, match="two nodes"):
        run_nodes([player(recording), player(recording)], environment=samples.ros_environment(), output=lambda _: None)


def test_a_free_domain_is_not_one_in_use():
    first = free_domain_id(seed=3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 7410 + 250 * first))
        assert free_domain_id(seed=3) != first
    assert 1 <= first <= 101
    assert os.environ.get("ROS_DOMAIN_ID") != first


@pytest.mark.parametrize("entry", ["import vloc_ros.nodes", "from vloc_ros.cli import main; main(['config'])"])
@pytest.mark.parametrize(("own", "expected"), [({}, "4"), ({"OPENBLAS_THREAD_TIMEOUT": "20"}, "20")])
def test_threads_of_linear_algebra_are_told_to_sleep_before_they_exist(entry, own, expected):
    check = "import os, sys; assert 'numpy' not in sys.modules; {}; print(os.environ['OPENBLAS_THREAD_TIMEOUT'], file=sys.stderr)"
    plain = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    done = subprocess.run([sys.executable, "-c", check.format(entry)], env=plain | own, capture_output=True, text=True, check=True)
    assert done.stderr.split()[-1] == expected
