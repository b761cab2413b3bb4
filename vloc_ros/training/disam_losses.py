"""Losses of DISAM (Hu et al. 2021, section III): on latents, images, predictions of discriminators, and activation maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vloc_ros.networks.similarity import activation_map, similarity

SCALE_WEIGHTS = (1.0, 2.0, 3.0, 5.0)
"""Of the predictions of a discriminator, from small patches to large ones."""


def adversarial(predictions: Sequence[Tensor], real: bool) -> Tensor:
    """Least squares to 1 or 0 at each of four scales, weighted by 1, 2, 3, 5 over 44, their sum times their count."""
    target = 1.0 if real else 0.0
    total = sum(SCALE_WEIGHTS) * len(SCALE_WEIGHTS)
    terms = [weight * (one - target).square().mean() for weight, one in zip(SCALE_WEIGHTS, predictions, strict=True)]
    return torch.stack(terms).sum() / total


def cycle(cycled: Tensor, images: Tensor) -> Tensor:
    """Smooth L1 distance of images and what came back."""
    return functional.smooth_l1_loss(cycled, images)


def consistency(again: Tensor, latent: Tensor, cosine: float) -> Tensor:
    """Feature consistency: mean square of z' - z, and ``cosine`` times 1 - Y(z', z); nothing goes back through z."""
    fixed = latent.detach()
    loss = functional.mse_loss(again, fixed)
    return loss + cosine * (1.0 - similarity(again, fixed).mean()) if cosine > 0.0 else loss


def activation_consistency(again: Tensor, latent: Tensor) -> Tensor:
    """Mean square of L(z|z') - L(z'|z); nothing goes back through the latter."""
    return functional.mse_loss(activation_map(latent, again), activation_map(again, latent).detach())


def triplet(positive: Tensor, negative: Tensor, margin: float, adapt: float) -> Tensor:
    """Mean of max(0, 1 - d_n / (d_p + m exp(-a d_p))), whose margin shrinks as positives move apart; a = 0 is a constant margin.

    Args:
        positive: (N,) distances d_p.
        negative: (N,) distances d_n.
        margin: m.
        adapt: a.
    """
    return torch.relu(1.0 - negative / (positive + margin * torch.exp(-adapt * positive))).mean()


def latent_distances(again: Tensor, latent: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) mean squares between (N, C, h, w) latents: of a translated image and its original, and of it and a negative."""
    return _mean_square(again, latent), _mean_square(again, negative)


def map_distances(again: Tensor, latent: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`latent_distances`, between the activation maps of either latent for the other."""
    return (
        _mean_square(activation_map(again, latent), activation_map(latent, again)),
        _mean_square(activation_map(again, negative), activation_map(negative, again)),
    )


def _mean_square(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).square().flatten(1).mean(dim=1)
