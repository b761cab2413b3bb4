"""Batch normalisation over the batch of all processes, so that several learn exactly what one would.

torch's SyncBatchNorm does this on GPUs only; this one does on CPUs too, and is what we test.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vloc_ros.training.distributed import Group, summed


def synchronise(network: nn.Module, group: Group) -> None:
    """Make all batch normalisations of a network use the statistics of all processes; its tensors keep their names.

    Every process must then run the network equally often in each step, forwards and backwards.
    """
    if group.size == 1:
        return
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _Shared(child))


class _Shared(nn.BatchNorm2d):
    """A normalisation that takes over the tensors of another."""

    def __init__(self, other: nn.BatchNorm2d) -> None:
        super().__init__(other.num_features, other.eps, other.momentum, other.affine, other.track_running_stats)
        self.weight, self.bias = other.weight, other.bias
        self.running_mean, self.running_var = other.running_mean, other.running_var
        self.num_batches_tracked = other.num_batches_tracked
        self.training = other.training

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        values = images.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        # Two messages: squares of what is left after the mean is subtracted lose no digits.
        total = summed(torch.cat([values.sum((0, 2, 3)), count]))
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = values - mean.reshape(1, -1, 1, 1)
        variance = summed((centred * centred).sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1.0).clamp(min=1.0), self.momentum)
        result: Tensor = centred * torch.rsqrt(variance + self.eps).reshape(1, -1, 1, 1)
        if self.affine:
            result = result * self.weight.reshape(1, -1, 1, 1) + self.bias.reshape(1, -1, 1, 1)
        return result.to(images.dtype)
