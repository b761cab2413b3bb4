"""Configuration of path following."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param


@dataclass(frozen=True)
class FollowerSettings:
    """How fast and how closely a robot follows its path, and when it stops."""

    speed: float = param(1.0, "speed on a straight path with a sure pose", unit="m/s", min=0.05, max=10.0, live=True)
    min_speed: float = param(
        0.15, "below this speed the robot stands still instead of creeping", unit="m/s", min=0.0, max=2.0, live=True
    )
    max_turn_rate: float = param(1.0, "largest angular velocity", unit="rad/s", min=0.05, max=10.0, live=True)
    max_curvature: float = param(
        1.5, "tightest turn of the robot, the inverse of its radius", unit="1/m", min=0.05, max=100.0, live=True
    )
    max_acceleration: float = param(0.8, "largest change of speed, also when braking", unit="m/s^2", min=0.05, max=20.0, live=True)
    max_lateral_acceleration: float = param(
        0.6, "curves are driven slowly enough for it", unit="m/s^2", min=0.05, max=20.0, live=True
    )
    look_ahead: float = param(1.2, "distance in which an error is steered out", unit="m", min=0.2, max=20.0, live=True)
    reaction: float = param(0.2, "time from a command to the motion; looks ahead so far", unit="s", min=0.0, max=2.0, live=True)
    slow_sigma: float = param(
        0.10,
        "position uncertainty (one sigma) up to which a pose is sure; beyond, it slows down",
        unit="m",
        min=0.001,
        max=10.0,
        live=True,
    )
    stop_sigma: float = param(
        0.25, "position uncertainty (one sigma) at which the robot stops", unit="m", min=0.001, max=10.0, live=True
    )
    slow_sigma_rad: float = param(0.035, "as slow_sigma, of the heading", unit="rad", min=0.001, max=3.0, live=True)
    stop_sigma_rad: float = param(0.15, "as stop_sigma, of the heading", unit="rad", min=0.001, max=3.0, live=True)
    blind_distance: float = param(
        2.0, "the robot stands still at most so far after its last sure pose", unit="m", min=0.0, max=1000.0, live=True
    )
    pose_timeout: float = param(1.0, "no driving on a pose older than this", unit="s", min=0.02, max=60.0, live=True)
    odometry_timeout: float = param(0.5, "no driving on odometry older than this", unit="s", min=0.02, max=60.0, live=True)
    corridor: float = param(
        0.6, "the robot stops when it believes to be farther beside the path", unit="m", min=0.05, max=100.0, live=True
    )
    max_heading_error: float = param(
        1.0, "the robot stops when it is turned farther from the path", unit="rad", min=0.1, max=1.5, live=True
    )
    goal_tolerance: float = param(0.25, "the end of the path is reached at this distance", unit="m", min=0.01, max=10.0, live=True)
    loop: bool = param(False, "go round again at the end of a path that ends where it begins", live=True)
    from_start: bool = param(
        False, "the robot stands at the beginning of the path: tell localisation so, as an operator does with an initial pose"
    )
