"""One command for each odometry: path following behind the checks that a robot on real topics needs. Imports no ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import VlocError
from vloc_ros.path_following import DriveCommand, DriveState, FollowerSettings, PathFollower, StopReason, TaughtPath
from vloc_ros.ros.drive_switch import DriveSwitch
from vloc_ros.ros.problems import Problem, Problems

Array = NDArray[np.float64]


class DriveControl:
    """Feeds a :class:`PathFollower` and computes a command at the stamp of each odometry.

    The command depends on the stamps of the messages only, so that a simulation in lock-step repeats to the last bit; the clock
    of the node decides only whether the odometry is of the present at all.
    """

    def __init__(self, settings: FollowerSettings, switch: DriveSwitch, problems: Problems, now_ns: Callable[[], int]) -> None:
        """Begin without a path.

        Args:
            settings: of the follower.
            switch: whether driving is allowed.
            problems: told what is wrong with the input.
            now_ns: clock of the node [ns].
        """
        self._settings, self._switch, self._problems, self._now_ns = settings, switch, problems, now_ns
        self._follower = PathFollower(settings)
        self._path_frame: str | None = None
        self._odometry_frame: str | None = None
        self._newest_ns: int | None = None
        self._round_ns: int | None = None
        self._interrupted = False

    def tune(self, settings: FollowerSettings) -> None:
        """Drive by other settings from the next command on."""
        self._settings = settings
        self._follower.tune(settings)

    @property
    def blind_distance(self) -> float:
        """Driven since the last sure pose [m]."""
        return self._follower.blind_distance

    def path(self, frame: str, poses: Sequence[Array]) -> tuple[Array, Array] | None:
        """Follow the path through (4, 4) poses in a frame; one that cannot be followed leaves the robot without a path.

        Returns:
            With ``from_start`` set and the first path, the (4, 4) pose and (6, 6) covariance to tell localisation; else None.
        """
        try:
            taught = TaughtPath(poses)
        except VlocError as error:
            self._follower, self._path_frame = PathFollower(self._settings), frame
            self._problems.report(Problem.BAD_PATH, f"the path was refused: {error}")
            return None
        if self._path_frame not in (None, frame):
            self._follower = PathFollower(self._settings)  # its poses were in another frame
        # The odometry so far is kept: the pose that comes next may be older than the path.
        self._path_frame = frame
        first = self._follower.path is None
        self._follower.set_path(taught)
        self._problems.clear(Problem.BAD_PATH)
        return self._follower.beginning() if first and self._settings.from_start else None

    def pose(self, stamp_ns: int, frame: str, map_T_base: Array, covariance: Array) -> None:
        """A believed pose; one in another frame than that of the path is refused."""
        if self._path_frame is None:
            return
        if frame != self._path_frame:
            self._problems.report(
                Problem.WRONG_FRAME,
                f"a pose in frame '{frame}' was refused: the path is in '{self._path_frame}'; let one node publish both",
            )
            return
        self._problems.clear(Problem.WRONG_FRAME)
        if self._round_ns is None or stamp_ns > self._round_ns:
            self._follower.add_pose(stamp_ns, map_T_base, covariance)

    def odometry(self, stamp_ns: int, frame: str, odom_T_base: Array) -> DriveCommand:
        """What to drive now that the (4, 4) pose of the base in a smooth frame is known at a stamp."""
        trouble = self._trouble(stamp_ns, frame)
        if self._odometry_frame not in (None, frame):
            self._follower = PathFollower(self._settings, self._follower.path)  # what it knew was in another frame
        self._odometry_frame = frame
        if trouble is None:
            self._problems.clear(Problem.BAD_STAMP)
        else:
            self._problems.report(Problem.BAD_STAMP, trouble)
        gap = 0.0 if self._newest_ns is None else (stamp_ns - self._newest_ns) * 1e-9
        if gap < 0.0:
            self._round_ns = None  # time may have begun again
        self._newest_ns = stamp_ns
        self._follower.add_odometry(stamp_ns, odom_T_base)
        # After a pause the robot stands, whatever it was told before: it speeds up from rest.
        interrupted, self._interrupted = self._interrupted or gap > self._settings.odometry_timeout, False
        reason = self._switch.reason
        if reason is None and (trouble is not None or interrupted):
            reason = StopReason.STALE_ODOMETRY
        return self._follower.command(stamp_ns) if reason is None else self._follower.stand(stamp_ns, reason)

    def _trouble(self, stamp_ns: int, frame: str) -> str | None:
        """What forbids to drive on an odometry: one sentence; None when it is good."""
        ahead = (stamp_ns - self._now_ns()) * 1e-9
        if abs(ahead) > self._settings.odometry_timeout:
            what = f"{ahead:.1f} s in the future" if ahead > 0.0 else f"{-ahead:.1f} s old"
            return f"the odometry is stamped {what} by the clock of this node: synchronise the clocks, or set use_sim_time"
        if self._newest_ns is not None and stamp_ns <= self._newest_ns:
            back = (self._newest_ns - stamp_ns) * 1e-9
            return f"the stamp of the odometry went back by {back:.3f} s: one node only may publish it"
        if self._odometry_frame is not None and frame != self._odometry_frame:
            return f"the odometry changed from frame '{self._odometry_frame}' to '{frame}': one node only may publish it"
        return None

    def interrupt(self) -> None:
        """The robot was told to stand in between: speed up from rest after the next odometry. May be called from any thread."""
        self._interrupted = True

    def begin_again(self) -> None:
        """Drive on after an arrival, from wherever the robot is."""
        self._follower.restart()

    def next_round(self, command: DriveCommand) -> tuple[Array, Array] | None:
        """After an arrival at the end of a closed path, with ``loop`` set: begin again.

        Returns:
            The (4, 4) pose and (6, 6) covariance to tell localisation; None when nothing is to be done.
        """
        if not self._settings.loop or command.state is not DriveState.ARRIVED:
            return None
        try:
            seam = self._follower.next_round()
        except VlocError as error:
            self._problems.report(Problem.BAD_PATH, str(error))
            return None
        # Poses of images from before belong to the end of the path.
        self._round_ns = self._newest_ns
        return seam
