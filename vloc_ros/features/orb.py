"""ORB (Rublee et al. 2011) through OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from vloc_ros.data.frame import Image, to_grey
from vloc_ros.features.contract import FeatureExtractor, Features, Metric, register
from vloc_ros.features.spread import spread_evenly

_EDGE_PX = 19
"""Margin of the image without key points, which the descriptors' patches reach into [px]."""


@register("orb")
class Orb(FeatureExtractor):
    """FAST corners on eight scales with rotated BRIEF descriptors of 256 bits."""

    name = "orb"
    metric = Metric.HAMMING

    def __init__(self, max_features: int) -> None:
        self._max_features = max_features
        # A low FAST threshold finds corners in dark images; the best and most evenly spread are chosen afterwards.
        self._orb = cv2.ORB_create(nfeatures=4 * max_features, scaleFactor=1.2, nlevels=8, edgeThreshold=_EDGE_PX, fastThreshold=7)

    @property
    def fingerprint(self) -> str:
        return "orb-256-v1"

    @property
    def descriptor_size(self) -> int:
        return 32

    def extract(self, image: Image) -> Features:
        grey = to_grey(image)
        if min(grey.shape) <= 2 * _EDGE_PX:
            return self.nothing()  # all margin; and OpenCV cannot make a pyramid of a few pixels
        points = self._orb.detect(grey, None)
        keypoints = np.array([p.pt for p in points], dtype=np.float32).reshape(-1, 2)
        scores = np.array([p.response for p in points], dtype=np.float32)
        chosen = spread_evenly(keypoints, scores, (grey.shape[1], grey.shape[0]), self._max_features)
        kept, descriptors = self._orb.compute(grey, [points[i] for i in chosen])
        if not kept:
            return self.nothing()
        return Features(
            keypoints=np.array([p.pt for p in kept], dtype=np.float32).reshape(-1, 2),
            scores=np.array([p.response for p in kept], dtype=np.float32),
            sizes=np.array([p.size for p in kept], dtype=np.float32),
            descriptors=descriptors,
            disparity=np.full(len(kept), np.nan, dtype=np.float32),
        )
