"""Whether a camera and features can be compared with those of a map."""

from __future__ import annotations

from pathlib import Path

from vloc_ros.errors import MapError
from vloc_ros.geometry.camera import StereoCamera

PIXEL_TOLERANCE = 0.5
"""How far focal lengths and principal point may differ [px]: about the noise of a matched key point."""
BASELINE_TOLERANCE = 0.005
"""How far the baseline may differ, as a fraction: the scale error of a taught path that is accepted."""


def camera_differences(of_map: StereoCamera, given: StereoCamera) -> list[str]:
    """Each field that differs, with both values; empty when frames of ``given`` can be compared with the map."""
    differences = []
    for name in ("width", "height"):
        if getattr(of_map, name) != getattr(given, name):
            differences.append(f"{name} {getattr(of_map, name)} px in the map, {getattr(given, name)} px given")
    for name in ("fx", "fy", "cx", "cy"):
        if abs(getattr(of_map, name) - getattr(given, name)) > PIXEL_TOLERANCE:
            differences.append(f"{name} {getattr(of_map, name):.2f} px in the map, {getattr(given, name):.2f} px given")
    if abs(of_map.baseline - given.baseline) > BASELINE_TOLERANCE * of_map.baseline:
        differences.append(f"baseline {of_map.baseline:.4f} m in the map, {given.baseline:.4f} m given")
    return differences


def require_same_camera(path: Path, of_map: StereoCamera, given: StereoCamera) -> None:
    """Raise MapError, which says what differs and what to do, when :func:`camera_differences` finds any."""
    differences = camera_differences(of_map, given)
    if differences:
        raise MapError(
            f"the map {path} was made with another camera ({'; '.join(differences)}): "
            "use the camera the map was made with, or teach a new map"
        )


def require_same_features(path: Path, name: str, of_map: str, given: str) -> None:
    """Raise MapError, which says what to do, when two fingerprints of features differ; ``name`` is that of the map's."""
    if given != of_map:
        raise MapError(
            f"the map {path} was made with other features (map: '{name}', {of_map}; given: {given}): "
            f"use features '{name}' with the same settings, or teach a new map"
        )
