"""How alike two latents are, and where: similarity score and Grad-SAM map of DISAM (Hu et al. 2021, equations 16 to 18)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SMALL = 1e-8


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """(N, C, H, W) latents to (N,) Y = the mean over channels of the cosine of their H * W values; 1 for equal ones (eq. 16)."""
    return functional.cosine_similarity(one.flatten(2), other.flatten(2), dim=2, eps=_SMALL).mean(dim=1)


def flat_similarity(one: Tensor, other: Tensor) -> Tensor:
    """(N, C, H, W) latents to (N,) cosines of all their values, the metric of the fine model."""
    return functional.cosine_similarity(one.flatten(1), other.flatten(1), dim=1, eps=_SMALL)


def activation_weights(one: Tensor, other: Tensor) -> Tensor:
    """(N, C) w_k, the sum over the positions of channel k of dY/dz, for z = ``one`` (eq. 17).

    In closed form, so that a loss of the map goes back through it like through any other: with a = z_k and b = z'_k as vectors,
    d cos(a, b) / da = b / (|a| |b|) - cos(a, b) a / |a|^2, of which the elements are summed.
    """
    a, b = one.flatten(2), other.flatten(2)
    length_a, length_b = a.norm(dim=2).clamp(min=_SMALL), b.norm(dim=2).clamp(min=_SMALL)
    cosine = (a * b).sum(dim=2) / (length_a * length_b)
    return (b.sum(dim=2) / (length_a * length_b) - cosine * a.sum(dim=2) / length_a**2) / a.shape[1]


def activation_map(one: Tensor, other: Tensor) -> Tensor:
    """(N, C, H, W) latents to (N, H, W) L = ReLU(sum of w_k z_k): where ``one`` is like ``other`` (eq. 18)."""
    weights = activation_weights(one, other)
    return torch.relu(torch.einsum("nc,nchw->nhw", weights, one))
