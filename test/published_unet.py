"""The published formulas of U, written down as they stand: what ours is compared with, for its numbers and for its cost.

Nothing is saved here: descriptors are made for every pixel, key points are matched to every pixel, all similarities are held at
once. The names of the weights are those of the published check points. Points are (B, 2, N) and descriptors (B, C, N).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]
_EPSILON = 1e-5  # of the batch normalisations


@dataclass(frozen=True)
class Choices:
    """Where the formulas leave a choice.

    Attributes:
        dense: match to all pixels, or to the key points of the target.
        shifted: sample up to half a pixel beside the key point, as the published program does.
        window: side of a window [px].
        iterations: of RANSAC.
        tolerance: of RANSAC [m].
        enough: share of inliers that ends RANSAC.
    """

    dense: bool = True
    shifted: bool = False
    window: int = 16
    iterations: int = 15
    tolerance: float = 4.0
    enough: float = 0.6


class Camera(NamedTuple):
    """Focal length, principal point [px] and baseline [m]."""

    f: float
    cu: float
    cv: float
    b: float


class Matched(NamedTuple):
    """Key points (1, 2, N), their expected places in the target (1, 2, N), and weights (1, 1, N)."""

    source: Tensor
    pseudo: Tensor
    weights: Tensor


# --- the network


def block(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Twice: convolution, batch normalisation, ReLU."""
    for conv, norm in ((0, 1), (3, 4)):
        x = functional.conv2d(x, weights[f"{name}.{conv}.weight"], weights[f"{name}.{conv}.bias"], padding=1)
        mean, variance = weights[f"{name}.{norm}.running_mean"], weights[f"{name}.{norm}.running_var"]
        x = functional.batch_norm(x, mean, variance, weights[f"{name}.{norm}.weight"], weights[f"{name}.{norm}.bias"], eps=_EPSILON)
        x = functional.relu(x)
    return x


def decoder(maps: list[Tensor], weights: Weights, head: str) -> Tensor:
    """One value per pixel."""
    x = maps[4]
    for step in (1, 2, 3, 4):
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        x = block(torch.cat([maps[4 - step], x], dim=1), weights, f"up{step}_{head}.conv.double_conv")
    return functional.conv2d(x, weights[f"outc_{head}.conv.weight"], weights[f"outc_{head}.conv.bias"])


