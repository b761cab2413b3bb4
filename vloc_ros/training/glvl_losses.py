"""Losses of GLVL (source_systems 5.3): cells of the detector, descriptors by hinges or by contrast, and retrieval by triplets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vloc_ros.networks.local import sample
from vloc_ros.networks.superpoint import CELL
from vloc_ros.training.ground_labels import IGNORED
from vloc_ros.training.tuple_losses import distance

_FAR = -1e4  # in place of minus infinity, which makes gradients that are not numbers


def cell_loss(bins: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the softmax over the 65 bins of each cell, a mean over the cells of which something is known.

    Published is the binary cross entropy of the same softmax, bin by bin (source_systems 5.3); one bin of each cell is right, which
    is what this one says.

    Args:
        bins: (B, 65, h, w) logits.
        labels: (B, h, w) uint8: the bin, or :data:`vloc_ros.training.ground_labels.IGNORED`.
    """
    known = labels != IGNORED
    wanted = torch.where(known, labels, 0).long()
    losses = functional.cross_entropy(bins, wanted, reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def descriptors_at(maps: Tensor, points: Tensor) -> Tensor:
    """(B, N, D) descriptors of unit length at (B, N, 2) positions [px] of the image, between cells interpolated."""
    found = sample(maps, (points + 0.5) / CELL - 0.5)
    return functional.normalize(found, dim=-1, eps=1e-6)


def hinge_loss(
    maps_a: Tensor, maps_b: Tensor, points_a: Tensor, points_b: Tensor, others: int, near_px: float, margin: float = 0.2
) -> Tensor:
    """The published sparse loss: max(0, 1 - dot) of matches, and max(0, dot - margin) of non-matches.

    Each is the sum over its violations divided by their number; matches weigh lambda_d = 1.

    Args:
        maps_a: (B, D, h, w) descriptors of the first views.
        maps_b: likewise of the second ones.
        points_a: (B, N, 2) positions [px].
        points_b: (B, N, 2) of the same; NaN where there are fewer.
        others: random cells of the second view, non-matches of each match.
        near_px: what is nearer to the true position is no non-match.
        margin: of non-matches.
    """
    known = torch.isfinite(points_b).all(-1)
    of_a = descriptors_at(maps_a, torch.nan_to_num(points_a))
    of_b = descriptors_at(maps_b, torch.nan_to_num(points_b))
    matches = (1.0 - (of_a * of_b).sum(-1)).clamp(min=0.0) * known
    height, width = maps_b.shape[-2:]
    cells = torch.randint(height * width, (*known.shape, others), device=maps_b.device)
    at = CELL * torch.stack([cells % width, cells // width], -1) + 0.5 * (CELL - 1)
    apart = (at - torch.nan_to_num(points_b)[:, :, None]).norm(dim=-1) >= near_px
    # With all cells at once, of which the drawn ones count: their descriptors need not be copied.
    alike = (of_a @ maps_b.flatten(2)).gather(2, cells)
    wrong = (alike - margin).clamp(min=0.0) * (apart & known[..., None])
    return _over_violations(matches) + _over_violations(wrong)


def _over_violations(losses: Tensor) -> Tensor:
    return losses.sum() / (losses.detach() > 0.0).sum().clamp(min=1)


def contrast_loss(
    maps_a: Tensor, maps_b: Tensor, points_a: Tensor, points_b: Tensor, temperature: float, near_px: float
) -> tuple[Tensor, Tensor]:
    """Cross entropy of finding the true match among those of all places of the batch, in both directions (InfoNCE).

    Arguments as of :func:`hinge_loss`; two places are taken for different ones.

    Returns:
        The loss, and the share of mutual nearest neighbours.
    """
    known = torch.isfinite(points_b).all(-1)
    place = torch.arange(len(points_a), device=points_a.device)[:, None].expand_as(known)[known]
    of_a = descriptors_at(maps_a, torch.nan_to_num(points_a))[known]
    of_b = descriptors_at(maps_b, torch.nan_to_num(points_b))[known]
    if len(of_a) == 0:
        return maps_a.sum() * 0.0, maps_a.new_zeros(())
    similarity = of_a @ of_b.T
    with torch.no_grad():
        a, b = points_a[known], points_b[known]
        near = (torch.cdist(a, a) < near_px) | (torch.cdist(b, b) < near_px)
        near &= place[:, None] == place[None, :]
        near.fill_diagonal_(False)
    similarity = similarity.masked_fill(near, _FAR)
    number = torch.arange(len(of_a), device=of_a.device)
    logits = similarity / temperature
    loss = 0.5 * (functional.cross_entropy(logits, number) + functional.cross_entropy(logits.T, number))
    right = (similarity.argmax(1) == number) & (similarity.argmax(0) == number)
    return loss, right.float().mean()


def triplet_loss(vectors: Tensor, count: int, chosen: Tensor, margin: float, hardest: int) -> tuple[Tensor, Tensor]:
    """Triplet margin loss of Euclidean distances (p = 2), the mean over places of that of their nearest negatives.

    Args:
        vectors: (M, D): of the first views of ``count`` places, of their second views, then others.
        count: of the places.
        chosen: (count, M) bool: which images are negatives of each place.
        margin: the margin.
        hardest: at most so many negatives of a place count, the nearest ones.

    Returns:
        The loss, and the share of places whose second view is nearer than all negatives.
    """
    queries, positives = vectors[:count], vectors[count : 2 * count]
    to_all = distance(queries[:, None], vectors[None])
    to_negatives = torch.where(chosen, to_all, 1e4)
    to_own = distance(queries, positives)
    nearest = to_negatives.topk(min(hardest, to_negatives.shape[1]), dim=1, largest=False).values
    present = nearest < 1e3
    losses = torch.where(present, (to_own[:, None] + margin - nearest).clamp(min=0.0), 0.0)
    loss = losses.sum() / present.sum().clamp(min=1)
    return loss, (to_own < to_negatives.amin(1)).float().mean()


def place_contrast_loss(vectors: Tensor, count: int, chosen: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross entropy of finding the second view of a place among it and its negatives; arguments as of :func:`triplet_loss`."""
    alike = vectors[:count] @ vectors.T
    own = (vectors[:count] * vectors[count : 2 * count]).sum(1)
    logits = torch.cat([own[:, None], alike.masked_fill(~chosen, _FAR)], 1) / temperature
    wanted = torch.zeros(count, dtype=torch.long, device=vectors.device)
    return functional.cross_entropy(logits, wanted), (logits.detach().argmax(1) == 0).float().mean()
