"""What retrieval and re-ranking learn together: L = L_triplet + lambda L_REI (Lu et al., AAAI 2024, section 3.4).

L_triplet is that of global descriptors, over the batch and its negatives; L_REI the re-projection error of inliers between each
query and its positive, in pixels, as its published program has it: with lambda = 100 most of the gradient is that of the
homography, which reaches the backbone through the correlation alone.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vloc_ros.networks.network import PlaceNetwork
from vloc_ros.networks.two_stage import Seen, TwoStageNetwork
from vloc_ros.networks.uncertainty import Described
from vloc_ros.training.homography_losses import rei_loss
from vloc_ros.training.tuple_losses import distance
from vloc_ros.training.vpr_feed import VprBatch
from vloc_ros.training.vpr_settings import Criterion, VprObjectiveSettings

VprNetwork = PlaceNetwork | TwoStageNetwork


class VprObjective:
    """The sum of both; fits :class:`vloc_ros.training.loop.Learned`.

    The terms are ``triplet`` (whatever the criterion is), ``too_near`` (the share of negatives within the margin of the positive),
    ``rei`` [px] and ``homographies`` (the share of positives from which a homography can be learned).
    """

    def __init__(self, settings: VprObjectiveSettings, homography: bool) -> None:
        """``homography`` says whether re-ranking is learned, too; the network must have both stages then."""
        self._settings, self._homography = settings, homography

    def __call__(self, network: VprNetwork, batch: VprBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, a mean over its queries, and its terms by name; zero for a batch without queries."""
        if len(batch.queries) == 0:
            return batch.images.new_zeros(()), {}
        settings = self._settings
        mean, local = look_in_parts(network, batch.images, settings.images_at_once)
        present = batch.negatives >= 0
        query, positive, negatives = mean[batch.queries], mean[batch.positives], mean[batch.negatives.clamp(min=0)]
        losses = _CRITERIA[settings.criterion](query, positive, negatives, present, settings.margin)
        loss = losses.mean()
        terms = {"triplet": float(loss.detach())}
        if bool(present.any()):
            excess = distance(query, positive)[:, None] + settings.margin - distance(query[:, None], negatives)
            terms["too_near"] = float((excess.detach()[present] > 0.0).float().mean())
        if self._homography and local is not None:
            both = cast(TwoStageNetwork, network)
            ours, theirs = local[batch.queries], local[batch.positives]
            points = both.regression(ours, theirs)
            errors, learned = rei_loss(points, ours, theirs, both.backbone.size, settings.rei_threshold_px)
            loss = loss + settings.rei_weight * errors.mean()
            terms |= {"rei": float(errors.detach().mean()), "homographies": float(learned.float().mean())}
        return loss, terms


def triplet(query: Tensor, positive: Tensor, negatives: Tensor, present: Tensor, margin: float) -> Tensor:
    """(T,) triplet margin losses of Euclidean distances, not squared (p = 2), over the number N of negatives that tuples have.

    Args:
        query: (T, D).
        positive: (T, D).
        negatives: (T, N, D); anything where there is none.
        present: (T, N) bool: where there is one.
        margin: the margin.
    """
    excess = distance(query, positive)[:, None] + margin - distance(query[:, None], negatives)
    return _over(excess.clamp(min=0.0), present)


def sare_independent(query: Tensor, positive: Tensor, negatives: Tensor, present: Tensor, margin: float) -> Tensor:
    """(T,) losses -ln P(positive rather than the negative), of squared distances; no margin. Arguments as of :func:`triplet`."""
    nearer, farther = (query - positive).square().sum(1)[:, None], (query[:, None] - negatives).square().sum(2)
    return _over(functional.softplus(nearer - farther), present)


def sare_joint(query: Tensor, positive: Tensor, negatives: Tensor, present: Tensor, margin: float) -> Tensor:
    """(T,) losses -ln P(positive rather than any negative). Arguments as of :func:`triplet`."""
    nearer, farther = (query - positive).square().sum(1)[:, None], (query[:, None] - negatives).square().sum(2)
    logits = torch.cat([-nearer, (-farther).masked_fill(~present, float("-inf"))], 1)
    return torch.logsumexp(logits, 1) - logits[:, 0]


def _over(losses: Tensor, present: Tensor) -> Tensor:
    return torch.where(present, losses, torch.zeros_like(losses)).sum(1) / max(1, present.shape[1])


_CRITERIA = {
    Criterion.TRIPLET: triplet,
    Criterion.SARE_INDEPENDENT: sare_independent,
    Criterion.SARE_JOINT: sare_joint,
}


def look_in_parts(network: VprNetwork, images: Tensor, at_once: int) -> tuple[Tensor, Tensor | None]:
    """(M, D) global and (M, C, S, S) local descriptors of (M, 3, H, W) prepared images, some at a time in memory.

    None for the local ones of a network without a second stage.
    """
    parts = images.split(at_once)
    again = torch.is_grad_enabled() and len(parts) > 1
    seen = [_seen(checkpoint(network, part, use_reentrant=False) if again else network(part)) for part in parts]
    local = [part for _, part in seen if part is not None]
    return torch.cat([mean for mean, _ in seen]), torch.cat(local) if local else None


def _seen(output: Seen | Described | Tensor) -> tuple[Tensor, Tensor | None]:
    if isinstance(output, Tensor):
        return output, None
    return output.mean, output.local if isinstance(output, Seen) else None


def size_of(network: VprNetwork) -> int:
    """Height and width of the images that a network sees [px]."""
    return network.backbone.size


def place_of(network: VprNetwork) -> PlaceNetwork:
    """What describes images."""
    return network.place if isinstance(network, TwoStageNetwork) else network
