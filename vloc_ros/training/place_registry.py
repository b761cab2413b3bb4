"""Sources of places by name, and the settings of a training of place recognition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vloc_ros.config import param, replace, section
from vloc_ros.data.vpr_folder import PlaceTruth, open_aligned, open_poses, open_tree
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.multi_similarity import MultiSimilaritySettings
from vloc_ros.training.place_sources import DatasetPlaces, OverlapSettings, PhotoPlaces, SimulatedPlaces, StaticPlaces
from vloc_ros.training.place_validation import PlaceValidationSettings
from vloc_ros.training.place_views import PlaceImageSettings
from vloc_ros.training.places import PlaceSource
from vloc_ros.training.registry import DataSpec, StaticSettings, drives, traverses
from vloc_ros.training.settings import TrainingSettings


@dataclass(frozen=True)
class PlaceTraining:
    """All settings of a training of place recognition; a batch counts places, and an epoch too."""

    training: TrainingSettings = section(TrainingSettings)
    images: PlaceImageSettings = section(PlaceImageSettings)
    augmentation: AugmentationSettings = section(AugmentationSettings)
    objective: MultiSimilaritySettings = section(MultiSimilaritySettings)
    overlap: OverlapSettings = section(OverlapSettings)
    static: StaticSettings = section(StaticSettings)
    truth: PlaceTruth = section(PlaceTruth)
    validation: PlaceValidationSettings = section(PlaceValidationSettings)
    centre_images: int = param(300, "images from which the first cluster centres of netvlad are found", min=8)


PRESET: dict[str, Any] = {
    "training": {
        "epochs": 20,
        "samples": 2400,
        "validation_samples": 96,
        "batch": 16,
        "learning_rate": 2e-3,
        "warm_up": 100,
        "checkpoint_every": 50,
    }
}
"""Settings of the loop that suit places, in place of those that suit local features."""


def default_settings() -> PlaceTraining:
    """Where those of the user begin."""
    return replace(PlaceTraining(), PRESET)


def open_places(spec: DataSpec, settings: PlaceTraining, held_out: bool = False) -> PlaceSource:
    """The source that is named.

    Args:
        spec: which.
        settings: all settings.
        held_out: its part that nothing is learned from, where it is divided.

    Raises:
        DataError: what is there is missing, damaged or of another kind.
    """
    return PLACE_SOURCES[spec.kind](spec.path, settings, held_out)


def _simulated(path: Path, settings: PlaceTraining, held_out: bool) -> PlaceSource:
    return SimulatedPlaces(path, settings.overlap)


def _static(path: Path, settings: PlaceTraining, held_out: bool) -> PlaceSource:
    include, exclude = settings.static.patterns(held_out)
    return StaticPlaces(path, include=include, exclude=exclude)


def _photos(path: Path, settings: PlaceTraining, held_out: bool) -> PlaceSource:
    return PhotoPlaces(path)


def _tree(path: Path, settings: PlaceTraining, held_out: bool) -> PlaceSource:
    return DatasetPlaces(open_tree(path, "val" if held_out else "train", settings.truth))


def _aligned(path: Path, settings: PlaceTraining, held_out: bool) -> PlaceSource:
    return DatasetPlaces(open_aligned(*traverses(path), settings.truth))


def _recording(path: Path, settings: PlaceTraining, held_out: bool) -> PlaceSource:
    first, second = drives(path)
    return DatasetPlaces(open_poses(first, second, truth=settings.truth))


PLACE_SOURCES: dict[str, Callable[[Path, PlaceTraining, bool], PlaceSource]] = {
    "simulated": _simulated,
    "static": _static,
    "homography": _photos,
    "tree": _tree,
    "aligned": _aligned,
    "recording": _recording,
}
"""Kinds of sources; each opens a path."""
