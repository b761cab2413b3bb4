"""SIFT (Lowe 2004) through OpenCV, with RootSIFT normalisation (Arandjelovic and Zisserman 2012)."""

from __future__ import annotations

import cv2
import numpy as np

from vloc_ros.data.frame import Image, to_grey
from vloc_ros.features.contract import FeatureExtractor, Features, Metric, register
from vloc_ros.features.spread import spread_evenly


class _Sift(FeatureExtractor):
    """Shared by both variants; ``halved`` skips the finest octave, which costs three quarters of the time."""

    metric = Metric.COSINE
    halved: bool

    def __init__(self, max_features: int) -> None:
        self._max_features = max_features
        # OpenCV's own threshold (0.04) starves dark and hazy images; the best are chosen afterwards.
        self._sift = cv2.SIFT_create(nfeatures=int(1.6 * max_features), contrastThreshold=0.015)

    @property
    def fingerprint(self) -> str:
        return f"{self.name}-rootsift128-v1"

    @property
    def descriptor_size(self) -> int:
        return 128

    def extract(self, image: Image) -> Features:
        grey = to_grey(image)
        height, width = grey.shape
        scale = 1.0
        if self.halved and min(height, width) >= 32:
            # OpenCV always doubles the image first; halving it before leaves the recorded resolution as the finest octave.
            even = grey[: height // 2 * 2, : width // 2 * 2]
            grey, scale = np.asarray(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8), 2.0
        # One call for both: the scale space, which costs most, is then built once.
        points, descriptors = self._sift.detectAndCompute(grey, None)
        if not points:
            return self.nothing()
        keypoints = np.array([p.pt for p in points], dtype=np.float32).reshape(-1, 2)
        scores = np.array([p.response for p in points], dtype=np.float32)
        chosen = spread_evenly(keypoints, scores, (grey.shape[1], grey.shape[0]), self._max_features)
        sizes = np.array([p.size for p in points], dtype=np.float32)[chosen]
        keypoints, scores, descriptors = keypoints[chosen], scores[chosen], descriptors[chosen]
        root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
        return Features(
            keypoints=(keypoints + 0.5) * np.float32(scale) - np.float32(0.5),
            scores=scores,
            sizes=sizes * np.float32(scale),
            descriptors=root.astype(np.float32),
            disparity=np.full(len(chosen), np.nan, dtype=np.float32),
        )


@register("sift")
class Sift(_Sift):
    """SIFT with Lowe's doubled first octave: most key points, slowest."""

    name = "sift"
    halved = False


@register("sift_fast")
class FastSift(_Sift):
    """SIFT from the recorded resolution upwards: about four times faster, fewer and coarser key points."""

    name = "sift_fast"
    halved = True
