"""The network of GLVL: global vectors and local features of one grey image, on a stem that both share."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.glvl_form import GlvlForm
from vloc_ros.networks.pooling import GeneralizedMean
from vloc_ros.networks.resnet import ResNetStem, ResNetTop
from vloc_ros.networks.superpoint import SuperPointHead


class GlvlMaps(NamedTuple):
    """What the network makes of B images of H x W pixels.

    Attributes:
        vectors: (B, 32 width), of unit length.
        bins: (B, 65, H / 8, W / 8) logits of the pixels of each cell, and of none of them.
        descriptors: (B, D, H / 8, W / 8) of unit length.
    """

    vectors: Tensor
    bins: Tensor
    descriptors: Tensor


class Glvl(nn.Module):
    """A stem of ResNet-50 for grey images; on it the rest of ResNet-50 with a generalised mean, and the heads of SuperPoint."""

    def __init__(self, form: GlvlForm) -> None:
        """Build it with random weights."""
        super().__init__()
        self.form = form
        self.stem = ResNetStem(form.resnet)
        self.local = SuperPointHead(form.resnet.stem_channels, 4 * form.resnet.width, form.descriptor)
        self.top = ResNetTop(form.resnet)
        self.gem = GeneralizedMean()

    def forward(self, images: Tensor) -> GlvlMaps:
        """(B, 1, H, W) images with values from 0 to 1."""
        maps = self.stem(images)
        return GlvlMaps(self.global_of(maps), *self.local(maps))

    def global_of(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) maps of the stem to (B, 32 width) vectors of unit length; each position counts by its direction alone.

        The published mean keeps the length that it happens to have (source_systems 5.2); of unit length, vectors of dark and of
        bright images compare alike, and a margin means the same for all.
        """
        pooled: Tensor = self.gem(functional.normalize(self.top(maps), dim=1, eps=1e-6))
        return functional.normalize(pooled, dim=1)
