"""All settings of a calibration: what is mined, what is held out, what learns and how, and what it must show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from vloc_ros.calibration.held_out import HeldOutSettings
from vloc_ros.calibration.mining import MiningSettings
from vloc_ros.calibration.probability import ProbabilitySettings
from vloc_ros.calibration.promotion import PromotionSettings
from vloc_ros.calibration.stretches import StretchSettings
from vloc_ros.config import param, replace, section
from vloc_ros.networks.names import LearnedPart
from vloc_ros.pose_graph import GncSettings
from vloc_ros.pose_graph.labelling import LabelSettings
from vloc_ros.training.settings import TrainingSettings
from vloc_ros.training.tuple_settings import TripletSettings, UncertaintySettings


@unique
class Learned(Enum):
    """What a network learns from the tuples of a map."""

    TRIPLET = "triplet"
    """Descriptors."""
    UNCERTAINTY = "uncertainty"
    """Descriptors and their variances at once, as published."""
    TRIPLET_THEN_VARIANCE = "triplet_then_variance"
    """Descriptors, and then their variances without changing them."""


@dataclass(frozen=True)
class LearningSettings:
    """What learns."""

    objective: Learned = param(Learned.TRIPLET, "triplet, uncertainty or triplet_then_variance")
    part: LearnedPart = param(
        LearnedPart.PUBLISHED, "of the network: published, conv5_2, heads, variance or all; the rest is frozen"
    )
    pairs: bool = param(True, "learn from pairs that the pose graph rejects, too, not only from tuples")
    centre_images: int = param(64, "images of the site that a new variance head is adapted to", min=1, max=10000)
    threads: int = param(1, "of the processor; with another number the last digits of the weights may differ", min=1, max=256)


@dataclass(frozen=True)
class CalibrationSettings:
    """See the module."""

    descriptor: str = param("auto", "what a new version must be better than; auto is what the map uses now")
    mining: MiningSettings = section(MiningSettings, live=False)
    stretches: StretchSettings = section(StretchSettings)
    gnc: GncSettings = section(GncSettings, live=False)
    labels: LabelSettings = section(LabelSettings, live=False)
    max_misfit: float = param(
        0.05, "labels are not believed when more of them contradict the odometry, or the graph solved anew", min=0.0, max=1.0
    )
    learning: LearningSettings = section(LearningSettings)
    triplet: TripletSettings = section(TripletSettings)
    uncertainty: UncertaintySettings = section(UncertaintySettings)
    training: TrainingSettings = section(TrainingSettings)
    held_out: HeldOutSettings = section(HeldOutSettings)
    probability: ProbabilitySettings = section(ProbabilitySettings)
    promotion: PromotionSettings = section(PromotionSettings)


PRESET: dict[str, Any] = {
    "training": {
        "epochs": 8,
        "validation_samples": 0,
        "batch": 16,
        "optimizer": "adamw",
        "learning_rate": 3e-4,
        "weight_decay": 1e-3,
        "schedule": "cosine",
        "warm_up": 0,
        "gradient_clip": 1.0,
        "seed": 123,
        "device": "cpu",
        "mixed_precision": False,
        "workers": 0,
        "checkpoint_every": 10,
    },
}
"""Settings of the loop that suit tuples. The published ones (:mod:`vloc_ros.training.tuple_settings`) go in steps that are too
small for the hundred tuples of a site, and a larger batch is cheaper: its tuples share images, each of which is described once."""


def default_settings() -> CalibrationSettings:
    """Where those of the user begin."""
    return replace(CalibrationSettings(), PRESET)
