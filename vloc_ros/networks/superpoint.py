"""Key points and descriptors of SuperPoint (DeTone et al. 2018) on a stem of ResNet-50, as in the local half of GLVL."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.glvl_form import STEM_STRIDE, ResNetForm
from vloc_ros.networks.local import LocalMaps, LocalNetwork
from vloc_ros.networks.resnet import ResNetStem

CELL = STEM_STRIDE
"""Side of the cells of the detector [px]: of the pixels of each, at most one is a key point."""
BINS = CELL * CELL + 1
"""A cell's pixels, and the bin for 'none of them'."""


class SuperPointHead(nn.Module):
    """Detector and descriptors on a map of stride 8."""

    def __init__(self, channels: int, hidden: int = 256, descriptor: int = 256) -> None:
        """Build it with random weights.

        Args:
            channels: of the map.
            hidden: of the layer between.
            descriptor: length of a descriptor.
        """
        super().__init__()
        self.detector = _branch(channels, hidden, BINS)
        self.descriptor = _branch(channels, hidden, descriptor)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) to (B, 65, h, w) logits of the bins of each cell, and (B, D, h, w) descriptors of unit length."""
        return self.detector(maps), functional.normalize(self.descriptor(maps), dim=1, eps=1e-6)


def log_probabilities(bins: Tensor) -> Tensor:
    """(B, 65, h, w) logits of bins to (B, 1, 8 h, 8 w): for each pixel, the logarithm of the probability of a key point there."""
    return functional.pixel_shuffle(functional.log_softmax(bins, dim=1)[:, :-1], CELL)


class SuperPoint(LocalNetwork):
    """Local features alone: the stem and its head.

    Attributes:
        form: size of the stem.
        width: channels of its first convolution; 64 as published.
    """

    architecture: ClassVar[str] = "superpoint"
    colours: ClassVar[int] = 1
    multiple: ClassVar[int] = CELL
    strides: ClassVar[tuple[int, ...]] = (CELL,)
    through_pixels: ClassVar[bool] = False
    centred: ClassVar[bool] = False
    probable: ClassVar[bool] = True

    def __init__(self, form: ResNetForm, descriptor_size: int = 256) -> None:
        """Build it with random weights; of a larger network the stem alone counts."""
        super().__init__()
        self.form, self._size = form.stem, descriptor_size
        self.width = form.width
        self.stem = ResNetStem(form)
        self.head = SuperPointHead(form.stem_channels, 4 * form.width, descriptor_size)

    @property
    def backbone(self) -> str:
        """As the contract says, with the blocks of the stem."""
        return f"{super().backbone}, blocks {self.form.text}"

    @property
    def map_channels(self) -> tuple[int, ...]:
        """As the contract says."""
        return (self._size,)

    @property
    def descriptor_size(self) -> int:
        """As the contract says."""
        return self._size

    @property
    def projection(self) -> Tensor | None:
        """As the contract says."""
        return None

    def forward(self, images: Tensor) -> LocalMaps:
        """As the contract says."""
        bins, descriptors = self.head(self.stem(images))
        logits = log_probabilities(bins)
        return LocalMaps(logits, torch.exp(logits), (descriptors,))


def _branch(channels: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, 1, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, out, 1),
        nn.BatchNorm2d(out),
    )
