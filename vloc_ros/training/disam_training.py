"""Training of DISAM, from names and settings to a file of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vloc_ros.config import replace, to_flat_dict
from vloc_ros.data.condition_folders import ConditionFiles
from vloc_ros.data.seasons import open_all_seasons
from vloc_ros.errors import ConfigError
from vloc_ros.networks.disam_files import load_disam, save_disam
from vloc_ros.networks.disam_form import DisamForm, Stage
from vloc_ros.networks.domains import DomainNetwork, random_domains, share_blocks
from vloc_ros.networks.latent_basis import compressed
from vloc_ros.networks.translation import TranslationNetwork
from vloc_ros.training import checkpoint
from vloc_ros.training.condition_feed import ConditionFeed, ConditionImageSettings
from vloc_ros.training.condition_fitting import fit_classifier
from vloc_ros.training.disam_objective import DisamObjective
from vloc_ros.training.disam_pictures import translations
from vloc_ros.training.disam_registry import CompressionSettings, DisamTraining, open_conditions
from vloc_ros.training.disam_validation import DisamValidator, Traverses, near_poses, same_names
from vloc_ros.training.distributed import Group, joined
from vloc_ros.training.loop import Outcome, Progress, Training
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.run_folder import BEST_NAME, RunFolder

_WHOLE = ConditionImageSettings()


@dataclass(frozen=True)
class DisamJob:
    """What to train.

    Attributes:
        stage: which of the two models.
        settings: all of them.
        data: images by condition that are learned from.
        held_out: images by condition that the best epoch is chosen by; those of one place have one name.
        conditions: their names, the reference first; all that the data have without.
        start: file of weights to begin with instead of random ones.
        licence: under which the weights may be used.
    """

    stage: Stage
    settings: DisamTraining
    data: Sequence[DataSpec]
    held_out: Sequence[DataSpec] = ()
    conditions: Sequence[str] = ()
    start: Path | None = None
    licence: str = ""


def train_disam(job: DisamJob, out: Path, on_step: Callable[[Progress], None] | None = None) -> tuple[Outcome, Group]:
    """Train, or go on with the training that the folder holds. Without held-out images the last epoch is the best.

    Returns:
        What came of it, and which process of how many this one was.

    Raises:
        ConfigError: settings do not fit each other, or those of the run in the folder.
        DataError: a source cannot be read, or a file not be written.
        TrainingError: a loss is not finite, or the folder is in use or damaged.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    settings = job.settings
    files = open_conditions(job.data, job.conditions, settings.images)
    form = DisamForm(settings.channels, settings.width, settings.height, job.stage, tuple(files))
    with joined(settings.training.device) as group:
        domains, parent = _begun(job, form)
        share_blocks(domains, settings.shared)
        judges = (settings.discriminator_channels, settings.pool, settings.training.seed)
        network = TranslationNetwork(domains, *judges, settings.disturbance)
        if job.start is not None:
            _take_discriminators(network, job.start.parent)
        name = ",".join(f"{spec}" for spec in job.data)
        feed = ConditionFeed(files, form, settings.training, settings.images, name)
        folder = _folder(job, out, form, parent, feed.settings())
        with folder.claimed(group):
            objective = DisamObjective(settings.objective, settings.training.epochs)
            validator = _validator(job, form, group)
            painter = partial(translations, files=files)
            training: Training[Any, Any] = Training(
                network, objective, feed, settings.training, folder, group, validator, on_step, painter
            )
            outcome = training.run()
            if group.first:
                _finish(out / BEST_NAME, files, settings.compression)
            return outcome, group


def _finish(path: Path, files: ConditionFiles, settings: CompressionSettings) -> None:
    """Teach the best weights to tell conditions, and give them the projection of latents to short vectors."""
    network, card = load_disam(path)
    fit_classifier(network, files, settings.images)
    chosen = (settings.cell, settings.length, settings.whitening, settings.centring, settings.images)
    save_disam(path, compressed(network, files, *chosen), card.trained_on, card.parent, card.licence, card.notes)


def _begun(job: DisamJob, form: DisamForm) -> tuple[DomainNetwork, str]:
    """The network to begin with, and the hash of the weights it was made from."""
    network = random_domains(form, job.settings.training.seed)
    if job.start is None:
        return network, ""
    start, card = load_disam(job.start)
    sizes = [(one.channels, one.width, one.height, one.conditions) for one in (form, start.form)]
    if sizes[0] != sizes[1]:
        raise ConfigError(
            f"{job.start} is of {start.form.backbone} and knows {', '.join(start.form.conditions)}, and this training is of "
            f"{form.backbone} and of {', '.join(form.conditions)}: give it the same, or leave out --start"
        )
    if not len(start.decoders):
        raise ConfigError(f"{job.start} has no decoders any more, and without them nothing can be translated: start elsewhere")
    own = network.state_dict()
    # Whatever compressed its latents is learned anew at the end.
    kept = {key: value for key, value in start.state_dict().items() if not key.startswith("compression.") and key in own}
    network.load_state_dict(kept, strict=False)
    return network, card.sha256


def _take_discriminators(network: TranslationNetwork, folder: Path) -> None:
    """Those of the run that wrote the weights, where it is still there: new ones would first be taught by what they mislead."""
    found = checkpoint.read(folder)
    own = network.state_dict()
    for name, tensor in ({} if found is None else found.tensors).items():
        name = name.removeprefix("network.")
        if name.startswith("discriminators.") and name in own and own[name].shape == tensor.shape:
            own[name].copy_(tensor)


def _validator(job: DisamJob, form: DisamForm, group: Group) -> DisamValidator | None:
    if not job.held_out:
        return None
    traverses = [one for spec in job.held_out for one in _traverses(job, spec, form)]
    return DisamValidator(traverses, form, group.device)


def _traverses(job: DisamJob, spec: DataSpec, form: DisamForm) -> list[Traverses]:
    settings = job.settings
    if spec.kind == "seasons":
        truth = settings.truth
        return [near_poses(data, form.conditions, truth.radius_m, truth.angle_deg) for data in open_all_seasons(spec.path)]
    files: ConditionFiles = open_conditions([spec], form.conditions, _part(job, spec))
    return [same_names(files, form.conditions[0], settings.judged_images)]


def _part(job: DisamJob, spec: DataSpec) -> ConditionImageSettings:
    """Of a source that is learned from, what is beyond the part that is."""
    learned = job.settings.images.last
    parted = learned < 1.0 and spec.path in [one.path for one in job.data]
    return replace(_WHOLE, {"first": learned}) if parted else _WHOLE


def _folder(job: DisamJob, out: Path, form: DisamForm, parent: str, data: dict[str, Any]) -> RunFolder[Any]:
    described = to_flat_dict(job.settings)
    described |= data | {
        "stage": job.stage.value,
        "conditions": list(form.conditions),
        "start": parent,
        "held_out": [str(spec) for spec in job.held_out],
    }
    learned_from = f"unpaired images of {', '.join(form.conditions)} of {', '.join(f'{spec}' for spec in job.data)}"

    def save(path: Path, best: TranslationNetwork, words: str) -> None:
        save_disam(path, best.domains, words, parent, job.licence)

    return RunFolder(out, described, save, learned_from)
