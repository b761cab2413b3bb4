"""Training of the homography network (stage 1 of DHE-VPR), from names and settings to a file of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Any

from vloc_ros.config import param, replace, section, to_flat_dict
from vloc_ros.data.models import shipped_features
from vloc_ros.data.vpr_folder import PlaceTruth
from vloc_ros.data.weights import TWO_STAGES, load_card
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.networks.cct import TrunkTokenizer
from vloc_ros.networks.files import load_network
from vloc_ros.networks.freezing import freeze
from vloc_ros.networks.local_files import load_local_network
from vloc_ros.networks.names import Backbone, LearnedPart, NetworkKind
from vloc_ros.networks.two_stage import TwoStageNetwork, random_two_stage
from vloc_ros.networks.two_stage_files import load_two_stage, save_two_stage
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.distributed import Group, joined
from vloc_ros.training.homography_feed import HomographyFeed, PatchImageSettings
from vloc_ros.training.homography_objective import HomographyObjective, HomographyObjectiveSettings
from vloc_ros.training.loop import Outcome, Progress, Training
from vloc_ros.training.pairs import PairSource
from vloc_ros.training.place_networks import LOCAL_START
from vloc_ros.training.place_pairs import PlacePairs
from vloc_ros.training.place_registry import PLACE_SOURCES, PlaceTraining
from vloc_ros.training.precision import half_inside
from vloc_ros.training.registry import SOURCES, DataSpec, StaticSettings
from vloc_ros.training.run_folder import RunFolder
from vloc_ros.training.sampling import Weighted
from vloc_ros.training.settings import TrainingSettings
from vloc_ros.training.sources.homographies import HomographySettings
from vloc_ros.training.sources.recordings import RecordingSettings


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
PLACE_KINDS = ("tree", "aligned")
"""Kinds of :data:`vloc_ros.training.place_registry.PLACE_SOURCES` of which pairs without a truth are made."""
KINDS = ("simulated", "static", "homography", "recording", *PLACE_KINDS)
"""All kinds of sources."""


def settings_of(recipe: str) -> HomographyTraining:
    """Where those of the user begin."""
    return replace(HomographyTraining(), RECIPES[recipe])


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
        learned = [Weighted(_source(spec, settings), spec.weight, str(spec)) for spec in job.data]
        watched = [Weighted(_source(spec, settings, True), spec.weight, str(spec)) for spec in job.held_out]
        size = job.backbone.size
        feed = HomographyFeed(learned, watched, settings.training, settings.images, settings.augmentation, size)
        folder = _folder(job, out, network, parent, feed.settings())
        with folder.claimed(group):
            if settings.training.mixed_precision:  # the loop sees to the first stage, which it calls
                half_inside(network.regression, group.device, settings.training.cpu_bfloat16)
            objective = HomographyObjective(settings.objective, size)
            training: Training[Any, Any] = Training(network, objective, feed, settings.training, folder, group, on_step=on_step)
            return training.run(), group


def _source(spec: DataSpec, settings: HomographyTraining, held_out: bool = False) -> PairSource:
    if spec.kind not in PLACE_KINDS:
        return SOURCES[spec.kind](spec.path, settings, held_out)
    pairs = PlacePairs(PLACE_SOURCES[spec.kind](spec.path, PlaceTraining(static=settings.static, truth=settings.truth), held_out))
    if len(pairs) == 0:
        raise DataError(f"{spec} has no place with two images: raise truth.radius_m, or name another source")
    return pairs


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
