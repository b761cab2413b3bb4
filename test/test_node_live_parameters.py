"""Parameters changed while the nodes run, by the services that `ros2 param` calls: the effect is seen in what they publish."""

from __future__ import annotations

import threading
import time
from typing import Any

import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from node_graph import NodeGraph
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python
from ros_samples import Probe
from tiny_robot import TinyRobot, arc, value

from vloc_ros.config import from_dict, load_yaml
from vloc_ros.evaluation import read_run
from vloc_ros.mapping.state import State
from vloc_ros.ros.conversions import stamp_to_ns
from vloc_ros.settings import Settings

MS = 1_000_000
POSES = samples.walk(6, step=0.15)
PICKY = {"localization.min_inliers": 1000, "localization.relocalise_min_inliers": 1000, "localization.lost_after_s": 0.1}
USUAL = {"localization.min_inliers": 15, "localization.relocalise_min_inliers": 30, "localization.lost_after_s": 20.0}
PERIOD_S = 0.15


class Camera:
    """Stands before one place and gives frame after frame, whatever else happens."""

    def __init__(self, probe: Probe) -> None:
        self._probe, self._images = probe, samples.pair(POSES[2])
        self.stamp_ns = 1000 * MS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        probe.calibrate()
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._probe.show(self.stamp_ns + 100 * MS, *self._images)
            self.stamp_ns += 100 * MS

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def effective(graph: NodeGraph, *names: str) -> list[Any]:
    """What `ros2 param get` says."""
    request = GetParameters.Request(names=list(names))
    answer = graph.probe.call(f"{graph.full_name}/get_parameters", request, GetParameters)
    return [parameter_value_to_python(found) for found in answer.values]


def test_thresholds_of_the_localisation_change_between_frames(tmp_path):
    site = samples.teach_corridor(tmp_path / "site.vloc", POSES)
    environment = samples.ros_environment()
    out = tmp_path / "out"
    parameters = {"mode": "localize", "map": str(site), "out": str(out), **samples.MAP_SETTINGS, "qos.reliability": "reliable"}
    with samples.probe(environment) as probe, samples.node("localization", parameters, tmp_path, environment) as node:
        graph = NodeGraph(probe, "localization", "/")
        graph.wait_active()
        poses = probe.listen(PoseWithCovarianceStamped, "pose")
        states = probe.listen(DiagnosticStatus, "state", latched=True)
        camera = Camera(probe)
        try:
            probe.wait(lambda: poses, "a pose", 60.0)
            # One that can be changed now with one that cannot: nothing changes, and the reason names the other.
            reason = graph.refused({**PICKY, "features.max_features": 400})
            assert "'features.max_features' can be changed only while the node is unconfigured" in reason
            assert "localization.min_inliers" in graph.refused({"timeout": 9.0, "localization.min_inliers": 5})
            assert "read-only" in graph.refused({"timeout": 9.0, "autostart": False})
            assert effective(graph, *PICKY, "timeout") == [*USUAL.values(), 3.0]
            before = len(poses)
            probe.wait(lambda: len(poses) > before + 1, "poses after what was refused", 60.0)
            # Together, while frames come: no inliers are enough now, so there is no pose, and the state says why.
            graph.set(PICKY)
            assert effective(graph, *PICKY) == list(PICKY.values())
            probe.wait(lambda: value(states[-1], "state") in ("lost", "relocalising"), "being lost", 60.0)
            probe.wait(lambda: value(states[-1], "reason") == "TOO_FEW_INLIERS", "the reason", 60.0)
            silent, seen = len(poses), camera.stamp_ns
            probe.wait(lambda: camera.stamp_ns >= seen + 500 * MS, "frames without a pose", 60.0)
            assert len(poses) == silent
            # Each by itself, as `ros2 param set` and `load` do: those that can be are.
            messages = [Parameter(name, value=set_to).to_parameter_msg() for name, set_to in {**USUAL, "mode": "teach"}.items()]
            answer = probe.call("localization/set_parameters", SetParameters.Request(parameters=messages), SetParameters)
            assert [result.successful for result in answer.results] == [True, True, True, False]
            probe.wait(lambda: len(poses) > silent + 1, "poses again", 60.0)
            assert value(states[-1], "state") == "localised"
        finally:
            camera.close()
        request = DescribeParameters.Request(names=["autostart", "timeout", "map"])
        described = probe.call("localization/describe_parameters", request, DescribeParameters).descriptors
        assert [found.read_only for found in described] == [True, False, False]
        assert "while running" in described[1].additional_constraints
        assert node.end() == 0
        assert "changed while running: localization.min_inliers = 1000, localization.relocalise_min_inliers = 1000" in node.output
    changes = [line for line in (out / "config.yaml").read_text().splitlines() if line.startswith("# changed before frame")]
    assert len(changes) == 4 and all(f"{name} from" in changes[0] for name in PICKY)
    recorded = from_dict(Settings, load_yaml(out / "config.yaml"))
    assert recorded.localization.min_inliers == 15 and recorded.features.max_features == 500
    # No frame had half of it: where no inliers are enough, 0.1 s without them and the robot is lost.
    states_of_frames = [frame.state for frame in read_run(out).frames]
    lost_at = states_of_frames.index(State.LOST)
    assert states_of_frames[:lost_at].count(State.DEAD_RECKONING) <= 2
    assert states_of_frames[-1] is State.LOCALISED
    assert {stamp_to_ns(pose.header.stamp) for pose in poses} <= {
        frame.stamp_ns for frame in read_run(out).frames if frame.map_T_base is not None
    }


