"""The published objective of U: match, lift to points, solve for the pose, and go back through all of it.

After Gridseth and Barfoot, "Keeping an Eye on Things: Deep Learned Features for Long-Term Visual Localization" (RA-L 2022).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vloc_ros.networks.local import LocalMaps, LocalNetwork, sample, sample_maps
from vloc_ros.training.objective import Objective, PairBatch, StereoBatch
from vloc_ros.training.pose_solving import align, inverse
from vloc_ros.training.published_loss import MatchedPoints, keypoint_loss, pose_losses, true_inliers
from vloc_ros.training.published_settings import PublishedSettings, Targets
from vloc_ros.training.soft_matching import dense_descriptors, match_weights, soft_match
from vloc_ros.training.stereo_points import back_project, sample_nearest
from vloc_ros.training.window_keypoints import window_keypoints


class SoftMatches(NamedTuple):
    """Key points of B first images and where they are expected in the second ones.

    Attributes:
        source: (B, N, 2) key points [px].
        target: (B, N, 2) expected positions [px].
        weights: (B, N) from 0 to 1: how alike, and how good both.
    """

    source: Tensor
    target: Tensor
    weights: Tensor


class PublishedObjective(Objective):
    """Losses of key points and of poses on pairs of stereo frames; pairs without stereo teach it nothing."""

    def __init__(self, settings: PublishedSettings | None = None) -> None:
        """With the published settings unless others are given."""
        self.settings = settings or PublishedSettings()

    def __call__(self, network: LocalNetwork, batch: PairBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """As the contract says.

        The terms are ``keypoint`` and ``pose``, as weighted, ``inliers`` per pair and ``posed``, the share of pairs with a pose;
        ``no_stereo`` or ``too_few_inliers`` when there is nothing to learn from; and ``pairs``, so many of which the loss is the
        mean of: those with a pose where one is learned from, else those with an inlier.
        """
        if batch.stereo is None:
            return batch.images_a.new_zeros(()), {"no_stereo": 1.0, "pairs": 0.0}
        # One image set at a time, as published: batch normalisation sees each light on its own.
        maps_a, maps_b = network(batch.images_a), network(batch.images_b)
        loss, terms = self._one_way(network, maps_a, maps_b, batch.stereo, epoch)
        if self.settings.symmetric:
            back, other = self._one_way(network, maps_b, maps_a, _swapped(batch.stereo), epoch)
            loss = 0.5 * (loss + back)
            terms = {name: 0.5 * (terms.get(name, 0.0) + other.get(name, 0.0)) for name in {**terms, **other}}
        return loss, terms

    def _one_way(
        self, network: LocalNetwork, maps_a: LocalMaps, maps_b: LocalMaps, stereo: StereoBatch, epoch: int
    ) -> tuple[Tensor, dict[str, float]]:
        settings = self.settings
        matches = self.match(network, maps_a, maps_b)
        matched = lifted(matches, stereo)
        inliers = true_inliers(matched, settings)
        counts = inliers.sum(1)
        with_pose = epoch >= settings.first_pose_epoch
        posed = counts >= settings.min_inliers
        dropped = with_pose and settings.first_pair_decides and not bool(posed[0])
        if dropped or not bool(inliers.any()):
            return maps_a.logits.new_zeros(()), {"inliers": float(counts.float().mean()), "too_few_inliers": 1.0, "pairs": 0.0}
        loss = keypoint_loss(matched, inliers, settings)
        terms = {"keypoint": float(loss.detach()), "inliers": float(counts.float().mean()), "pairs": float((counts > 0).sum())}
        if with_pose:
            terms["posed"] = float(posed.float().mean())
            if bool(posed.any()):
                b_T_a = solved(matched, matches.weights, inliers)
                pose = pose_losses(matched.of_bases(b_T_a)[posed], matched.base_b_T_base_a[posed], settings).mean()
                terms |= {"pose": float(pose.detach()), "pairs": float(posed.sum())}
                loss = loss + pose
        return loss, terms

    def match(self, network: LocalNetwork, maps_a: LocalMaps, maps_b: LocalMaps) -> SoftMatches:
        """Key points of the first images and where they are expected in the second ones."""
        settings = self.settings
        source = window_keypoints(maps_a.logits, settings.window, settings.detector_temperature)
        descriptors, scores = self._described(network, maps_a, source)
        if settings.targets is Targets.DENSE:
            candidates, places = dense_descriptors(maps_b, network)
        else:
            places = window_keypoints(maps_b.logits, settings.window, settings.detector_temperature)
            candidates, _ = self._described(network, maps_b, places)
        target = soft_match(descriptors, candidates, places, settings.match_temperature)
        seen, seen_scores = self._described(network, maps_b, target)
        similarity = (descriptors * seen).sum(-1)
        return SoftMatches(source, target, match_weights(similarity, scores, seen_scores, descriptors.shape[-1]))

    def _described(self, network: LocalNetwork, maps: LocalMaps, points: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D) descriptors of unit length and (B, N) scores at (B, N, 2) points [px]."""
        if self.settings.published_sampling:
            points = published_points(points, maps)
        return network.describe(sample_maps(maps, network, points)), sample(maps.scores, points).squeeze(2)


def published_points(points: Tensor, maps: LocalMaps) -> Tensor:
    """Where the published program reads its maps for (B, N, 2) points [px].

    It stretches 0 .. W - 1 to the outer edges of the image instead of to the centres of its outer pixels: half a pixel outwards at
    the borders, right in the middle. (Outside the outer centres it fades to zero, here the border goes on; no key point of a
    window gets there unless its softmax is all on one pixel of the border.)
    """
    height, width = maps.logits.shape[-2:]
    size = points.new_tensor([width, height])
    return points * (size / (size - 1.0)) - 0.5


def lifted(matches: SoftMatches, stereo: StereoBatch) -> MatchedPoints:
    """The points of matches, with the disparity of the pixel nearest to each."""
    points_a, valid_a = back_project(matches.source, sample_nearest(stereo.disparity_a, matches.source), stereo.intrinsics)
    points_b, valid_b = back_project(matches.target, sample_nearest(stereo.disparity_b, matches.target), stereo.intrinsics)
    valid = valid_a & valid_b
    return MatchedPoints(points_a, points_b, matches.target, valid, stereo.intrinsics, stereo.b_T_a, stereo.base_T_camera)


def solved(matched: MatchedPoints, weights: Tensor, inliers: Tensor) -> Tensor:
    """(B, 4, 4) ``b_T_a`` of the cameras from the matches that are inliers, by their weights."""
    kept = torch.where(inliers, weights, torch.zeros_like(weights))
    return align(matched.target, matched.source, kept)


def _swapped(stereo: StereoBatch) -> StereoBatch:
    return stereo._replace(disparity_a=stereo.disparity_b, disparity_b=stereo.disparity_a, b_T_a=inverse(stereo.b_T_a))
