"""The rectification error of a stereo pair from points tracked through two views of each camera.

Rows of one pair show the vertical part of the error. The horizontal part, an error of the disparities, shows only over time: the
same points triangulated before and after a motion must differ by a rigid motion, and wrong disparities bend the scene in a way
that no rigid motion explains. Both are one least-squares problem in the eight parameters of
:class:`~vloc_ros.geometry.rectification.RectificationCorrection` and one pose per pair of frames. The poses are eliminated (Schur
complement), as in bundle adjustment (Triggs et al., Bundle Adjustment - A Modern Synthesis, 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.pnp import Landmarks, PnpSettings, estimate_pose
from vloc_ros.geometry.rectification import RectificationCorrection, shift_basis

Array = NDArray[np.float64]
_MIN_DISPARITY_PX = 2.0
"""Points farther away have an inverse depth too uncertain for a first-order covariance."""
_POINT_SIGMA_PX = 0.3
_ROW_SIGMA_PX = 0.2
_CAUCHY_SQUARED = 9.0
_ITERATIONS = 20
_ROW_ITERATIONS = 20
_CONVERGED_PX = 5e-3
_NOISE = PnpSettings(pixel_sigma=_POINT_SIGMA_PX, disparity_sigma=_POINT_SIGMA_PX)
_POSE = PnpSettings(iterations=40, max_sigma_m=100.0, max_sigma_rad=1.0)  # wrong disparities converge slowly
_SHARE = 0.04
"""Matches are no independent witnesses: neighbours share what the model does not explain (such as an error of the left lens), so
that this share of their information is used. With it the covariance has the size of the scatter between parts of a real drive."""
# A weak prior keeps combinations that the data do not show at zero: 1 degree, 1 %, 10 px, and lens coefficients. Radial distortion
# resembles a change of scale over a narrow field of view; its tighter prior keeps the two from growing against each other.
_PRIOR_SIGMA = np.array([0.02, 0.02, 0.02, 0.01, 10.0, 0.002, 0.01, 0.01])


@dataclass(frozen=True, slots=True)
class StereoTracks:
    """Points seen in both images of two frames, and all left-right matches of both frames.

    Attributes:
        before_left, before_right, after_left, after_right: (N, 2) pixels of the same N points, as recorded.
        row_left, row_right: (M, 2) pixels of left-right matches, whether or not they were tracked over time.
    """

    before_left: Array
    before_right: Array
    after_left: Array
    after_right: Array
    row_left: Array
    row_right: Array

    def __len__(self) -> int:
        return len(self.before_left)


@dataclass(frozen=True, slots=True)
class RectificationFit:
    """A fitted correction.

    Attributes:
        correction: the parameters.
        covariance: (8, 8) of the parameters; what the data do not determine has the size of the prior.
    """

    correction: RectificationCorrection
    covariance: Array

    def disparity_sigma_px(self, camera: StereoCamera) -> float:
        """The largest standard deviation of the correction of a disparity over the image [px]."""
        columns, rows = np.linspace(0.0, camera.width - 1.0, 9), np.linspace(0.0, camera.height - 1.0, 9)
        grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        basis = shift_basis(camera, grid)[:, 0]
        return float(np.sqrt(np.einsum("ni,ij,nj->n", basis, self.covariance, basis).max()))


def fit_rows(camera: StereoCamera, tracks: Sequence[StereoTracks]) -> RectificationCorrection:
    """The correction that makes the rows of left-right matches agree: a robust linear fit; the disparities are not looked at."""
    recorded = np.concatenate([t.row_right for t in tracks])
    target = np.concatenate([t.row_left for t in tracks])[:, 1]
    basis = shift_basis(camera, recorded)[:, 1]
    parameters: Array = np.zeros(basis.shape[1])
    for _ in range(_ROW_ITERATIONS):
        residual = target - recorded[:, 1] + basis @ parameters
        # The scale starts at that of a badly rectified pair and shrinks to that of the matches.
        sigma = max(_ROW_SIGMA_PX, 1.5 * float(np.median(np.abs(residual))))
        weight = _cauchy((residual / sigma) ** 2) * _SHARE / sigma**2
        normal = (basis * weight[:, None]).T @ basis + np.diag(_PRIOR_SIGMA**-2)
        parameters = np.linalg.solve(normal, basis.T @ (weight * (recorded[:, 1] - target)))
        basis = shift_basis(camera, _correction(parameters).ideal(camera, recorded))[:, 1]
    return _correction(parameters)


def fit_rectification(
    camera: StereoCamera, tracks: Sequence[StereoTracks], start: RectificationCorrection
) -> RectificationFit | None:
    """Rows and temporal consistency together, from a given start; None when no pair of frames yields a pose."""
    parameters: Array = np.array(start.to_list())
    poses = [_first_motion(camera, t, start) for t in tracks]
    used = [(t, pose) for t, pose in zip(tracks, poses, strict=True) if pose is not None]
    if not used:
        return None
    chosen, motions = [t for t, _ in used], [pose for _, pose in used]
    normal: Array = np.eye(len(parameters))
    for _ in range(_ITERATIONS):
        normal, gradient = _row_system(camera, tracks, parameters)
        systems = []
        for t, motion in zip(chosen, motions, strict=True):
            system = _MotionSystem.linearise(camera, t, motion, parameters)
            normal += system.reduced_normal
            gradient += system.reduced_gradient
            systems.append(system)
        step: Array = np.asarray(-np.linalg.solve(normal, gradient), dtype=np.float64)
        parameters = parameters + step
        motions = [m @ se3.exp(s.motion_step(step)) for m, s in zip(motions, systems, strict=True)]
        if _largest_shift(camera, step) < _CONVERGED_PX:
            break
    return RectificationFit(_correction(parameters), np.asarray(np.linalg.inv(normal), dtype=np.float64))


def estimate_motion(camera: StereoCamera, tracks: StereoTracks, correction: RectificationCorrection) -> Array | None:
    """(4, 4) ``after_T_before`` of the camera under a correction, or None."""
    before, after = disparities(camera, tracks, correction)
    near = before > _MIN_DISPARITY_PX
    landmarks = Landmarks.triangulate(camera, tracks.before_left[near], before[near], _POSE)
    return estimate_pose(camera, landmarks, tracks.after_left[near], after[near], _POSE).a_T_b


def _first_motion(camera: StereoCamera, tracks: StereoTracks, start: RectificationCorrection) -> Array | None:
    motion = estimate_motion(camera, tracks, start)
    # Rows alone can get the disparities more wrong than they were.
    return estimate_motion(camera, tracks, RectificationCorrection()) if motion is None else motion


def disparities(camera: StereoCamera, tracks: StereoTracks, correction: RectificationCorrection) -> tuple[Array, Array]:
    """(N,) disparities [px] before and after, under a correction."""
    before = tracks.before_left[:, 0] - correction.ideal(camera, tracks.before_right)[:, 0]
    after = tracks.after_left[:, 0] - correction.ideal(camera, tracks.after_right)[:, 0]
    return before, after


def row_errors(camera: StereoCamera, tracks: StereoTracks, correction: RectificationCorrection) -> Array:
    """(M,) left minus right row of the left-right matches [px], under a correction."""
    return np.asarray(tracks.row_left[:, 1] - correction.ideal(camera, tracks.row_right)[:, 1])


def temporal_errors(
    camera: StereoCamera, tracks: StereoTracks, correction: RectificationCorrection, cap_px: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Distances [px], at most ``cap_px``, between where landmarks of the first frame should appear in the second left image and
    where they do, with the pose estimated anew; and which points are near enough to count.
    """
    before, _ = disparities(camera, tracks, correction)
    near = before > _MIN_DISPARITY_PX
    motion = estimate_motion(camera, tracks, correction)
    if motion is None:
        return np.full(len(tracks), cap_px), near
    points = se3.transform(motion, camera.back_project(tracks.before_left, np.where(near, before, _MIN_DISPARITY_PX)))
    distance = np.linalg.norm(camera.project(points)[:, :2] - tracks.after_left, axis=1)
    return np.minimum(np.nan_to_num(distance, nan=cap_px), cap_px), near


