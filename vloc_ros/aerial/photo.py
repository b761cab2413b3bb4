"""One photo of the ground, and what else is known of how it was taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lens:
    """A pinhole camera without distortion.

    Attributes:
        focal: focal length [px].
        centre: (u, v) of the principal point [px]; that of the image where None.
    """

    focal: float
    centre: tuple[float, float] | None = None

    def scaled(self, factor: float) -> Lens:
        """Of the same photo with ``factor`` times as many pixels along each side."""
        moved = None if self.centre is None else ((self.centre[0] + 0.5) * factor - 0.5, (self.centre[1] + 0.5) * factor - 0.5)
        return Lens(self.focal * factor, moved)


@dataclass(frozen=True, slots=True)
class Tilt:
    """How far a camera looks away from straight down, as an autopilot says it of the airframe.

    Attributes:
        roll: about the direction that is up in the image, positive when its right side goes down [rad].
        pitch: about the direction that is right in the image, positive when its upper side goes up [rad].
        sigma: standard deviation of both beside that of settings, as of a reading that is not of the moment [rad].
    """

    roll: float
    pitch: float
    sigma: float = 0.0


@dataclass(frozen=True, slots=True)
class Photo:
    """What a drone knows when it asks where it is; nothing here is a position.

    Attributes:
        image: (H, W) grey or (H, W, 3) RGB uint8.
        name: of it, for reports.
        lens: None where nobody knows.
        height_m: above the ground [m], None where nobody knows.
        heading_deg: of the direction that is up in the image, clockwise from north [deg], None where nobody knows.
        tilt: None where nobody knows; the camera then looks straight down to within the tilt that settings allow for.
        stamp_ns: when it was taken [ns], for sequences; None for a photo alone.
    """

    image: Image
    name: str = ""
    lens: Lens | None = None
    height_m: float | None = None
    heading_deg: float | None = None
    tilt: Tilt | None = None
    stamp_ns: int | None = None

    @property
    def ground_per_pixel(self) -> float | None:
        """Metres on level ground that a pixel sees, None where the lens or the height is not known."""
        return None if self.lens is None or self.height_m is None else self.height_m / self.lens.focal
