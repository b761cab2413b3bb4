"""Parameters of the node ``simulator``, beside the :class:`~vloc_ros.closed_loop.DriveSettings` of the drive. Imports no ROS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from vloc_ros.closed_loop import DriveSettings, world_of
from vloc_ros.config import param
from vloc_ros.errors import ConfigError
from vloc_ros.simulation import Condition, Layout, RouteShape, Simulator, Site, StereoRig, named_condition, season_of


@unique
class Driver(Enum):
    """Who drives the simulated robot."""

    OPERATOR = "operator"
    """Somebody who sees the truth, once along the route: to teach it."""
    TOPIC = "topic"
    """Whoever publishes cmd_vel."""


@dataclass(frozen=True, slots=True)
class SimulatorNodeSettings:
    """Where, when, how fast, and who drives."""

    driver: Driver = param(Driver.TOPIC, "operator: drives the route once by sight, to teach it; topic: cmd_vel drives")
    site: str = param("site", "name of the place, for the records")
    seed: int = param(1, "of the world", min=0)
    length: float = param(80.0, "length of the route", unit="m", min=30.0, max=2000.0)
    shape: RouteShape = param(RouteShape.LOOP, "how the route runs")
    layout: Layout = param(Layout.MIXED, "what kind of place it is")
    condition: str = param("noon", "light and weather, by name")
    hour: float = param(-1.0, "hour of the day in that weather; -1: that of the condition", unit="h", min=-1.0, max=24.0)
    drive_seed: int = param(1, "of slip, odometry errors, wander of the operator and noise of the images", min=0)
    wander: float = param(0.15, "how far the operator strays from the middle of the track", unit="m", min=0.0, max=0.5)
    scale: float = param(1.0, "resolution of the cameras, 1 being 512x384", min=0.05, max=4.0)
    detail: str = param("fast", "level of detail of the images: full or fast")
    threads: int = param(1, "of the renderer", min=1, max=2)
    real_time_factor: float = param(1.0, "speed as a multiple of real time; 0: as fast as possible", min=0.0, max=100.0)
    lockstep: bool = param(False, "wait for each command and each processed frame: the same every time, at whatever speed")
    ack_timeout: float = param(
        30.0, "how long lockstep waits for a frame; the first may take twice that", unit="s", min=0.1, max=3600.0
    )
    command_timeout: float = param(10.0, "how long lockstep waits for a command", unit="s", min=0.1, max=3600.0)
    wait_for_subscriber: float = param(
        60.0, "how long to wait for the other nodes before the first frame; 0: do not wait", unit="s", min=0.0, max=3600.0
    )
    stamped: bool = param(True, "cmd_vel is geometry_msgs/TwistStamped; false: Twist")
    truth: str = param(
        "",
        "file of the true poses of the keyframes, <map>.truth.tum: driver operator writes it; driver topic needs it to watch "
        "the drive, and to step in where the robot is stuck",
    )
    laps: int = param(1, "how often a closed route is driven, with driver topic and truth", min=1)
    duration: float = param(0.0, "end after so much simulated time; 0: at the end of the route", unit="s", min=0.0)
    out: str = param("", "folder for the record of a drive, may be that of the localization; empty: none")
    exit_when_done: bool = param(True, "end the process after the drive")
    frame_id: str = param("camera_left_optical_frame", "frame named in the headers of the images")
    odom_frame: str = param("odom", "frame of the wheel odometry")
    base_frame: str = param("base_link", "frame of the robot")
    truth_frame: str = param("world", "frame of the ground truth")
    truth_child_frame: str = param("base_link_truth", "child frame of the ground truth")
    autostart: bool = param(True, "configure and activate at start; false leaves it to a lifecycle manager", fixed=True)


def check(settings: SimulatorNodeSettings, drive: DriveSettings) -> None:
    """Refuse what cannot work.

    Raises:
        ConfigError: the settings contradict each other.
    """
    of_condition(settings)
    if settings.lockstep and settings.driver is Driver.TOPIC and not (settings.stamped and drive.use_wheels):
        raise ConfigError(
            "lockstep waits for a command with the stamp of each odometry: it needs stamped and use_wheels to be true"
        )
    if settings.lockstep and drive.latency > 1.0 / drive.camera_rate:
        raise ConfigError(
            f"lockstep has one frame in flight: latency = {drive.latency} s must not exceed the period of the cameras"
        )
    if settings.out and settings.driver is Driver.TOPIC and not settings.truth:
        raise ConfigError("a drive is recorded against the taught path: set truth, for example truth:=site.truth.tum, or no out")
    if settings.detail not in ("full", "fast"):
        raise ConfigError(f"'detail' = '{settings.detail}' is not one of: full, fast")


def of_condition(settings: SimulatorNodeSettings) -> Condition:
    """Light and weather.

    Raises:
        ConfigError: there is none of that name.
    """
    return named_condition(settings.condition, None if settings.hour < 0.0 else settings.hour)


def of_site(settings: SimulatorNodeSettings) -> Site:
    """The place."""
    return Site(settings.site, settings.seed, settings.length, settings.shape, settings.layout)


def build_simulator(settings: SimulatorNodeSettings, drive: DriveSettings) -> Simulator:
    """World, light, robot and cameras; takes seconds to minutes.

    Raises:
        ConfigError: there is no such site.
    """
    condition = of_condition(settings)
    world = world_of(of_site(settings), season_of(condition))
    rig = StereoRig().scaled(settings.scale)
    # Teaching and repeating are different drives: other slip, other noise.
    seed = settings.drive_seed + (0 if settings.driver is Driver.OPERATOR else 1000)
    return Simulator(world, condition, drive.robot, rig=rig, seed=seed, detail=settings.detail, threads=settings.threads)
