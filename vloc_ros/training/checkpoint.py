"""Check points of a training: one safetensors file with all tensors and, in its header, everything else as JSON.

One file, so that it is whole or not there; written under another name, flushed to the disk and renamed, with the one before it
kept. Nothing in it is ever executed. Neither schedule nor random generators are stored: both follow from the number of the step.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from vloc_ros.data.output import remove_quietly
from vloc_ros.errors import DataError, TrainingError

_log = logging.getLogger(__name__)

FILE_NAME = "checkpoint.safetensors"
PREVIOUS_NAME = "checkpoint.previous.safetensors"
_KEY = "training"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a check point holds.

    Attributes:
        tensors: of the network (``network.*``) and of the optimizer (``optimizer.<number of the parameter>.*``), on the CPU.
        state: everything else, as JSON has it.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def to_bytes(self) -> bytes:
        """The content of its file."""
        data: bytes = save(self.tensors, metadata={_KEY: json.dumps(self.state)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "the check point") -> Checkpoint:
        """From the content of its file.

        Raises:
            TrainingError: it is damaged, or something else; ``name`` says what.
        """
        try:
            tensors = load(data)
            # The header is a length of 8 bytes, then JSON; load() has checked both.
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            state = json.loads(header["__metadata__"][_KEY])
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise TrainingError(
                f"{name} is not a whole check point of a training ({error}): remove it, or copy it again"
            ) from error
        return cls(tensors, state)


def collect(network: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> Checkpoint:
    """A check point of the present moment."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for number, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in entry.items()}
    return Checkpoint({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}, state)


def restore(checkpoint: Checkpoint, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put network and optimizer back to the moment of a check point.

    Raises:
        TrainingError: it is of another network.
    """
    weights = _below("network.", checkpoint.tensors)
    try:
        network.load_state_dict(weights)
        entries: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer.", checkpoint.tensors).items():
            number, _, leaf = name.partition(".")
            entries.setdefault(int(number), {})[leaf] = tensor
        optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(f"the check point is of another network or release: {str(error).splitlines()[0]}") from error


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the check point of a run and keep the one before; killed at any moment, one of the two is there and whole.

    Raises:
        DataError: it cannot be written.
    """
    path, previous = folder / FILE_NAME, folder / PREVIOUS_NAME
    temporary, link = folder / f".{FILE_NAME}.part", folder / f".{PREVIOUS_NAME}.part"
    try:
        with temporary.open("wb") as file:
            file.write(checkpoint.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            _keep(path, link, previous)
        temporary.replace(path)
    except OSError as error:
        remove_quietly(temporary)
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def _keep(path: Path, link: Path, previous: Path) -> None:
    """Give a file a second name; where links are not known it is renamed, and for a moment has no other name."""
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        path.replace(previous)
        return
    link.replace(previous)


def read(folder: Path) -> Checkpoint | None:
    """The last check point of a run, the one before it when that is damaged, None when there is none.

    Raises:
        TrainingError: those that are there are all damaged.
    """
    problem: TrainingError | None = None
    for path in (folder / FILE_NAME, folder / PREVIOUS_NAME):
        try:
            checkpoint = Checkpoint.from_bytes(path.read_bytes(), str(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error
        except TrainingError as error:
            _log.warning("%s", error)
            problem = error
            continue
        return checkpoint
    if problem is not None:
        raise problem
    return None
