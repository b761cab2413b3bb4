"""Where the photos of a survey lie on level ground: one joint least-squares problem of all matches and all satellite positions.

A photo is placed by the point below it (east, north), the ground that its pixels see, its heading and two small tilts. Errors of
matches are counted in pixels, so that nothing is won by making the ground small; errors of positions are robust, as a receiver may
jump. Scale and heading of the whole follow from the positions, and no lens needs to be known: how many pixels its focal length
has only says how a tilt looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import lsqr

from vloc_ros.aerial.survey_matches import Pair

Array = NDArray[np.float64]
GPS_M = 2.0
"""Standard deviation of a satellite position, along each axis [m]."""
_MATCH_PX = 2.0
_TILT_RAD = np.deg2rad(3.0)
_SIZE = 6
"""Unknowns of a photo: east, north, logarithm of ground per pixel, heading, and the tilts about right and down."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Placed photos.

    Attributes:
        values: (N, 6) unknowns of each: east and north [m], logarithm of metres per pixel, heading [rad], two tilts [rad].
        focal: focal length that was taken for all [px].
        errors: (N,) median error of the matches of each [px].
        from_gps: (N, 2) east and north of the place less those of its satellite position [m].
    """

    values: Array
    focal: float
    errors: Array
    from_gps: Array

    def homography(self, number: int) -> Array:
        """(3, 3) from pixels (u, v), counted from the centre of a photo, to east and north [m]."""
        found: Array = homographies(self.values[number : number + 1], self.focal)[0]
        return found


def place(pairs: Sequence[Pair], gps: Array, focal: float, height_m: float | None = None) -> Placement | None:
    """Place photos that are connected by pairs.

    Args:
        pairs: of their numbers.
        gps: (N, 2) east and north of their satellite positions [m].
        focal: focal length [px], where no height is known.
        height_m: of the flight above the ground; the focal length is this divided by the ground that a pixel sees.

    Returns:
        None where the pairs and the positions fit to no similarity at all.
    """
    one, other = (
        np.concatenate([[p.one] * len(p.points) for p in pairs]),
        np.concatenate([[p.other] * len(p.points) for p in pairs]),
    )
    points = np.vstack([pair.points for pair in pairs])
    begun = _similarities(one, other, points, gps)
    if begun is None:
        return None
    if height_m is not None:
        focal = float(np.clip(height_m / np.exp(np.median(begun[:, 2])), focal / 3.0, focal * 3.0))

    def residuals(flat: Array) -> Array:
        values = flat.reshape(-1, _SIZE)
        apart = _apart(values, focal, one, other, points)
        from_gps = values[:, :2] - gps
        heights = (values[:, 2] - np.median(values[:, 2])) / 0.2
        return np.concatenate(
            [(apart / _MATCH_PX).ravel(), (from_gps / GPS_M).ravel(), (values[:, 4:] / _TILT_RAD).ravel(), heights]
        )

    found = least_squares(
        residuals, begun.ravel(), jac_sparsity=_sparsity(one, other, len(gps)), x_scale="jac", loss="soft_l1", max_nfev=60
    )
    values = found.x.reshape(-1, _SIZE)
    apart = np.linalg.norm(_apart(values, focal, one, other, points), axis=1)
    of_photo = [apart[(one == number) | (other == number)] for number in range(len(gps))]
    errors = np.array([np.median(part) if len(part) else np.inf for part in of_photo])
    return Placement(values, focal, errors, values[:, :2] - gps)


def homographies(values: Array, focal: float) -> Array:
    """(N, 3, 3) from pixels, counted from the centre of a photo, to east and north [m].

    A pixel (u, v) is the ray R (u, v, f) with the tilts R = exp([right, down, 0]_x); it meets the ground f times a pixel below.
    """
    count = len(values)
    x, y, ground, heading = values[:, 0], values[:, 1], np.exp(values[:, 2]), values[:, 3]
    right, down = values[:, 4], values[:, 5]
    # To the second order: the tilts are small, and what is left is far below a pixel.
    R = np.zeros((count, 3, 3))
    R[:, 0, 0], R[:, 0, 1], R[:, 0, 2] = 1.0 - down**2 / 2.0, right * down / 2.0, down
    R[:, 1, 0], R[:, 1, 1], R[:, 1, 2] = right * down / 2.0, 1.0 - right**2 / 2.0, -right
    R[:, 2, 0], R[:, 2, 1], R[:, 2, 2] = -down, right, 1.0 - (right**2 + down**2) / 2.0
    to_ground = np.zeros((count, 3, 3))
    height, sin, cos = ground * focal, np.sin(heading), np.cos(heading)
    to_ground[:, 0, 0], to_ground[:, 0, 1], to_ground[:, 0, 2] = height * cos, -height * sin, x
    to_ground[:, 1, 0], to_ground[:, 1, 1], to_ground[:, 1, 2] = -height * sin, -height * cos, y
    to_ground[:, 2, 2] = 1.0
    made: Array = to_ground @ R @ np.diag([1.0 / focal, 1.0 / focal, 1.0])
    return made


def _apart(values: Array, focal: float, one: NDArray[np.int64], other: NDArray[np.int64], points: Array) -> Array:
    """(N, 2) how far the two points of each match lie apart, in pixels."""
    H = homographies(values, focal)
    ground = np.exp((values[one, 2] + values[other, 2]) / 2.0)[:, None]
    made: Array = (_mapped(H[one], points[:, :2]) - _mapped(H[other], points[:, 2:])) / ground
    return made


def _mapped(H: Array, points: Array) -> Array:
    there = np.einsum("nij,nj->ni", H, np.column_stack([points, np.ones(len(points))]))
    made: Array = there[:, :2] / there[:, 2:]
    return made


def _sparsity(one: NDArray[np.int64], other: NDArray[np.int64], photos: int) -> csr_matrix:
    """Which unknowns each residual depends on, in the order of ``residuals``."""
    rows, columns = [], []
    for photo in (one, other):
        for axis in (0, 1):
            for unknown in range(_SIZE):
                rows.append(2 * np.arange(len(one)) + axis)
                columns.append(_SIZE * photo + unknown)
    begin, every = 2 * len(one), np.arange(photos)
    for first, unknowns in ((begin, (0, 1)), (begin + 2 * photos, (4, 5))):
        for axis, unknown in enumerate(unknowns):
            rows.append(first + 2 * every + axis)
            columns.append(_SIZE * every + unknown)
    rows.append(begin + 4 * photos + every)
    columns.append(_SIZE * every + 2)
    row, column = np.concatenate(rows), np.concatenate(columns)
    return coo_matrix((np.ones(len(row)), (row, column)), shape=(begin + 5 * photos, _SIZE * photos)).tocsr()


def _similarities(one: NDArray[np.int64], other: NDArray[np.int64], points: Array, gps: Array) -> Array | None:
    """(N, 6) unknowns to begin with, without tilts: a linear problem in complex numbers, p -> a p + b, solved again with weights.

    With north up and v down, the ground is east + i north and a pixel u - i v; so none is mirrored.
    """
    p, q = points[:, 0] - 1j * points[:, 1], points[:, 2] - 1j * points[:, 3]
    count, matches, photos = 2 * len(gps), len(p), np.arange(len(gps))
    row = np.arange(matches)
    system = (
        coo_matrix((p, (row, one)), shape=(matches + len(gps), count))
        + coo_matrix((np.ones(matches), (row, len(gps) + one)), shape=(matches + len(gps), count))
        - coo_matrix((q, (row, other)), shape=(matches + len(gps), count))
        - coo_matrix((np.ones(matches), (row, len(gps) + other)), shape=(matches + len(gps), count))
        + coo_matrix((np.ones(len(gps)), (matches + photos, len(gps) + photos)), shape=(matches + len(gps), count))
    ).tocsr()
    wanted = np.concatenate([np.zeros(matches), gps[:, 0] + 1j * gps[:, 1]])
    # Matches are far better than positions, but ten to sixty of them stand for one position.
    weights = np.concatenate([np.full(matches, 1.0), np.full(len(gps), 1.0)])
    for _ in range(8):
        found = lsqr(system.multiply(weights[:, None]).tocsr(), wanted * weights, atol=1e-12, btol=1e-12, iter_lim=20000)[0]
        errors = np.abs(system @ found - wanted)
        scale = np.concatenate([np.full(matches, 1.5 * np.median(errors[:matches])), np.full(len(gps), GPS_M)]) + 1e-9
        weights = np.minimum(1.0, np.sqrt(scale / np.maximum(errors, 1e-12)))
    a, b = found[: len(gps)], found[len(gps) :]
    if not (np.isfinite(a).all() and np.isfinite(b).all() and np.abs(a).min() > 1e-9):
        return None
    none = np.zeros(len(gps))
    # Up in the image is v = -1, p = i: it maps to i a, whose heading is that of north (i) turned by the angle of a.
    return np.column_stack([b.real, b.imag, np.log(np.abs(a)), -np.angle(a), none, none])
