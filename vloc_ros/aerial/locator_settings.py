"""How a photo is located on a map."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.aerial.validation import ValidationSettings
from vloc_ros.config import param, section


@dataclass(frozen=True)
class LocatorSettings:
    """How a photo is located on a map; what has a published value has it."""

    candidates: int = param(20, "tiles that most resemble a photo and are compared with it", min=1, max=1000)
    features: int = param(1000, "most key points of a photo", min=50, max=20_000)
    ratio: float = param(
        0.0,
        "largest ratio of the best to the second-best descriptor distance; 0: 0.96 of networks, 0.9 of others (published: 0.9)",
        min=0.0,
        max=1.0,
    )
    min_similarity: float = param(0.5, "smallest similarity of two local descriptors, 1 = equal", min=0.0, max=1.0)
    threshold_px: float = param(5.0, "farthest that an inlier is from its place", unit="px of the level", min=0.5, max=50.0)
    uniqueness: float = param(
        0.8, "a place elsewhere with more than this share of the inliers of the best makes both ambiguous", min=0.1, max=1.0
    )
    certain: int = param(
        60, "inliers with which other headings and levels are not tried any more, where they are not known; 0: never", min=0
    )
    min_contrast: float = param(4.0, "smallest standard deviation of a photo", unit="grey levels", min=0.0, max=128.0)
    max_tilt: float = param(30.0, "largest angle between the optical axis and straight down", unit="deg", min=0.0, max=60.0)
    tilt_sigma: float = param(1.0, "standard deviation of a tilt that is known", unit="deg", min=0.0, max=30.0)
    unknown_tilt_sigma: float = param(3.0, "standard deviation of the tilt where it is not known", unit="deg", min=0.0, max=45.0)
    max_sigma: float = param(30.0, "largest standard deviation of a position that is believed", unit="m", min=0.1)
    smallest_part: float = param(0.5, "a photo shows at least this share of the side of the smallest tiles", min=0.1, max=1.0)
    part: float = param(2.0, "of a photo, no more than this many sides of a tile is compared, around its middle", min=1.0, max=20.0)
    max_enlarged: float = param(2.5, "most by which a photo is enlarged to the resolution of a level", min=1.0, max=10.0)
    gate_sigmas: float = param(3.7, "radius of the gate around a prediction, in its standard deviations", min=1.0, max=10.0)
    validation: ValidationSettings = section(ValidationSettings)
