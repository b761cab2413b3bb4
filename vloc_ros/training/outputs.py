"""What a network has put out in a step, so that every process goes back through all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Outputs:
    """Keeps the outputs of a network while asked to.

    Processes that share statistics of a batch exchange messages on the way back, too. One whose pairs hold nothing to learn from
    would not go back, and the others would wait for it: so its outputs are tied to the loss with the factor zero.
    """

    def __init__(self, network: nn.Module) -> None:
        """Watch a network."""
        self._kept: list[Tensor] = []
        self._watching = False
        network.register_forward_hook(self._keep)

    @contextmanager
    def watched(self, active: bool) -> Iterator[None]:
        """Keep outputs within the block, if active."""
        self._kept.clear()
        self._watching = active
        try:
            yield
        finally:
            self._watching = False

    def tie(self, loss: Tensor) -> Tensor:
        """The loss, with a gradient of zero for everything that was kept."""
        for tensor in self._kept:
            loss = loss + 0.0 * tensor.sum()
        self._kept.clear()
        return loss

    def _keep(self, network: nn.Module, inputs: Any, output: Any) -> None:
        if self._watching:
            self._kept.extend(tensor for tensor in _tensors(output) if tensor.requires_grad)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Iterable):
        for part in output:
            yield from _tensors(part)
