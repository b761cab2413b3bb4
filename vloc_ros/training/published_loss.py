"""The losses of U: of matched points against where the true pose puts them, and of estimated poses against the true ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vloc_ros.training.pose_solving import inverse, log, of_parts, transform
from vloc_ros.training.published_settings import PoseLoss, PublishedSettings, Space
from vloc_ros.training.stereo_points import project

_COMPONENTS = {Space.PLANE: 2, Space.POINT: 4, Space.PIXEL: 2}  # in space the homogeneous one counts, and is never wrong


class MatchedPoints(NamedTuple):
    """B pairs with N matches each.

    Attributes:
        source: (B, N, 3) points in the first camera [m].
        target: (B, N, 3) in the second, as matched [m].
        target_pixels: (B, N, 2) where the matches are in the second image [px].
        valid: (B, N) bool, whether both depths are known.
        intrinsics: (B, 5), as in :class:`vloc_ros.training.objective.StereoBatch`.
        b_T_a: (B, 4, 4) true poses of the first cameras in the second.
        base_T_camera: (B, 4, 4).
    """

    source: Tensor
    target: Tensor
    target_pixels: Tensor
    valid: Tensor
    intrinsics: Tensor
    b_T_a: Tensor
    base_T_camera: Tensor

    @property
    def base_b_T_base_a(self) -> Tensor:
        """(B, 4, 4) true poses of the robot."""
        return self.of_bases(self.b_T_a)

    def of_bases(self, b_T_a: Tensor) -> Tensor:
        """(B, 4, 4) poses of the robot from poses of its camera."""
        return self.base_T_camera @ b_T_a @ inverse(self.base_T_camera)


def planar(base_b_T_base_a: Tensor, of_log: bool = False) -> Tensor:
    """(B, 4, 4) poses with x, y and heading alone.

    Args:
        base_b_T_base_a: (B, 4, 4) poses.
        of_log: take the three from the logarithm, as published; x and y are then right for small rotations only.
    """
    if of_log:
        x, y, _, _, _, heading = log(base_b_T_base_a).unbind(1)
    else:
        x, y = base_b_T_base_a[:, 0, 3], base_b_T_base_a[:, 1, 3]
        heading = torch.atan2(base_b_T_base_a[:, 1, 0], base_b_T_base_a[:, 0, 0])
    zero, one, c, s = torch.zeros_like(x), torch.ones_like(x), torch.cos(heading), torch.sin(heading)
    rotation = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], 1).reshape(-1, 3, 3)
    return of_parts(rotation, torch.stack([x, y, zero], 1))


def residuals(matched: MatchedPoints, space: Space, of_log: bool = False) -> Tensor:
    """(B, N, 2 or 3) matched minus true positions, in metres or pixels."""
    if space is Space.PLANE:
        truth = planar(matched.base_b_T_base_a, of_log)
        source, target = (transform(matched.base_T_camera, points) for points in (matched.source, matched.target))
        return (target - transform(truth, source))[..., :2]
    moved = transform(matched.b_T_a, matched.source)
    if space is Space.POINT:
        return matched.target - moved
    return matched.target_pixels - project(moved, matched.intrinsics)[..., :2]


def true_inliers(matched: MatchedPoints, settings: PublishedSettings) -> Tensor:
    """(B, N) bool: matches with known depths that the true pose agrees with."""
    limit = {Space.PLANE: settings.gate_plane, Space.POINT: settings.gate_3d, Space.PIXEL: settings.gate_2d}[settings.gate]
    with torch.no_grad():
        error = residuals(matched, settings.gate, settings.published_planar_pose).norm(dim=2)
        return matched.valid & (error < limit)


def keypoint_loss(matched: MatchedPoints, inliers: Tensor, settings: PublishedSettings) -> Tensor:
    """Weighted mean square of the residuals of the inliers of all pairs; 0 without any."""
    space = settings.keypoint_loss
    weight = {Space.PLANE: settings.keypoint_plane, Space.POINT: settings.keypoint_3d, Space.PIXEL: settings.keypoint_2d}[space]
    squared = residuals(matched, space, settings.published_planar_pose).square().sum(2)
    total = torch.where(inliers, squared, torch.zeros_like(squared)).sum()
    return weight * total / (_COMPONENTS[space] * inliers.sum().clamp(min=1))


def pose_losses(estimated: Tensor, truth: Tensor, settings: PublishedSettings) -> Tensor:
    """(B,) losses of (B, 4, 4) estimated poses of the robot against the true ones."""
    if settings.pose_loss is PoseLoss.PLANE:
        weights = [settings.translation_x, settings.translation_y, 0.0, 0.0, 0.0, settings.rotation_heading]
        difference = log(estimated @ inverse(truth))
        return (difference.square() * difference.new_tensor(weights)).sum(1)
    turned = estimated[:, :3, :3].transpose(1, 2) @ truth[:, :3, :3]
    identity = torch.eye(3, dtype=turned.dtype, device=turned.device).expand_as(turned)
    rotation = functional.mse_loss(turned, identity, reduction="none").mean((1, 2))
    translation = functional.mse_loss(estimated[:, :3, 3], truth[:, :3, 3], reduction="none").mean(1)
    return settings.rotation * rotation + settings.translation * translation
