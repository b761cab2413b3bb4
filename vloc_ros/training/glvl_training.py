"""Training of GLVL, from names and settings to two files of weights: both halves, and the local one alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.config import to_flat_dict
from vloc_ros.data.frame import to_grey
from vloc_ros.errors import ConfigError, TrainingError, VlocError
from vloc_ros.networks.glvl import Glvl
from vloc_ros.networks.glvl_files import load_glvl, save_glvl, save_superpoint_of
from vloc_ros.networks.local_files import load_local_network
from vloc_ros.training.distributed import Group, joined
from vloc_ros.training.glvl_objective import GlvlLearner, GlvlObjective
from vloc_ros.training.glvl_registry import GlvlTraining
from vloc_ros.training.glvl_validation import GlvlValidator, describe
from vloc_ros.training.ground_feed import GroundFeed, ground_settings
from vloc_ros.training.ground_labels import Detect, GroundPoints, Heat, above_usual, corners, kept_points, label_site
from vloc_ros.training.ground_mining import Shown
from vloc_ros.training.ground_samples import GroundFeedSettings
from vloc_ros.training.ground_sites import GroundSource, Pixels, open_ground
from vloc_ros.training.loop import Outcome, Progress, Training
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.run_folder import BEST_NAME, RunFolder
from vloc_ros.training.sampling import Weighted

LOCAL_NAME = "superpoint.safetensors"
"""The local half of the best weights, as a network of local features."""
LABELS = "labels"
"""Folder of the run with the key points of the sites."""
PICTURES_NAME = "matches.png"
_NO_KEYPOINT = 5.0  # logit of that bin at the beginning, when those of the pixels are about 0
_PART = 64  # tiles that are described at once


@dataclass(frozen=True)
class GlvlJob:
    """What to train.

    Attributes:
        settings: all of them.
        data: sites that are learned from.
        held_out: sites that the best epoch is chosen by.
        start: file of weights to begin with instead of random ones.
        teacher: file of local features whose key points, adapted, are learned; corners without.
        licence: under which the weights may be used.
    """

    settings: GlvlTraining
    data: Sequence[DataSpec]
    held_out: Sequence[DataSpec] = ()
    start: Path | None = None
    teacher: Path | None = None
    licence: str = ""


def train_glvl(job: GlvlJob, out: Path, on_step: Callable[[Progress], None] | None = None) -> tuple[Outcome, Group]:
    """Train, or go on with the training that the folder holds. Without held-out sites the last epoch is the best.

    Returns:
        What came of it, and which process of how many this one was.

    Raises:
        ConfigError: settings do not fit each other, or those of the run in the folder; or what is held out is learned from.
        DataError: a source cannot be read, or a file not be written.
        TrainingError: a loss is not finite, or the folder is in use or damaged.
        WeightsError: a file of weights cannot be used.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    settings = job.settings
    _refuse_what_is_learned_from(job)
    with joined(settings.training.device) as group:
        network, parent = _begun(job)
        learner = GlvlLearner(network).to(memory_format=torch.channels_last)  # on a CPU, a third faster
        detect, teacher = _detector(job, group)
        sources = open_ground(job.data, settings.memory_mb, settings.view.zoom_max)
        folder = _folder(job, out, sources, parent, teacher)
        with folder.claimed(group):
            points = _labelled(sources, detect, teacher, settings, out, group)
            feed = GroundFeed(sources, points, settings.training, _feed_settings(settings), out)
            feed.mine_with(lambda shown: _described(network, feed, shown))
            validator = _validator(job) if group.first else None
            painter = None if validator is None else validator.pictures
            objective = GlvlObjective(settings.objective, group)
            training: Training[Any, Any] = Training(
                learner, objective, feed, settings.training, folder, group, validator, on_step, painter
            )
            outcome = training.run()
            if group.first:
                _finish(out, job.licence)
            return outcome, group


def _refuse_what_is_learned_from(job: GlvlJob) -> None:
    learned = {spec.path.resolve() for spec in job.data}
    for spec in job.held_out:
        if spec.path.resolve() in learned:
            raise ConfigError(f"{spec.path} is learned from, so that it cannot be held out: render or take other sites to judge by")


def _begun(job: GlvlJob) -> tuple[Glvl, str]:
    """The network to begin with, and the hash of the weights it was made from."""
    form = job.settings.form
    torch.manual_seed(job.settings.training.seed)
    if job.start is None:
        network = Glvl(form)
        # Most cells have no key point: to begin with that saves many steps that learn nothing else (Lin et al. 2017, 3.3).
        network.local.detector[-1].bias.data[-1] = _NO_KEYPOINT
        return network, ""
    network, card = load_glvl(job.start)
    if (network.form.resnet, network.form.descriptor) != (form.resnet, form.descriptor):
        raise ConfigError(
            f"{job.start} is of {network.form.backbone}, and this training is of {form.backbone}: give it the same width, blocks "
            "and descriptor, or leave out --start"
        )
    network.form = form
    return network, card.sha256


