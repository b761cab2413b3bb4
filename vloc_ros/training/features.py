"""Training of local features, from names and settings to a file of weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vloc_ros.config import replace, to_flat_dict
from vloc_ros.errors import ConfigError
from vloc_ros.features.contract import FeatureExtractor
from vloc_ros.features.learned import load_features
from vloc_ros.networks.local import LocalNetwork
from vloc_ros.networks.local_files import build_network, load_local_network, save_local_network
from vloc_ros.training.batching import PairFeed
from vloc_ros.training.distributed import Group, joined
from vloc_ros.training.loop import Outcome, Progress, Training, Validator
from vloc_ros.training.pairs import PairSource
from vloc_ros.training.registry import DataSpec, make_objective, needs_stereo, open_source
from vloc_ros.training.run_folder import RunFolder
from vloc_ros.training.sampling import Weighted
from vloc_ros.training.validation import Validation, for_networks


@dataclass(frozen=True)
class FeatureJob:
    """What to train.

    Attributes:
        network: its architecture.
        width: what scales its channels.
        descriptor_size: length of its descriptors, where the width does not decide that.
        objective: name of the objective.
        settings: of the class that :func:`vloc_ros.training.registry.settings_class` gives for it.
        data: what is learned from.
        held_out: what is validated on.
        start: file of weights to begin with, instead of random ones.
        licence: under which the weights may be used.
    """

    network: str
    width: int
    descriptor_size: int
    objective: str
    settings: Any
    data: Sequence[DataSpec]
    held_out: Sequence[DataSpec] = ()
    start: Path | None = None
    licence: str = ""


def train_features(job: FeatureJob, out: Path, on_step: Callable[[Progress], None] | None = None) -> tuple[Outcome, Group]:
    """Train, or go on with the training that the folder holds.

    Returns:
        What came of it, and which process of how many this one was.

    Raises:
        ConfigError: settings do not fit each other, or those of the run in the folder.
        DataError: a source cannot be read, or a file not be written.
        TrainingError: a loss is not finite, or the folder is in use or damaged.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    settings = job.settings
    with joined(settings.training.device) as group:
        network, parent = _network(job)
        learned, watched = _sources(job)
        feed = PairFeed(
            learned,
            watched,
            settings.training,
            settings.images,
            settings.augmentation,
            network.colours,
            needs_stereo(job.objective),
        )
        folder = _folder(job, out, network, parent, feed.settings())
        with folder.claimed(group):
            validator = None if not watched else _validator(job, [entry.source for entry in watched])
            training: Training[Any, Any] = Training(
                network,
                make_objective(job.objective, settings.objective),
                feed,
                settings.training,
                folder,
                group,
                validator,
                on_step,
            )
            return training.run(), group


def _network(job: FeatureJob) -> tuple[LocalNetwork, str]:
    """The network to begin with, and the hash of the weights it was made from."""
    torch.manual_seed(job.settings.training.seed)
    if job.start is None:
        network, parent = build_network(job.network, job.width, job.descriptor_size), ""
    else:
        network, card = load_local_network(job.start)
        parent = card.sha256
    images = job.settings.images
    if images.width % network.multiple or images.height % network.multiple:
        raise ConfigError(
            f"images.width = {images.width} and images.height = {images.height} must be multiples of {network.multiple} "
            f"for {network.architecture}"
        )
    return network, parent


def _sources(job: FeatureJob) -> tuple[list[Weighted[PairSource]], list[Weighted[PairSource]]]:
    learned = [Weighted(open_source(spec, job.settings), spec.weight, str(spec)) for spec in job.data]
    watched = [Weighted(open_source(spec, job.settings, True), spec.weight, str(spec)) for spec in job.held_out]
    return learned, watched


def _folder(job: FeatureJob, out: Path, network: LocalNetwork, parent: str, data: dict[str, Any]) -> RunFolder[Any]:
    described = to_flat_dict(job.settings)
    described |= data | {
        "network": network.architecture,
        "width": network.width,
        "descriptor_size": network.descriptor_size,
        "objective_name": job.objective,
        "start": parent,
        "held_out": [str(spec) for spec in job.held_out],
    }
    learned_from = f"{job.objective} objective on {', '.join(f'{spec} ({spec.weight:g})' for spec in job.data)}"

    def save(path: Path, best: LocalNetwork, words: str) -> None:
        save_local_network(path, best, words, parent, job.licence)

    return RunFolder(out, described, save, learned_from)


def _validator(job: FeatureJob, sources: Sequence[PairSource]) -> Validator[LocalNetwork]:
    """Localisation with features of the network, by the path of the run time, from a file of weights onwards."""
    settings = job.settings

    def extractor_of(network: LocalNetwork) -> FeatureExtractor:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "validated.safetensors"
            save_local_network(path, network, "")
            # The engine sets torch's threads for the whole process: to what they are.
            engine = {"engine": "torch", "threads": torch.get_num_threads()}
            return load_features(path, settings.features.max_features, replace(settings.features.learned, engine))

    return for_networks(Validation(sources, settings.validation), extractor_of)
