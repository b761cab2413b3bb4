"""The small U-Net of local features as a backbone of place recognition: what it has learned of day and night serves both."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.errors import WeightsError
from vloc_ros.networks.compact import CompactUNet, trunk, trunk_channels, trunk_maps
from vloc_ros.networks.local import LocalNetwork
from vloc_ros.networks.mobilenetv3 import FrozenBatchNorm
from vloc_ros.networks.preprocessing import DEVIATION, MEAN

WIDTH = 16
CHANNELS = 256
_STRIDE = 8
_EPS = 1e-5  # of the normalisations of the local features
# As OpenCV makes grey of RGB, on which the local features were trained.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class UNetEncoder(nn.Module):
    """The six maps from which the small U-Net takes its local descriptors, at an eighth of the resolution, projected.

    All normalisations are by stored statistics, as in the other backbones.
    """

    def __init__(self, last_relu: bool = True) -> None:
        """Build it with undefined weights.

        Args:
            last_relu: whether local descriptors are cut at zero, as a generalised mean wants them; NetVLAD wants both signs.
        """
        super().__init__()
        self.encoder, self.decoder = trunk(WIDTH)
        _freeze_norms(self)
        self.project = nn.Conv2d(sum(trunk_channels(WIDTH)), CHANNELS, 1, bias=False)
        self.last_relu = last_relu

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) prepared images, H and W multiples of 32, to (N, 256, H / 8, W / 8)."""
        maps = trunk_maps(self.encoder, self.decoder, grey_of_prepared(images))
        size = (images.shape[2] // _STRIDE, images.shape[3] // _STRIDE)
        local: Tensor = self.project(torch.cat([_at(each, size) for each in maps], 1))
        return functional.relu(local) if self.last_relu else local

    def begin_with(self, local: LocalNetwork) -> None:
        """Take the weights of local features: the trunk, and their projection in both signs, so that a ReLU loses nothing.

        Raises:
            WeightsError: they are of another network.
        """
        if not isinstance(local, CompactUNet) or local.width != WIDTH or 2 * local.descriptor_size != CHANNELS:
            raise WeightsError(
                f"place recognition begins with a compact_unet of width {WIDTH} and {CHANNELS // 2} elements, and these local "
                f"features are {local.architecture} of width {local.width} with {local.descriptor_size}: name others with --start"
            )
        shared = {name for name in self.state_dict() if not name.startswith("project.")}
        self.load_state_dict({name: value for name, value in local.state_dict().items() if name in shared}, strict=False)
        projection = cast(Tensor, local.projection).detach()
        with torch.no_grad():
            self.project.weight.copy_(torch.cat([projection, -projection])[:, :, None, None])


def grey_of_prepared(images: Tensor) -> Tensor:
    """(N, 1, H, W) grey images from 0 to 1 of (N, 3, H, W) ones that are prepared for ImageNet's networks."""
    weight = torch.from_numpy(_LUMA * DEVIATION).to(images).reshape(1, 3, 1, 1)
    return functional.conv2d(images, weight) + float(np.dot(_LUMA, MEAN))


def _at(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map at another resolution: means of cells where it shrinks, interpolated where it grows."""
    if x.shape[2] > size[0]:
        return functional.avg_pool2d(x, x.shape[2] // size[0])
    return x if x.shape[2] == size[0] else functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _freeze_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm(child.num_features, _EPS))
        else:
            _freeze_norms(child)
