"""MobileNetV3-Large without its classifier (Howard et al. 2019, table 1), and a projection to 256 channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

PROJECTED = 256


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """One row of table 1 of the paper: an inverted residual of kernel x kernel."""

    channels: int
    kernel: int
    expanded: int
    out: int
    squeeze: bool  # whether channels are re-weighted by squeeze and excitation
    hard_swish: bool  # else ReLU
    stride: int


TABLE = (
    Bottleneck(16, 3, 16, 16, False, False, 1),
    Bottleneck(16, 3, 64, 24, False, False, 2),
    Bottleneck(24, 3, 72, 24, False, False, 1),
    Bottleneck(24, 5, 72, 40, True, False, 2),
    Bottleneck(40, 5, 120, 40, True, False, 1),
    Bottleneck(40, 5, 120, 40, True, False, 1),
    Bottleneck(40, 3, 240, 80, False, True, 2),
    Bottleneck(80, 3, 200, 80, False, True, 1),
    Bottleneck(80, 3, 184, 80, False, True, 1),
    Bottleneck(80, 3, 184, 80, False, True, 1),
    Bottleneck(80, 3, 480, 112, True, True, 1),
    Bottleneck(112, 3, 672, 112, True, True, 1),
    Bottleneck(112, 5, 672, 160, True, True, 2),
    Bottleneck(160, 5, 960, 160, True, True, 1),
    Bottleneck(160, 5, 960, 160, True, True, 1),
)


class FrozenBatchNorm(nn.Module):
    """Batch normalisation by stored statistics, in training too: batches are too small to measure their own."""

    EPS = 0.001
    """What the published weights were trained with; not torch's default."""

    def __init__(self, channels: int, eps: float = EPS) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class SqueezeExcitation(nn.Module):
    """Re-weights the channels by what they hold on average (Hu et al. 2018), with a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = divisible_by_8(channels / 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        mean = functional.adaptive_avg_pool2d(x, 1)
        return x * functional.hardsigmoid(self.fc2(functional.relu(self.fc1(mean))))


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, re-weight, project; with a short cut where the shape is kept."""

    def __init__(self, row: Bottleneck) -> None:
        super().__init__()
        self.short_cut = row.stride == 1 and row.channels == row.out
        activation = nn.Hardswish if row.hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if row.expanded != row.channels:
            layers.append(convolution(row.channels, row.expanded, 1, activation=activation))
        layers.append(convolution(row.expanded, row.expanded, row.kernel, row.stride, groups=row.expanded, activation=activation))
        if row.squeeze:
            layers.append(SqueezeExcitation(row.expanded))
        layers.append(convolution(row.expanded, row.out, 1))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        y = self.block(x)
        return x + y if self.short_cut else y


class MobileNetV3(nn.Module):
    """State-dict names of ``features`` as torchvision's; ``project`` is the 1x1 convolution to 256 channels behind it."""

    def __init__(self) -> None:
        super().__init__()
        last = TABLE[-1].out
        self.features = nn.Sequential(
            convolution(3, TABLE[0].channels, 3, stride=2, activation=nn.Hardswish),
            *(InvertedResidual(row) for row in TABLE),
            convolution(last, 6 * last, 1, activation=nn.Hardswish),
        )
        self.project = nn.Conv2d(6 * last, PROJECTED, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) prepared images to (N, 256, ceil(H / 32), ceil(W / 32))."""
        return self.project(self.features(images))


def convolution(
    channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, activation: type[nn.Module] | None = None
) -> nn.Sequential:
    """A convolution without bias, its batch normalisation, and an activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        FrozenBatchNorm(out),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation(inplace=True)]))


def divisible_by_8(value: float) -> int:
    """The nearest multiple of 8, at least 8, that is not smaller by more than a tenth."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded
