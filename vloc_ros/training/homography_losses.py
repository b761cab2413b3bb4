"""What a predicted homography is judged by without anybody having labelled one: matches of local descriptors that agree.

Lu et al., "Deep Homography Estimation for Visual Place Recognition", AAAI 2024, section 3.3. Local descriptors choose the matches,
and how many of them count; only the homography has a gradient, and through what it was predicted from, the network below.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vloc_ros.networks.dhe import patch_centres
from vloc_ros.networks.homography import homography_of, project

LEAST_MATCHES = 4
"""Fewer do not determine a homography."""


def mutual_matches(local_a: Tensor, local_b: Tensor) -> list[Tensor]:
    """Positions of two maps that are each other's most similar ones.

    Args:
        local_a: (B, C, S, S) local descriptors of any length.
        local_b: (B, C, S, S) likewise.

    Returns:
        For each of the B pairs (M, 2) int64: positions in the first and in the second map, row by row.
    """
    with torch.no_grad():
        a, b = (functional.normalize(local, dim=1).flatten(2) for local in (local_a, local_b))
        alike = a.transpose(1, 2) @ b
        to_b, to_a = alike.argmax(2), alike.argmax(1)
        mine = torch.arange(alike.shape[1], device=alike.device)
        mutual = to_a.gather(1, to_b) == mine
        return [torch.stack([mine[chosen], there[chosen]], 1) for chosen, there in zip(mutual, to_b, strict=True)]


def rei_loss(
    points: Tensor, query_local: Tensor, candidate_local: Tensor, size: int, threshold_px: float = 24.0
) -> tuple[Tensor, Tensor]:
    """Re-projection error of inliers: the mean of the k smallest errors of mutual matches under the predicted homography.

    k is the number of inliers that RANSAC finds among the matches: the homography is asked to explain as many, not the same ones.

    Args:
        points: (B, 8, 2) predicted [px]: four in the query, then where the candidate shows them.
        query_local: (B, C, S, S) local descriptors of the query.
        candidate_local: (B, C, S, S) of the candidate.
        size: height and width of the images [px].
        threshold_px: of RANSAC [px].

    Returns:
        (B,) errors [px], and (B,) bool: whether there is one. There is none, and the error is 0, where there are fewer than four
        matches, RANSAC finds no homography, or the predicted points are not those of one.
    """
    homographies, sound = homography_of(points[:, :4].float(), points[:, 4:].float())
    centres = patch_centres(query_local.shape[-1], size // query_local.shape[-1]).to(points.device)
    errors, learned = [], []
    for k, matches in enumerate(mutual_matches(query_local, candidate_local)):
        here, there = centres[matches[:, 0]], centres[matches[:, 1]]
        count = inlier_count(here, there, threshold_px) if bool(sound[k]) else 0
        learned.append(count > 0)
        if count == 0:
            errors.append(points.new_zeros((), dtype=torch.float32))
            continue
        missed = (project(homographies[k : k + 1], here)[0] - there).norm(dim=1)
        errors.append(missed.topk(count, largest=False).values.mean())
    return torch.stack(errors), torch.tensor(learned, device=points.device)


def inlier_count(source: Tensor, target: Tensor, threshold_px: float) -> int:
    """How many of (M, 2) matches [px] agree with the homography that RANSAC finds; 0 where it finds none."""
    if len(source) < LEAST_MATCHES:
        return 0
    a, b = (np.ascontiguousarray(side.cpu().numpy(), dtype=np.float32) for side in (source, target))
    matrix, inliers = cv2.findHomography(a, b, cv2.RANSAC, threshold_px)
    return 0 if matrix is None or inliers is None else int(inliers.sum())