def test_limits_of_the_follower_count_from_the_next_command_on(tmp_path):
    environment = samples.ros_environment()
    with (
        samples.probe(environment) as probe,
        samples.node("path_follower", {"speed": 1.0}, tmp_path, environment) as node,
        TinyRobot(probe, arc(100.0, 0.0)) as robot,
    ):
        graph = NodeGraph(probe, "path_follower", "/")
        robot.wait_for_speed(0.99, 60.0)
        assert "'stamped' can be changed only while" in graph.refused({"speed": 0.3, "stamped": False})
        robot.wait_for_speed(0.99, 60.0)
        # The brakes too, so that the very next command shows it: that of the first odometry after the answer.
        graph.set({"speed": 0.4, "max_acceleration": 20.0})
        answered_ns = time.time_ns()

        def later() -> list[float]:
            return [message.twist.linear.x for _, message in robot.commands if stamp_to_ns(message.header.stamp) > answered_ns]

        robot.wait(lambda: len(later()) > 3, "the next commands", 60.0)
        assert max(later()) <= 0.4 + 1e-6
        robot.wait_for_speed(0.39, 60.0)
        # With the brakes of before it slows down by them, and not at once.
        graph.set({"max_acceleration": 0.5})
        graph.set({"speed": 1.0})
        robot.wait_for_speed(0.99, 60.0)
        # Nothing that was changed while it stood is lost; the path, which is latched, comes again.
        graph.lead("deactivate")
        graph.set({"speed": 0.25})
        assert robot.speed == 0.0
        graph.lead("activate")
        robot.wait(lambda: robot.speed > 0.24, "driving again", 60.0)
        count = len(robot.commands)
        robot.wait(lambda: len(robot.commands) > count + 5, "more commands", 60.0)
        assert max(message.twist.linear.x for _, message in robot.commands[count:]) <= 0.25 + 1e-6
        # A corridor that is too narrow for where it is now: it stands.
        robot.map_T_base[1, 3] += 0.3
        graph.set({"corridor": 0.05})
        robot.wait_for_stop("OFF_PATH", 60.0)
        assert node.end() == 0
        assert "Traceback" not in node.output
