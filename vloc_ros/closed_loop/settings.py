"""Configuration of a drive in closed loop."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param, section
from vloc_ros.path_following import FollowerSettings
from vloc_ros.settings import Settings
from vloc_ros.simulation import RobotSettings


@dataclass(frozen=True)
class DriveSettings:
    """The rhythm of a drive, and when its operator steps in."""

    camera_rate: float = param(5.0, "frames per second of the cameras", unit="Hz", min=0.5, max=60.0)
    control_rate: float = param(20.0, "commands per second", unit="Hz", min=1.0, max=200.0)
    latency: float = param(0.15, "from the exposure of an image to its pose", unit="s", min=0.0, max=5.0)
    use_wheels: bool = param(True, "localisation may fall back on wheel odometry where vision fails")
    from_start: bool = param(
        True, "the operator puts the robot at the beginning of the path and tells localisation so (an initial pose)"
    )
    free_corridor: float = param(
        0.8, "the operator steps in when the robot truly is farther beside the taught path", unit="m", min=0.05, max=10.0
    )
    patience: float = param(6.0, "the operator steps in when the robot has stood still for so long", unit="s", min=0.1, max=600.0)
    operator_distance: float = param(
        3.0, "an operator drives at least so far before the robot may go on by itself", unit="m", min=0.1, max=100.0
    )
    follower: FollowerSettings = section(FollowerSettings, live=False)
    robot: RobotSettings = section(RobotSettings)


@dataclass(frozen=True)
class ClosedLoopSettings(Settings):
    """Localisation, and the drive around it."""

    drive: DriveSettings = section(DriveSettings)
