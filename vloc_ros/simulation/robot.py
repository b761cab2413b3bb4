"""A ground robot with the faults of a real one: it answers late, its wheels slip, and its odometry believes them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.geometry.planar import PlanarTwist

Array = NDArray[np.float64]
_STEP_S = 0.01


@unique
class Drive(Enum):
    """How a velocity becomes motion."""

    UNICYCLE = "unicycle"
    """One contact that rolls and turns, each with its own slip."""
    DIFFERENTIAL = "differential"
    """Two sides, each with its own slip, as of a skid-steered rover."""


@dataclass(frozen=True)
class RobotSettings:
    """A robot of the size of a Grizzly, unless told otherwise."""

    drive: Drive = param(Drive.DIFFERENTIAL, "unicycle: one slipping contact; differential: two sides")
    track_width: float = param(0.9, "distance of the wheels of both sides", unit="m", min=0.05, max=5.0)
    max_speed: float = param(2.5, "largest speed", unit="m/s", min=0.05, max=20.0)
    max_turn_rate: float = param(1.2, "largest angular velocity", unit="rad/s", min=0.05, max=10.0)
    max_acceleration: float = param(1.5, "largest acceleration of a wheel", unit="m/s^2", min=0.05, max=50.0)
    latency: float = param(0.08, "time until a command reaches the motors", unit="s", min=0.0, max=2.0)
    lag: float = param(0.12, "time constant of the motors", unit="s", min=0.0, max=5.0)
    command_timeout: float = param(0.5, "the base stops by itself when no command came for so long", unit="s", min=0.0, max=60.0)
    slip_percent: float = param(2.0, "wandering part of the slip of each side (one sigma)", unit="%", min=0.0, max=80.0)
    turn_slip_percent: float = param(10.0, "share of a turn that skids away", unit="%", min=0.0, max=90.0)
    slip_seconds: float = param(1.5, "how long a slip lasts", unit="s", min=0.02, max=100.0)
    odometry_scale_percent: float = param(
        1.0, "error of the wheel radii that the odometry assumes, drawn once for each side (one sigma)", unit="%", min=0.0, max=50.0
    )


class Robot:
    """Integrates the motion of a robot in the plane; deterministic by seed and by the commands and their times."""

    def __init__(self, settings: RobotSettings, seed: int) -> None:
        self.settings = settings
        self._rng = np.random.default_rng([seed, 7])
        self._scale = 1.0 + 0.01 * settings.odometry_scale_percent * self._rng.standard_normal(2)
        self._slip = 0.01 * settings.slip_percent * self._rng.standard_normal(2)
        half, grip = 0.5 * settings.track_width, 1.0 - 0.01 * settings.turn_slip_percent
        differential = settings.drive is Drive.DIFFERENTIAL
        self._motors_of_twist = np.array([[1.0, -half], [1.0, half]] if differential else [[1.0, 0.0], [0.0, half]])
        # The base controller knows the mean skid in turns and makes up for it.
        self._twist_of_motors = np.linalg.inv(self._motors_of_twist)
        self._motors_of_twist[:, 1] /= grip
        self._twist_of_motors[1] *= grip
        self._motors = np.zeros(2)
        self._commands: deque[tuple[float, PlanarTwist]] = deque()
        self._wanted, self._wanted_at = PlanarTwist(), 0.0
        self.time = 0.0
        """Since the start [s]."""
        self.position: Array = np.zeros(2)
        self.heading = 0.0
        """True pose in the plane [m], [rad]; may be set: the robot is carried."""
        self.odometry: Array = np.zeros(3)
        """x, y [m] and heading [rad] as the wheels tell them."""
        self.twist = PlanarTwist()
        """True velocity."""
        self.wheel_twist = PlanarTwist()
        """Velocity as the wheels tell it."""

    def command(self, twist: PlanarTwist) -> None:
        """A velocity for the base; it is reached after latency and lag, as far as the robot can."""
        self._commands.append((self.time + self.settings.latency, twist))

    def advance(self, seconds: float) -> None:
        """Let time pass [s]."""
        steps = max(round(seconds / _STEP_S), 1)
        for _ in range(steps):
            self._step(seconds / steps)

    def stand(self) -> None:
        """Come to rest at once and forget all commands: somebody holds the robot."""
        self._commands.clear()
        self._motors[:] = 0.0
        self._wanted = self.twist = self.wheel_twist = PlanarTwist()

    def _step(self, dt: float) -> None:
        self.time += dt
        while self._commands and self._commands[0][0] <= self.time:
            self._wanted_at, self._wanted = self._commands.popleft()
        if self.time - self._wanted_at > self.settings.command_timeout:
            self._wanted = PlanarTwist()
        self._turn_motors(dt)
        self._drift_slip(dt)
        self.twist = PlanarTwist(*(self._twist_of_motors @ (self._motors * (1.0 - self._slip))))
        self.wheel_twist = PlanarTwist(*(self._twist_of_motors @ (self._motors * self._scale)))
        self.position, self.heading = _moved(self.position, self.heading, self.twist, dt)
        place, turned = _moved(self.odometry[:2], float(self.odometry[2]), self.wheel_twist, dt)
        self.odometry = np.append(place, turned)

    def _turn_motors(self, dt: float) -> None:
        settings = self.settings
        linear = float(np.clip(self._wanted.linear, -settings.max_speed, settings.max_speed))
        angular = float(np.clip(self._wanted.angular, -settings.max_turn_rate, settings.max_turn_rate))
        wanted = self._motors_of_twist @ np.array([linear, angular])
        change = (wanted - self._motors) * (1.0 - np.exp(-dt / settings.lag) if settings.lag > 0.0 else 1.0)
        most = settings.max_acceleration * dt
        self._motors += np.clip(change, -most, most)

    def _drift_slip(self, dt: float) -> None:
        """An Ornstein-Uhlenbeck process: slip wanders about zero and forgets itself."""
        keep = np.exp(-dt / self.settings.slip_seconds)
        spread = 0.01 * self.settings.slip_percent * np.sqrt(1.0 - keep**2)
        self._slip = keep * self._slip + spread * self._rng.standard_normal(2)


def _moved(position: Array, heading: float, twist: PlanarTwist, dt: float) -> tuple[Array, float]:
    middle = heading + 0.5 * twist.angular * dt
    return position + twist.linear * dt * np.array([np.cos(middle), np.sin(middle)]), heading + twist.angular * dt
