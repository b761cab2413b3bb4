"""What the homography network learns: patches, places, and where one image is in another, with or without a truth.

The published objective is the re-projection error of inliers alone (:mod:`vloc_ros.training.homography_losses`), which needs no
truth but local descriptors that are good already. Those below make them, from pairs whose correspondences are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vloc_ros.config import param
from vloc_ros.networks.dhe import patch_centres
from vloc_ros.networks.homography import homography_of, project
from vloc_ros.networks.two_stage import TwoStageNetwork
from vloc_ros.training.homography_feed import HomographyBatch
from vloc_ros.training.homography_losses import rei_loss

_PATCH = 16  # [px]
_FEWEST = 12  # patches with a truth, below which a pair says nothing of where the image is


@dataclass(frozen=True)
class HomographyObjectiveSettings:
    """Weights of the terms; one of weight 0 is not computed."""

    patch: float = param(0.0, "of patches that show the same: each is to be told from all others of the image", min=0.0)
    place: float = param(0.0, "of images that show the same place: each is to be told from all others of the batch", min=0.0)
    warp: float = param(0.0, "of the distance of patches from where they truly are, under the homography", min=0.0)
    rei: float = param(1.0, "of the re-projection error of inliers [patches], which needs no truth (published)", min=0.0)
    patch_temperature: float = param(0.07, "of similarities of patches", min=0.001, max=1.0)
    place_temperature: float = param(0.07, "of similarities of images", min=0.001, max=1.0)
    rei_threshold_px: float = param(24.0, "of the RANSAC that counts inliers to learn from (published: 24)", unit="px", min=1.0)
    through: bool = param(True, "the homography teaches the backbone, too, through the correlation")


class HomographyObjective:
    """The weighted sum of the terms. Each is a mean over the pairs that have something to say to it."""

    def __init__(self, settings: HomographyObjectiveSettings, size: int) -> None:
        """For images of a size [px]."""
        self._settings, self._size = settings, size

    def __call__(self, network: TwoStageNetwork, batch: HomographyBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """The loss, and its terms."""
        settings, count = self._settings, len(batch.targets)
        seen = network(batch.images)
        a, b = seen.local[:count], seen.local[count:]
        loss, terms = seen.mean.sum() * 0.0, dict[str, float]()
        if settings.patch > 0.0:
            part, right = patch_loss(a, b, batch.targets, settings.patch_temperature)
            loss, terms = loss + settings.patch * part, terms | {"patch": float(part.detach()), "patch_right": right}
        if settings.place > 0.0:
            part, right = place_loss(seen.mean[:count], seen.mean[count:], batch.scenes, settings.place_temperature)
            loss, terms = loss + settings.place * part, terms | {"place": float(part.detach()), "place_right": right}
        if settings.warp > 0.0 or settings.rei > 0.0:
            part, more = self._of_homographies(network, a, b, batch.targets)
            loss, terms = loss + part, terms | more
        return loss, terms

    def _of_homographies(self, network: TwoStageNetwork, a: Tensor, b: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, float]]:
        settings = self._settings
        points = network.regression(a, b) if settings.through else network.regression(a.detach(), b.detach())
        loss, terms = points.sum() * 0.0, dict[str, float]()
        if settings.warp > 0.0:
            # The way back is another example, for which nothing needs to be seen again.
            back = network.regression(b, a) if settings.through else network.regression(b.detach(), a.detach())
            centres = patch_centres(self._size // _PATCH).to(targets).expand_as(targets)
            here, there = torch.cat([centres, targets]), torch.cat([targets, centres])
            part, near = warp_loss(torch.cat([points, back]), here, there, self._size)
            loss, terms = loss + settings.warp * part, terms | {"warp": float(part.detach()), "near": near}
        if settings.rei > 0.0:
            errors, learned = rei_loss(points, a.detach(), b.detach(), self._size, settings.rei_threshold_px)
            part = errors.sum() / max(1, int(learned.sum())) / _PATCH
            loss, terms = loss + settings.rei * part, terms | {"rei": float(part.detach())}
        return loss, terms


def patch_loss(a: Tensor, b: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, float]:
    """Cross entropy of finding the true patch of b for each one of a (van den Oord et al. 2018), and how many are found.

    The truth lies between up to four patches and is shared among them.

    Args:
        a: (B, C, S, S) local descriptors of unit length.
        b: likewise.
        targets: (B, S * S, 2) positions in b [px], NaN where unknown.
        temperature: of the similarities.
    """
    side = b.shape[-1]
    known = torch.isfinite(targets).all(2)
    if not known.any():
        return a.sum() * 0.0, 0.0
    logits = (a.flatten(2).transpose(1, 2) @ b.flatten(2))[known] / temperature
    at = targets[known] / _PATCH - 0.5
    first = at.floor().clamp(0, side - 2)
    share = (at - first).clamp(0.0, 1.0)
    log_odds, loss = functional.log_softmax(logits, 1), logits.sum() * 0.0
    for down in (0, 1):
        for along in (0, 1):
            weight = (share[:, 0] if along else 1.0 - share[:, 0]) * (share[:, 1] if down else 1.0 - share[:, 1])
            index = ((first[:, 1] + down) * side + first[:, 0] + along).long()
            loss = loss - (weight * log_odds.gather(1, index[:, None])[:, 0]).mean()
    best = logits.detach().argmax(1)
    found = torch.stack([best % side, best // side], 1).to(at)
    return loss, float(((found - at).abs().amax(1) <= 1.0).float().mean())


def place_loss(a: Tensor, b: Tensor, scenes: Tensor, temperature: float) -> tuple[Tensor, float]:
    """Cross entropy of finding the other image of the same pair in both directions, and how often it is found.

    Pairs that may show the same place are no negatives of each other.

    Args:
        a: (B, D) descriptors of unit length.
        b: likewise.
        scenes: (B,) equal where places may be.
        temperature: of the similarities.
    """
    own = torch.eye(len(a), dtype=torch.bool, device=a.device)
    unsure = (scenes[:, None] == scenes[None, :]) & ~own
    logits = (a @ b.T / temperature).masked_fill(unsure, float("-inf"))
    rows = torch.arange(len(a), device=a.device)
    loss = 0.5 * (functional.cross_entropy(logits, rows) + functional.cross_entropy(logits.T, rows))
    return loss, float((logits.detach().argmax(1) == rows).float().mean())


def warp_loss(points: Tensor, sources: Tensor, targets: Tensor, size: int) -> tuple[Tensor, float]:
    """How far patches are from where they truly are, under the homography: the mean of log(1 + distance [patches]).

    The logarithm lets a homography fit what most patches say: a scene is not one plane. What is not a homography, see
    :func:`vloc_ros.networks.homography.homography_of`, has no gradient; so that it does not come to that, the points in the query
    are held near the corners, weakly.

    Args:
        points: (B, 8, 2) of the network [px].
        sources: (B, N, 2) positions in the first image [px], NaN where unknown.
        targets: (B, N, 2) where the second one shows them [px], NaN where unknown.
        size: of the images [px].

    Returns:
        The loss, and how many patches come within 1.5 of theirs; of what is no homography none do.
    """
    known = (torch.isfinite(targets) & torch.isfinite(sources)).all(2)
    known = known & (known.sum(1, keepdim=True) >= _FEWEST)
    homography, sound = homography_of(points[:, :4], points[:, 4:])
    wanted = points.new_tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) * size
    held = 0.1 * functional.smooth_l1_loss(points[:, :4] / _PATCH, (wanted / _PATCH).expand(len(points), -1, -1))
    if not known.any():
        return held, 0.0
    away = project(homography, torch.nan_to_num(sources))[known] - targets[known]
    distance = (away.square().sum(1) + 1e-6).sqrt() / _PATCH
    good = sound[:, None].expand_as(known)[known]
    return torch.log1p(distance).mean() + held, float(((distance.detach() <= 1.5) & good).float().mean())
