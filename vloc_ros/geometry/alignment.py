"""Pose from points seen by two stereo cameras: robust weighted alignment, as U solves for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import PoseEstimate, RejectReason
from vloc_ros.geometry.pnp import Landmarks, PnpSettings
from vloc_ros.geometry.weighted_svd import AlignmentError, AlignmentSettings, align_points, align_samples

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_SEED = 0


def estimate_alignment(
    camera: StereoCamera, landmarks: Landmarks, pixels: Array, disparity: Array, weights: Array, settings: PnpSettings
) -> PoseEstimate:
    """Pose ``camera_T_reference`` that best lays landmarks of the reference on the points that the camera sees now.

    Random samples of the matches are aligned (Umeyama 1991); the pose that most matches agree with is aligned again to all of
    those until they stay the same. What has no depth or no weight is in no sample. Deterministic: the seed is fixed.

    Args:
        camera: the rectified camera.
        landmarks: N landmarks in the reference frame.
        pixels: (N, 2) where the camera sees them [px].
        disparity: (N,) [px], NaN where unknown.
        weights: (N,), at least 0.
        settings: noise, and the section of the alignment.

    Returns:
        The pose with the covariance of its right perturbation: the noise of both points carried through the alignment, scaled up
        when the residuals are larger than the noise says. Or a failure with its reason.
    """
    count, chosen = len(pixels), settings.alignment
    usable = (disparity > 0.0) & (weights > 0.0) & np.isfinite(landmarks.points).all(axis=1)
    rows = np.flatnonzero(usable)
    if len(rows) < max(chosen.min_inliers, chosen.sample):
        return PoseEstimate.failure(RejectReason.TOO_FEW_MATCHES, count)
    source, target = landmarks.select(rows), Landmarks.triangulate(camera, pixels[rows], disparity[rows], settings)
    w, seen = weights[rows], pixels[rows]
    if chosen.by_noise:
        w = w / np.trace(source.covariances + target.covariances, axis1=1, axis2=2)
    pose = _best_sample(camera, source.points, target.points, seen, w, chosen)
    if pose is None:
        return PoseEstimate.failure(RejectReason.DEGENERATE_GEOMETRY, count)
    inlier = _agree(camera, pose[None], source.points, target.points, seen, chosen)[0]
    for _ in range(chosen.refits):
        if np.count_nonzero(inlier) < chosen.min_inliers:
            return PoseEstimate.failure(RejectReason.TOO_FEW_INLIERS, count)
        refitted = align_points(target.points[inlier], source.points[inlier], w[inlier])
        if refitted is None:
            return PoseEstimate.failure(RejectReason.DEGENERATE_GEOMETRY, count)
        pose, before = refitted, inlier
        inlier = _agree(camera, pose[None], source.points, target.points, seen, chosen)[0]
        if np.array_equal(inlier, before):
            break
    if np.count_nonzero(inlier) < chosen.min_inliers:
        return PoseEstimate.failure(RejectReason.TOO_FEW_INLIERS, count)
    covariance = _covariance(pose, source.select(inlier), target.select(inlier), w[inlier])
    if covariance is None:
        return PoseEstimate.failure(RejectReason.DEGENERATE_GEOMETRY, count)
    sigma = np.sqrt(np.diag(covariance))
    if sigma[:3].max() > settings.max_sigma_m or sigma[3:].max() > settings.max_sigma_rad:
        return PoseEstimate.failure(RejectReason.LARGE_COVARIANCE, count)
    inliers = np.zeros(count, dtype=bool)
    inliers[rows[inlier]] = True
    return PoseEstimate(True, se3.normalised(pose), covariance, inliers)


def _best_sample(
    camera: StereoCamera, source: Array, target: Array, pixels: Array, weights: Array, settings: AlignmentSettings
) -> Array | None:
    """The (4, 4) pose of the sample that most points agree with; None when no sample fixes one."""
    order = np.random.default_rng(_SEED).random((settings.iterations, len(source))).argpartition(settings.sample - 1, axis=1)
    samples = order[:, : settings.sample]
    poses, determined = align_samples(target[samples], source[samples], weights[samples])
    poses = poses[determined]
    if len(poses) == 0:
        return None
    votes = _agree(camera, poses, source, target, pixels, settings).sum(axis=1)
    best: Array = poses[int(votes.argmax())]
    return best


def _agree(camera: StereoCamera, poses: Array, source: Array, target: Array, pixels: Array, settings: AlignmentSettings) -> Mask:
    """(K, N) which points agree with which of (K, 4, 4) poses."""
    moved = source @ poses[:, :3, :3].transpose(0, 2, 1) + poses[:, None, :3, 3]
    if settings.error is AlignmentError.SPACE:
        return np.asarray(np.square(moved - target).sum(axis=2) < settings.max_error_m**2)
    seen = camera.project(moved.reshape(-1, 3)).reshape(*moved.shape)[:, :, :2]
    return np.asarray(np.square(seen - pixels).sum(axis=2) < settings.max_error_px**2)  # False behind the camera


def _covariance(pose: Array, source: Landmarks, target: Landmarks, weights: Array) -> Array | None:
    """(6, 6) of the right perturbation of a weighted alignment: its normal matrix around the noise of the points.

    The residual of a match is the target point minus the moved source point, with the noise of both.
    """
    rotation = pose[:3, :3]
    x, y, z = source.points.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    # The right perturbation moves a source point p by R (rho + phi x p).
    jacobian = np.concatenate([np.broadcast_to(rotation, cross.shape), -rotation @ cross], axis=2)
    noise = target.covariances + source.moved(pose).covariances
    w = (weights / weights.sum())[:, None, None]
    transposed = jacobian.transpose(0, 2, 1)
    normal = (w * (transposed @ jacobian)).sum(axis=0)
    if np.linalg.cond(normal) > 1e12:
        return None
    inner = (w**2 * (transposed @ noise @ jacobian)).sum(axis=0)
    inverse = np.linalg.inv(normal)
    residual = target.points - se3.transform(pose, source.points)
    squared = np.einsum("ni,nij,nj->n", residual, np.linalg.inv(noise), residual)
    scale = max(1.0, float(squared.sum()) / max(3.0 * len(x) - 6.0, 1.0))
    return np.asarray(scale * inverse @ inner @ inverse)
