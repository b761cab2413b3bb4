"""Node ``path_follower``: drives a robot along the taught path by the believed pose, and stops it when there is none."""

from __future__ import annotations

import sys
import time

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from std_srvs.srv import SetBool

from vloc_ros.errors import VlocError
from vloc_ros.geometry.planar import STANDSTILL
from vloc_ros.path_following import DriveCommand, DriveState, FollowerSettings, StopReason
from vloc_ros.ros.conversions import pose_from_ros, pose_with_covariance_from_ros, stamp_to_ns
from vloc_ros.ros.drive_control import DriveControl
from vloc_ros.ros.drive_outputs import DriveOutputs
from vloc_ros.ros.drive_switch import DriveSwitch
from vloc_ros.ros.input_watch import InputWatch
from vloc_ros.ros.managed_node import Entity, ManagedNode
from vloc_ros.ros.node_settings import FollowerNodeSettings
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.qos import latched, reliable
from vloc_ros.ros.runtime import run_node
from vloc_ros.ros.watchdog import Watchdog

_NOTHING = DriveCommand(STANDSTILL, DriveState.STOPPED, StopReason.NO_ODOMETRY)

_WITHOUT_ODOMETRY = (StopReason.NO_ODOMETRY, StopReason.STALE_ODOMETRY)


