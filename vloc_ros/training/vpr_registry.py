"""Sources of queries and a database by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vloc_ros.data.places import PlaceDataset
from vloc_ros.data.vpr_folder import PlaceTruth, open_aligned, open_poses, open_tree
from vloc_ros.errors import ConfigError
from vloc_ros.training.place_sources import PhotoPlaces, SimulatedPlaces, StaticPlaces
from vloc_ros.training.registry import DataSpec, drives, traverses
from vloc_ros.training.vpr_settings import VprTraining
from vloc_ros.training.vpr_sources import VprSource, of_datasets, of_photos, of_places


def open_vpr_source(spec: DataSpec, settings: VprTraining, held_out: bool = False) -> VprSource:
    """The source that is named.

    Args:
        spec: which.
        settings: all settings.
        held_out: its part that nothing is learned from, where it is divided; all that is near enough is right there.

    Raises:
        ConfigError: the path is not what this kind needs.
        DataError: what is there is missing, damaged or of another kind.
        MapError: the map is.
    """
    return VPR_SOURCES[spec.kind](spec.path, settings, held_out)


def _simulated(path: Path, settings: VprTraining, held_out: bool) -> VprSource:
    return of_places(SimulatedPlaces(path, settings.overlap), path.name, other_pose=held_out)


def _static(path: Path, settings: VprTraining, held_out: bool) -> VprSource:
    include, exclude = settings.static.patterns(held_out)
    return of_places(StaticPlaces(path, include=include, exclude=exclude), path.name)


def _photos(path: Path, settings: VprTraining, held_out: bool) -> VprSource:
    if held_out:
        raise ConfigError(f"homography:{path} cannot be held out, as no photo is told from another: name another kind of source")
    return of_photos(PhotoPlaces(path), path.name)


def _tree(path: Path, settings: VprTraining, held_out: bool) -> VprSource:
    return _both(lambda truth: open_tree(path, "val" if held_out else "train", truth), settings, held_out)


def _aligned(path: Path, settings: VprTraining, held_out: bool) -> VprSource:
    first, second = traverses(path)
    return _both(lambda truth: open_aligned(first, second, truth), settings, held_out)


def _recording(path: Path, settings: VprTraining, held_out: bool) -> VprSource:
    first, second = drives(path)
    return _both(lambda truth: open_poses(first, second, truth=truth), settings, held_out)


def _both(opened: Callable[[PlaceTruth], PlaceDataset], settings: VprTraining, held_out: bool) -> VprSource:
    """With its near and its far truth; what is held out has the latter alone."""
    pairs = settings.truth
    wide = opened(PlaceTruth(pairs.negatives_m, 180.0, pairs.negative_frames, pairs.min_brightness))
    if held_out:
        return of_datasets(wide, wide)
    return of_datasets(
        opened(PlaceTruth(pairs.train_positives_m, pairs.angle_deg, pairs.positive_frames, pairs.min_brightness)), wide
    )


def _map(path: Path, settings: VprTraining, held_out: bool) -> VprSource:
    from vloc_ros.training.vpr_map import open_map_tuples

    return open_map_tuples(path)


VPR_SOURCES: dict[str, Callable[[Path, VprTraining, bool], VprSource]] = {
    "simulated": _simulated,
    "static": _static,
    "homography": _photos,
    "tree": _tree,
    "aligned": _aligned,
    "recording": _recording,
    "map": _map,
}
"""Kinds of sources; each opens a path."""
