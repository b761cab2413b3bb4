"""Heights and attitudes of an aircraft, from what its instruments measure to what a photo needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.photo import Tilt

Array = NDArray[np.float64]
STANDARD_PA = 101_325.0
"""Pressure at the sea of the standard atmosphere."""
_STANDARD_K, _LAPSE_K_M = 288.15, 0.0065
_EXPONENT = 287.052_87 * _LAPSE_K_M / 9.806_65
_LEAST_PA, _MOST_PA = 10_000.0, 120_000.0
_NED_OF_ENU = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
_FRD_OF_FLU = np.diag([1.0, -1.0, -1.0])
_STEEPEST = np.cos(np.deg2rad(80.0))


class Attitude(NamedTuple):
    """How a camera that looks down is turned.

    Attributes:
        heading_deg: of the direction that is up in its image, clockwise from north, 0 to 360 [deg].
        tilt: of the image, as :class:`vloc_ros.aerial.photo.Tilt` has it.
    """

    heading_deg: float
    tilt: Tilt

    @property
    def down(self) -> float:
        """Cosine of the angle between its axis and straight down."""
        return float(np.cos(self.tilt.roll) * np.cos(self.tilt.pitch))


def standard_altitude_m(pressure_pa: float) -> float:
    """Altitude [m] in the standard atmosphere (ISO 2533, below 11 km) of a pressure [Pa]."""
    return float(_STANDARD_K / _LAPSE_K_M * (1.0 - (pressure_pa / STANDARD_PA) ** _EXPONENT))


def standard_pressure_pa(altitude_m: float) -> float:
    """Pressure [Pa] of the standard atmosphere at an altitude [m]."""
    return float(STANDARD_PA * (1.0 - _LAPSE_K_M * altitude_m / _STANDARD_K) ** (1.0 / _EXPONENT))


def barometric_height_m(pressure_pa: float, reference_pa: float) -> float:
    """Height [m] above where the pressure is that of the reference [Pa]; on days unlike the standard one it errs by percents."""
    return standard_altitude_m(pressure_pa) - standard_altitude_m(reference_pa)


def is_air_pressure(pressure_pa: float) -> bool:
    """Whether a number [Pa] can be the pressure of the air where drones fly; hectopascals cannot."""
    return bool(_LEAST_PA <= pressure_pa <= _MOST_PA)


def height_of_range_m(range_m: float, attitude: Attitude | None) -> float:
    """Height above level ground [m] by a range along the camera's axis [m], which points straight down where nobody knows."""
    return range_m if attitude is None else range_m * max(attitude.down, _STEEPEST)


def camera_attitude(enu_R_flu: Array, camera_yaw_deg: float = 0.0) -> Attitude:
    """How a camera that looks out of the bottom of an airframe is turned.

    Args:
        enu_R_flu: (3, 3) orientation of the airframe (x forward, y left, z up) in east, north, up, as REP-103 and REP-105 have it.
        camera_yaw_deg: of the direction that is up in the image, clockwise from the nose as seen from above [deg].
    """
    angle = np.deg2rad(camera_yaw_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    ned_R_image = _NED_OF_ENU @ enu_R_flu @ _FRD_OF_FLU @ turn
    heading = np.rad2deg(np.arctan2(ned_R_image[1, 0], ned_R_image[0, 0])) % 360.0
    pitch = -np.arcsin(np.clip(ned_R_image[2, 0], -1.0, 1.0))
    roll = np.arctan2(ned_R_image[2, 1], ned_R_image[2, 2])
    return Attitude(float(heading), Tilt(float(roll), float(pitch)))


def airframe_rotation(heading_deg: float, roll: float = 0.0, pitch: float = 0.0) -> Array:
    """(3, 3) enu_R_flu of an airframe whose nose has a heading; the inverse of :func:`camera_attitude`.

    Args:
        heading_deg: clockwise from north [deg].
        roll: positive when the right side goes down [rad].
        pitch: positive when the nose goes up [rad].
    """
    angle = np.deg2rad(heading_deg)
    yaw = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    pitched = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    rolled = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    made: Array = _NED_OF_ENU.T @ yaw @ pitched @ rolled @ _FRD_OF_FLU.T
    return made
