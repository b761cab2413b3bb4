"""The rectified stereo camera for tensors: points of key points, and back."""

from __future__ import annotations

import torch
from torch import Tensor

MIN_DEPTH, MAX_DEPTH = 0.1, 400.0
"""Depths that U believes [m]."""


def sample_nearest(image: Tensor, pixels: Tensor) -> Tensor:
    """(B, N) values of (B, 1, H, W) images at the pixels nearest to (B, N, 2) positions [px]; the border goes on outwards."""
    height, width = image.shape[-2:]
    nearest = pixels.detach().round().long()
    rows, columns = nearest[..., 1].clamp(0, height - 1), nearest[..., 0].clamp(0, width - 1)
    return image.flatten(1).gather(1, rows * width + columns)


def back_project(pixels: Tensor, disparity: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the left optical frame.

    Args:
        pixels: (B, N, 2) positions [px].
        disparity: (B, N) [px]; NaN or not positive where unknown.
        intrinsics: (B, 5): f_x, f_y, c_x, c_y [px], baseline [m].

    Returns:
        (B, N, 3) points [m], and (B, N) bool, whether the depth is known and in the range that U believes; other points are
        finite and mean nothing.
    """
    fx, fy, cx, cy, baseline = intrinsics.unsqueeze(2).unbind(1)
    focal_baseline = fx * baseline
    valid = (disparity >= focal_baseline / MAX_DEPTH) & (disparity <= focal_baseline / MIN_DEPTH)
    z = focal_baseline / torch.where(valid, disparity, torch.ones_like(disparity))
    u, v = pixels.unbind(-1)
    return torch.stack([(u - cx) * z / fx, (v - cy) * z / fy, z], -1), valid


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, N, 3) rows (u, v, disparity) [px] of (B, N, 3) points of the left optical frame [m]; of no meaning behind it."""
    fx, fy, cx, cy, baseline = intrinsics.unsqueeze(2).unbind(1)
    x, y, z = points.unbind(-1)
    z = z.clamp(min=MIN_DEPTH / 10.0)
    return torch.stack([fx * x / z + cx, fy * y / z + cy, fx * baseline / z], -1)
