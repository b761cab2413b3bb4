"""Published check points of DISAM: one file per network, ``<epoch>_net_G<k>.pth``, of K encoders and then K decoders.

Only the names of their tensors are others than ours: they come in the order of the layers, and are taken in that order. The
discriminators, ``<epoch>_net_D<k>.pth``, are of no use but to train on, and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vloc_ros.data.seasons_layout import CMU_CONDITIONS
from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.networks.checkpoint import read_checkpoint
from vloc_ros.networks.disam import Decoder, Encoder
from vloc_ros.networks.disam_form import DisamForm, Stage
from vloc_ros.networks.domains import DomainNetwork
from vloc_ros.networks.latent_basis import MOST_ELEMENTS, automatic_cell

CHANNELS, SIDE = 64, 256
"""Of the published networks, and height and width of their images [px]."""
_FILE = re.compile(r"(\d{1,9}|latest)_net_G(\d{1,4})\.pth")


def import_domains(
    folder: Path, epoch: str, stage: Stage, conditions: Sequence[str] = (), channels: int = CHANNELS, side: int = SIDE
) -> DomainNetwork:
    """Read the check points of one epoch.

    The network has no classifier, so that conditions are found by reconstruction, and no projection: its latents are averaged
    over cells so large that the descriptor takes 8 KiB at most, 2x2 of them (1024 elements) at the published size, until
    ``vloc train compress`` learns one.

    Args:
        folder: that holds the files.
        epoch: which one, ``1200`` or ``latest``.
        stage: which model they are of, which decides how latents are compared; nothing in the files says it.
        conditions: names in the order of the files; by default those of CMU-Seasons, if there are as many.
        channels: of the first convolution.
        side: height and width of the images [px].

    Raises:
        ConfigError: there is another number of conditions, or nobody says their names.
        WeightsError: a file is missing, cannot be read, holds code, or is of another network; the text says what is wrong.
        DataError: the folder cannot be read.
    """
    files = _files(folder, epoch)
    count = len(files) // 2
    form = DisamForm(channels, side, side, stage, _named(conditions, count, folder))
    network = DomainNetwork(form, classifier=False, cell=automatic_cell(form, MOST_ELEMENTS))
    for path, module in zip(files, [*network.encoders, *network.decoders], strict=True):
        _fill(module, path)
    network.eval()
    return network


def _files(folder: Path, epoch: str) -> list[Path]:
    """The files of an epoch in their order."""
    try:
        matches = [(match, path) for path in folder.iterdir() if (match := _FILE.fullmatch(path.name))]
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    found = {int(match[2]): path for match, path in matches if match[1] == epoch}
    if not found:
        epochs = ", ".join(sorted({match[1] for match, _ in matches})) or "none at all"
        raise WeightsError(f"{folder} holds no networks of epoch {epoch} ({epoch}_net_G0.pth, ...); it has those of: {epochs}")
    missing = [number for number in range(max(found) + 1) if number not in found]
    if missing:
        raise WeightsError(f"{folder} lacks {epoch}_net_G{missing[0]}.pth: copy the files of all conditions")
    if len(found) % 2 or len(found) < 4:
        raise WeightsError(
            f"{folder} holds {len(found)} networks of epoch {epoch}, which are not as many encoders as decoders of two or more "
            "conditions: copy the files of all conditions"
        )
    return [found[number] for number in range(len(found))]


def _named(conditions: Sequence[str], count: int, folder: Path) -> tuple[str, ...]:
    names = tuple(conditions) or (CMU_CONDITIONS if count == len(CMU_CONDITIONS) else ())
    if not names:
        raise ConfigError(f"{folder} holds networks of {count} conditions: say their names in order, with --conditions one,two,...")
    if len(names) != count:
        raise ConfigError(f"{folder} holds networks of {count} conditions, and {len(names)} were named: {', '.join(names)}")
    return names


def _fill(module: nn.Module, path: Path) -> None:
    """Put the tensors of a file into an encoder or a decoder.

    Raises:
        WeightsError: the file cannot be read, or its tensors are of other shapes.
    """
    given, state = list(read_checkpoint(path).items()), module.state_dict()
    kind = {Encoder: "an encoder", Decoder: "a decoder"}.get(type(module), "a network")
    for (name, ours), (theirs, tensor) in zip(state.items(), given, strict=False):
        if tuple(ours.shape) != tensor.shape:
            raise WeightsError(
                f"{path}: '{theirs}' has the shape {tensor.shape}, and {kind} of this size needs {tuple(ours.shape)} there; is it "
                "of another network, or in the wrong place among the files?"
            )
        state[name] = torch.from_numpy(np.array(tensor))
    if len(given) != len(state):
        raise WeightsError(f"{path} holds {len(given)} tensors, and {kind} has {len(state)}: it is of another network")
    module.load_state_dict(state)
