"""What networks of local features learn from: two images of one place, and where each pixel of the first is in the second."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.geometry.camera import StereoCamera


@dataclass(frozen=True, slots=True)
class StereoTruth:
    """What a pair of stereo frames has besides: enough to train and to judge relative poses.

    Attributes:
        camera: of both frames.
        disparity_a: (H, W) float32 [px], NaN where unknown.
        disparity_b: likewise, of the second frame.
        b_T_a: (4, 4) true pose of the first left optical frame in the second.
        base_T_camera: (4, 4) pose of the left optical frame on the robot.
    """

    camera: StereoCamera
    disparity_a: NDArray[np.float32]
    disparity_b: NDArray[np.float32]
    b_T_a: NDArray[np.float64]
    base_T_camera: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """Two images of one place.

    Attributes:
        image_a: (H, W, 3) RGB or (H, W) grey uint8.
        image_b: likewise, of the same size.
        warp: (H, W, 2) float32: the position (u, v) [px] in b of what pixel (v, u) of a shows; NaN where b does not show it or
            nobody knows.
        stereo: for pairs of a stereo recording or of the simulated world, None for homographies and static cameras.
        tag: where the pair is from, such as ``sim:3:noon>night``, for tables by condition.
    """

    image_a: Image
    image_b: Image
    warp: NDArray[np.float32]
    stereo: StereoTruth | None = None
    tag: str = ""


class PairSource(ABC):
    """A collection of pairs. Reads are thread- and process-safe; what is random comes from the generator alone."""

    @abstractmethod
    def __len__(self) -> int:
        """How many different pairs, augmentation aside; at least 1."""

    @abstractmethod
    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """Pair ``index`` of ``range(len(self))``; the generator decides augmentation and partners."""
