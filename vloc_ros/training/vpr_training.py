"""Joint training of retrieval and re-ranking, from names and settings to a file of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vloc_ros.config import to_flat_dict
from vloc_ros.data.frame import Image
from vloc_ros.training.distributed import Group, joined
from vloc_ros.training.loop import Outcome, Progress, Training
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.run_folder import RunFolder
from vloc_ros.training.sampling import Weighted
from vloc_ros.training.vpr_describing import Describer
from vloc_ros.training.vpr_feed import VprFeed
from vloc_ros.training.vpr_objective import VprNetwork, VprObjective
from vloc_ros.training.vpr_registry import open_vpr_source
from vloc_ros.training.vpr_settings import VprTraining
from vloc_ros.training.vpr_sources import VprSource
from vloc_ros.training.vpr_start import freeze_all_but, save_vpr, start_network
from vloc_ros.training.vpr_validation import VprValidation


@dataclass(frozen=True)
class VprJob:
    """What to train.

    Attributes:
        start: file of weights to begin with: of both stages, or of a place network.
        settings: all of them.
        data: what is learned from.
        held_out: what the best epoch is chosen on; without any, it is the last one.
        homography: whether re-ranking is learned, too; without it descriptors alone are.
        dhe: file of weights whose second stage is taken, in place of that of ``start``.
        licence: under which the weights may be used.
    """

    start: Path
    settings: VprTraining
    data: Sequence[DataSpec]
    held_out: Sequence[DataSpec] = ()
    homography: bool = True
    dhe: Path | None = None
    licence: str = ""


def train_vpr(job: VprJob, out: Path, on_step: Callable[[Progress], None] | None = None) -> tuple[Outcome, Group]:
    """Train, or go on with the training that the folder holds; the weights are ``out/best.safetensors`` then.

    Returns:
        What came of it, and which process of how many this one was.

    Raises:
        ConfigError: settings, weights and data do not fit each other, or the run in the folder has others.
        DataError: a source cannot be read, or a file not be written.
        MapError: a map cannot be read.
        WeightsError: weights cannot be read.
        TrainingError: a loss is not finite, or the folder is in use or damaged.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    settings = job.settings
    with joined(settings.training.device) as group:
        network, parent = start_network(job.start, job.dhe, job.homography)
        freeze_all_but(network, settings.learns, job.homography)
        learned, watched = _sources(job)
        feed = VprFeed(learned, settings, network.backbone.size, out)
        validation = _validation(job, watched, group) if watched else None
        folder = _folder(job, out, parent, feed.settings())
        objective = VprObjective(settings.objective, job.homography)
        with folder.claimed(group):
            training: Training[Any, Any] = Training(network, objective, feed, settings.training, folder, group, validation, on_step)
            feed.mine_with(_describer(training.network, feed, settings, group))
            return training.run(), group


def _sources(job: VprJob) -> tuple[list[Weighted[VprSource]], list[VprSource]]:
    learned = [Weighted(open_vpr_source(spec, job.settings), spec.weight, str(spec)) for spec in job.data]
    return learned, [open_vpr_source(spec, job.settings, True) for spec in job.held_out]


def _describer(network: VprNetwork, feed: VprFeed, settings: VprTraining, group: Group) -> Describer:
    def image_of(row: int) -> Image:
        return feed.image(row)

    return Describer(network, image_of, group.device, settings.mining.infer_batch_size, settings.training.workers)


def _validation(job: VprJob, watched: Sequence[VprSource], group: Group) -> VprValidation:
    settings = job.settings
    return VprValidation(
        watched,
        settings.validation,
        group.device,
        job.homography,
        settings.mining.infer_batch_size,
        settings.training.workers,
    )


def _folder(job: VprJob, out: Path, parent: str, data: dict[str, Any]) -> RunFolder[Any]:
    described = to_flat_dict(job.settings) | data
    described |= {"homography": job.homography, "start": parent, "held_out": [str(spec) for spec in job.held_out]}
    losses = f"{job.settings.objective.criterion.value} loss"
    if job.homography:
        losses += f" and re-projection error of inliers (x {job.settings.objective.rei_weight:g})"
    learned_from = f"{losses} on {', '.join(f'{spec} ({spec.weight:g})' for spec in job.data)}"

    def save(path: Path, best: VprNetwork, words: str) -> None:
        save_vpr(path, best, words, parent, job.licence)

    return RunFolder(out, described, save, learned_from)
