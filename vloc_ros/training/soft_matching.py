"""Matching that a gradient can move: where in the other image a key point is expected, given how alike all places there are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vloc_ros.networks.local import LocalMaps, LocalNetwork

TEMPERATURE = 0.01
_AT_ONCE = 1 << 24  # elements of a matrix of similarities that are held in memory


def correlation_scale(size: int) -> float:
    """What a descriptor of ``size`` elements correlates with itself in the publication, whose deviation divides by size - 1."""
    return (size - 1.0) / size


def soft_match(source: Tensor, target: Tensor, places: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """(B, N, 2) expected positions [px] of the source points in the target image.

    Rows of the matrix of similarities are made a block at a time and again for the gradient, so that memory does not grow with
    N x M: dense targets of a 512x384 image would need 604 MB per pair and copy.

    Args:
        source: (B, N, D) descriptors of unit length.
        target: (B, M, D) likewise, of key points or of all pixels.
        places: (B, M, 2) where they are [px].
        temperature: of the softmax over all targets.
    """
    scale = correlation_scale(source.shape[-1]) / temperature

    def block(rows: Tensor, target: Tensor, places: Tensor) -> Tensor:
        return torch.softmax(scale * (rows @ target.transpose(1, 2)), -1) @ places

    blocks = source.split(max(1, _AT_ONCE // (len(source) * target.shape[1])), 1)
    if len(blocks) == 1:
        return block(source, target, places)
    found = [checkpoint(block, rows, target, places, use_reentrant=False) for rows in blocks]
    return torch.cat(found, 1)  # type: ignore[arg-type]  # checkpoint() is typed for any function


def match_weights(similarity: Tensor, source_scores: Tensor, target_scores: Tensor, size: int) -> Tensor:
    """(B, N) weights from 0 to 1 of matches: how alike, times both scores.

    Args:
        similarity: (B, N) cosines of the descriptors.
        source_scores: (B, N) scores from 0 to 1.
        target_scores: (B, N) likewise, at the matched positions.
        size: of a descriptor.
    """
    return 0.5 * (correlation_scale(size) * similarity + 1.0) * source_scores * target_scores


def dense_descriptors(maps: LocalMaps, network: LocalNetwork) -> tuple[Tensor, Tensor]:
    """(B, H W, D) descriptors of all pixels, row by row, and (B, H W, 2) where they are [px]."""
    count, _, height, width = maps.logits.shape
    large = [functional.interpolate(m, size=(height, width), mode="bilinear", align_corners=False) for m in maps.maps]
    descriptors = network.describe(torch.cat(large, 1).flatten(2).transpose(1, 2))
    kind = {"dtype": maps.logits.dtype, "device": maps.logits.device}
    v, u = torch.meshgrid(torch.arange(height, **kind), torch.arange(width, **kind), indexing="ij")
    return descriptors, torch.stack([u, v], -1).reshape(1, -1, 2).expand(count, -1, 2)
