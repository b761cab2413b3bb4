"""The training of a calibration: one phase or two, each a run of its own that goes on where it was killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vloc_ros.calibration.plan import Plan
from vloc_ros.calibration.settings import CalibrationSettings, Learned
from vloc_ros.calibration.stage import Progress, Stage
from vloc_ros.data.weights import load_card
from vloc_ros.mapping.store import MapStore
from vloc_ros.networks import INPUT_SIZE, Backbone, LearnedPart
from vloc_ros.training.tuple_settings import TripletSettings, UncertaintySettings

if TYPE_CHECKING:
    from vloc_ros.training.loop import Progress as StepProgress


class _Phase(NamedTuple):
    name: str
    objective: TripletSettings | UncertaintySettings
    part: LearnedPart


def train_plan(store: MapStore, plan: Plan, base: Path, work: Path, settings: CalibrationSettings, progress: Progress) -> Path:
    """Learn from a plan; returns the file of the weights, which depend on plan and settings alone.

    Raises:
        ConfigError: the network cannot learn what is asked.
        DataError: the network sees nothing in the images, or a file cannot be written.
        MapError: an image cannot be read.
        TrainingError: a loss is not finite.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    from vloc_ros.training.keyframe_images import KeyframeImages
    from vloc_ros.training.run_folder import BEST_NAME
    from vloc_ros.training.tuple_training import TupleJob, tune, use_threads

    use_threads(settings.learning.threads)
    images = KeyframeImages([store], size=_size_of(base))
    phases, start = _phases(settings), base
    for number, phase in enumerate(phases):

        def told(done: StepProgress, number: int = number) -> None:
            share = (number + done.step / done.steps) / len(phases)
            loss = done.loss if np.isfinite(done.loss) else None
            where = {"epoch": done.epoch + 1, "step": done.step, "steps": done.steps}
            progress(Stage.TRAINING, share, {"phase": phases[number].name, "loss": loss} | where)

        folder = work / plan.name / phase.name
        job = TupleJob(
            start,
            phase.objective,
            phase.part,
            plan.tuples,
            images,
            settings.training,
            lambda: images.evenly(plan.tuples.keyframes, settings.learning.centre_images),
            f"{len(plan.tuples.tuples)} tuples and {len(plan.tuples.pairs)} outlier pairs of graph revision {plan.revision}",
        )
        tune(job, folder, told)
        start = folder / BEST_NAME
    return start


def _size_of(base: Path) -> int:
    """Of the images that a network sees [px]."""
    name = load_card(base).backbone
    return next((backbone.size for backbone in Backbone if backbone.value == name), INPUT_SIZE)


def _phases(settings: CalibrationSettings) -> list[_Phase]:
    part = settings.learning.part
    triplet, uncertainty = _Phase("triplet", settings.triplet, part), _Phase("uncertainty", settings.uncertainty, part)
    if settings.learning.objective is Learned.TRIPLET:
        return [triplet]
    if settings.learning.objective is Learned.UNCERTAINTY:
        return [uncertainty]
    return [triplet, uncertainty._replace(part=LearnedPart.VARIANCE)]
