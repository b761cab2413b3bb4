"""Deep homography estimation: from the correlation of two maps of local descriptors to the four corners of one in the other.

Lu et al., "Deep Homography Estimation for Visual Place Recognition", AAAI 2024, section 3.2. Of its published form are the size of
:data:`PUBLISHED` and the order in which positions are laid out; :data:`SMALL` is ours.

Points are in pixels of an image that spans 0 to its size: (0, 0) is the upper left corner of the first pixel, not its centre as
elsewhere in this package, and the centre of the patch in row r and column c is (16 c + 8, 16 r + 8). Published weights mean that.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.names import Backbone

CORNERS = 4
"""Points in the query, and as many in the candidate, that say a homography."""


class DheShape(NamedTuple):
    """How large such a network is.

    Attributes:
        side: local descriptors along either side of an image; tokens are as wide as an image has of them.
        heads: of the attention.
        hidden: width of the layer between the two per token.
        layers: of each of the two stacks.
    """

    side: int
    heads: int
    hidden: int
    layers: int

    @property
    def tokens(self) -> int:
        """Local descriptors of an image."""
        return self.side**2


PUBLISHED = DheShape(side=24, heads=12, hidden=2048, layers=3)
SMALL = DheShape(side=16, heads=8, hidden=512, layers=2)
SHAPES = {Backbone.CCT14: PUBLISHED, Backbone.CCT_SMALL: SMALL}
"""By the backbone whose maps are correlated."""


def correlation(query: Tensor, candidates: Tensor) -> Tensor:
    """How alike all positions of two maps are.

    Cosines below zero count as zero, and what a position of the candidate has with all positions of the query is of unit length.

    Args:
        query: (B, C, S, S) local descriptors of any length, or (1, C, S, S) when all candidates have the same query.
        candidates: (B, C, S, S) likewise.

    Returns:
        (B, S * S, S * S): for each position of the candidate, row by row, those of the query, column by column, as published.
    """
    a = functional.normalize(query, dim=1).transpose(2, 3).flatten(2)
    b = functional.normalize(candidates, dim=1).flatten(2)
    return functional.normalize(functional.relu(b.transpose(1, 2) @ a), dim=2)


class DheNetwork(nn.Module):
    """Correlations to points: four in the query [px], then where the candidate shows them [px]."""

    def __init__(self, shape: DheShape, size: int) -> None:
        """Build it with undefined weights; ``size`` is the height and width of the images [px]."""
        super().__init__()
        self.shape, self.size = shape, size
        width = shape.tokens
        self.positions = nn.Parameter(torch.zeros(1, width, width))
        self.first, self.second = _Stack(shape), _Stack(shape)
        self.points = nn.Linear(width * width, 4 * CORNERS)

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights, with points that begin near the corners of both images: the identity."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, _Attention):
                nn.init.xavier_uniform_(layer.in_proj_weight, generator=generator)
                nn.init.zeros_(layer.in_proj_bias)
        nn.init.zeros_(self.positions)
        nn.init.normal_(self.points.weight, std=1e-3, generator=generator)
        with torch.no_grad():
            self.points.bias.copy_(corners(self.size).repeat(2, 1).flatten())

    def forward(self, query: Tensor, candidates: Tensor) -> Tensor:
        """(B, C, S, S) local descriptors of queries, or (1, C, S, S) of one, and of B candidates to (B, 8, 2) points [px].

        The first four are in the query, the others where the candidate shows them.
        """
        return self.of_correlation(correlation(query, candidates))

    def of_correlation(self, correlated: Tensor) -> Tensor:
        """(B, S * S, S * S) of :func:`correlation` to (B, 8, 2) points [px]."""
        x: Tensor = self.first(correlated + self.positions)
        x = x + self.second(x)
        made: Tensor = self.points(x.flatten(1))
        return made.reshape(-1, 2 * CORNERS, 2)


class _Attention(nn.Module):
    """Self-attention of several heads, with the names of weights that torch gives it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        parts = (
            functional.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return projected


class _Layer(nn.Module):
    """Layer of a transformer that normalises after each sum (Vaswani et al. 2017), with GELU and without dropout."""

    def __init__(self, shape: DheShape) -> None:
        super().__init__()
        width = shape.tokens
        self.self_attn = _Attention(width, shape.heads)
        self.linear1, self.linear2 = nn.Linear(width, shape.hidden), nn.Linear(shape.hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        x = self.norm1(x + self.self_attn(x))
        normalised: Tensor = self.norm2(x + self.linear2(functional.gelu(self.linear1(x))))
        return normalised


class _Stack(nn.Module):
    def __init__(self, shape: DheShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        for layer in self.layers:
            x = layer(x)
        return x


def corners(size: int) -> Tensor:
    """(4, 2) corners of a square image [px], clockwise from the upper left one."""
    end = float(size)
    return torch.tensor([[0.0, 0.0], [end, 0.0], [end, end], [0.0, end]])


def patch_centres(side: int, stride: int = 16) -> Tensor:
    """(side * side, 2) centres (x, y) of the patches of an image [px], row by row."""
    middles = (torch.arange(side, dtype=torch.float32) + 0.5) * stride
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([x, y], 2).reshape(-1, 2)
