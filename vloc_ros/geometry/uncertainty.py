"""Covariances of poses under the conventions of :mod:`vloc_ros.geometry.se3`, and fusion of two estimates of one pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3

Array = NDArray[np.float64]

CHI2_6DOF_999 = 22.458
"""99.9 % quantile of the chi-square distribution with six degrees of freedom."""


def isotropic(sigma_m: float, sigma_rad: float) -> Array:
    """(6, 6) covariance with equal standard deviations along the three axes [m] and about them [rad]."""
    return np.diag(np.repeat([sigma_m**2, sigma_rad**2], 3))


def of_inverse(a_T_b: Array, covariance: Array) -> Array:
    """Covariance of ``b_T_a`` from that of ``a_T_b``."""
    ad = se3.adjoint(a_T_b)
    return np.asarray(ad @ covariance @ ad.T)


def change_body(c_T_b: Array, covariance: Array) -> Array:
    """Covariance of ``a_T_c`` from that of ``a_T_b``, for a body frame c rigidly attached to b."""
    ad = se3.adjoint(c_T_b)
    return np.asarray(ad @ covariance @ ad.T)


def information(covariance: Array) -> Array | None:
    """Inverse of a (6, 6) covariance, symmetric; None when it is singular.

    Solved on correlations, so that mixed units do not spoil the inverse.
    """
    variances = np.diagonal(covariance)
    if not np.isfinite(covariance).all() or not (variances > 0.0).all():
        return None
    scale = np.sqrt(np.outer(variances, variances))
    correlation = covariance / scale
    if np.linalg.eigvalsh(correlation)[0] < 1e-12:
        return None
    inverse = np.linalg.inv(correlation) / scale
    return np.asarray(0.5 * (inverse + inverse.T))


def mahalanobis(predicted: Array, predicted_cov: Array, measured: Array, measured_cov: Array) -> float:
    """Squared Mahalanobis distance of two independent estimates of one pose; chi-square with six degrees of freedom."""
    xi = se3.log(se3.between(predicted, measured))
    return float(xi @ np.linalg.solve(predicted_cov + measured_cov, xi))


def fuse(predicted: Array, predicted_cov: Array, measured: Array, measured_cov: Array) -> tuple[Array, Array]:
    """Kalman update of a predicted pose by a measured one, to first order; both covariances are right perturbations."""
    gain = np.linalg.solve((predicted_cov + measured_cov).T, predicted_cov.T).T
    xi = gain @ se3.log(se3.between(predicted, measured))
    reduced = np.eye(6) - gain
    # Joseph's form stays symmetric and positive when the gain is inexact.
    covariance = reduced @ predicted_cov @ reduced.T + gain @ measured_cov @ gain.T
    return se3.normalised(predicted @ se3.exp(xi)), np.asarray(0.5 * (covariance + covariance.T))
