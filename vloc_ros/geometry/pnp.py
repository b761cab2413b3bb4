"""Pose of a stereo camera from landmarks seen again: robust PnP, then refinement of the stereo reprojection error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param, section
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import PoseEstimate, RejectReason
from vloc_ros.geometry.weighted_svd import AlignmentSettings

try:
    import poselib
except ImportError:  # a ROS installation may lack it; OpenCV's USAC serves behind the same contract
    poselib = None

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_CHI2_99_2DOF = 9.21
_CHI2_99_3DOF = 11.34


@dataclass(frozen=True)
class PnpSettings:
    """Robust pose estimation."""

    ransac_px: float = param(3.0, "inlier threshold of RANSAC", unit="px", min=0.1, max=50.0, live=True)
    ransac_iterations: int = param(2000, "at most so many RANSAC iterations", min=10, max=100000, live=True)
    pixel_sigma: float = param(0.7, "standard deviation of a key point", unit="px", min=0.01, max=10.0)
    disparity_sigma: float = param(0.5, "standard deviation of a disparity", unit="px", min=0.01, max=10.0)
    iterations: int = param(10, "at most so many Gauss-Newton iterations", min=1, max=100, live=True)
    min_inliers: int = param(12, "fewer inliers are no pose", min=6, max=1000, live=True)
    max_sigma_m: float = param(1.0, "larger position uncertainty (one sigma) is no pose", unit="m", min=0.001, max=100.0, live=True)
    max_sigma_rad: float = param(
        0.1, "larger heading uncertainty (one sigma) is no pose", unit="rad", min=0.0001, max=3.0, live=True
    )
    alignment: AlignmentSettings = section(AlignmentSettings)


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Points of a reference frame with the noise of their triangulation.

    Attributes:
        points: (N, 3) in the reference camera's frame [m].
        covariances: (N, 3, 3) [m^2].
    """

    points: Array
    covariances: Array

    @classmethod
    def triangulate(cls, camera: StereoCamera, pixels: Array, disparity: Array, settings: PnpSettings) -> Landmarks:
        """From (N, 2) pixels and (N,) positive disparities, to first order in their noise."""
        points = camera.back_project(pixels, disparity)
        inverse_jacobian = np.linalg.inv(camera.projection_jacobian(points))
        noise = np.array([settings.pixel_sigma, settings.pixel_sigma, settings.disparity_sigma]) ** 2
        return cls(points, np.einsum("nij,j,nkj->nik", inverse_jacobian, noise, inverse_jacobian))

    def select(self, index: NDArray[Any]) -> Landmarks:
        """The landmarks at an index array or boolean mask."""
        return Landmarks(self.points[index], self.covariances[index])

    def moved(self, a_T_b: Array) -> Landmarks:
        """The same landmarks expressed in frame a."""
        rotation = a_T_b[:3, :3]
        return Landmarks(se3.transform(a_T_b, self.points), rotation @ self.covariances @ rotation.T)


def estimate_pose(
    camera: StereoCamera, landmarks: Landmarks, pixels: Array, disparity: Array, settings: PnpSettings
) -> PoseEstimate:
    """Pose ``camera_T_reference`` from landmarks of the reference and where the camera sees them now.

    Args:
        camera: the rectified camera.
        landmarks: N landmarks in the reference frame.
        pixels: (N, 2) key points in the left image.
        disparity: (N,) disparities [px], NaN where unknown.
        settings: thresholds and noise.

    Returns:
        The refined pose with the covariance of its right perturbation, from the inverse of the noise-weighted normal matrix
        (scaled up when the residuals are larger than the noise model says), or a failure with its reason.
    """
    count = len(pixels)
    if count < settings.min_inliers:
        return PoseEstimate.failure(RejectReason.TOO_FEW_MATCHES, count)
    guess = _ransac(camera, landmarks.points, pixels, settings)
    if guess is None:
        return PoseEstimate.failure(RejectReason.TOO_FEW_INLIERS, count)
    return refine_pose(camera, landmarks, pixels, disparity, guess, settings)