def network(images: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and scores (B, 1, H, W), and descriptors (B, 31 m, H, W), of RGB images from 0 to 1."""
    maps = [block(images, weights, "inc.double_conv")]
    for level in (1, 2, 3, 4):
        maps.append(block(functional.max_pool2d(maps[-1], 2), weights, f"down{level}.maxpool_conv.1.double_conv"))
    size = images.shape[-2:]
    descriptors = torch.cat([functional.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps], dim=1)
    return decoder(maps, weights, "pts"), torch.sigmoid(decoder(maps, weights, "score")), descriptors


# --- key points


def keypoints(logits: Tensor, window: int) -> Tensor:
    """(B, 2, N) expected (u, v) of each window."""
    height, width = logits.shape[-2:]
    v, u = torch.meshgrid(torch.arange(height).to(logits), torch.arange(width).to(logits), indexing="ij")
    share = torch.softmax(functional.unfold(logits, window, stride=window), dim=1)
    places = [functional.unfold(axis[None, None], window, stride=window) for axis in (u, v)]
    return torch.stack([(place * share).sum(dim=1) for place in places], dim=1)


def sampled(image: Tensor, points: Tensor, choices: Choices) -> Tensor:
    """(B, C, N) bilinear samples of (B, C, H, W) at (B, 2, N) points."""
    height, width = image.shape[-2:]
    size = points.new_tensor([width, height])[None, :, None]
    grid = 2.0 * points / (size - 1.0) - 1.0 if choices.shifted else (2.0 * points + 1.0) / size - 1.0
    padding = "zeros" if choices.shifted else "border"
    return functional.grid_sample(image, grid.transpose(1, 2)[:, None], padding_mode=padding, align_corners=False)[:, :, 0]


def normalised(descriptors: Tensor) -> Tensor:
    """(B, C, N) descriptors with mean 0 and unbiased deviation 1."""
    return (descriptors - descriptors.mean(dim=1, keepdim=True)) / descriptors.std(dim=1, keepdim=True)


# --- matching


def soft_matched(source: Tensor, target: Tensor, places: Tensor) -> Tensor:
    """(B, 2, N) expected places of (B, C, N) descriptors among (B, C, M) at (B, 2, M)."""
    zncc = source.transpose(1, 2) @ target / source.shape[1]
    share = torch.softmax((zncc + 1.0) / 0.01, dim=2)
    return places @ share.transpose(1, 2)


def matched(image_a: Tensor, image_b: Tensor, weights: Weights, choices: Choices) -> Matched:
    """Key points of image a, their places in image b, and the weights of the matches."""
    logits_a, scores_a, descriptors_a = network(image_a, weights)
    logits_b, scores_b, descriptors_b = network(image_b, weights)
    source = keypoints(logits_a, choices.window)
    described = normalised(sampled(descriptors_a, source, choices))
    if choices.dense:
        height, width = image_b.shape[-2:]
        v, u = torch.meshgrid(torch.arange(height).to(source), torch.arange(width).to(source), indexing="ij")
        pseudo = soft_matched(described, normalised(descriptors_b.flatten(2)), torch.stack([u, v]).flatten(1)[None])
    else:
        target = keypoints(logits_b, choices.window)
        pseudo = soft_matched(described, normalised(sampled(descriptors_b, target, choices)), target)
    seen = normalised(sampled(descriptors_b, pseudo, choices))
    zncc = (described * seen).sum(dim=1, keepdim=True) / described.shape[1]
    weight = 0.5 * (zncc + 1.0) * sampled(scores_a, source, choices) * sampled(scores_b, pseudo, choices)
    return Matched(source, pseudo, weight)


# --- pose


def points_of(pixels: Tensor, disparity: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """(B, 3, N) points and (B, N) whether they are valid, with the disparity (B, 1, H, W) of the nearest pixel."""
    columns = pixels[:, 0].round().long().clamp(0, disparity.shape[3] - 1)
    rows = pixels[:, 1].round().long().clamp(0, disparity.shape[2] - 1)
    d = disparity[0, 0, rows[0], columns[0]][None]
    valid = (d >= camera.f * camera.b / 400.0) & (d <= camera.f * camera.b / 0.1)
    u, v = pixels[:, 0], pixels[:, 1]
    points = torch.stack([camera.b * (u - camera.cu) / d, camera.b * (v - camera.cv) / d, camera.f * camera.b / d], dim=1)
    return torch.where(valid[:, None], points, torch.zeros_like(points)), valid


def aligned(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """(4, 4) pose that moves (3, N) source points onto the target ones, for (N,) weights."""
    total = weights.sum()
    centre_s, centre_t = (source * weights).sum(dim=1) / total, (target * weights).sum(dim=1) / total
    h = (target - centre_t[:, None]) @ torch.diag(weights) @ (source - centre_s[:, None]).T / total
    u, _, vt = torch.linalg.svd(h)
    rotation = u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.det(u) * torch.det(vt))], dtype=h.dtype)) @ vt
    pose = torch.eye(4, dtype=h.dtype)
    pose[:3, :3], pose[:3, 3] = rotation, centre_t - rotation @ centre_s
    return pose


def ransac(source: Tensor, target: Tensor, valid: Tensor, weights: Tensor, choices: Choices, generator: torch.Generator) -> Tensor:
    """(N,) inliers of (3, N) points; six matches of any kind a try, those that are not valid without weight."""
    best = torch.zeros_like(valid)
    kept = torch.where(valid, weights, torch.zeros_like(weights))
    for _ in range(choices.iterations):
        rows = torch.randint(len(valid), (6,), generator=generator)
        if kept[rows].count_nonzero() < 3:
            continue
        pose = aligned(source[:, rows], target[:, rows], kept[rows])
        error = (target - pose[:3, :3] @ source - pose[:3, 3:]).norm(dim=0)
        inliers = valid & (error < choices.tolerance)
        if inliers.sum() > best.sum():
            best = inliers
        if best.float().mean() > choices.enough:
            break
    return best


def pose_of(found: Matched, disparity_a: Tensor, disparity_b: Tensor, camera: Camera, choices: Choices, seed: int = 0) -> Tensor:
    """(4, 4) ``b_T_a`` of the cameras."""
    source, valid_a = points_of(found.source, disparity_a, camera)
    target, valid_b = points_of(found.pseudo, disparity_b, camera)
    weights = found.weights[0, 0]
    generator = torch.Generator().manual_seed(seed)
    inliers = ransac(source[0], target[0], (valid_a & valid_b)[0], weights, choices, generator)
    return aligned(source[0], target[0], torch.where(inliers, weights, torch.zeros_like(weights)))
