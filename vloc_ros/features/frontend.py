"""From a frame to what is measured in it: corners to track, and features to match, each with disparities, made when asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param, section
from vloc_ros.data.frame import Image, StereoFrame
from vloc_ros.errors import CalibrationError
from vloc_ros.features.automatic import AUTO, chosen
from vloc_ros.features.contract import FeatureExtractor, Features, create_extractor
from vloc_ros.features.learned_settings import LearnedSettings
from vloc_ros.features.spread import spread_evenly
from vloc_ros.features.stereo import StereoSettings, dense_disparity, match_stereo
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import RejectReason


@dataclass(frozen=True)
class FeatureSettings:
    """Local features."""

    name: str = param(
        AUTO,
        "features: sift, sift_fast, orb, unet, superpoint, or a file of weights; auto: those of the map, and unet for a new one",
    )
    max_features: int = param(1000, "at most so many key points per image", min=50, max=20000)
    min_features: int = param(40, "an image with fewer key points is refused", min=10, max=10000)
    max_corners: int = param(600, "at most so many corners are tracked from frame to frame", min=50, max=20000)
    min_contrast: float = param(4.0, "an image whose grey values deviate less (one sigma) is blank", min=0.0, max=100.0)
    learned: LearnedSettings = section(LearnedSettings)

    def of_map(self, name: str) -> FeatureSettings:
        """These settings for a map whose extractor has this name.

        Raises:
            ConfigError: an extractor of this name is not known here.
        """
        return replace(self, name=chosen(self.name, name))

    def create(self) -> FeatureExtractor:
        """The extractor of these settings.

        Raises:
            ConfigError: it is not known, or what it needs is not installed.
            WeightsError: its file of weights is missing, damaged or of another network.
        """
        return create_extractor(chosen(self.name), self.max_features, self.learned)


class FrontEnd:
    """Finds corners and features in the left image, and disparities along the epipolar lines."""

    def __init__(self, camera: StereoCamera, features: FeatureSettings, stereo: StereoSettings) -> None:
        self.camera = camera
        self.settings = features
        self.stereo = stereo
        self.extractor = features.create()
        self.corners = cv2.FastFeatureDetector_create(threshold=7)

    def observe(self, frame: StereoFrame) -> Observation:
        """A frame that is ready to be measured in.

        Raises:
            CalibrationError: the frame is not of the size that the calibration is for.
        """
        if frame.size != (self.camera.width, self.camera.height):
            raise CalibrationError(
                f"the images are {frame.size[0]}x{frame.size[1]} but the calibration is for "
                f"{self.camera.width}x{self.camera.height}; use the calibration of this resolution"
            )
        return Observation(self, frame)


class Observation:
    """One frame; what is found in it is computed once, when it is first asked for."""

    def __init__(self, frontend: FrontEnd, frame: StereoFrame) -> None:
        self._frontend = frontend
        self._frame = frame
        self.stamp_ns = frame.stamp_ns
        """Time of exposure [ns]."""
        self.grey: Image = frame.left_grey
        """(H, W) left image."""

    @cached_property
    def is_blank(self) -> bool:
        """Whether the image is nearly uniform."""
        return float(cv2.meanStdDev(self.grey)[1][0, 0]) < self._frontend.settings.min_contrast

    @cached_property
    def features(self) -> Features:
        """Key points with descriptors, and disparities where stereo found them."""
        if self.is_blank:
            return self._frontend.extractor.nothing()
        found = self._frontend.extractor.extract(self._frame.left)
        disparity = self.disparity_at(found.keypoints)
        return Features(found.keypoints, found.scores, found.sizes, found.descriptors, disparity)

    @cached_property
    def reason(self) -> RejectReason | None:
        """Why the features cannot be used; None when they can."""
        if self.is_blank:
            return RejectReason.BLANK_IMAGE
        if len(self.features) < self._frontend.settings.min_features:
            return RejectReason.TOO_FEW_FEATURES
        if np.count_nonzero(np.isfinite(self.features.disparity)) < self._frontend.settings.min_features // 2:
            return RejectReason.TOO_FEW_STEREO_POINTS
        return None

    @cached_property
    def corners(self) -> NDArray[np.float32]:
        """(N, 2) FAST corners (Rosten and Drummond 2006), spread over the image [px]."""
        found = self._frontend.corners.detect(self.grey, None)
        pixels = np.array([p.pt for p in found], dtype=np.float32).reshape(-1, 2)
        scores = np.array([p.response for p in found], dtype=np.float32)
        return pixels[spread_evenly(pixels, scores, self._frame.size, self._frontend.settings.max_corners)]

    def disparity_at(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) disparities [px] at (N, 2) pixels, NaN where there is none."""
        camera, settings = self._frontend.camera, self._frontend.stereo
        return match_stereo(self._frame, self.grey, self._dense, pixels, camera, settings)

    @cached_property
    def _dense(self) -> NDArray[np.float32]:
        return dense_disparity(self._frame, self.grey, self._frontend.camera, self._frontend.stereo)
