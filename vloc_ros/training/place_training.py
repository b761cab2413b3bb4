"""Training of place recognition, from names and settings to a file of weights."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vloc_ros.config import to_flat_dict
from vloc_ros.data.models import shipped_features
from vloc_ros.data.weights import LOCAL_NETWORKS, TWO_STAGES, WeightsCard, load_card
from vloc_ros.errors import ConfigError
from vloc_ros.networks.dhe import DheNetwork
from vloc_ros.networks.files import load_network, save_network
from vloc_ros.networks.names import Backbone, NetworkKind
from vloc_ros.networks.network import PlaceNetwork, describe_images
from vloc_ros.networks.two_stage import TwoStageNetwork
from vloc_ros.networks.two_stage_files import load_two_stage, save_two_stage
from vloc_ros.retrieval import View, create_descriptor
from vloc_ros.training.distributed import Group, joined
from vloc_ros.training.live_norm import let_norms_learn, with_frozen_norms
from vloc_ros.training.loop import Outcome, Progress, Training, Validator
from vloc_ros.training.multi_similarity import MultiSimilarityObjective
from vloc_ros.training.place_feed import PlaceFeed
from vloc_ros.training.place_networks import LOCAL_START, begin_with_features, centre_on_images, fresh_network, some_images
from vloc_ros.training.place_registry import PlaceTraining, open_places
from vloc_ros.training.place_validation import PlaceValidation
from vloc_ros.training.places import PlaceSource
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.run_folder import RunFolder
from vloc_ros.training.sampling import Weighted


@dataclass(frozen=True)
class PlaceJob:
    """What to train.

    Attributes:
        kind: what makes one vector of an image.
        backbone: what is below it.
        settings: all of them.
        data: what is learned from.
        held_out: what is validated on.
        projected: elements after a linear projection; 0 for none.
        start: file of weights to begin with, instead of random ones: of such a network, or of local features for a backbone that
            takes them; by default the local features that are shipped for such a backbone.
        licence: under which the weights may be used.
    """

    kind: NetworkKind
    backbone: Backbone
    settings: PlaceTraining
    data: Sequence[DataSpec]
    held_out: Sequence[DataSpec] = ()
    projected: int = 0
    start: Path | None = None
    licence: str = ""


def train_places(job: PlaceJob, out: Path, on_step: Callable[[Progress], None] | None = None) -> tuple[Outcome, Group]:
    """Train, or go on with the training that the folder holds.

    Returns:
        What came of it, and which process of how many this one was.

    Raises:
        ConfigError: settings do not fit each other, or those of the run in the folder.
        DataError: a source cannot be read, or a file not be written.
        TrainingError: a loss is not finite, or the folder is in use or damaged.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    settings = dataclasses.replace(job.settings, images=job.settings.images.sized_for(job.backbone))
    job = dataclasses.replace(job, settings=settings)
    with joined(settings.training.device) as group:
        learned, watched = _sources(job)
        network, parent, second = _network(job, [entry.source for entry in learned])
        read_at = job.backbone.size
        feed = PlaceFeed(learned, watched, settings.training, settings.images, settings.augmentation, read_at)
        folder = _folder(job, out, network, parent, second, feed.settings())
        with folder.claimed(group):
            training: Training[Any, Any] = Training(
                network,
                MultiSimilarityObjective(settings.objective, feed.numbers, group),
                feed,
                settings.training,
                folder,
                group,
                _validator(job, [entry.source for entry in watched]) if watched else None,
                on_step,
            )
            return training.run(), group


def _sources(job: PlaceJob) -> tuple[list[Weighted[PlaceSource]], list[Weighted[PlaceSource]]]:
    learned = [Weighted(open_places(spec, job.settings), spec.weight, str(spec)) for spec in job.data]
    watched = [Weighted(open_places(spec, job.settings, True), spec.weight, str(spec)) for spec in job.held_out]
    return learned, watched


def _network(job: PlaceJob, sources: Sequence[PlaceSource]) -> tuple[PlaceNetwork, str, DheNetwork | None]:
    """The network to begin with, the hash of the weights it was made from, and the second stage that they have, which is kept."""
    seed, start, parent = job.settings.training.seed, job.start, ""
    if start is None and job.backbone in (Backbone.COMPACT_UNET, Backbone.CCT_SMALL):
        start = shipped_features().get(LOCAL_START)
    local = start is not None and load_card(start).network in LOCAL_NETWORKS
    if start is not None and not local:
        network, card, second = _of_file(start)
        if (network.kind, network.backbone) != (job.kind, job.backbone):
            raise ConfigError(f"{start} holds {card.network} on {card.backbone}: say so with --head and --network")
        let_norms_learn(network)
        return network, card.sha256, second
    network = fresh_network(job.kind, job.backbone, seed, job.projected)
    if start is not None:
        parent = begin_with_features(network, start)
    if job.kind is NetworkKind.NETVLAD:
        centre_on_images(network, some_images(sources, job.settings.centre_images, seed, network.backbone.size), seed)
    return network, parent, None


def _of_file(start: Path) -> tuple[PlaceNetwork, WeightsCard, DheNetwork | None]:
    if load_card(start).network != TWO_STAGES:
        return (*load_network(start), None)
    both, card = load_two_stage(start)
    return both.place, card, both.regression


def _folder(
    job: PlaceJob, out: Path, network: PlaceNetwork, parent: str, second: DheNetwork | None, data: dict[str, Any]
) -> RunFolder[Any]:
    described = to_flat_dict(job.settings)
    described |= data | {
        "network": network.backbone.value,
        "head": network.kind.value,
        "dimension": network.dimension,
        "start": parent,
        "held_out": [str(spec) for spec in job.held_out],
    }
    learned_from = f"multi-similarity loss on places of {', '.join(f'{spec} ({spec.weight:g})' for spec in job.data)}"

    def save(path: Path, best: PlaceNetwork, words: str) -> None:
        if second is None:
            save_network(path, with_frozen_norms(best), words, parent, job.licence)
            return
        both = TwoStageNetwork(best.backbone)
        both.place, both.regression = with_frozen_norms(best), second
        save_two_stage(path, both, words, parent, job.licence)

    return RunFolder(out, described, save, learned_from)


def _validator(job: PlaceJob, sources: Sequence[PlaceSource]) -> Validator[PlaceNetwork]:
    """Recall@1 with descriptors of the network, by the path of the run time, from a file of weights onwards."""
    validation = PlaceValidation(sources, job.settings.validation)

    def judged(network: PlaceNetwork) -> dict[str, float]:
        if job.kind is NetworkKind.PLAIN_GEM:  # alone it is no descriptor yet: that is a file of both stages
            frozen = with_frozen_norms(network)
            return validation(lambda images: describe_images(frozen, images))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "validated.safetensors"
            save_network(path, with_frozen_norms(network), "")
            descriptor = create_descriptor(str(path))
        return validation(lambda images: descriptor.describe_many([View(image) for image in images]))

    return judged
