"""Settings of a training of GLVL, as published and as they suit a small network on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vloc_ros.config import param, replace, section
from vloc_ros.errors import ConfigError
from vloc_ros.networks.glvl_form import GlvlForm, ResNetForm
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.glvl_objective import GlvlObjectiveSettings
from vloc_ros.training.glvl_validation import GlvlValidationSettings
from vloc_ros.training.ground_labels import LabelSettings
from vloc_ros.training.ground_mining import GroundMiningSettings
from vloc_ros.training.ground_views import GroundChangeSettings, GroundViewSettings
from vloc_ros.training.settings import TrainingSettings


@dataclass(frozen=True)
class GlvlTraining:
    """All settings of a training of GLVL."""

    training: TrainingSettings = section(TrainingSettings)
    view: GroundViewSettings = section(GroundViewSettings)
    changes: GroundChangeSettings = section(GroundChangeSettings)
    augmentation: AugmentationSettings = section(AugmentationSettings)
    labels: LabelSettings = section(LabelSettings)
    mining: GroundMiningSettings = section(GroundMiningSettings)
    objective: GlvlObjectiveSettings = section(GlvlObjectiveSettings)
    validation: GlvlValidationSettings = section(GlvlValidationSettings)
    width: int = param(64, "channels of the first convolution (published: 64)", min=1, max=256)
    blocks: str = param("3-4-6-3", "blocks of each of the four stages (published: 3-4-6-3)")
    descriptor: int = param(256, "length of a local descriptor (published: 256)", min=1, max=1024)
    correspondences: int = param(1000, "of each place that descriptors are compared at (published: 1000)", min=2, max=10000)
    memory_mb: float = param(4000.0, "images are kept in memory up to so much", unit="MB", min=0.0)

    @property
    def form(self) -> GlvlForm:
        """Size of the network, whose global half sees images of the size of views.

        Raises:
            ConfigError: there cannot be such a network.
        """
        parts = self.blocks.split("-")
        if not all(part.isdecimal() for part in parts):
            raise ConfigError(f"blocks = {self.blocks} must be four numbers such as 3-4-6-3")
        return GlvlForm(ResNetForm(self.width, tuple(int(part) for part in parts)), self.descriptor, self.view.side)


PUBLISHED: dict[str, Any] = {
    "training": {
        "epochs": 1000,
        "samples": 3000,
        "batch": 4,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warm_up": 0,
        "gradient_clip": 0.0,
        "patience": 300,
    },
    "view": {"side": 512},
}
"""As published, on images of 512 px, the multiple of 32 next to 500; one batch serves both halves, of 4 places and not of 64."""
SMALL: dict[str, Any] = {
    "training": {
        "epochs": 30,
        "samples": 1000,
        "batch": 8,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 1e-4,
        "schedule": "cosine",
        "warm_up": 100,
        "gradient_clip": 5.0,
        "patience": 0,
        "cpu_bfloat16": True,
    },
    "view": {"side": 192, "zoom_max": 2.0, "rotation_deg": 30.0, "scale": 0.25, "perspective": 0.1},
    "changes": {"ease": 0.3, "recoloured": 0.5},
    "augmentation": {"strength": 0.5},
    "labels": {"homographies": 8},
    "mining": {"negatives": 1, "refresh": 1000},
    "objective": {"descriptor_loss": "contrast", "retrieval_loss": "contrast", "shared": True, "detector": 0.5, "descriptor": 3.0},
    "width": 16,
    "blocks": "2-2-2-2",
    "descriptor": 128,
    "correspondences": 200,
}
"""For a CPU, on top of that: a network of one million weights on images of 192 px, with losses that learn faster.

Views begin alike: where they differ as much as they may from the first step, nothing is learned in hundreds of steps. Descriptors,
the hardest task, pull most at the stem.
"""
SIZES = {"published": {}, "small": SMALL}


def settings_of(size: str) -> GlvlTraining:
    """Where those of the user begin."""
    return replace(replace(GlvlTraining(), PUBLISHED), SIZES[size])
