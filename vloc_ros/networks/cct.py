"""Compact convolutional transformer (Hassani et al., "Escaping the Big Data Paradigm with Compact Transformers", 2021), cut off.

Of CCT-14/7x2 the first eight layers, as DHE-VPR uses it (Lu et al., "Deep Homography Estimation for Visual Place Recognition",
AAAI 2024): dense local descriptors, one for each patch of 16x16 px. State-dict names are those of its published weights.

The small one is ours: its convolutional tokenizer is the trunk of the small U-Net of local features, which knows day and night
from the start. Its layers then need minutes on a CPU to learn what those of random convolutions would need days for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.names import Backbone
from vloc_ros.networks.unet_encoder import CHANNELS, UNetEncoder

_DROPPED = 0.1
"""Stochastic depth of the last of all layers, rising linearly from zero at the first, and dropout of attention weights."""
_EPS = 1e-5


class CctShape(NamedTuple):
    """How large such a network is.

    Attributes:
        size: height and width of its images [px], a multiple of 16.
        width: of a token.
        between: channels between the two convolutions of the tokenizer; 0 where that is the trunk of the small U-Net.
        heads: of the attention.
        hidden: width of the layer between the two per token.
        layers: that are used.
        of: layers that the whole network has, which the rates of stochastic depth count by.
    """

    size: int
    width: int
    between: int
    heads: int
    hidden: int
    layers: int
    of: int

    @property
    def tokens(self) -> int:
        """Of an image."""
        return (self.size // 16) ** 2


SHAPES = {
    Backbone.CCT14: CctShape(size=384, width=384, between=64, heads=6, hidden=1152, layers=8, of=14),
    Backbone.CCT_SMALL: CctShape(size=256, width=192, between=0, heads=6, hidden=576, layers=2, of=2),
}


class _Tokenizer(nn.Module):
    """Two convolutions of 7x7, each with a ReLU and a largest of 3x3, each of them of stride 2: a sixteenth of the resolution."""

    def __init__(self, between: int, width: int) -> None:
        super().__init__()
        channels = (3, between, width)
        self.conv_layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 7, stride=2, padding=3, bias=False), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
                for a, b in pairwise(channels)
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, H / 16 * W / 16, width), row by row."""
        made: Tensor = self.conv_layers(images)
        return made.flatten(2).transpose(1, 2)


class TrunkTokenizer(nn.Module):
    """The trunk of the small U-Net, and a layer on each 2x2 of its local descriptors: a sixteenth of the resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = UNetEncoder(last_relu=False)
        self.patches = nn.Conv2d(CHANNELS, width, 2, stride=2, bias=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Begin with means of the local descriptors of each patch, and noise in the other channels.

        The trunk gives descriptors in both signs, see :meth:`vloc_ros.networks.unet_encoder.UNetEncoder.begin_with`: half say all.
        """
        nn.init.normal_(self.patches.weight, std=0.01, generator=generator)
        half = min(CHANNELS // 2, len(self.patches.weight))
        with torch.no_grad():
            self.patches.weight[torch.arange(half), torch.arange(half)] = 0.25

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, H / 16 * W / 16, width), row by row."""
        made: Tensor = self.patches(self.trunk(images))
        return made.flatten(2).transpose(1, 2)


class _Attention(nn.Module):
    """Self-attention of several heads; queries, keys and values come from one layer without a bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        count, tokens, width = x.shape
        parts = self.qkv(x).reshape(count, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        dropped = _DROPPED if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], dropout_p=dropped)
        return self.proj(mixed.transpose(1, 2).reshape(count, tokens, width))


class CctLayer(nn.Module):
    """Attention on normalised tokens is added; the sum is normalised itself, and two layers per token are added to that."""

    def __init__(self, shape: CctShape, number: int) -> None:
        super().__init__()
        self.dropped = _DROPPED * number / max(1, shape.of - 1)
        self.pre_norm = nn.LayerNorm(shape.width, eps=_EPS)
        self.self_attn = _Attention(shape.width, shape.heads)
        self.norm1 = nn.LayerNorm(shape.width, eps=_EPS)
        self.linear1 = nn.Linear(shape.width, shape.hidden)
        self.linear2 = nn.Linear(shape.hidden, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        x = self.norm1(x + self._kept(self.self_attn(self.pre_norm(x))))
        return x + self._kept(self.linear2(functional.gelu(self.linear1(x))))

    def _kept(self, change: Tensor) -> Tensor:
        """What is added, left out of some samples in training (stochastic depth, Huang et al. 2016)."""
        if not self.training or self.dropped == 0.0:
            return change
        kept = 1.0 - self.dropped
        mask = torch.empty(len(change), 1, 1, device=change.device, dtype=change.dtype).bernoulli_(kept)
        return change * mask / kept


class _Layers(nn.Module):
    """Learned positions, the layers, and a normalisation."""

    def __init__(self, shape: CctShape) -> None:
        super().__init__()
        self.positional_emb = nn.Parameter(torch.zeros(1, shape.tokens, shape.width))
        self.blocks = nn.ModuleList(CctLayer(shape, number) for number in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, eps=_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        x = tokens + self.positional_emb
        for block in self.blocks:
            x = block(x)
        normalised: Tensor = self.norm(x)
        return normalised


class Cct(nn.Module):
    """Prepared images to a map of local descriptors, whose positions are learned for one size of the image."""

    def __init__(self, backbone: Backbone) -> None:
        """Build it with undefined weights."""
        super().__init__()
        self.shape = SHAPES[backbone]
        between, width = self.shape.between, self.shape.width
        self.tokenizer: nn.Module = _Tokenizer(between, width) if between else TrunkTokenizer(width)
        self.classifier = _Layers(self.shape)

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights as published: truncated normal of deviation 0.02 in layers, 0.2 of positions; convolutions
        after He (2015). Those of the small one's trunk are better begun with local features.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, generator=generator)
        strayed = 0.2 if self.shape.between else 0.02  # or positions would say more than what is to be seen there
        nn.init.trunc_normal_(self.classifier.positional_emb, std=strayed, generator=generator)
        if isinstance(self.tokenizer, TrunkTokenizer):
            self.tokenizer.initialise(generator)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) prepared images to (N, width, size / 16, size / 16).

        Raises:
            ValueError: the images are of another size.
        """
        size, side = self.shape.size, self.shape.size // 16
        if images.shape[-2:] != (size, size):
            raise ValueError(f"the positions are those of {size}x{size} px, not of {tuple(images.shape[-2:])}")
        tokens: Tensor = self.classifier(self.tokenizer(images))
        return tokens.transpose(1, 2).unflatten(2, (side, side))
