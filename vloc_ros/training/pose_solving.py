"""Poses for tensors: the weighted alignment of matched points with a gradient that stays finite, and the logarithm of a pose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LEAST = 1e-6  # of a sum of singular values, as a share of the largest one


def transform(a_T_b: Tensor, points: Tensor) -> Tensor:
    """(B, N, 3) points of b in the frames of a, for (B, 4, 4) poses."""
    return points @ a_T_b[:, :3, :3].transpose(1, 2) + a_T_b[:, None, :3, 3]


def inverse(a_T_b: Tensor) -> Tensor:
    """(B, 4, 4) ``b_T_a``."""
    rotation = a_T_b[:, :3, :3].transpose(1, 2)
    return of_parts(rotation, -(rotation @ a_T_b[:, :3, 3:]).squeeze(2))


def of_parts(rotation: Tensor, translation: Tensor) -> Tensor:
    """(B, 4, 4) poses of (B, 3, 3) rotations and (B, 3) translations."""
    last = rotation.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(rotation), 1, 4)
    return torch.cat([torch.cat([rotation, translation.unsqueeze(2)], 2), last], 1)


def align(points_a: Tensor, points_b: Tensor, weights: Tensor) -> Tensor:
    """(B, 4, 4) poses ``a_T_b`` that minimise the weighted squared distance of (B, N, 3) matched points.

    The weighted, scale-free solution of Umeyama (1991), in double precision. Points of weight 0 have no influence; where all
    are, the pose is the identity.

    Args:
        points_a: points [m].
        points_b: the same points in the other frame.
        weights: (B, N), not negative.
    """
    kind = points_a.dtype
    a, b, w = points_a.double(), points_b.double(), weights.double()
    w = (w / w.sum(1, keepdim=True).clamp(min=1e-12)).unsqueeze(2)
    centroid_a, centroid_b = (w * a).sum(1, keepdim=True), (w * b).sum(1, keepdim=True)
    spread = ((a - centroid_a) * w).transpose(1, 2) @ (b - centroid_b)
    rotation: Tensor = _Procrustes.apply(spread)  # type: ignore[no-untyped-call]
    translation = centroid_a.squeeze(1) - (rotation @ centroid_b.transpose(1, 2)).squeeze(2)
    return of_parts(rotation, translation).to(kind)


class _Procrustes(torch.autograd.Function):  # type: ignore[misc]  # torch does not type it
    """The rotations R that maximise trace(R^T H).

    The gradient of a singular value decomposition has the differences of singular values below the line, which are zero for
    points spread alike in two directions. That of R has only sums s_i + s_j, with the sign of the reflection in the last one:
    from R^T H being symmetric, dR = R Omega with Omega M + M Omega = R^T dH - dH^T R and M = R^T H.
    """

    @staticmethod
    def forward(ctx: Any, spread: Tensor) -> Tensor:
        u, singular, vt = torch.linalg.svd(spread)
        signs = torch.ones_like(singular)
        signs[:, 2] = torch.det(u) * torch.det(vt)
        rotation = (u * signs.unsqueeze(1)) @ vt
        ctx.save_for_backward(rotation, singular * signs, vt)
        return rotation

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        rotation, singular, vt = ctx.saved_tensors
        inner = vt @ rotation.transpose(1, 2) @ gradients[0] @ vt.transpose(1, 2)
        sums = singular.unsqueeze(1) + singular.unsqueeze(2)
        least = (_LEAST * singular[:, :1]).clamp(min=1e-12).unsqueeze(2)
        turned = (inner - inner.transpose(1, 2)) / sums.clamp(min=least)
        return torch.as_tensor(rotation @ vt.transpose(1, 2) @ turned @ vt)


def log(a_T_b: Tensor) -> Tensor:
    """(B, 6) logarithms (rho [m], phi [rad]) of (B, 4, 4) poses, as :func:`vloc_ros.geometry.se3.log`.

    The gradient is finite everywhere; within a milliradian of half a turn the rotation comes out shorter than it is.
    """
    rotation, translation = a_T_b[:, :3, :3], a_T_b[:, :3, 3]
    skew = 0.5 * (rotation - rotation.transpose(1, 2))
    axis = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1)
    squared = (axis * axis).sum(1, keepdim=True)
    cosine = 0.5 * (rotation.diagonal(dim1=1, dim2=2).sum(1, keepdim=True) - 1.0)
    small = (squared < 1e-6) & (cosine > 0.0)
    sine = torch.sqrt(torch.where(small, torch.ones_like(squared), squared).clamp(min=1e-6))
    angle = torch.atan2(sine, cosine)
    # Near no turn at all, series in the square of the sine stand for quotients of zeros.
    phi = axis * torch.where(small, 1.0 + squared / 6.0, angle / sine)
    safe = torch.where(small, torch.ones_like(angle), angle)
    exact = (1.0 - 0.5 * safe * torch.cos(0.5 * safe) / torch.sin(0.5 * safe)) / (safe * safe)
    share = torch.where(small, 1.0 / 12.0 + squared / 720.0, exact)
    crossed = torch.linalg.cross(phi, translation)
    rho = translation - 0.5 * crossed + share * torch.linalg.cross(phi, crossed)
    return torch.cat([rho, phi], 1)
