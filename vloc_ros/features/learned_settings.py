"""How networks of local features run; known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from vloc_ros.config import param


@unique
class EngineKind(Enum):
    """What computes a network."""

    AUTO = "auto"
    """The first of the others that is installed."""
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    TORCH = "torch"


@unique
class Detection(Enum):
    """How key points are found in what a network makes of an image."""

    NMS = "nms"
    """Local maxima, anywhere: the same points of the scene wherever the image begins."""
    WINDOW = "window"
    """The one of U: exactly one in each window of a grid."""


@dataclass(frozen=True)
class LearnedSettings:
    """Networks of local features."""

    engine: EngineKind = param(EngineKind.AUTO, "what computes the network: auto, onnxruntime, openvino or torch")
    threads: int = param(2, "cores that the network uses", min=1, max=64)
    detection: Detection = param(Detection.NMS, "key points: nms (local maxima) or window (one in each window, as published)")
    window: int = param(16, "side of the windows of detection 'window'", unit="px", min=4, max=64)
    neighbourhood: int = param(9, "side of the square that a local maximum stands out from", unit="px", min=3, max=65)
    radius: int = param(3, "two local maxima are farther apart than this along an axis", unit="px", min=1, max=32)
    threshold: float = param(0.015, "superpoint: a pixel is no key point if it is one with less probability", min=1e-6, max=0.5)
    suppression: int = param(
        4, "superpoint: a key point is the most probable within this along both axes", unit="px", min=1, max=32
    )
    max_pixels: int = param(500_000, "an image with more pixels is scaled down to so many", unit="px", min=10_000, max=100_000_000)
