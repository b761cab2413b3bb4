"""Encoders and decoders of DISAM (Hu et al. 2021, section III; ComboGAN, Anoosheh et al. 2018): one of each per condition.

Two strides make a latent of a quarter of the size; it is what places are compared by.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ENCODER_BLOCKS, DECODER_BLOCKS = 4, 5
_DEVIATION = 0.02  # of the weights at first


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.PReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        result: Tensor = maps + self.layers(maps)
        return result


class Encoder(nn.Module):
    """Images of one condition to latents; 5,099,143 parameters at the published 64 channels."""

    def __init__(self, channels: int = 64) -> None:
        """Build it with undefined weights; ``channels`` are those of the first convolution."""
        super().__init__()
        self.first = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, channels, 7))
        self.rest = nn.Sequential(
            *_normalised(channels),
            *_down(channels, 2 * channels),
            *_down(2 * channels, 4 * channels),
            *(ResidualBlock(4 * channels) for _ in range(ENCODER_BLOCKS)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) from -1 to 1, H and W multiples of 4, to (N, 4 C, H / 4, W / 4)."""
        latent: Tensor = self.rest(self.first(images))
        return latent


class Decoder(nn.Module):
    """Latents to images of one condition; 6,565,770 parameters at the published 64 channels."""

    def __init__(self, channels: int = 64) -> None:
        """Build it with undefined weights; ``channels`` are those of the encoder."""
        super().__init__()
        self.layers = nn.Sequential(
            *(ResidualBlock(4 * channels) for _ in range(DECODER_BLOCKS)),
            *_up(4 * channels, 2 * channels),
            *_up(2 * channels, channels),
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels, 3, 7),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """(N, 4 C, h, w) to (N, 3, 4 h, 4 w) from -1 to 1."""
        images: Tensor = self.layers(latents)
        return images


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all convolutions from N(0, 0.02); their biases become zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            with torch.no_grad():
                part.weight.normal_(0.0, _DEVIATION, generator=generator)
                if part.bias is not None:
                    part.bias.zero_()


def _normalised(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.PReLU()


def _down(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, stride=2, padding=1), *_normalised(after)


def _up(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), *_normalised(after)
