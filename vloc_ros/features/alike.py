"""ALIKE from its published weights: a peer to be measured against, whose files are not part of this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.data.weights import hash_of
from vloc_ros.features.contract import FeatureExtractor, Features, Metric, register_file
from vloc_ros.features.learned_settings import LearnedSettings
from vloc_ros.networks.availability import require_torch

_SIZE_PX = 16.0  # nominal; the network states none
_MIN_SIDE_PX = 32


class Alike(FeatureExtractor):
    """ALIKE with one head (``alike-t``, ``alike-s``, ``alike-n``), through torch; see :mod:`vloc_ros.networks.alike`."""

    name = "alike"
    metric = Metric.COSINE

    def __init__(self, path: Path, max_features: int) -> None:
        """Load the network.

        Args:
            path: of the published check point.
            max_features: at most so many key points.

        Raises:
            ConfigError: torch is not installed.
            WeightsError: the file cannot be read or is not of this network.
        """
        require_torch(str(path))
        from vloc_ros.networks.alike import alike_of
        from vloc_ros.networks.checkpoint import read_checkpoint

        tensors = read_checkpoint(path)
        self._max_features = max_features
        self._network = alike_of(tensors, path)
        self._digest = hash_of(tensors)

    @property
    def fingerprint(self) -> str:
        return f"alike-{self._digest[:12]}-v1"

    @property
    def descriptor_size(self) -> int:
        return int(self._network.convhead2.out_channels) - 1

    def extract(self, image: Image) -> Features:
        from vloc_ros.networks.alike import detect

        if min(image.shape[:2]) < _MIN_SIDE_PX:
            return self.nothing()
        keypoints, scores, descriptors = detect(self._network, to_rgb(image), self._max_features)
        return Features(
            keypoints=keypoints,
            scores=scores,
            sizes=np.full(len(scores), _SIZE_PX, dtype=np.float32),
            descriptors=descriptors,
            disparity=np.full(len(scores), np.nan, dtype=np.float32),
        )


@register_file("alike-t.pth")
@register_file("alike-s.pth")
@register_file("alike-n.pth")
def open_alike(path: Path, max_features: int, settings: LearnedSettings) -> FeatureExtractor:
    """ALIKE of a published check point, see :class:`Alike`; of the settings none applies to it."""
    return Alike(path, max_features)