class PathFollowerNode(ManagedNode):
    """Wires topics, services and parameters to a :class:`DriveControl`: one command for each odometry."""

    def __init__(self) -> None:
        super().__init__("path_follower", (FollowerNodeSettings(), FollowerSettings()))

    def configure(self) -> None:
        """Advertise the topics."""
        self._settings = self.settings(FollowerNodeSettings())
        self._problems = Problems(self.get_logger().warning)
        self._outputs = DriveOutputs(self, self._settings)

    def activate(self) -> None:
        """Listen, and drive if that is enabled."""
        settings = self._settings
        self._switch = DriveSwitch(settings.enabled_at_start, settings.dead_man_timeout if settings.dead_man else None)
        self._control = DriveControl(self.settings(FollowerSettings()), self._switch, self._problems, self._now_ns)
        self._command, self._map_frame = _NOTHING, ""
        self._stamp_ns, self._alive = self._now_ns(), time.monotonic()
        self._stamped_at = time.monotonic()
        self._watchdog = Watchdog(settings.watchdog, self._bark)
        self._watch = InputWatch(self, self._problems)
        self._while_active: list[Entity] = [
            self._watch.subscribe(Path, "path", self._take_path, latched()),
            self._watch.subscribe(PoseWithCovarianceStamped, "pose", self._take_pose, reliable()),
            self.create_subscription(Odometry, "odometry", self._take_odometry, reliable()),
            self.create_service(SetBool, "~/enable", self._enable),
            self.create_service(SetBool, "~/dead_man", self._dead_man),
            self.steady_timer(0.25 * settings.watchdog, self._look),
            self.steady_timer(1.0, self._report),
        ]
        self._outputs.state(self._stamp_ns, _NOTHING, 0.0)
        if self._switch.enabled:
            self._watchdog.feed()

    def deactivate(self) -> None:
        """Stand still and listen no more."""
        self._watchdog.close()
        self._outputs.last_word(self._time_of_command())
        self.destroy_all(self._while_active)

    def cleanup(self) -> None:
        """Take the topics away."""
        self._outputs.close()

    def changed(self) -> None:
        """The next command, which is that of the next odometry, is by the new values."""
        self._settings = self.settings(FollowerNodeSettings())
        if self._active:
            self._switch.tune(self._settings.dead_man_timeout)
            self._control.tune(self.settings(FollowerSettings()))

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _take_path(self, message: Path) -> None:
        try:
            poses = [pose_from_ros(stamped.pose) for stamped in message.poses]
        except VlocError as error:
            self._problems.report(Problem.BAD_INPUT, f"the path was refused: {error}")
            return
        self._map_frame = message.header.frame_id
        beginning = self._control.path(self._map_frame, poses)
        if beginning is not None:
            self._outputs.initial_pose(self._now_ns(), self._map_frame, *beginning)

    def _take_pose(self, message: PoseWithCovarianceStamped) -> None:
        try:
            map_T_base, covariance = pose_with_covariance_from_ros(message)
        except VlocError as error:
            self._problems.report(Problem.BAD_INPUT, str(error))
            return
        self._control.pose(stamp_to_ns(message.header.stamp), message.header.frame_id, map_T_base, covariance)

    def _take_odometry(self, message: Odometry) -> None:
        try:
            odom_T_base = pose_from_ros(message.pose.pose)
        except VlocError as error:
            self._problems.report(Problem.BAD_INPUT, str(error))
            return  # the watchdog stops the robot if it goes on like this
        if self._switch.enabled and self._watchdog.feed():
            self._control.interrupt()
        stamp_ns = stamp_to_ns(message.header.stamp)
        command = self._control.odometry(stamp_ns, message.header.frame_id, odom_T_base)
        if self._watchdog.barked:
            command = DriveCommand(STANDSTILL, DriveState.STOPPED, StopReason.STALE_ODOMETRY)
        self._problems.clear(Problem.NO_ODOMETRY)
        self._problems.clear(Problem.HUNG)
        self._stamp_ns, self._stamped_at, self._command = stamp_ns, time.monotonic(), command
        if self._switch.enabled:
            self._outputs.command(stamp_ns, command.twist)
        self._outputs.state(stamp_ns, command, self._control.blind_distance)
        seam = self._control.next_round(command)
        if seam is not None:
            self._outputs.initial_pose(stamp_ns, self._map_frame, *seam)

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """While driving is not enabled nothing is published, so that somebody else may drive."""
        was, wanted = self._switch.enabled, bool(request.data)
        self._switch.enable(wanted)
        if wanted:
            self._control.begin_again()
            self._watchdog.feed()
        else:
            self._watchdog.rest()
        if was and not wanted:
            self._stand(StopReason.DISABLED)
        response.success, response.message = True, "the robot may drive" if wanted else "the robot stands still"
        return response

    def _dead_man(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        held = bool(request.data)
        response.success = self._switch.has_dead_man
        response.message = "held" if held else "released"
        if not self._switch.has_dead_man:
            response.message = "there is no dead man's switch: the parameter dead_man is false"
            return response
        self._switch.hold(held)
        if not held and self._switch.enabled:
            self._stand(StopReason.DEAD_MAN)
        return response

    def _stand(self, reason: StopReason) -> None:
        """Stop now, without waiting for the next odometry."""
        stamp_ns = self._time_of_command()
        self._command = DriveCommand(STANDSTILL, DriveState.STOPPED, reason)
        self._outputs.command(stamp_ns, STANDSTILL)
        self._outputs.state(stamp_ns, self._command, self._control.blind_distance)

    def _time_of_command(self) -> int:
        """The stamp of the last odometry, as if its clock had gone on since: never the stamp of an odometry that is to come."""
        return self._stamp_ns + round((time.monotonic() - self._stamped_at) * 1e9)

    def _look(self) -> None:
        self._alive = time.monotonic()
        self._watchdog.look()
        if self._watchdog.barked and self._command.reason not in _WITHOUT_ODOMETRY:
            self._command = DriveCommand(STANDSTILL, DriveState.STOPPED, StopReason.STALE_ODOMETRY)
            self._outputs.state(self._time_of_command(), self._command, self._control.blind_distance)

    def _bark(self) -> None:
        """Tell the robot to stand; runs in the thread of the watchdog, or in the executor."""
        self._outputs.command(self._time_of_command(), STANDSTILL)
        if time.monotonic() - self._alive > self._settings.watchdog:
            self._problems.report(Problem.HUNG, "a callback of this node hangs; the robot is told to stand")
            return
        topic = self.resolve_topic_name("odometry")
        known = "" if self.count_publishers(topic) else ": nobody publishes it"
        limit = self._settings.watchdog
        self._problems.report(Problem.NO_ODOMETRY, f"no odometry on {topic} for {limit:g} s{known}; the robot is told to stand")

    def _report(self) -> None:
        self._watch.look()
        blind, problems = self._control.blind_distance, self._problems.take()
        self._outputs.diagnostics(self._now_ns(), self._command, blind, problems, self.reception.values)


def main(arguments: list[str] | None = None) -> int:
    """Console script ``path_follower``."""
    return run_node(PathFollowerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
