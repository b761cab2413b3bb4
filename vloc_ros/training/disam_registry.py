"""Settings of a training of DISAM, as published and as they suit a small network, and its sources of images by condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vloc_ros.config import param, replace, section
from vloc_ros.data.condition_folders import ConditionFiles, chosen, condition_folders, part_of
from vloc_ros.data.vpr_folder import PlaceTruth
from vloc_ros.errors import DataError
from vloc_ros.networks.disam_form import Stage
from vloc_ros.networks.latent_basis import Centring
from vloc_ros.networks.translation import DisturbanceSettings
from vloc_ros.training.condition_feed import ConditionImageSettings
from vloc_ros.training.disam_objective import DisamObjectiveSettings
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.settings import TrainingSettings
from vloc_ros.training.sources.simulated import SimulatedPairs

KINDS = ("conditions", "simulated", "seasons")
"""Kinds of sources; the last one has the truth that networks are judged by."""


@dataclass(frozen=True)
class CompressionSettings:
    """How latents become short vectors; learned at the end of a training from its images, without any labels but conditions."""

    cell: int = param(0, "side of the squares of latents that are averaged; 0: so that at most 16384 elements are left", min=0)
    length: int = param(512, "of the vectors, four bytes each; 0: no projection", min=0, max=2048)
    whitening: float = param(
        0.5, "0 keeps the metric as well as that length can, 1 makes all directions count equally", min=0.0, max=1.0
    )
    centring: Centring = param(Centring.CONDITION, "what is taken away first: none, the mean of all images, or of a condition")
    images: int = param(1200, "at most so many are looked at for it", min=2)


@dataclass(frozen=True)
class DisamTraining:
    """All settings of a training of DISAM."""

    training: TrainingSettings = section(TrainingSettings)
    images: ConditionImageSettings = section(ConditionImageSettings)
    objective: DisamObjectiveSettings = section(DisamObjectiveSettings)
    channels: int = param(64, "of the first convolution of encoders; the latent has four times as many", min=1, max=512)
    width: int = param(256, "of the images that the network sees, a multiple of 4", unit="px", min=32, max=2048)
    height: int = param(256, "of them", unit="px", min=32, max=2048)
    discriminator_channels: int = param(64, "of the first convolution of discriminators", min=1, max=512)
    shared: int = param(0, "residual blocks of encoders, and as many of decoders, that all conditions share", min=0, max=5)
    pool: int = param(50, "translated images of each condition that discriminators are shown again", min=0, max=1000)
    truth: PlaceTruth = section(PlaceTruth, radius_m=2.0, angle_deg=20.0)
    judged_images: int = param(150, "of the reference that queries are looked for in after each epoch", min=2)
    disturbance: DisturbanceSettings = section(DisturbanceSettings)
    compression: CompressionSettings = section(CompressionSettings)


PUBLISHED: dict[str, Any] = {
    "training": {
        "epochs": 600,
        "batch": 1,
        "optimizer": "adam",
        "learning_rate": 2e-4,
        "momentum": 0.5,
        "weight_decay": 0.0,
        "schedule": "linear",
        "decay_epochs": 300,
        "warm_up": 0,
        "gradient_clip": 0.0,
        "validate_every": 10,
    },
    "images": {"hard_negatives": 10, "hard_from": 0.5},
}
"""As published: Adam at 2e-4 that falls to zero in the second half, one pair of images a step, hard negatives from half-way on."""
SMALL: dict[str, Any] = {
    "training": {
        "epochs": 5,
        "samples": 1000,
        "learning_rate": 1e-4,
        "decay_epochs": 5,
        "validate_every": 1,
        "cpu_bfloat16": True,
    },
    "images": {"hard_negatives": 4},
    "objective": {"latent": 2.0},
    "channels": 16,
    "width": 64,
    "height": 48,
    "discriminator_channels": 16,
}
"""For a CPU, on top of that: a sixteenth of the weights, 64x48 px, some twelve minutes.

So short a training needs more of feature consistency, and a rate that falls from the start: at a constant one, or after many more
steps, fewer places are found again.
"""
FINE: dict[str, Any] = {"objective": {"cosine": 1.0, "sam": 1000.0, "sam_triplet": "adaptive"}}
"""On top of either: the fine model, with activation maps."""
SIZES = {"published": {}, "small": SMALL}


def settings_of(size: str, stage: Stage) -> DisamTraining:
    """Where those of the user begin."""
    made = replace(replace(DisamTraining(), PUBLISHED), SIZES[size])
    return replace(made, FINE) if stage is Stage.FINE else made


def open_conditions(specs: Sequence[DataSpec], names: Sequence[str], images: ConditionImageSettings) -> ConditionFiles:
    """Images by condition of all sources together, the reference first.

    Args:
        specs: the sources; conditions of one name are one.
        names: the conditions that are wanted, the reference first; all without names.
        images: which part of each is learned from.

    Raises:
        DataError: a source cannot be read, or does not have a condition.
    """
    joined: dict[str, tuple[Path, ...]] = {}
    for spec in specs:
        found = _SOURCES[spec.kind](spec.path)
        for name, files in part_of(found, images.first, images.last).items():
            joined[name] = (*joined.get(name, ()), *files)
    return chosen(joined, names)


def _simulated(path: Path) -> ConditionFiles:
    views = SimulatedPairs(path).views
    files: dict[str, list[Path]] = {}
    for view in views:
        files.setdefault(view.condition, []).append(view.image)
    if len(files) < 2:
        raise DataError(f"{path} was rendered in fewer than two conditions: render more views")
    return {name: tuple(some) for name, some in files.items()}


_SOURCES = {"conditions": condition_folders, "simulated": _simulated, "seasons": condition_folders}
