"""A drone over a world: its true motion, what its instruments say, and what its camera sees.

Heights: the barometer is set to zero at the mean height of the ground of the world, and the drone flies at a height above that. The
ground below may be some metres higher or lower, which the barometer cannot know; the laser measures down to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param, section
from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.conditions import Condition
from vloc_ros.simulation.drone import Drone, DroneSettings, nadir_rotation, wrapped_deg
from vloc_ros.simulation.orthophoto import mean_height
from vloc_ros.simulation.renderer import Renderer
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.run import MIDNIGHT_NS
from vloc_ros.simulation.season import season_of
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]
NADIR_CAMERA = StereoCamera(640, 480, 640.0, 640.0, 319.5, 239.5, 0.1)
"""Sees as many metres across as it is above the ground."""


@dataclass(frozen=True)
class InstrumentSettings:
    """Errors of the instruments (one sigma, unless said otherwise)."""

    barometer_bias: float = param(3.0, "constant error of the barometric height", unit="m", min=-50.0, max=50.0)
    barometer_noise: float = param(0.4, "noise of the barometric height", unit="m", min=0.0, max=10.0)
    laser_noise_percent: float = param(1.0, "noise of the laser's range, of the range", unit="%", min=0.0, max=20.0)
    heading_bias: float = param(4.0, "constant error of the heading", unit="deg", min=-180.0, max=180.0)
    heading_noise: float = param(1.0, "noise of the heading", unit="deg", min=0.0, max=30.0)
    tilt_noise: float = param(0.5, "noise of roll and of pitch", unit="deg", min=0.0, max=10.0)


@dataclass(frozen=True)
class FlightSettings:
    """A drone and its instruments."""

    drone: DroneSettings = section(DroneSettings)
    instruments: InstrumentSettings = section(InstrumentSettings)


@dataclass(frozen=True, slots=True)
class Readings:
    """What the instruments say at one moment.

    Attributes:
        stamp_ns: of it [ns].
        height_m: barometric height above the mean ground [m].
        range_m: along the camera's axis to the ground [m].
        heading_deg: of the nose, clockwise from north [deg].
        roll: positive when the right side goes down [rad].
        pitch: positive when the nose goes up [rad].
    """

    stamp_ns: int
    height_m: float
    range_m: float
    heading_deg: float
    roll: float
    pitch: float


@dataclass(slots=True)
class _Camera:
    """The renderer of a flight, made with the first image: its shadows take a second."""

    world: World
    condition: Condition
    camera: StereoCamera
    renderer: Renderer | None = field(default=None)

    def image(self, world_T_camera: Array, seed: int) -> Image:
        self.renderer = self.renderer or Renderer(self.world, self.condition, StereoRig(self.camera, np.eye(4)))
        return self.renderer.left(world_T_camera, seed)


class Flight:
    """World, light, drone, instruments and camera, on one clock that stands still unless told to go on.

    What a drone may know comes out of :meth:`readings` and :meth:`image`; :attr:`position` and :attr:`world_T_camera` are the
    truth, for judging. The same seed and the same commands at the same times give the same images to the last bit.
    """

    def __init__(
        self,
        world: World,
        condition: Condition,
        settings: FlightSettings | None = None,
        *,
        camera: StereoCamera = NADIR_CAMERA,
        seed: int = 0,
    ) -> None:
        """Put a drone into the air above the origin of the world, nose to the north.

        Args:
            world: over what; it is taken into the season of the condition.
            condition: in what light and weather.
            settings: what drone and instruments are like.
            camera: looks down; its left image is taken.
            seed: of wind, instruments and the noise of the images.

        Raises:
            ConfigError: the seed is negative.
        """
        if seed < 0:
            raise ConfigError(f"seed = {seed} of a simulated flight must not be negative")
        self.settings, self.condition, self.camera, self.seed = settings or FlightSettings(), condition, camera, seed
        self.world = world.in_season(season_of(condition))
        self.drone = Drone(self.settings.drone, seed)
        self.covered = False
        """Whether something covers the lens: the images are black."""
        self.datum_m = mean_height(world.terrain)
        """Height of the mean ground in the frame of the world [m]."""
        self._camera = _Camera(self.world, replace(condition, headlights=False), camera)
        self._rng = np.random.default_rng([seed, 37])
        self._start_ns = MIDNIGHT_NS + round(condition.hour * 3600e9)
        self._images = 0

    @property
    def now_ns(self) -> int:
        """Simulated time [ns]; it begins at the hour of the condition."""
        return self._start_ns + round(self.drone.time * 1e9)

    @property
    def position(self) -> Array:
        """(2,) true position, east and north in the frame of the world [m]."""
        return self.drone.position.copy()

    @property
    def height_m(self) -> float:
        """True height above the mean ground [m]."""
        return self.settings.drone.height + self.drone.sunk_m

    @property
    def above_ground_m(self) -> float:
        """True height above the ground below [m]."""
        return self.datum_m + self.height_m - float(self.world.terrain.height(self.drone.position[None])[0])

    @property
    def world_T_camera(self) -> Array:
        """(4, 4) true pose of the camera."""
        pose = np.eye(4)
        pose[:3, :3] = nadir_rotation(self.drone.heading_deg, self.drone.roll, self.drone.pitch)
        pose[:3, 3] = [*self.drone.position, self.datum_m + self.height_m]
        return pose

    def place(self, position: Array, heading_deg: float) -> None:
        """Carry the drone to a (2,) position [m] and heading [deg]."""
        self.drone.position = np.array(position, dtype=np.float64)
        self.drone.heading_deg = self.drone.wanted_deg = wrapped_deg(heading_deg)

    def command(self, heading_deg: float) -> None:
        """Ask for a heading, clockwise from north [deg]."""
        self.drone.wanted_deg = heading_deg

    def advance(self, seconds: float) -> None:
        """Let time pass [s]."""
        self.drone.advance(seconds)

    def readings(self) -> Readings:
        """What the instruments say now."""
        errors, noise = self.settings.instruments, self._rng.standard_normal(5)
        tilts = np.array([self.drone.roll, self.drone.pitch]) + np.deg2rad(errors.tilt_noise) * noise[3:]
        down = -self.world_T_camera[2, 2]  # cosine between the camera's axis and straight down
        return Readings(
            self.now_ns,
            self.height_m + errors.barometer_bias + errors.barometer_noise * float(noise[0]),
            self.above_ground_m / float(down) * (1.0 + 0.01 * errors.laser_noise_percent * float(noise[1])),
            wrapped_deg(self.drone.heading_deg + errors.heading_bias + errors.heading_noise * float(noise[2])) % 360.0,
            float(tilts[0]),
            float(tilts[1]),
        )

    def image(self) -> Image:
        """(H, W, 3) uint8 RGB of this moment; nearly black while the lens is covered."""
        self._images += 1
        number = self.seed * 1_000_003 + self._images
        if self.covered:
            shape = (self.camera.height, self.camera.width, 3)
            return np.random.default_rng(number).integers(0, 4, shape, dtype=np.uint8)
        return self._camera.image(self.world_T_camera, number)
