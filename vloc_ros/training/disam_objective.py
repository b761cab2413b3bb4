"""What a network of DISAM learns: every loss of the paper, each of which can be switched off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, unique
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vloc_ros.config import param
from vloc_ros.networks.translation import Side, Translated, TranslationNetwork
from vloc_ros.training.disam_losses import (
    activation_consistency,
    adversarial,
    consistency,
    cycle,
    latent_distances,
    map_distances,
    triplet,
)


@unique
class Margin(Enum):
    """Of a triplet loss."""

    NONE = "none"
    """No triplet loss."""
    CONSTANT = "constant"
    ADAPTIVE = "adaptive"
    """It shrinks as the distance of the positives grows."""


@dataclass(frozen=True)
class DisamObjectiveSettings:
    """Losses and their weights; those of latents, triplets and maps grow from epoch to epoch up to these."""

    gan: float = param(1.0, "weight of deceiving the discriminators", min=0.0)
    cycle: float = param(10.0, "weight of coming back to the image; does not grow", min=0.0)
    latent: float = param(0.1, "weight of feature consistency (FCL)", min=0.0)
    cosine: float = param(0.0, "of the cosine in it, beside the mean square; the fine model has 1", min=0.0)
    sam: float = param(0.0, "weight of the consistency of similarity activation maps; the fine model has 1000", min=0.0)
    triplet: Margin = param(Margin.ADAPTIVE, "margin of the triplet loss of latents: none, constant or adaptive")
    triplet_weight: float = param(1.0, "of it", min=0.0)
    margin: float = param(5.0, "m of that margin", min=0.0)
    adapt: float = param(2.0, "a of that margin, how fast it shrinks", min=0.0)
    sam_triplet: Margin = param(Margin.NONE, "margin of the triplet loss of maps; the fine model has an adaptive one")
    sam_triplet_weight: float = param(1.0, "of it", min=0.0)
    sam_margin: float = param(0.1, "m of that margin", min=0.0)
    sam_adapt: float = param(1000.0, "a of that margin", min=0.0)
    condition: float = param(1.0, "weight of the classifier of conditions, which changes nothing else; 0: none learns", min=0.0)
    grow: bool = param(True, "weights grow linearly with the epochs; off, they are full from the start")


class TranslationBatch(NamedTuple):
    """N pairs of unpaired images, on one device.

    Attributes:
        first: (N, 3, H, W) images of a condition, from -1 to 1; in between (N, H, W, 3) uint8.
        second: (N, 3, H, W) images of another condition.
        candidates: (N, M, 3, H, W) further images of the other condition, for hard negatives; M may be 0.
        conditions: the numbers of both conditions.
    """

    first: Tensor
    second: Tensor
    candidates: Tensor
    conditions: tuple[int, int]


class DisamObjective:
    """The loss of a step: generators against discriminators that stand still, and discriminators against what was generated.

    As the parameters of both are different ones and neither sees the other's gradients, one step with the sum is what
    alternating steps are that begin with the same weights.
    """

    def __init__(self, settings: DisamObjectiveSettings, epochs: int) -> None:
        """``epochs`` of the whole training: in the last of them, the weights have grown to the full."""
        self._settings, self._epochs = settings, epochs

    def __call__(self, network: TranslationNetwork, batch: TranslationBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, a mean over its pairs, and its terms by name, before they are weighted."""
        settings = self._settings
        out: Translated = network(batch.first, batch.second, batch.candidates, *batch.conditions)
        grown = (epoch + 1) / self._epochs if settings.grow else 1.0
        sides = ((out.first, batch.first), (out.second, batch.second))
        terms: dict[str, tuple[float, Tensor]] = {
            "deceive": (settings.gan, _sum(adversarial(side.deceived, True) for side, _ in sides)),
            "cycle": (settings.cycle, _sum(cycle(side.cycled, images) for side, images in sides)),
            "latent": (grown * settings.latent, _sum(consistency(s.again, s.latent, settings.cosine) for s, _ in sides)),
            "discriminate": (0.5, _sum(adversarial(s.real, True) + adversarial(s.made, False) for s, _ in sides)),
        }
        if settings.sam > 0.0:
            terms["sam"] = (grown * settings.sam, _sum(activation_consistency(s.again, s.latent) for s, _ in sides))
        if settings.triplet is not Margin.NONE:
            terms["triplet"] = (grown * settings.triplet_weight, self._triplet(out, batch, maps=False))
        if settings.sam_triplet is not Margin.NONE:
            terms["sam_triplet"] = (grown * settings.sam_triplet_weight, self._triplet(out, batch, maps=True))
        if settings.condition > 0.0 and network.domains.classifier is not None:
            named = zip((out.first, out.second), batch.conditions, strict=True)
            terms["condition"] = (settings.condition, _sum(_classified(side, condition) for side, condition in named))
        loss = torch.stack([weight * term for weight, term in terms.values() if weight > 0.0]).sum()
        return loss, {name: float(term.detach()) for name, (_, term) in terms.items()}

    def _triplet(self, out: Translated, batch: TranslationBatch, maps: bool) -> Tensor:
        """Both ways; with hard negatives, which are looked for one way, that way twice."""
        settings = self._settings
        distances = map_distances if maps else latent_distances
        kind = settings.sam_triplet if maps else settings.triplet
        margin = settings.sam_margin if maps else settings.margin
        adapt = 0.0 if kind is Margin.CONSTANT else settings.sam_adapt if maps else settings.adapt
        forth = triplet(*distances(out.first.again, out.first.latent, out.negative), margin, adapt)
        if batch.candidates.shape[1]:
            return 2.0 * forth
        return forth + triplet(*distances(out.second.again, out.second.latent, out.first.latent), margin, adapt)


def _classified(side: Side, condition: int) -> Tensor:
    wanted = torch.full((len(side.logits),), condition, device=side.logits.device)
    return functional.cross_entropy(side.logits, wanted)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
