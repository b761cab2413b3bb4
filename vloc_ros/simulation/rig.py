"""The stereo rig: which camera, and where on the robot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera

# The rectified camera of the UTIAS multi-season recordings, so that features trained on them see the pixels they know.
UTIAS_CAMERA = StereoCamera(512, 384, 388.425, 388.425, 253.502, 196.822, 0.239946)


def mount(x: float, y: float, z: float, pitch_down: float) -> NDArray[np.float64]:
    """(4, 4) base_T_camera of an optical frame at (x, y, z) [m] that looks forward and ``pitch_down`` [rad] below level."""
    base_T_level = se3.from_rotation_translation(np.eye(3), np.array([x, y, z]))
    return base_T_level @ se3.exp(np.array([0.0, 0.0, 0.0, 0.0, pitch_down, 0.0])) @ se3.BASE_T_OPTICAL


def _default_mount() -> NDArray[np.float64]:
    # The pair is centred on the robot: the left camera sits half a baseline to the left.
    return mount(0.35, 0.5 * UTIAS_CAMERA.baseline, 1.15, np.deg2rad(9.0))


@dataclass(frozen=True, slots=True)
class StereoRig:
    """A rectified stereo pair on a robot.

    Attributes:
        camera: intrinsics and baseline.
        base_T_camera: (4, 4) pose of the left optical frame in the base frame (on the ground, x forward, z up).

    Raises:
        ConfigError: the mount is not a rigid transform.
    """

    camera: StereoCamera = UTIAS_CAMERA
    base_T_camera: NDArray[np.float64] = field(default_factory=_default_mount)

    def __post_init__(self) -> None:
        if self.base_T_camera.shape != (4, 4):
            raise ConfigError(f"base_T_camera must be a 4x4 transform, not of shape {self.base_T_camera.shape}")
        rotation = self.base_T_camera[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(rotation) < 0.0:
            raise ConfigError("the rotation of base_T_camera is not orthonormal; normalise it before building a rig")

    @property
    def left_T_right(self) -> NDArray[np.float64]:
        """(4, 4) pose of the right optical frame in the left one."""
        return se3.from_rotation_translation(np.eye(3), np.array([self.camera.baseline, 0.0, 0.0]))

    def scaled(self, factor: float) -> StereoRig:
        """The same field of view with ``factor`` times as many pixels along each side.

        Raises:
            ConfigError: the factor is not positive.
        """
        if not factor > 0.0:
            raise ConfigError(f"the scale of a camera must be positive, not {factor}")
        c = self.camera
        width, height = max(round(c.width * factor), 1), max(round(c.height * factor), 1)
        sx, sy = width / c.width, height / c.height
        # Pixel (0, 0) is a pixel centre: the image spans from -0.5, which is the point that scaling leaves in place.
        camera = StereoCamera(width, height, c.fx * sx, c.fy * sy, (c.cx + 0.5) * sx - 0.5, (c.cy + 0.5) * sy - 0.5, c.baseline)
        return StereoRig(camera, self.base_T_camera)
