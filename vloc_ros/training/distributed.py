"""Training in several processes: under ``torchrun``, on one host or many, or alone.

The processes split each batch and add up their gradients. torch's DistributedDataParallel is not used: it averages whatever the
shares of the batch weigh, and hides the methods of the network that objectives call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from vloc_ros.errors import ConfigError, TrainingError
from vloc_ros.training.settings import Device

_MESSAGE = 8192  # bytes of what a process tells the others in a step
_PATIENCE = timedelta(hours=6)  # others wait so long while the first process validates


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a training.

    Attributes:
        rank: number of this one; 0 alone writes files.
        size: how many there are.
        device: what this one computes on.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """Which samples of a batch are this process's."""
        return range(batch * self.rank // self.size, batch * (self.rank + 1) // self.size)

    def told(self, values: dict[str, float]) -> list[dict[str, float]]:
        """The values that each process gives, in their order; all of them must ask, and may give other names each.

        Raises:
            TrainingError: these are too many.
        """
        if self.size == 1:
            return [values]
        text = json.dumps(values).encode()
        if len(text) > _MESSAGE:
            raise TrainingError(f"the objective has {len(values)} terms, which is more than processes tell each other: give fewer")
        mine = torch.frombuffer(bytearray(text.ljust(_MESSAGE)), dtype=torch.uint8).to(self.device)
        received = [torch.empty_like(mine) for _ in range(self.size)]
        torch.distributed.all_gather(received, mine)
        return [json.loads(message.cpu().numpy().tobytes()) for message in received]

    def broadcast(self, content: bytes) -> bytes:
        """What the first process gives, in all of them."""
        if self.size == 1:
            return content
        length = torch.tensor([len(content)], dtype=torch.int64, device=self.device)
        torch.distributed.broadcast(length, 0)
        if int(length) == 0:
            return b""
        if self.first:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(self.device)
        else:
            data = torch.empty(int(length), dtype=torch.uint8, device=self.device)
        torch.distributed.broadcast(data, 0)
        return bytes(data.cpu().numpy().tobytes())


@contextmanager
def joined(device: Device = Device.AUTO) -> Iterator[Group]:
    """The processes that were started together, by torchrun's environment variables; this one alone without them.

    Raises:
        ConfigError: there is no GPU and one is asked for, or there are more processes on this host than GPUs.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = _device(device, local)
    if size == 1:
        yield Group(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    torch.distributed.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Group(rank, size, place)
    finally:
        torch.distributed.destroy_process_group()


def _device(wanted: Device, local: int) -> torch.device:
    if wanted is Device.CPU or (wanted is Device.AUTO and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("device = cuda, but torch finds no GPU here: take device=cpu, or a build of torch with CUDA")
    if local >= torch.cuda.device_count():
        raise ConfigError(
            f"process {local} of this host has no GPU of its own (there are {torch.cuda.device_count()}): "
            "start fewer with --nproc-per-node, or take device=cpu"
        )
    return torch.device("cuda", local)


def add_up_gradients(network: nn.Module, group: Group) -> None:
    """Replace every gradient by its sum over all processes, in one message; those without one here count as zero."""
    if group.size == 1:
        return
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    torch.distributed.all_reduce(flat)
    offset = 0
    for parameter in learned:
        parameter.grad = flat[offset : offset + parameter.numel()].view_as(parameter)
        offset += parameter.numel()


class _AddUp(torch.autograd.Function):
    """The sum over all processes, whose gradient is that of the sum of all their losses."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def summed(values: Tensor) -> Tensor:
    """Values of one shape added up over all processes, each of which must ask; gradients go back to all of them."""
    total: Tensor = _AddUp.apply(values)
    return total


def gathered(values: Tensor, group: Group) -> tuple[Tensor, int]:
    """The rows of all processes below each other, each of which must ask, and which of them are the first of this one.

    Gradients go back to the process that the rows are from. They may be of different numbers.
    """
    if group.size == 1:
        return values, 0
    counts = torch.zeros(group.size, dtype=torch.int64, device=values.device)
    counts[group.rank] = len(values)
    torch.distributed.all_reduce(counts)
    first, total = int(counts[: group.rank].sum()), int(counts.sum())
    after = total - first - len(values)
    padded = torch.cat([values.new_zeros(first, *values.shape[1:]), values, values.new_zeros(after, *values.shape[1:])])
    return summed(padded), first
