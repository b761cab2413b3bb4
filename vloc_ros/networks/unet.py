"""The U-Net of U: one encoder, a decoder for the detector and one for the scores, descriptors from all levels of the encoder.

After Gridseth and Barfoot, "Keeping an Eye on Things: Deep Learned Features for Long-Term Visual Localization" (RA-L 2022), with
the layers of its published check points.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.local import LocalMaps, LocalNetwork

LEVELS = 5
"""Maps of the encoder, each of half the resolution and twice the channels of the one before."""


class UNet(LocalNetwork):
    """The published network; its parameters number 2,750,386 for width 16 and 10,988,898 for width 32.

    Attributes:
        width: channels at full resolution, called layer size in the publication, which uses 16 and 32.
    """

    architecture: ClassVar[str] = "unet"
    colours: ClassVar[int] = 3
    multiple: ClassVar[int] = 16
    strides: ClassVar[tuple[int, ...]] = (1, 2, 4, 8, 16)
    through_pixels: ClassVar[bool] = True

    def __init__(self, width: int = 16) -> None:
        """Build it with random weights.

        Args:
            width: see above.
        """
        super().__init__()
        self.width = width
        inputs = (self.colours, *self.map_channels[:-1])
        self.encoder = nn.ModuleList(_block(n, m) for n, m in zip(inputs, self.map_channels, strict=True))
        self.detector = _Decoder(self.map_channels)
        self.scorer = _Decoder(self.map_channels)

    @property
    def map_channels(self) -> tuple[int, ...]:
        """As the contract says."""
        return tuple(self.width << level for level in range(LEVELS))

    @property
    def descriptor_size(self) -> int:
        """As the contract says: 496 for width 16, 992 for width 32."""
        return sum(self.map_channels)

    @property
    def projection(self) -> Tensor | None:
        """As the contract says: none, descriptors are compared by their zero-normalised cross-correlation."""
        return None

    def forward(self, images: Tensor) -> LocalMaps:
        """As the contract says. The sigmoid of the scores is applied here and nowhere else."""
        maps: list[Tensor] = []
        x = images
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else functional.max_pool2d(x, 2))
            maps.append(x)
        return LocalMaps(self.detector(maps), torch.sigmoid(self.scorer(maps)), tuple(maps))


class _Decoder(nn.Module):
    """From the coarsest map up to one value per pixel, each step beside the map of the encoder of that size."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        # A step takes the map of its level and, from below, twice as many channels: what each block gives is its level's number.
        steps = list(zip(reversed(channels[:-1]), reversed(channels[1:]), strict=True))
        self.steps = nn.ModuleList(_block(level + below, level) for level, below in steps)
        self.head = nn.Conv2d(channels[0], 1, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for step, skipped in zip(self.steps, reversed(maps[:-1]), strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
            x = step(torch.cat([skipped, x], 1))
        values: Tensor = self.head(x)
        return values


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
