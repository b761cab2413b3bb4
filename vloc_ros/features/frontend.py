"""From a frame to features with disparities: the first stage of teaching and of localising."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param
from vloc_ros.data.frame import Image, StereoFrame
from vloc_ros.errors import CalibrationError
from vloc_ros.features.contract import Features, create_extractor
from vloc_ros.features.stereo import StereoSettings, match_stereo
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import RejectReason


@dataclass(frozen=True)
class FeatureSettings:
    """Local features."""

    name: str = param("sift_fast", "feature extractor: sift, sift_fast or orb")
    max_features: int = param(1000, "at most so many key points per image", min=50, max=20000)
    min_features: int = param(40, "an image with fewer key points is refused", min=10, max=10000)
    min_contrast: float = param(4.0, "an image whose grey values deviate less (one sigma) is blank", min=0.0, max=100.0)


@dataclass(frozen=True, slots=True)
class Observation:
    """A frame with its features, or the reason why it gave none.

    Attributes:
        stamp_ns: time of exposure [ns].
        grey: (H, W) left image.
        features: key points, with disparities where stereo found them.
        reason: None when the frame can be used.
    """

    stamp_ns: int
    grey: Image
    features: Features
    reason: RejectReason | None


class FrontEnd:
    """Extracts features from the left image and finds their disparities."""

    def __init__(self, camera: StereoCamera, features: FeatureSettings, stereo: StereoSettings) -> None:
        self.camera = camera
        self.extractor = create_extractor(features.name, features.max_features)
        self._features = features
        self._stereo = stereo

    def observe(self, frame: StereoFrame) -> Observation:
        """Features of one frame.

        Raises:
            CalibrationError: the frame is not of the size that the calibration is for.
        """
        if frame.size != (self.camera.width, self.camera.height):
            raise CalibrationError(
                f"the images are {frame.size[0]}x{frame.size[1]} but the calibration is for "
                f"{self.camera.width}x{self.camera.height}; use the calibration of this resolution"
            )
        grey = frame.left_grey
        if float(grey.std()) < self._features.min_contrast:
            return Observation(frame.stamp_ns, grey, self.extractor.nothing(), RejectReason.BLANK_IMAGE)
        features = self.extractor.extract(frame.left)
        disparity = match_stereo(frame, grey, features.keypoints, self.camera, self._stereo)
        features = Features(features.keypoints, features.scores, features.sizes, features.descriptors, disparity)
        reason = None
        if len(features) < self._features.min_features:
            reason = RejectReason.TOO_FEW_FEATURES
        elif int((disparity == disparity).sum()) < self._features.min_features // 2:
            reason = RejectReason.TOO_FEW_STEREO_POINTS
        return Observation(frame.stamp_ns, grey, features, reason)
