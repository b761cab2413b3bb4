"""The contract of a network of local features: from an image to where its key points are, how good, and how they look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class LocalMaps(NamedTuple):
    """What a network makes of a batch of B images of H x W pixels.

    Attributes:
        logits: (B, 1, H, W) of the detector; a softmax over a neighbourhood says where in it the key point is.
        scores: (B, 1, H, W) in (0, 1): how much a key point there is worth.
        maps: what descriptors are sampled from, each (B, C_i, H / stride_i, W / stride_i).
    """

    logits: Tensor
    scores: Tensor
    maps: tuple[Tensor, ...]


class LocalNetwork(nn.Module, ABC):
    """A network of local features.

    Attributes:
        architecture: its name in model cards.
        width: what scales the number of its channels.
        colours: channels of an image: 3 for RGB, 1 for grey.
        multiple: height and width of an image must be multiples of this [px].
        strides: pixels of the image from one element of each descriptor map to the next.
        through_pixels: how descriptor maps are read between their elements, see :func:`sample_maps`.
        centred: whether without a projection the mean of what is sampled is taken away, as published for U.
        probable: whether scores are probabilities of a key point at each pixel, as published for SuperPoint.
    """

    architecture: ClassVar[str]
    colours: ClassVar[int]
    multiple: ClassVar[int]
    strides: ClassVar[tuple[int, ...]]
    through_pixels: ClassVar[bool]
    centred: ClassVar[bool] = True
    probable: ClassVar[bool] = False
    width: int

    @abstractmethod
    def forward(self, images: Tensor) -> LocalMaps:
        """Maps of (B, colours, H, W) images with values from 0 to 1."""

    @property
    def backbone(self) -> str:
        """How large it is, as model cards say it."""
        return f"width {self.width}"

    @property
    @abstractmethod
    def map_channels(self) -> tuple[int, ...]:
        """Channels of each descriptor map."""

    @property
    @abstractmethod
    def descriptor_size(self) -> int:
        """Length of a descriptor."""

    @property
    @abstractmethod
    def projection(self) -> Tensor | None:
        """(D, C) matrix from what is sampled to descriptors, None when descriptors are the samples themselves."""

    def describe(self, columns: Tensor) -> Tensor:
        """(..., D) descriptors of unit length from (..., C) samples of all maps side by side.

        Without a projection, the dot product of two that are centred is the zero-normalised cross-correlation.
        """
        matrix = self.projection
        raw = columns if matrix is None else columns @ matrix.T
        if matrix is None and self.centred:
            raw = raw - raw.mean(-1, keepdim=True)
        return functional.normalize(raw, dim=-1, eps=1e-6)


def sample_maps(maps: LocalMaps, network: LocalNetwork, keypoints: Tensor) -> Tensor:
    """(B, N, C) values of all descriptor maps, side by side, at (B, N, 2) key points (u, v) [px].

    Pixel (0, 0) is the centre of the top-left pixel in the image and in every map, so that position u of the image is
    (u + 0.5) / stride - 0.5 of a map. With ``through_pixels`` the values are those of the maps enlarged to the size of the
    image and sampled there, as published for U, computed at the four pixels around each key point only.
    """
    if network.through_pixels:
        base = keypoints.floor()
        u, v = (keypoints - base).unbind(-1)
        total: Tensor | None = None
        height, width = maps.logits.shape[-2:]
        limit = keypoints.new_tensor([width - 1.0, height - 1.0])
        for du, dv, weight in ((0, 0, (1 - u) * (1 - v)), (1, 0, u * (1 - v)), (0, 1, (1 - u) * v), (1, 1, u * v)):
            corner = torch.minimum((base + base.new_tensor([du, dv])).clamp(min=0.0), limit)
            part = _columns(maps, network.strides, corner) * weight.unsqueeze(-1)
            total = part if total is None else total + part
        assert total is not None  # four terms
        return total
    return _columns(maps, network.strides, keypoints)


def _columns(maps: LocalMaps, strides: tuple[int, ...], keypoints: Tensor) -> Tensor:
    return torch.cat([sample(m, (keypoints + 0.5) / stride - 0.5) for m, stride in zip(maps.maps, strides, strict=True)], -1)


def sample(image: Tensor, points: Tensor) -> Tensor:
    """(B, N, C) bilinear samples of (B, C, H, W) images at (B, N, 2) points (u, v) [px]; the border is continued outwards."""
    height, width = image.shape[-2:]
    grid = (2.0 * points + 1.0) / points.new_tensor([width, height]) - 1.0
    found = functional.grid_sample(image, grid.unsqueeze(1), mode="bilinear", padding_mode="border", align_corners=False)
    return found.squeeze(2).transpose(1, 2)
