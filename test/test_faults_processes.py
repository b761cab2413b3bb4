"""Processes beside a node that are killed or get no memory: other peers of DDS, and the solver and the trainer that nodes start."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fault_samples as faults
import numpy as np
import psutil
import pytest
import ros_samples as samples
from calibration_maps import ring_map
from calibration_nodes import calibrating, trainers, trigger
from fault_samples import Bench
from graph_samples import ODOMETRY, GraphListener, GraphPlayer

from vloc_ros.pose_graph.synthetic import two_laps
from vloc_ros.processes import child_environment

SOLVER = "vloc_ros.pose_graph.solver_child"
HERE = Path(__file__).parent


@contextmanager
def peer(bench: Bench, folder: Path, *arguments: str) -> Iterator[samples.NodeProcess]:
    command = [sys.executable, str(HERE / "fault_peer.py"), *arguments]
    paths = os.pathsep.join([str(HERE), child_environment({})["PYTHONPATH"]])
    environment = {**bench.environment, "PYTHONPATH": paths}
    with samples.ended(samples.NodeProcess.of_command(command, folder / arguments[0], environment)) as running:
        yield running


def test_kill_9_of_a_camera_and_of_a_listener(tmp_path: Path) -> None:
    file = tmp_path / "views.npz"
    np.savez(file, views=np.array([faults.views(index) for index in range(faults.COUNT)]))
    with faults.bench({"map": str(faults.teach(tmp_path / "site.vloc"))}, tmp_path) as bench:
        bench.camera.unplug()
        reason = "nothing has come on /left/image_rect"
        with peer(bench, tmp_path, "camera", str(file)) as camera, peer(bench, tmp_path, "listener") as listener:
            bench.wait(lambda: len(bench.poses) > 5 and not bench.problems, "poses of a camera process")
            for topic in ("pose", "matches/image", "left/image_rect", "/diagnostics"):
                listener.wait_for_output(f"heard {topic}\n", 60.0)
            assert listener.end(signal.SIGKILL) == -signal.SIGKILL
            processed = len(bench.processed)
            bench.wait(lambda: len(bench.processed) > processed + 15, "frames without the listener")
            assert not bench.problems
            assert camera.end(signal.SIGKILL) == -signal.SIGKILL
            bench.wait(lambda: reason in bench.problems.get("problem_no_images", ""), "the reason")
        assert bench.judge() > 0
        with peer(bench, tmp_path, "camera", str(file)):
            bench.wait(lambda: len(bench.poses) > 5 and not bench.problems, "poses of the next camera process")
            assert bench.judge() > 0


def limit_memory(process: psutil.Process, soft: int) -> None:
    """Let a process have no more address space than that; what it has it keeps."""
    resource.prlimit(process.pid, resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))


@pytest.mark.slow
def test_the_solver_gets_no_memory(tmp_path: Path) -> None:
    """Neither the first nor the one that takes its place: that is said, and solved when there is memory again."""
    graph, _, is_true = two_laps(200, 30, 10, 3)
    true = is_true[~graph.trusted]
    environment = samples.ros_environment()
    parameters = {**ODOMETRY, "solver.period": 0.5}
    with (
        samples.probe(environment) as probe,
        samples.node("pose_graph", parameters, tmp_path, environment) as node,
    ):
        listener, player = GraphListener(probe), GraphPlayer(probe)
        listener.solver()

        def starved() -> bool:
            for child in psutil.Process(node.process.pid).children():
                with suppress(ProcessLookupError, psutil.NoSuchProcess):
                    if SOLVER in child.cmdline():
                        limit_memory(child, 1)
            return "was not solved" in listener.value("problem_solver")

        player.show(graph)
        probe.wait(starved, "the reason", 60.0)
        probe.wait(lambda: "" not in listener.labels_of(graph), "the labels", 90.0)
        accepted = np.array([label == "inliers" for label in listener.labels_of(graph)])
        assert not np.any(accepted & ~true) and np.mean(accepted[true]) >= 0.9
        listener.wait_value("problem_solver", "")
        assert node.end() == 0


@pytest.mark.slow
def test_the_trainer_is_killed_and_gets_no_memory(tmp_path: Path) -> None:
    """It is begun again, and given up with the reason after two deaths; asked once more, it comes to its end."""
    path = ring_map(tmp_path / "site.vloc", laps=3, keyframes=48)
    names = faults.kept(path)
    own = {"trigger.automatic": False, "supervisor.deaths": 2, "supervisor.back_off": 0.1}
    with calibrating(path, tmp_path, **own) as (probe, node, said):

        def trainer(after: int = 0) -> psutil.Process:
            probe.wait(lambda: any(child.pid != after for child in trainers(node.process.pid)), "a trainer", 90.0)
            return next(child for child in trainers(node.process.pid) if child.pid != after)

        assert trigger(probe, "trigger").success
        first = trainer()
        first.kill()
        said.wait("trainer_last_death", "SIGKILL")
        second = trainer(first.pid)
        limit_memory(second, 1)
        said.wait("problem_trainer", "died 2 times in a row without any progress")
        assert trigger(probe, "trigger").success
        said.wait("last_calibration", "2, done", 200.0)
        probe.wait(lambda: "problem_trainer" not in said.values, "the end of it", 60.0)
        # And the map is taken away, and comes back as another file.
        path.rename(tmp_path / "elsewhere.vloc")
        said.wait("problem_map", "was removed or replaced")
        shutil.copy(tmp_path / "elsewhere.vloc", path)
        probe.wait(lambda: "problem_map" not in said.values, "the map", 60.0)
        assert node.end(timeout_s=60.0) == 0, node.output
    assert "Traceback" not in node.output
    assert faults.kept(path) == names
