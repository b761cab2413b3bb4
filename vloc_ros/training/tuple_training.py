"""A place network is tuned with the tuples of maps: from weights in a file to weights in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vloc_ros.calibration.tuples import TupleSet
from vloc_ros.config import to_flat_dict
from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.networks.files import load_network, save_network
from vloc_ros.networks.freezing import freeze
from vloc_ros.networks.names import LearnedPart, NetworkKind
from vloc_ros.networks.network import PlaceNetwork
from vloc_ros.networks.variance import with_variance
from vloc_ros.training.distributed import Group, joined
from vloc_ros.training.loop import Outcome, Progress, Training
from vloc_ros.training.run_folder import RunFolder
from vloc_ros.training.settings import TrainingSettings
from vloc_ros.training.tuple_batch import ImageOf
from vloc_ros.training.tuple_feed import TupleFeed, settings_for
from vloc_ros.training.tuple_objective import TripletObjective, UncertaintyObjective
from vloc_ros.training.tuple_settings import TripletSettings, UncertaintySettings


@dataclass(frozen=True)
class TupleJob:
    """What to train.

    Attributes:
        start: file of weights to begin with.
        objective: what is learned: descriptors, or descriptors and variances.
        part: of the network that learns.
        learned: tuples and pairs to learn from.
        image_of: reads the image of a keyframe of theirs.
        settings: of the loop; how many samples an epoch has follows from the tuples.
        site: gives some images, to which a new variance head is adapted.
        words: what is learned from, for the card.
        watched: held-out tuples and pairs: the best epoch is the one with the lowest loss on them; without any, the last one.
        licence: under which the weights may be used.
    """

    start: Path
    objective: TripletSettings | UncertaintySettings
    part: LearnedPart
    learned: TupleSet
    image_of: ImageOf
    settings: TrainingSettings
    site: Callable[[], Sequence[Image]]
    words: str
    watched: TupleSet = TupleSet()
    licence: str = ""


def use_threads(count: int) -> None:
    """Let this process compute with so many threads; with another number the last digits of weights may differ."""
    torch.set_num_threads(count)


def tune(job: TupleJob, out: Path, on_step: Callable[[Progress], None] | None = None) -> tuple[Outcome, Group]:
    """Train, or go on with the training that the folder holds; the weights are ``out/best.safetensors`` then.

    On one processor they depend on the job alone, however often it was killed.

    Returns:
        What came of it, and which process of how many this one was.

    Raises:
        ConfigError: there is nothing to learn from, the network has no such part or no variance, or the folder holds a run with
            other settings.
        DataError: there are no images in which the network sees anything, or a file cannot be written.
        MapError: an image cannot be read.
        WeightsError: the start cannot be read.
        TrainingError: a loss is not finite, or the folder is in use or damaged.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    settings = settings_for(job.settings, job.learned)
    with joined(settings.device) as group:
        network, parent = start_network(job)
        freeze(network, job.part)
        feed = TupleFeed(job.learned, job.watched, job.image_of, settings, network.backbone.size)
        folder = _folder(job, settings, out, parent, feed.settings())
        objective: Any = _objective(job)
        with folder.claimed(group):
            training: Training[Any, Any] = Training(network, objective, feed, settings, folder, group, on_step=on_step)
            return training.run(), group


def start_network(job: TupleJob) -> tuple[PlaceNetwork, str]:
    """The network to begin with, with a variance head where one is to be learned, and the hash of the weights it was made from.

    Raises:
        ConfigError: it cannot have one.
        DataError: it sees nothing in the images of the site.
        WeightsError: the file cannot be read.
    """
    network, card = load_network(job.start)
    if isinstance(job.objective, UncertaintySettings) and network.kind is not NetworkKind.UNCERTAINTY:
        if network.kind is not NetworkKind.GEM or network.whitening is not None:
            raise ConfigError(f"{job.start} cannot learn variances: take a network of gem without projection, or of uncertainty")
        network = with_variance(network, job.site(), job.settings.seed)
    return network, card.sha256


def _objective(job: TupleJob) -> TripletObjective | UncertaintyObjective:
    if isinstance(job.objective, TripletSettings):
        return TripletObjective(job.objective)
    return UncertaintyObjective(job.objective)


def _folder(job: TupleJob, settings: TrainingSettings, out: Path, parent: str, data: dict[str, Any]) -> RunFolder[Any]:
    name = "triplet" if isinstance(job.objective, TripletSettings) else "uncertainty"
    described = to_flat_dict(settings, "training.") | to_flat_dict(job.objective, f"{name}.")
    described |= data | {"learns": job.part.value, "start": parent}

    def save(path: Path, best: PlaceNetwork, words: str) -> None:
        save_network(path, best, words, parent, job.licence)

    return RunFolder(out, described, save, f"{name.replace('_', ' ')} loss on {job.words}")
