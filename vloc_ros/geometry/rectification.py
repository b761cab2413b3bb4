"""What is left of a stereo pair's rectification error, as one small smooth warp of the right image.

A rig that was bumped, warmed up or calibrated in haste is rectified nearly, not exactly: rows disagree by a fraction of a pixel
and, worse and unseen, disparities are wrong by one or two. To first order every such error of the right camera relative to the
left one is a displacement field with the shape of a small rotation, of a wrong principal point or focal length, or of wrong
coefficients of Brown's lens model (D. C. Brown, Decentering distortion of lenses, 1966).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros import config
from vloc_ros.config import param
from vloc_ros.errors import CalibrationError, ConfigError
from vloc_ros.geometry.camera import StereoCamera

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
_INVERSE_ITERATIONS = 4


@dataclass(frozen=True, slots=True)
class RectificationCorrection:
    """Where the recorded right image holds what belongs at a pixel of the ideal right image; all zero is the identity.

    With normalised coordinates ``u = (x - cx) / fx``, ``v = (y - cy) / fy`` of the ideal pixel and ``r^2 = u^2 + v^2``, the
    recorded pixel lies further to the right and further down by

        dx = fx (pitch u v + yaw (1 + u^2) - roll v + scale u + radial u r^2 + 2 p1 u v + p2 (r^2 + 2 u^2)) + shift_x
        dy = fy (pitch (1 + v^2) + yaw u v + roll u + scale v + radial v r^2 + p1 (r^2 + 2 v^2) + 2 p2 u v)

    A vertical error of the principal point is not among them, for it is hardly another thing than pitch. Over a narrow field of
    view some of the terms resemble each other, so that single parameters can be larger than the physical error; their sum is what
    counts (:meth:`max_shift_px`).
    """

    pitch: float = param(0.0, "rotation that moves the right image down", unit="rad", min=-0.3, max=0.3)
    yaw: float = param(0.0, "rotation that moves the right image to the right", unit="rad", min=-0.3, max=0.3)
    roll: float = param(0.0, "rotation of the right image, clockwise as seen", unit="rad", min=-0.3, max=0.3)
    scale: float = param(0.0, "excess of the focal length of the right image, relative", min=-0.3, max=0.3)
    shift_x: float = param(0.0, "error of the principal point to the right", unit="px", min=-200.0, max=200.0)
    radial: float = param(0.0, "error of the radial distortion k1", min=-1.0, max=1.0)
    p1: float = param(0.0, "error of the decentring distortion p1", min=-1.0, max=1.0)
    p2: float = param(0.0, "error of the decentring distortion p2", min=-1.0, max=1.0)

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return not any(self.to_list())

    def to_list(self) -> list[float]:
        """The eight parameters in the order of their declaration, for a ROS parameter."""
        return [float(value) for value in dataclasses.astuple(self)]

    @classmethod
    def from_list(cls, values: Sequence[float] | Array) -> RectificationCorrection:
        """The inverse of :meth:`to_list`; an empty list is the identity.

        Raises:
            ConfigError: there are not eight values, or one is not a number or out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if len(values) not in (0, len(names)):
            raise ConfigError(
                f"a rectification correction has {len(names)} numbers ({', '.join(names)}), not {len(values)}; "
                "give all of them, or none for no correction"
            )
        numbers = [value.item() if isinstance(value, np.generic) else value for value in values]
        return cls.from_dict(dict(zip(names, numbers, strict=False)))

    def to_dict(self) -> dict[str, float]:
        """Plain values by name, for YAML."""
        return dict(config.to_dict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RectificationCorrection:
        """The inverse of :meth:`to_dict`; missing parameters are zero.

        Raises:
            ConfigError: a name is unknown, or a value is not a number or out of range.
        """
        return config.from_dict(cls, values, "rectification.")

    def shift(self, camera: StereoCamera, pixels: Array) -> Array:
        """(N, 2) displacement (dx, dy) [px] of the (N, 2) pixels of the ideal right image."""
        return np.asarray(shift_basis(camera, pixels) @ np.array(self.to_list()))

    def ideal(self, camera: StereoCamera, recorded: Array) -> Array:
        """(N, 2) pixels of the ideal right image that the (N, 2) pixels of the recorded one belong to."""
        pixels = recorded
        for _ in range(_INVERSE_ITERATIONS):  # a fixed point: the displacement changes by about 1 % of itself per step
            pixels = recorded - self.shift(camera, pixels)
        return np.asarray(pixels)

    def max_shift_px(self, camera: StereoCamera) -> float:
        """The longest displacement over the image [px]."""
        columns = np.linspace(0.0, camera.width - 1.0, 33)
        rows = np.linspace(0.0, camera.height - 1.0, 33)
        grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        return float(np.linalg.norm(self.shift(camera, grid), axis=1).max())

    def warp(self, image: Image, camera: StereoCamera) -> Image:
        """The ideal right image from a recorded one, (H, W) or (H, W, 3); the identity returns the image itself.

        Resampling is bicubic: bilinear interpolation blurs by an amount that varies with the fraction of a pixel, which shows
        in the disparities. What lies outside the recorded image repeats its border. The map is computed at the first call.

        Raises:
            CalibrationError: the image is not of the camera's size.
        """
        if image.shape[:2] != (camera.height, camera.width):
            raise CalibrationError(
                f"the right image is {image.shape[1]}x{image.shape[0]} px but the calibration is of "
                f"{camera.width}x{camera.height} px; use the calibration of this resolution"
            )
        if self.is_identity:
            return image
        whole, fraction = _maps(self, camera)
        warped = cv2.remap(image, whole, fraction, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, dtype=np.uint8)


def shift_basis(camera: StereoCamera, pixels: Array) -> Array:
    """(N, 2, 8) derivative of :meth:`RectificationCorrection.shift` with respect to the parameters, in their order.

    The model is linear in its parameters, so that the basis does not depend on them.
    """
    u = (pixels[:, 0] - camera.cx) / camera.fx
    v = (pixels[:, 1] - camera.cy) / camera.fy
    one, zero = np.ones_like(u), np.zeros_like(u)
    uu, uv, vv = u * u, u * v, v * v
    rr = uu + vv
    dx = [uv, 1.0 + uu, -v, u, one / camera.fx, u * rr, 2.0 * uv, rr + 2.0 * uu]
    dy = [1.0 + vv, uv, u, v, zero, v * rr, rr + 2.0 * vv, 2.0 * uv]
    return np.stack([np.stack(dx, axis=1) * camera.fx, np.stack(dy, axis=1) * camera.fy], axis=1)


@lru_cache(maxsize=4)
def _maps(correction: RectificationCorrection, camera: StereoCamera) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Maps of cv2.remap, in its fast fixed-point form."""
    grid = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1).reshape(-1, 2).astype(np.float64)
    source = (grid + correction.shift(camera, grid)).astype(np.float32).reshape(camera.height, camera.width, 2)
    nothing: Any = None
    whole, fraction = cv2.convertMaps(source, nothing, cv2.CV_16SC2)
    return whole, fraction