def refine_pose(
    camera: StereoCamera, landmarks: Landmarks, pixels: Array, disparity: Array, guess: Array, settings: PnpSettings
) -> PoseEstimate:
    """Gauss-Newton on the stereo reprojection error (u, v, disparity) with the Cauchy loss, from a given pose.

    The residual of each point is weighted by the inverse of its whole noise: of the key point, of the disparity, and of the
    landmark moved into this view. Points outside the 99 % gate at the optimum are outliers.
    """
    count = len(pixels)
    pose, normal, step = guess, np.zeros((6, 6)), None
    inlier = np.zeros(count, dtype=bool)
    squared = np.full(count, np.inf)
    converged = False
    for _ in range(settings.iterations):
        residual, jacobian, information, visible = _linearise(camera, landmarks, pixels, disparity, pose, settings)
        squared = ((information @ residual[:, :, None])[:, :, 0] * residual).sum(axis=1)
        dof = np.where(np.isfinite(disparity), _CHI2_99_3DOF, _CHI2_99_2DOF)
        inlier = visible & (squared < dof)
        # Cauchy: a point at the gate has half the influence that least squares gives it.
        weight = np.where(visible & (squared < 4.0 * dof), 1.0 / (1.0 + squared / dof), 0.0)
        # One row per residual component: the normal matrix is then one product of two tall matrices.
        weighted = (jacobian.transpose(0, 2, 1) @ (information * weight[:, None, None])).transpose(1, 0, 2).reshape(6, -1)
        normal = weighted @ jacobian.reshape(-1, 6)
        gradient = weighted @ residual.ravel()
        if np.count_nonzero(inlier) < settings.min_inliers:
            return PoseEstimate.failure(RejectReason.TOO_FEW_INLIERS, count)
        step = _solve(normal, -gradient)
        if step is None:
            return PoseEstimate.failure(RejectReason.DEGENERATE_GEOMETRY, count)
        pose = pose @ se3.exp(step)
        if np.linalg.norm(step) < 1e-5:
            converged = True
            break
    if not converged and (step is None or np.linalg.norm(step) > 1e-3):
        return PoseEstimate.failure(RejectReason.NOT_CONVERGED, count)
    covariance = np.asarray(np.linalg.inv(normal), dtype=np.float64)
    expected = float(np.where(np.isfinite(disparity), 3.0, 2.0)[inlier].sum()) - 6.0
    covariance = covariance * max(1.0, float(squared[inlier].sum()) / max(expected, 1.0))
    sigma = np.sqrt(np.diag(covariance))
    if sigma[:3].max() > settings.max_sigma_m or sigma[3:].max() > settings.max_sigma_rad:
        return PoseEstimate.failure(RejectReason.LARGE_COVARIANCE, count)
    return PoseEstimate(True, se3.normalised(pose), covariance, inlier)


def _linearise(
    camera: StereoCamera, landmarks: Landmarks, pixels: Array, disparity: Array, pose: Array, settings: PnpSettings
) -> tuple[Array, Array, Array, Mask]:
    """Residuals (N, 3), Jacobians (N, 3, 6) of ``pose @ exp(xi)``, information (N, 3, 3), and which points lie in front."""
    points = se3.transform(pose, landmarks.points)
    visible = points[:, 2] > 0.05
    points = np.where(visible[:, None], points, [0.0, 0.0, 1.0])
    projection = camera.projection_jacobian(points)
    rotation = pose[:3, :3]
    residual = camera.project(points) - np.column_stack([pixels, disparity])
    of_point = projection @ rotation
    jacobian = np.concatenate([of_point, -of_point @ _hat_rows(landmarks.points)], axis=2)
    noise = of_point @ landmarks.covariances @ of_point.transpose(0, 2, 1)
    noise[:, 0, 0] += settings.pixel_sigma**2
    noise[:, 1, 1] += settings.pixel_sigma**2
    noise[:, 2, 2] += settings.disparity_sigma**2
    unseen = ~np.isfinite(disparity)
    residual[unseen, 2] = 0.0
    # An unknown disparity carries no information: its noise is made independent and enormous.
    noise[unseen, 2, :2] = noise[unseen, :2, 2] = 0.0
    noise[unseen, 2, 2] = 1e12
    return residual, jacobian, np.asarray(np.linalg.inv(noise), dtype=np.float64), visible


def _hat_rows(points: Array) -> Array:
    x, y, z = points.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


def _solve(normal: Array, right: Array) -> Array | None:
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-12))
    balanced = normal * scale[:, None] * scale[None, :]
    if np.linalg.cond(balanced) > 1e8:
        return None
    return np.asarray(scale * np.linalg.solve(balanced, scale * right))


def _ransac(camera: StereoCamera, points: Array, pixels: Array, settings: PnpSettings) -> Array | None:
    """``camera_T_reference`` of the best minimal model, or None. Deterministic: both engines use a fixed seed."""
    return (
        _ransac_opencv(camera, points, pixels, settings) if poselib is None else _ransac_poselib(camera, points, pixels, settings)
    )


def _ransac_poselib(camera: StereoCamera, points: Array, pixels: Array, settings: PnpSettings) -> Array | None:
    model = {
        "model": "PINHOLE",
        "width": camera.width,
        "height": camera.height,
        # poselib follows COLMAP: the centre of the top-left pixel is (0.5, 0.5)
        "params": [camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5],
    }
    options = {"max_reproj_error": settings.ransac_px, "max_iterations": settings.ransac_iterations, "min_iterations": 50}
    pose, info = poselib.estimate_absolute_pose(pixels + 0.5, points, model, options, {})
    if info["num_inliers"] < settings.min_inliers:
        return None
    return se3.from_rotation_translation(np.asarray(pose.R), np.asarray(pose.t))


def _ransac_opencv(camera: StereoCamera, points: Array, pixels: Array, settings: PnpSettings) -> Array | None:
    cv2.setRNGSeed(0)
    found, rotation, translation, inliers = cv2.solvePnPRansac(
        points,
        pixels,
        camera.matrix,
        None,
        iterationsCount=settings.ransac_iterations,
        reprojectionError=settings.ransac_px,
        confidence=0.999,
        flags=cv2.USAC_MAGSAC,
    )
    if not found or inliers is None or len(inliers) < settings.min_inliers:
        return None
    return se3.from_rotation_translation(cv2.Rodrigues(rotation)[0], translation.ravel())
