"""What a place network learns from tuples, for the loop: descriptors alone, or descriptors and their variances (system M).

A batch may hold tuples, outlier pairs, or both, any number of each. Images go through the network a few at a time and once more on
the way back, so that memory does not grow with the batch; as the networks treat each image by itself, the gradient is that of all
at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vloc_ros.networks.network import PlaceNetwork, UncertaintyNetwork, as_described
from vloc_ros.networks.uncertainty import Described
from vloc_ros.training.tuple_batch import TupleBatch
from vloc_ros.training.tuple_losses import (
    bayesian_triplet,
    kl_to_prior,
    kl_to_widened,
    mean_present,
    outlier_hinge,
    outlier_mean_square,
    triplet_margin,
)
from vloc_ros.training.tuple_settings import OutlierLoss, TripletSettings, UncertaintySettings

N = TypeVar("N", bound=PlaceNetwork)


class _Part(NamedTuple):
    """Losses of the tuples or of the pairs of a batch, and what is told of them."""

    losses: Tensor
    terms: dict[str, Tensor]


class _TupleObjective(ABC, Generic[N]):
    """What both objectives share; they fit :class:`vloc_ros.training.loop.Learned`."""

    outlier_weight: float
    images_at_once: int

    def __call__(self, network: N, batch: TupleBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, a mean over its tuples and pairs by their weights, and its terms by name.

        It is zero and without gradient for a batch without tuples and pairs.
        """
        if batch.samples == 0:
            return batch.images.new_zeros(()), {}
        described = describe_in_parts(network, batch.images, self.images_at_once)
        total = batch.images.new_zeros(())
        terms: dict[str, float] = {}
        if len(batch.anchors):
            present = batch.negatives >= 0
            anchor, positive = _rows(described, batch.anchors), _rows(described, batch.positives)
            part = self._of_tuples(network, anchor, positive, _rows(described, batch.negatives.clamp(min=0)), present)
            total = total + (part.losses * batch.weights).sum()
            terms |= {name: float(values.detach().mean()) for name, values in part.terms.items()}
        if len(batch.queries):
            part = self._of_pairs(network, _rows(described, batch.queries), _rows(described, batch.others))
            total = total + self.outlier_weight * (part.losses * batch.pair_weights).sum()
            terms |= {name: float(values.detach().mean()) for name, values in part.terms.items()}
        return total / batch.samples, terms

    @abstractmethod
    def _of_tuples(self, network: N, anchor: Described, positive: Described, negatives: Described, present: Tensor) -> _Part:
        """(T,) losses, of (T, D), (T, D) and (T, N, D) descriptors with (T, N) bool where there is a negative."""

    @abstractmethod
    def _of_pairs(self, network: N, query: Described, other: Described) -> _Part:
        """(P,) losses, of (P, D) descriptors each."""


class TripletObjective(_TupleObjective[PlaceNetwork]):
    """Descriptors: triplet margin of tuples, outlier pairs apart; a variance that the network gives is not looked at.

    The terms are ``triplet``, ``too_near`` (the share of negatives within the margin) and ``outlier``.
    """

    def __init__(self, settings: TripletSettings | None = None) -> None:
        """Ours, of which only the loss of outlier pairs differs from what was published, unless others are given."""
        self.settings = settings or TripletSettings()
        self.outlier_weight, self.images_at_once = self.settings.outlier_weight, self.settings.images_at_once

    def _of_tuples(
        self, network: PlaceNetwork, anchor: Described, positive: Described, negatives: Described, present: Tensor
    ) -> _Part:
        losses, too_near = triplet_margin(anchor.mean, positive.mean, negatives.mean, present, self.settings.margin)
        return _Part(losses, {"triplet": losses, "too_near": too_near})

    def _of_pairs(self, network: PlaceNetwork, query: Described, other: Described) -> _Part:
        if self.settings.outliers is OutlierLoss.HINGE:
            losses = outlier_hinge(query.mean, other.mean, self.settings.apart)
        else:
            losses = outlier_mean_square(query.mean, other.mean)
        return _Part(losses, {"outlier": losses})


class UncertaintyObjective(_TupleObjective[UncertaintyNetwork]):
    """Descriptors and variances: Bayesian triplet and the divergence from the prior; outlier pairs become uncertain.

    The terms are ``bayesian``, ``prior`` (the divergence, not weighted), ``variance`` of anchors, ``outlier`` and
    ``outlier_variance``, variances in those of the prior.
    """

    def __init__(self, settings: UncertaintySettings | None = None) -> None:
        """As published but for the sign of the margin, unless others are given."""
        self.settings = settings or UncertaintySettings()
        self.outlier_weight, self.images_at_once = self.settings.outlier_weight, self.settings.images_at_once

    def _of_tuples(
        self, network: UncertaintyNetwork, anchor: Described, positive: Described, negatives: Described, present: Tensor
    ) -> _Part:
        s, prior = self.settings, prior_variance(network)
        bayesian = bayesian_triplet(anchor, positive, negatives, present, s.margin, s.published_sign)
        divergence = (
            kl_to_prior(anchor, prior) + kl_to_prior(positive, prior) + mean_present(kl_to_prior(negatives, prior), present)
        )
        terms = {"bayesian": bayesian, "prior": divergence}
        if anchor.variance is not None:
            terms["variance"] = anchor.variance / prior
        return _Part(bayesian + s.prior_weight * divergence, terms)

    def _of_pairs(self, network: UncertaintyNetwork, query: Described, other: Described) -> _Part:
        prior = prior_variance(network)
        variances = torch.stack([part.variance for part in (query, other) if part.variance is not None])
        losses = kl_to_widened(variances, prior, self.settings.widening).mean(0)
        return _Part(losses, {"outlier": losses, "outlier_variance": variances / prior})


def prior_variance(network: PlaceNetwork) -> float:
    """Variance of an element of a descriptor of which nothing is known: 1/C of a backbone of C channels."""
    return 1.0 / network.backbone.channels


def describe_in_parts(network: PlaceNetwork, images: Tensor, at_once: int) -> Described:
    """What a network makes of (M, 3, H, W) prepared images, with a gradient, some at a time in memory."""
    parts = images.split(at_once)
    again = torch.is_grad_enabled() and len(parts) > 1
    made = [as_described(checkpoint(network, part, use_reentrant=False) if again else network(part)) for part in parts]
    variances = [part.variance for part in made if part.variance is not None]
    return Described(torch.cat([part.mean for part in made]), torch.cat(variances) if variances else None)


def _rows(described: Described, rows: Tensor) -> Described:
    return Described(described.mean[rows], None if described.variance is None else described.variance[rows])