@dataclass(frozen=True, slots=True)
class _MotionSystem:
    """Normal equations of one pair of frames with its pose eliminated."""

    reduced_normal: Array
    reduced_gradient: Array
    inverse_motion: Array
    coupling: Array
    motion_gradient: Array

    @classmethod
    def linearise(cls, camera: StereoCamera, tracks: StereoTracks, motion: Array, parameters: Array) -> _MotionSystem:
        """At a pose ``after_T_before`` and parameters."""
        correction = _correction(parameters)
        ideal_before, ideal_after = (correction.ideal(camera, p) for p in (tracks.before_right, tracks.after_right))
        before, after = tracks.before_left[:, 0] - ideal_before[:, 0], tracks.after_left[:, 0] - ideal_after[:, 0]
        used = before > _MIN_DISPARITY_PX
        before = np.where(used, before, _MIN_DISPARITY_PX)
        landmarks = Landmarks.triangulate(camera, tracks.before_left, before, _NOISE)
        points = se3.transform(motion, landmarks.points)
        used &= points[:, 2] > 0.05
        points = np.where(used[:, None], points, [0.0, 0.0, 1.0])
        residual = camera.project(points) - np.column_stack([tracks.after_left, after])
        of_point = camera.projection_jacobian(points) @ motion[:3, :3]
        of_motion = np.concatenate([of_point, -of_point @ _hats(landmarks.points)], axis=2)
        # A disparity d + dx moves its point along the ray: dX/dd = -X/d.
        of_disparity = np.einsum("nij,nj->ni", of_point, -landmarks.points / before[:, None])
        of_parameters = of_disparity[:, :, None] * shift_basis(camera, ideal_before)[:, None, 0]
        of_parameters[:, 2] -= shift_basis(camera, ideal_after)[:, 0]
        noise = of_point @ landmarks.covariances @ of_point.transpose(0, 2, 1) + np.eye(3) * _POINT_SIGMA_PX**2
        information: Array = np.asarray(np.linalg.inv(noise), dtype=np.float64)
        squared = np.einsum("ni,nij,nj->n", residual, information, residual)
        information *= np.where(used, _SHARE * _cauchy(squared), 0.0)[:, None, None]
        return cls._eliminate(residual, of_motion, of_parameters, information)

    @classmethod
    def _eliminate(cls, residual: Array, of_motion: Array, of_parameters: Array, information: Array) -> _MotionSystem:
        weighted_motion = (information @ of_motion).reshape(-1, 6)
        weighted_parameters = (information @ of_parameters).reshape(-1, of_parameters.shape[2])
        flat_motion, flat_parameters = of_motion.reshape(-1, 6), of_parameters.reshape(-1, of_parameters.shape[2])
        motion_normal = flat_motion.T @ weighted_motion + 1e-9 * np.eye(6)
        inverse_motion: Array = np.asarray(np.linalg.inv(motion_normal), dtype=np.float64)
        coupling = flat_motion.T @ weighted_parameters
        motion_gradient = weighted_motion.T @ residual.ravel()
        reduced_normal = flat_parameters.T @ weighted_parameters - coupling.T @ inverse_motion @ coupling
        reduced_gradient = weighted_parameters.T @ residual.ravel() - coupling.T @ inverse_motion @ motion_gradient
        return cls(reduced_normal, reduced_gradient, inverse_motion, coupling, motion_gradient)

    def motion_step(self, step: Array) -> Array:
        """(6,) step of the pose that goes with a step of the parameters."""
        return np.asarray(-self.inverse_motion @ (self.motion_gradient + self.coupling @ step))


