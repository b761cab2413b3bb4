"""A map in a file, photos of it from a known place, and the messages of a drone that takes them."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from aerial_samples import FOCAL, ORIGIN, landscape, seen_from
from sensor_msgs.msg import CameraInfo, FluidPressure, Imu, Range

from vloc_ros.aerial.attitude import standard_pressure_pa
from vloc_ros.aerial.building import build_aerial
from vloc_ros.aerial.georeference import Georeference, LatLon, LocalFrame
from vloc_ros.aerial.photo import Tilt
from vloc_ros.aerial.raster import Raster
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import create_descriptor
from vloc_ros.ros.aerial_messages import imu_to_ros
from vloc_ros.ros.conversions import header

SIDE, STEP_M, GROUND_M = 900, 0.25, 450.0
HEIGHT_M, HEADING_DEG = 60.0, 130.0
TILT = Tilt(0.08, -0.05)
FRAME = LocalFrame(ORIGIN)


@cache
def ground() -> SimpleNamespace:
    """A square of 225 m whose middle is the origin."""
    return SimpleNamespace(raster=landscape(SIDE, 5), _g0=STEP_M)


def area_map(path: Path, features: str = "sift") -> Path:
    """Its map."""
    half = 0.5 * STEP_M * SIDE
    low, high = (LatLon(*corner) for corner in FRAME.latlon(np.array([[-half, -half], [half, half]])))
    raster = Raster(ground().raster, None, Georeference.of_corners([low, high], SIDE, SIDE), "landscape")
    build_aerial(path, raster, create_extractor(features, 2000), create_descriptor("thumbnail"), TilingSettings(levels=2, tile=160))
    return path


def view(place: tuple[float, float]) -> np.ndarray:
    """(240, 320, 3) photo from above a place."""
    return np.asarray(seen_from(ground(), np.array(place), HEIGHT_M, HEADING_DEG, TILT).image)


def info() -> CameraInfo:
    """Of the camera that takes it."""
    message = CameraInfo(header=header(0, "camera"), width=320, height=240, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = np.array([FOCAL, 0.0, 159.5, 0.0, FOCAL, 119.5, 0.0, 0.0, 1.0])
    return message


def imu(stamp_ns: int, heading_deg: float = HEADING_DEG) -> Imu:
    """Of the airframe while it is taken."""
    return imu_to_ros(stamp_ns, "base_link", heading_deg, TILT.roll, TILT.pitch)


def laser(stamp_ns: int, height_m: float = HEIGHT_M) -> Range:
    """Along the axis of the camera."""
    slant = height_m / (math.cos(TILT.roll) * math.cos(TILT.pitch))
    return Range(header=header(stamp_ns, "laser"), range=slant, min_range=1.0, max_range=300.0)


def barometer(stamp_ns: int, height_m: float = HEIGHT_M) -> FluidPressure:
    """Of the air at a height above the ground."""
    return FluidPressure(header=header(stamp_ns, "barometer"), fluid_pressure=standard_pressure_pa(GROUND_M + height_m))
