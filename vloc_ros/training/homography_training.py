"""Training of the homography network (stage 1 of DHE-VPR), from names and settings to a file of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vloc_ros.config import to_flat_dict
from vloc_ros.data.models import shipped_features
from vloc_ros.data.weights import TWO_STAGES, load_card
from vloc_ros.errors import ConfigError
from vloc_ros.networks.cct import TrunkTokenizer
from vloc_ros.networks.files import load_network
from vloc_ros.networks.freezing import freeze
from vloc_ros.networks.local_files import load_local_network
from vloc_ros.networks.names import Backbone, LearnedPart, NetworkKind
from vloc_ros.networks.two_stage import TwoStageNetwork, random_two_stage
from vloc_ros.networks.two_stage_files import load_two_stage, save_two_stage
from vloc_ros.training.distributed import Group, joined
from vloc_ros.training.homography_feed import HomographyFeed
from vloc_ros.training.homography_objective import HomographyObjective
from vloc_ros.training.homography_registry import HomographyTraining, LearnsToo, open_pairs
from vloc_ros.training.loop import Outcome, Progress, Training
from vloc_ros.training.place_networks import LOCAL_START
from vloc_ros.training.precision import half_inside
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.run_folder import RunFolder
from vloc_ros.training.sampling import Weighted


@dataclass(frozen=True)
class HomographyJob:
    """What to train.

    Attributes:
        backbone: whose maps are compared.
        settings: all of them.
        data: what is learned from.
        held_out: what is validated on.
        start: file of weights to begin with instead of random ones: both stages, or the first alone.
        licence: under which the weights may be used.
    """

    backbone: Backbone
    settings: HomographyTraining
    data: Sequence[DataSpec]
    held_out: Sequence[DataSpec] = ()
    start: Path | None = None
    licence: str = ""


def train_homographies(job: HomographyJob, out: Path, on_step: Callable[[Progress], None] | None = None) -> tuple[Outcome, Group]:
    """Train, or go on with the training that the folder holds. The best epoch is that of the lowest held-out loss.

    Returns:
        What came of it, and which process of how many this one was.

    Raises:
        ConfigError: settings do not fit each other, or those of the run in the folder.
        DataError: a source cannot be read, or a file not be written.
        TrainingError: a loss is not finite, or the folder is in use or damaged.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    settings = job.settings
    if job.start is None and settings.learned is LearnsToo.NOTHING:
        raise ConfigError(
            "nothing makes local descriptors yet: name weights of a CCT with --start FILE, or let the backbone learn, too, with "
            "--recipe dense"
        )
    with joined(settings.training.device) as group:
        network, parent = _network(job)
        _let_learn(network, settings.learned)
        learned = [Weighted(open_pairs(spec, settings), spec.weight, str(spec)) for spec in job.data]
        watched = [Weighted(open_pairs(spec, settings, True), spec.weight, str(spec)) for spec in job.held_out]
        size = job.backbone.size
        feed = HomographyFeed(learned, watched, settings.training, settings.images, settings.augmentation, size)
        folder = _folder(job, out, network, parent, feed.settings())
        with folder.claimed(group):
            if settings.training.mixed_precision:  # the loop sees to the first stage, which it calls
                half_inside(network.regression, group.device, settings.training.cpu_bfloat16)
            objective = HomographyObjective(settings.objective, size)
            training: Training[Any, Any] = Training(network, objective, feed, settings.training, folder, group, on_step=on_step)
            return training.run(), group


def _network(job: HomographyJob) -> tuple[TwoStageNetwork, str]:
    """The network to begin with, and the hash of the weights it was made from."""
    if job.start is None:
        return _fresh(job)
    if load_card(job.start).network == TWO_STAGES:
        network, card = load_two_stage(job.start)
    else:
        place, card = load_network(job.start)
        if place.kind is not NetworkKind.PLAIN_GEM:
            raise ConfigError(
                f"{job.start} holds {card.network} on {card.backbone}: the homography network needs a plain_gem on a CCT"
            )
        network = random_two_stage(place.backbone, job.settings.training.seed)
        network.place.load_state_dict(place.state_dict())
    if network.backbone is not job.backbone:
        raise ConfigError(f"{job.start} holds a network on {network.backbone.value}: say so with --network")
    return network, card.sha256


def _fresh(job: HomographyJob) -> tuple[TwoStageNetwork, str]:
    """Random weights, on the shipped local features where there is a trunk of such."""
    network = random_two_stage(job.backbone, job.settings.training.seed)
    tokenizer, local = network.place.encoder.tokenizer, shipped_features().get(LOCAL_START)
    if not isinstance(tokenizer, TrunkTokenizer) or local is None:
        return network, ""
    features, card = load_local_network(local)
    tokenizer.trunk.begin_with(features)
    return network, card.sha256


def _let_learn(network: TwoStageNetwork, part: LearnsToo) -> None:
    """What learns beside the regression, which always does."""
    if part is LearnsToo.NOTHING:
        network.place.requires_grad_(False)
        return
    freeze(network.place, LearnedPart.ALL if part is LearnsToo.LAYERS else LearnedPart(part.value))
    if part is LearnsToo.LAYERS and isinstance(network.place.encoder.tokenizer, TrunkTokenizer):
        network.place.encoder.tokenizer.trunk.requires_grad_(False)


def _folder(job: HomographyJob, out: Path, network: TwoStageNetwork, parent: str, data: dict[str, Any]) -> RunFolder[Any]:
    described = to_flat_dict(job.settings)
    described |= data | {
        "network": network.backbone.value,
        "start": parent,
        "held_out": [str(spec) for spec in job.held_out],
    }
    learned_from = f"homographies of pairs of {', '.join(f'{spec} ({spec.weight:g})' for spec in job.data)}"

    def save(path: Path, best: TwoStageNetwork, words: str) -> None:
        save_two_stage(path, best, words, parent, job.licence)

    return RunFolder(out, described, save, learned_from)
