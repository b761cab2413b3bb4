"""How uncertain a descriptor is: the variance head of system M, which stands beside the mean head."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.pooling import GeneralizedMean


class Described(NamedTuple):
    """N images as normal distributions of descriptors, alike in all directions.

    Attributes:
        mean: (N, D), each row of unit length: the descriptors.
        variance: (N,) of each element; None from a network that does not know.
    """

    mean: Tensor
    variance: Tensor | None


class VarianceHead(nn.Module):
    """Generalised mean, two fully connected layers without anything between them, and softplus."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gem = GeneralizedMean()
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.Linear(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) local descriptors to (N,) variances, above 0."""
        return functional.softplus(self.fc(self.gem(x))).squeeze(1)

    def start_at(self, variance: float, generator: torch.Generator) -> None:
        """Random weights that give this variance for every image, so that a training starts where its prior is."""
        first, last = self.fc
        nn.init.normal_(first.weight, std=first.weight.shape[1] ** -0.5, generator=generator)  # keeps the length of what passes
        nn.init.zeros_(first.bias)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(math.expm1(variance)))