def _row_system(camera: StereoCamera, tracks: Sequence[StereoTracks], parameters: Array) -> tuple[Array, Array]:
    """Normal matrix and gradient of the prior and of the rows."""
    correction = _correction(parameters)
    normal, gradient = np.diag(_PRIOR_SIGMA**-2), parameters / _PRIOR_SIGMA**2
    for t in tracks:
        ideal = correction.ideal(camera, t.row_right)
        residual = t.row_left[:, 1] - ideal[:, 1]
        basis = shift_basis(camera, ideal)[:, 1]
        weight = _cauchy((residual / _ROW_SIGMA_PX) ** 2) * _SHARE / _ROW_SIGMA_PX**2
        normal += (basis * weight[:, None]).T @ basis
        gradient += basis.T @ (weight * residual)
    return normal, gradient


def _correction(parameters: Array) -> RectificationCorrection:
    return RectificationCorrection(*parameters.tolist())


def _cauchy(squared: Array) -> Array:
    return np.asarray(1.0 / (1.0 + squared / _CAUCHY_SQUARED))


def _largest_shift(camera: StereoCamera, step: Array) -> float:
    corners = np.array([[x, y] for x in (0.0, camera.cx, camera.width - 1.0) for y in (0.0, camera.cy, camera.height - 1.0)])
    return float(np.abs(shift_basis(camera, corners) @ step).max())


def _hats(points: Array) -> Array:
    x, y, z = points.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
