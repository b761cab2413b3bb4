"""Training of variances with the tuples of one map or several: from maps and weights to weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vloc_ros.calibration.mining import MiningSettings, miner_for
from vloc_ros.calibration.tuples import TupleSet
from vloc_ros.config import param, replace, section
from vloc_ros.errors import ConfigError
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.training_tuples import tuples_of
from vloc_ros.networks.names import LearnedPart
from vloc_ros.training.distributed import Group
from vloc_ros.training.keyframe_images import KeyframeImages
from vloc_ros.training.loop import Outcome, Progress
from vloc_ros.training.settings import TrainingSettings
from vloc_ros.training.tuple_settings import PUBLISHED_UNCERTAINTY, UncertaintySettings
from vloc_ros.training.tuple_training import TupleJob, tune


@dataclass(frozen=True)
class VarianceTraining:
    """All settings of a training of variances; a batch counts tuples and pairs."""

    part: LearnedPart = param(LearnedPart.VARIANCE, "what learns: variance leaves descriptors as they are; published, conv5_2, all")
    centre_images: int = param(64, "images of the maps that a new variance head is adapted to", min=1, max=10000)
    cache_mb: int = param(256, "room for images in memory", unit="MiB", min=1)
    training: TrainingSettings = section(TrainingSettings)
    uncertainty: UncertaintySettings = section(UncertaintySettings)
    mining: MiningSettings = section(MiningSettings)


PRESET: dict[str, Any] = {"training": PUBLISHED_UNCERTAINTY | {"gradient_clip": 1.0, "workers": 0, "checkpoint_every": 20}}
"""Settings of the loop: the published ones, with a limit to the gradient."""


def default_settings() -> VarianceTraining:
    """Where those of the user begin."""
    return replace(VarianceTraining(), PRESET)


@dataclass(frozen=True)
class VarianceJob:
    """What to train.

    Attributes:
        maps: whose tuples are learned from; one without any is mined first.
        start: file of weights: of gem without projection, or of uncertainty.
        settings: all of them.
        held_out: maps whose tuples choose the best epoch; without any it is the last one.
        licence: under which the weights may be used.
    """

    maps: Sequence[Path]
    start: Path
    settings: VarianceTraining
    held_out: Sequence[Path] = ()
    licence: str = ""


def train_variance(job: VarianceJob, out: Path, on_step: Callable[[Progress], None] | None = None) -> tuple[Outcome, Group]:
    """Train, or go on with the training that the folder holds; the weights are ``out/best.safetensors`` then.

    Raises:
        ConfigError: the maps hold nothing to learn from, the weights cannot learn variances, or the folder holds a run with other
            settings.
        VlocError: as :func:`vloc_ros.training.tuple_training.tune`.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    settings = job.settings
    with ExitStack() as opened:
        stores = [opened.enter_context(MapStore.open(path)) for path in (*job.maps, *job.held_out)]
        images = KeyframeImages(stores, settings.cache_mb)
        sets = [images.with_images(number, _tuples(store, settings)) for number, store in enumerate(stores)]
        learned, watched = (_joined(part) for part in (sets[: len(job.maps)], sets[len(job.maps) :]))
        if not learned.tuples:
            raise ConfigError(f"there are no tuples to learn from in {_named(job.maps)}: label more loops first (vloc loops)")
        tuning = TupleJob(
            job.start,
            settings.uncertainty,
            settings.part,
            learned,
            images,
            settings.training,
            lambda: images.evenly(learned.keyframes, settings.centre_images),
            f"{len(learned.tuples)} tuples and {len(learned.pairs)} outlier pairs of {_named(job.maps)}",
            watched,
            job.licence,
        )
        return tune(tuning, out, on_step)


def _tuples(store: MapStore, settings: VarianceTraining) -> TupleSet:
    held = tuples_of(store)
    return held if held else miner_for(store, settings.mining).mine_into_map().tuples


def _joined(sets: Sequence[TupleSet]) -> TupleSet:
    return TupleSet(tuple(item for part in sets for item in part.tuples), tuple(pair for part in sets for pair in part.pairs))


def _named(maps: Sequence[Path]) -> str:
    return ", ".join(path.name for path in maps)
