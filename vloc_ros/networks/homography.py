"""Homographies of four points, for many pairs at once and with gradients; what a learned one must fulfil before it is believed."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST_AREA = 1e-2
"""Of each triangle of a quadrilateral, of that of half the square around the points: below, they are nearly on one line."""


def homography_of(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The homographies that map four points to four others each (direct linear transform, normalised after Hartley 1997).

    Four points determine it exactly: weights would change nothing.

    Args:
        source: (B, 4, 2).
        target: (B, 4, 2).

    Returns:
        (B, 3, 3) with a depth of 1 in the middle of the source points, and (B,) bool: whether it is one. Where three points are
        nearly on one line, or the quadrilateral is turned inside out, it is not; the matrix is then the identity, without a
        gradient.
    """
    good = is_sound(source, target)
    safe = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], dtype=source.dtype, device=source.device)
    a, a_T = _normalised(torch.where(good[:, None, None], source, safe))
    b, b_T = _normalised(torch.where(good[:, None, None], target, safe))
    zero, one = torch.zeros_like(a[..., :1]), torch.ones_like(a[..., :1])
    x, y, u, v = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    along = torch.cat([x, y, one, zero, zero, zero, -u * x, -u * y], 2)
    down = torch.cat([zero, zero, zero, x, y, one, -v * x, -v * y], 2)
    system, wanted = torch.cat([along, down], 1), torch.cat([u, v], 1)
    solved, info = torch.linalg.solve_ex(system, wanted)
    # The middle of sound points is inside the quadrilateral, never on the horizon; the upper left corner of the image may be.
    matrix = torch.cat([solved[..., 0], torch.ones_like(solved[:, :1, 0])], 1).reshape(-1, 3, 3)
    matrix = torch.linalg.solve(b_T, matrix @ a_T)
    good = good & (info == 0) & torch.isfinite(matrix).all(2).all(1)
    eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    return torch.where(good[:, None, None], matrix, eye), good


def is_sound(source: Tensor, target: Tensor) -> Tensor:
    """(B,) bool: whether both quadrilaterals are convex and turn the same way, none of their corners nearly on one line.

    A camera that looks at a plane from one side sees nothing else. (B, 4, 2) points each.
    """
    a, b = _turns(source), _turns(target)
    return (a.abs() > _LEAST_AREA).all(1) & (b.abs() > _LEAST_AREA).all(1) & _one_sign(a) & _one_sign(b) & (a[:, 0] * b[:, 0] > 0)


def _turns(points: Tensor) -> Tensor:
    """(B, 4) areas of the triangles at the corners, with their sign, relative to the extent of the points."""
    ahead, behind = torch.roll(points, -1, 1) - points, torch.roll(points, 1, 1) - points
    area = ahead[..., 0] * behind[..., 1] - ahead[..., 1] * behind[..., 0]
    extent = (points.amax(1) - points.amin(1)).amax(1, keepdim=True).clamp(min=1e-12)
    return torch.nan_to_num(area / extent**2, nan=0.0, posinf=0.0, neginf=0.0)


def _one_sign(areas: Tensor) -> Tensor:
    return (areas > 0).all(1) | (areas < 0).all(1)


def _normalised(points: Tensor) -> tuple[Tensor, Tensor]:
    """Points around the origin at a mean distance of sqrt(2), and the (B, 3, 3) similarities that took them there."""
    middle = points.mean(1, keepdim=True)
    scale = 2.0**0.5 / (points - middle).norm(dim=2).mean(1).clamp(min=1e-12)
    matrix = torch.zeros(len(points), 3, 3, dtype=points.dtype, device=points.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale
    matrix[:, :2, 2] = -scale[:, None] * middle[:, 0]
    matrix[:, 2, 2] = 1.0
    return (points - middle) * scale[:, None, None], matrix


def project(homography: Tensor, points: Tensor) -> Tensor:
    """Where (B, 3, 3) homographies map (B, N, 2) or (N, 2) points; far beyond everything where that is at or behind infinity.

    Of :func:`homography_of`, whose depths are positive on the side of the horizon that its points are on. As published, points
    behind the camera come out in front of it, turned upside down.
    """
    points = points.expand(len(homography), -1, -1)
    mapped = points @ homography[:, :, :2].transpose(1, 2) + homography[:, None, :, 2]
    depth = mapped[..., 2:]
    return mapped[..., :2] / torch.where(depth > 1e-6, depth, torch.full_like(depth, 1e-6))
