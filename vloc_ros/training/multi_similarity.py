"""Multi-similarity loss with its pair mining (Wang et al., "Multi-Similarity Loss with General Pair Weighting", CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vloc_ros.config import param
from vloc_ros.networks.network import PlaceNetwork
from vloc_ros.training.distributed import Group, gathered
from vloc_ros.training.place_feed import PlaceBatch
from vloc_ros.training.place_numbers import PlaceNumbers


@dataclass(frozen=True)
class MultiSimilaritySettings:
    """Section 4 of the paper; its alpha, beta, lambda and epsilon. Similarities are cosines."""

    positive_scale: float = param(2.0, "how steeply images of one place that are not alike count", min=0.01, max=200.0)
    negative_scale: float = param(50.0, "how steeply images of different places that are alike count", min=0.01, max=500.0)
    base: float = param(0.5, "similarity at which a pair counts half", min=-1.0, max=1.0)
    margin: float = param(0.1, "pairs that are right by more than this are left out", min=0.0, max=2.0)


class Mined(NamedTuple):
    """Pairs that teach something: (A, N) each, of A anchors and N images."""

    positive: Tensor
    negative: Tensor


def mined(similarity: Tensor, same: Tensor, different: Tensor, margin: float) -> Mined:
    """Pairs that are not clearly right (equations 10 and 11).

    A pair of different places is kept when it is more alike than the least similar pair of one place less the margin; a pair of
    one place when it is less alike than the most similar pair of different places plus the margin.

    Args:
        similarity: (A, N) cosines of anchors to images.
        same: (A, N) bool, one place; an anchor is no pair with itself.
        different: (A, N) bool, different places.
        margin: epsilon.
    """
    infinity = torch.tensor(float("inf"), dtype=similarity.dtype, device=similarity.device)
    least = torch.where(same, similarity, infinity).amin(1, keepdim=True)
    most = torch.where(different, similarity, -infinity).amax(1, keepdim=True)
    return Mined(same & (similarity < most + margin), different & (similarity > least - margin))


def multi_similarity(similarity: Tensor, pairs: Mined, settings: MultiSimilaritySettings) -> Tensor:
    """(A,) losses of anchors (equation 15): zero for one without a pair."""
    alpha, beta = settings.positive_scale, settings.negative_scale
    apart = similarity - settings.base
    return _soft_sum(-alpha * apart, pairs.positive) / alpha + _soft_sum(beta * apart, pairs.negative) / beta


def _soft_sum(exponents: Tensor, chosen: Tensor) -> Tensor:
    """(A,) log(1 + sum of exp) over the chosen ones of each row, without overflow."""
    kept = exponents.masked_fill(~chosen, float("-inf"))
    return torch.logsumexp(torch.cat([torch.zeros_like(kept[:, :1]), kept], 1), 1)


class MultiSimilarityObjective:
    """The mean loss of all images of a batch, each an anchor for all others, in however many processes they are."""

    def __init__(self, settings: MultiSimilaritySettings, numbers: PlaceNumbers, group: Group) -> None:
        """Remember how places are told apart."""
        self._settings, self._numbers, self._group = settings, numbers, group

    def __call__(self, network: PlaceNetwork, batch: PlaceBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """The loss, and the terms that show how it goes.

        ``right`` is the share of anchors whose most similar image shows their place, ``positive`` their mean similarity to the
        others of it, ``negative`` that to the most similar other place. All are means over anchors, as the loss is.
        """
        vectors = network(batch.images)
        everything, places, first = vectors, batch.places, 0
        if network.training:  # held-out batches are those of one process
            everything, first = gathered(vectors, self._group)
            places, _ = gathered(batch.places, self._group)
        rows = slice(first, first + len(vectors))
        different = torch.from_numpy(self._numbers.different(places.cpu().numpy())).to(vectors.device)[rows]
        same = places[rows, None] == places[None, :]
        same[torch.arange(len(vectors)), first + torch.arange(len(vectors))] = False
        similarity = vectors @ everything.T
        found = mined(similarity.detach(), same, different, self._settings.margin)
        loss = multi_similarity(similarity, found, self._settings).mean()
        return loss, _terms(similarity.detach(), same, different)


def _terms(similarity: Tensor, same: Tensor, different: Tensor) -> dict[str, float]:
    nearest = similarity.masked_fill(~different, -1.0).amax(1)
    right = similarity.masked_fill(~same, -1.0).amax(1) > nearest
    return {
        "right": float(right.float().mean()),
        "positive": float((similarity.masked_fill(~same, 0.0).sum(1) / same.sum(1).clamp(min=1)).mean()),
        "negative": float(nearest.mean()),
    }