def _detector(job: GlvlJob, group: Group) -> tuple[Detect, str]:
    """What finds key points before anything is learned, and the hash of its weights."""
    if job.teacher is None:
        return corners, ""
    network, card = load_local_network(job.teacher)
    network.to(group.device).eval()

    def detect(grey: Pixels) -> Heat:
        height, width = grey.shape
        multiple = network.multiple
        padded = np.pad(grey, ((0, -height % multiple), (0, -width % multiple)), mode="symmetric")
        images = torch.from_numpy(padded).to(group.device).float()[None, None].expand(1, network.colours, -1, -1) / 255.0
        with torch.no_grad():
            logits = network(images).logits[0, 0, :height, :width]
        return above_usual(torch.sigmoid(logits).cpu().numpy(), 0.0)

    return detect, card.sha256


def _labelled(
    sources: Sequence[Weighted[GroundSource]], detect: Detect, teacher: str, settings: GlvlTraining, out: Path, group: Group
) -> list[list[GroundPoints]]:
    """Key points of all sites, which the first process has in its folder or finds."""
    problem = ""
    points: list[list[GroundPoints]] = []
    if group.first:
        try:
            points = _kept(sources, detect, teacher, settings, out)
        except VlocError as error:
            if group.size == 1:
                raise
            problem = str(error)
    problem = group.broadcast(problem.encode()).decode() if group.size > 1 else ""
    if problem:
        raise TrainingError(problem)
    return points if group.first else _kept(sources, detect, teacher, settings, out)


def _kept(
    sources: Sequence[Weighted[GroundSource]], detect: Detect, teacher: str, settings: GlvlTraining, out: Path
) -> list[list[GroundPoints]]:
    seed, made = settings.training.seed, []
    labels = {key: value for key, value in to_flat_dict(settings.labels).items() if key != "per_view"}  # that is chosen later
    for number, entry in enumerate(sources):
        row = []
        for site, one in enumerate(entry.source.sites):
            decides = f"{labels} {seed} {teacher} {one.name} {one.box} {one.conditions}"
            name = f"{number:02d}_{site:05d}_{hashlib.sha256(decides.encode()).hexdigest()[:12]}.npz"
            find = partial(label_site, entry.source, site, detect, settings.labels, seed)
            row.append(kept_points(out / LABELS / name, find))
        made.append(row)
    return made


def _feed_settings(settings: GlvlTraining) -> GroundFeedSettings:
    return GroundFeedSettings(
        settings.view,
        settings.changes,
        settings.augmentation,
        settings.mining,
        settings.correspondences,
        settings.labels.per_view,
    )


def _described(network: Glvl, feed: GroundFeed, shown: Sequence[Shown]) -> NDArray[np.float32]:
    """Vectors of tiles by the network as it is."""
    parts = [np.stack([to_grey(feed.sampler.plain(one)) for one in shown[k : k + _PART]]) for k in range(0, len(shown), _PART)]
    return np.concatenate([describe(network, part) for part in parts])


def _validator(job: GlvlJob) -> GlvlValidator | None:
    if not job.held_out:
        return None
    settings = job.settings
    sources = open_ground(job.held_out, settings.memory_mb, settings.view.zoom_max)
    return GlvlValidator(sources, settings.view, settings.validation)


def _folder(
    job: GlvlJob, out: Path, sources: Sequence[Weighted[GroundSource]], parent: str, teacher: str
) -> RunFolder[GlvlLearner]:
    described = to_flat_dict(job.settings) | ground_settings(sources)
    described |= {"start": parent, "teacher": teacher, "held_out": [str(spec) for spec in job.held_out]}
    learned_from = f"random views of {', '.join(f'{spec} ({spec.weight:g})' for spec in job.data)}"

    def save(path: Path, best: GlvlLearner, words: str) -> None:
        save_glvl(path, best.glvl, words, parent, job.licence)

    return RunFolder(out, described, save, learned_from, PICTURES_NAME)


def _finish(out: Path, licence: str) -> None:
    """Write the local half of the best weights beside them."""
    network, card = load_glvl(out / BEST_NAME)
    save_superpoint_of(out / LOCAL_NAME, network, card.trained_on, licence)
