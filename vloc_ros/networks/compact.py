"""A small U-Net of local features for CPUs: the family of U with grey input, folded full resolution and one decoder."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.local import LocalMaps, LocalNetwork

_CONTRAST_CELL = 8  # [px] side of the cells whose mean and deviation are taken away
_NOISE = 2.0 / 255.0  # deviation below which contrast is noise and not enlarged further


class CompactUNet(LocalNetwork):
    """Encoder and one decoder on blocks of pixels; descriptors are a projection of six maps.

    What differs from U, and why: colour says little at night and infra-red cameras have none (grey input); headlights and
    shadows are taken away before the first layer (local contrast); the layers of full resolution, most of the cost of U, are
    folded into channels, blocks of 2 x 2 pixels at the entrance and of 4 x 4 at the exit; detector and score share one
    decoder.

    Attributes:
        width: channels at half the resolution; 16 is the one that is shipped.
    """

    architecture: ClassVar[str] = "compact_unet"
    colours: ClassVar[int] = 1
    multiple: ClassVar[int] = 32
    strides: ClassVar[tuple[int, ...]] = (4, 8, 16, 32, 8, 4)
    through_pixels: ClassVar[bool] = False

    def __init__(self, width: int = 16, descriptor_size: int = 128) -> None:
        """Build it with random weights.

        Args:
            width: see above.
            descriptor_size: length of a descriptor.
        """
        super().__init__()
        self.width = width
        self.encoder, self.decoder = trunk(width)
        self._map_channels = trunk_channels(width)
        self.head = nn.Sequential(_conv(2 * width, 2 * width), nn.Conv2d(2 * width, 2 * 4**2, 1))
        # Key points are rare: a detector that starts by saying so learns sooner (Lin et al. 2017).
        nn.init.constant_(self.head[1].bias[: 4**2], -3.0)
        self.project = nn.Linear(sum(self._map_channels), descriptor_size, bias=False)

    @property
    def map_channels(self) -> tuple[int, ...]:
        """As the contract says."""
        return self._map_channels

    @property
    def descriptor_size(self) -> int:
        """As the contract says."""
        return int(self.project.out_features)

    @property
    def projection(self) -> Tensor | None:
        """As the contract says."""
        return self.project.weight

    def forward(self, images: Tensor) -> LocalMaps:
        """As the contract says."""
        maps = trunk_maps(self.encoder, self.decoder, images)
        logits, scores = functional.pixel_shuffle(self.head(maps[-1]), 4).split(1, 1)
        return LocalMaps(logits, torch.sigmoid(scores) * torch.sigmoid(logits), maps)


def trunk(width: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Encoder and decoder with random weights: all but the detector and the projection to descriptors."""
    w0, w1, w2, w3, w4 = (width * factor for factor in (1, 2, 3, 4, 6))
    encoder = nn.ModuleList([_conv(8, w0), _down(w0, w1), _down(w1, w2), _down(w2, w3), _down(w3, w4)])
    return encoder, nn.ModuleList([_conv(w4 + w3, w2), _conv(w2 + w2, w2), _conv(w2 + w1, w1)])


def trunk_channels(width: int) -> tuple[int, ...]:
    """Channels of the maps of :func:`trunk_maps`."""
    return tuple(width * factor for factor in (2, 3, 4, 6, 3, 2))


def trunk_maps(encoder: nn.ModuleList, decoder: nn.ModuleList, images: Tensor) -> tuple[Tensor, ...]:
    """The six maps of (B, 1, H, W) grey images from 0 to 1, H and W multiples of 32, at :attr:`CompactUNet.strides`."""
    x = folded(images)
    down: list[Tensor] = []
    for block in encoder:
        x = block(x)
        down.append(x)
    up: list[Tensor] = []
    for block, skipped in zip(decoder, (down[3], down[2], down[1]), strict=True):
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = block(torch.cat([skipped, x], 1))
        up.append(x)
    return (*down[1:], up[1], up[2])


def folded(images: Tensor) -> Tensor:
    """(B, 8, H/2, W/2) of (B, 1, H, W) grey images: each block of 2 x 2 pixels, with its contrast made even.

    The first four channels are without the mean and deviation of the whole image, the others without those of the
    neighbourhood, which are means of cells, smoothed and interpolated.
    """
    mean = images.mean((2, 3), keepdim=True)
    blocks = functional.pixel_unshuffle(images, 2) - mean
    cells = functional.avg_pool2d(blocks, _CONTRAST_CELL // 2).mean(1, keepdim=True)
    squares = functional.avg_pool2d(blocks * blocks, _CONTRAST_CELL // 2).mean(1, keepdim=True)
    whole = torch.rsqrt(squares.mean((2, 3), keepdim=True) + _NOISE**2)
    smooth = functional.avg_pool2d(torch.cat([cells, squares], 1), 5, stride=1, padding=2, count_include_pad=False)
    local_mean, local_square = smooth.split(1, 1)
    gain = torch.rsqrt((local_square - local_mean * local_mean).clamp(min=0.0) + _NOISE**2)
    near = functional.interpolate(
        torch.cat([local_mean, gain], 1), scale_factor=_CONTRAST_CELL / 2.0, mode="bilinear", align_corners=False
    )
    local_mean, gain = near.split(1, 1)
    return torch.cat([blocks * whole, (blocks - local_mean) * gain], 1)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, outputs, 2), _conv(outputs, outputs))
