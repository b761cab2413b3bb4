"""The discriminator of DISAM: whether an image is a real one of a condition, judged by luminance and by colours at four scales."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_LUMINANCE = (0.299, 0.587, 0.114)
_BLUR, _SIGMA = 5, 3.0  # [px] side and deviation of the Gaussian that hides details from the stream that sees colours
SCALES = 4


class PatchDiscriminator(nn.Module):
    """One stream: predictions for patches, four times, each of larger patches than the one before."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels, 8 * channels]
        self.first = nn.Sequential(nn.Conv2d(inputs, channels, 4, stride=2, padding=2), nn.PReLU())
        # One output more than the next layer is given: the prediction of this scale.
        self.down = nn.ModuleList(nn.Conv2d(before, after + 1, 4, stride=2, padding=2) for before, after in pairwise(widths))
        self.active = nn.ModuleList(nn.Sequential(nn.InstanceNorm2d(width), nn.PReLU()) for width in widths[1:])
        self.last = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 4, padding=2),
            nn.InstanceNorm2d(widths[-1]),
            nn.PReLU(),
            nn.Conv2d(widths[-1], 1, 4, padding=2),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) to four (N, 1, h, w)."""
        maps, found = self.first(images), []
        for down, active in zip(self.down, self.active, strict=True):
            made = down(maps)
            found.append(made[:, -1:])
            maps = active(made[:, :-1])
        return (*found, self.last(maps))


class Discriminator(nn.Module):
    """Both streams; 13,931,410 parameters at the published 64 channels."""

    blur: Tensor

    def __init__(self, channels: int = 64) -> None:
        """Build it with undefined weights."""
        super().__init__()
        self.luminance = PatchDiscriminator(1, channels)
        self.colour = PatchDiscriminator(3, channels)
        self.register_buffer("blur", _gaussian(), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) from -1 to 1, to (N, 2, h, w) predictions at four scales: 65, 33, 17 and 19 along a side of 256 px."""
        weights = images.new_tensor(_LUMINANCE).reshape(1, 3, 1, 1)
        grey = (images * weights).sum(dim=1, keepdim=True)
        blurred = functional.conv2d(functional.pad(images, [_BLUR // 2] * 4, mode="reflect"), self.blur.to(images.dtype), groups=3)
        return tuple(torch.cat(pair, dim=1) for pair in zip(self.luminance(grey), self.colour(blurred), strict=True))


def _gaussian() -> Tensor:
    """(3, 1, 5, 5) weights, one group per colour."""
    offsets = torch.arange(_BLUR, dtype=torch.float32) - _BLUR // 2
    line = torch.exp(-(offsets**2) / (2.0 * _SIGMA**2))
    square = line[:, None] * line[None]
    return (square / square.sum()).expand(3, 1, _BLUR, _BLUR).contiguous()
