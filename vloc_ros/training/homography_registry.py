"""Sources of pairs for the homography network by name, and the settings of its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Any

from vloc_ros.config import param, replace, section
from vloc_ros.data.vpr_folder import PlaceTruth, open_aligned, open_tree
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.homography_feed import PatchImageSettings
from vloc_ros.training.homography_objective import HomographyObjectiveSettings
from vloc_ros.training.pairs import PairSource
from vloc_ros.training.positive_pairs import PositivePairs
from vloc_ros.training.registry import SOURCES, DataSpec, StaticSettings, traverses
from vloc_ros.training.settings import TrainingSettings
from vloc_ros.training.sources.homographies import HomographySettings
from vloc_ros.training.sources.recordings import RecordingSettings
from vloc_ros.training.vpr_map import open_map_tuples
from vloc_ros.training.vpr_sources import VprSource, of_datasets


@unique
class LearnsToo(Enum):
    """What learns beside the homography network."""

    NOTHING = "nothing"
    """As published for the first stage."""
    PUBLISHED = "published"
    """The last two layers of the backbone and the power of the generalised mean, as published for the second stage."""
    LAYERS = "layers"
    """The backbone but for the trunk of local features that the small one has, which begins with what they have learned."""
    ALL = "all"
    """The whole backbone."""


@dataclass(frozen=True)
class HomographyTraining:
    """All settings of a training of the homography network."""

    training: TrainingSettings = section(TrainingSettings)
    images: PatchImageSettings = section(PatchImageSettings)
    augmentation: AugmentationSettings = section(AugmentationSettings)
    objective: HomographyObjectiveSettings = section(HomographyObjectiveSettings)
    homography: HomographySettings = section(HomographySettings)
    static: StaticSettings = section(StaticSettings)
    recording: RecordingSettings = section(RecordingSettings)
    truth: PlaceTruth = section(PlaceTruth)
    learned: LearnsToo = param(LearnsToo.NOTHING, "what learns beside the homography network: nothing, published, layers or all")


PUBLISHED: dict[str, Any] = {
    "training": {
        "epochs": 100,
        "samples": 32000,
        "batch": 16,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "schedule": "step",
        "rate_step": 5,
        "rate_factor": 0.8,
        "warm_up": 0,
        "gradient_clip": 0.0,
    },
    "augmentation": {"strength": 0.0},
    "images": {"whole": 0.0, "mirrored": 0.0, "grey": 0.0},
}
"""As published: 2000 steps of 16 pairs an epoch, a fifth less to learn every 10 000 steps, the re-projection error of inliers."""
DENSE: dict[str, Any] = {
    "training": {"epochs": 20, "samples": 3200, "batch": 16, "learning_rate": 1e-3, "warm_up": 100, "validation_samples": 160},
    "objective": {"patch": 1.0, "place": 0.5, "warp": 0.5, "rei": 0.0},
    "homography": {"width": 384, "height": 288},
    "learned": "layers",
}
"""From random weights, on pairs whose correspondences are known."""
RECIPES = {"published": PUBLISHED, "dense": DENSE}


def _tree(path: Path, truth: PlaceTruth, held_out: bool) -> VprSource:
    found = open_tree(path, "val" if held_out else "train", truth)
    return of_datasets(found, found)


def _aligned(path: Path, truth: PlaceTruth, held_out: bool) -> VprSource:
    found = open_aligned(*traverses(path), truth)
    return of_datasets(found, found)


def _map(path: Path, truth: PlaceTruth, held_out: bool) -> VprSource:
    return open_map_tuples(path)


PLACE_KINDS: dict[str, Callable[[Path, PlaceTruth, bool], VprSource]] = {"tree": _tree, "aligned": _aligned, "map": _map}
"""Kinds of sources whose pairs show one place, and nobody knows where one image shows what the other does."""
KINDS = ("simulated", "static", "homography", "recording", *PLACE_KINDS)
"""All kinds of sources."""


def settings_of(recipe: str) -> HomographyTraining:
    """Where those of the user begin."""
    return replace(HomographyTraining(), RECIPES[recipe])


def open_pairs(spec: DataSpec, settings: HomographyTraining, held_out: bool = False) -> PairSource:
    """The source that is named.

    Args:
        spec: which.
        settings: all settings.
        held_out: its part that nothing is learned from, where it is divided.

    Raises:
        ConfigError: the path is not what this kind needs.
        DataError: what is there is missing, damaged or of another kind.
        MapError: the map is.
    """
    if spec.kind in PLACE_KINDS:
        return PositivePairs(PLACE_KINDS[spec.kind](spec.path, settings.truth, held_out))
    return SOURCES[spec.kind](spec.path, settings, held_out)
