"""What photos must be like to become a mosaic; apart from what does it, so that the command line needs nothing heavy to know it."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param


@dataclass(frozen=True, slots=True)
class OrthoSettings:
    """A mosaic of photos."""

    resolution_m: float = param(0.0, "of the mosaic; 0 takes that of the photos", unit="m/px", min=0.0, max=100.0)
    max_features: int = param(6000, "local features of a photo, at most", min=200, max=50000)
    feature_size: int = param(1200, "longest side of the photos in which those are found", unit="px", min=200, max=8000)
    max_tilt_deg: float = param(
        10.0, "a photo that looks farther away from straight down is left out", unit="deg", min=0.5, max=45.0
    )
    max_gps_m: float = param(
        15.0, "a photo that fits farther from its satellite position is left out", unit="m", min=0.1, max=1000.0
    )
    max_error: float = param(
        0.006, "median error of a photo's matches, as a share of its longer side; more is no level ground", min=1e-4, max=0.1
    )
    min_share: float = param(0.5, "share of the photos that must fit, or there is no mosaic", min=0.0, max=1.0)
