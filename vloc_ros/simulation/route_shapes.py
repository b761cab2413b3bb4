"""Shapes of routes, as closed curves given by their heading along the arc.

A curve of length L has the heading theta(tau) = m * tau + sum of sines, tau = 2 pi s / L. With m = 1 it is a loop: a sine wave
on top makes the meanders of rivers (Langbein and Leopold, "River meanders: theory of minimum variance", USGS Professional
Paper 422-H, 1966). With m = 0 it is a figure eight: omega * sin(tau) closes where the Bessel function J0(omega) is zero.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vloc_ros.errors import ConfigError

Array = NDArray[np.float64]
MAX_CURVATURE = 0.35
"""No route bends tighter than this [1/m]: a robot that turns on a metre has room to correct itself."""
MIN_CROSSING_RAD = np.deg2rad(55.0)
_SHORTEST_M = 50.0
_DESIGN_CURVATURE = 0.33  # the spline through the points differs a little
_APART_M, _ALONG_M = 7.0, 16.0
"""Stretches further apart than the second along the route keep the first as their distance [m]."""
_NEAR_CROSSING_M = 9.0
_FIRST_ZERO_OF_J0 = 2.404825557695773


class RouteShape(Enum):
    """How a route runs.

    LOOP is a round trip with gentle bends, FIGURE_EIGHT crosses itself once, MEANDER has tight bends and stretches side by side.
    """

    LOOP = "loop"
    FIGURE_EIGHT = "figure_eight"
    MEANDER = "meander"


def centre_line(seed: int, length_m: float, shape: RouteShape) -> Array:
    """(N, 2) points of a figure eight or a meander.

    Raises:
        ConfigError: the route is too short for this shape.
    """
    if length_m < _SHORTEST_M:
        raise ConfigError(f"a {shape.value} of {length_m} m would bend too tightly; make it at least {_SHORTEST_M:g} m long")
    rng = np.random.default_rng([seed, 7])
    samples = max(2000, int(10.0 * length_m))
    tau = 2.0 * np.pi * (np.arange(samples) + 0.5) / samples
    crossings = 1 if shape is RouteShape.FIGURE_EIGHT else 0
    base, wave, repair = (_figure_eight if crossings else _meander)(tau, length_m, rng)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    for strength in np.linspace(1.0, 0.0, 41):  # the strongest that a robot can drive; at 0 it is a circle or a plain eight
        heading = _closed(base + strength * wave, repair)
        if heading is not None and _is_drivable(heading, length_m, crossings):
            return np.cumsum(np.stack([np.cos(heading + turn), np.sin(heading + turn)], axis=1), axis=0) * length_m / samples
    raise ConfigError(f"no {shape.value} of {length_m} m was found for seed {seed}; choose another seed or length")


def _meander(tau: Array, length_m: float, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Heading of a circle, the wave on it, and the two harmonics that may change to close the curve."""
    bends = max(round(length_m / rng.uniform(36.0, 46.0)), 3 if length_m > 90.0 else 2)
    wave = 1.9 * np.sin(bends * tau + rng.uniform(0.0, 2.0 * np.pi))
    for order in (bends - 1, bends + 1):
        if order > 1:
            wave += rng.uniform(0.05, 0.2) * np.sin(order * tau + rng.uniform(0.0, 2.0 * np.pi))
    return tau, wave, np.stack([np.cos(tau), np.sin(tau)])


def _figure_eight(tau: Array, length_m: float, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    wave = np.zeros_like(tau)
    for order in range(2, 7 if length_m > 100.0 else 4):
        wave += rng.uniform(0.5, 1.0) * 0.9 / order * np.sin(order * tau + rng.uniform(0.0, 2.0 * np.pi))
    return _FIRST_ZERO_OF_J0 * np.sin(tau), wave, np.stack([np.sin(tau), np.cos(2.0 * tau)])


def _closed(heading: Array, repair: Array) -> Array | None:
    """The heading with so much of the two (2, N) harmonics added that the curve ends where it began (Newton's method)."""
    for _ in range(20):
        step = np.stack([np.cos(heading), np.sin(heading)])
        gap = step.mean(axis=1)
        if float(np.abs(gap).max()) < 1e-12:
            return heading
        jacobian = np.stack([-step[1], step[0]]) @ repair.T / len(heading)
        if abs(float(np.linalg.det(jacobian))) < 1e-6:
            return None
        heading = heading - np.linalg.solve(jacobian, gap) @ repair
    return None


def _is_drivable(heading: Array, length_m: float, crossings: int) -> bool:
    turning = np.diff(np.unwrap(np.append(heading, heading[0]))) * len(heading) / length_m
    if float(np.abs(turning).max()) > _DESIGN_CURVATURE:
        return False
    every = max(int(len(heading) / length_m), 1)
    points = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)[::every] * length_m / len(heading)
    found = self_crossings(points)
    if len(found) != crossings or any(angle < MIN_CROSSING_RAD for _, angle in found):
        return False
    pairs = cKDTree(points).query_pairs(_APART_M, output_type="ndarray")
    along = np.abs(pairs[:, 1] - pairs[:, 0])
    pairs = pairs[np.minimum(along, len(points) - along) * length_m / len(points) > _ALONG_M]
    near = np.zeros(len(pairs), dtype=bool)
    for place, _ in found:
        near |= (np.linalg.norm(points[pairs] - place, axis=2) < _NEAR_CROSSING_M).any(axis=1)
    return bool(near.all())


def self_crossings(points: Array) -> list[tuple[Array, float]]:
    """Where a closed line through (N, 2) points crosses itself: (2,) places [m], and the angles there [rad], at most pi / 2."""
    start, end = points, np.roll(points, -1, axis=0)
    direction = end - start
    longest = float(np.linalg.norm(direction, axis=1).max())
    pairs = cKDTree(0.5 * (start + end)).query_pairs(1.01 * longest, output_type="ndarray")
    gap = np.abs(pairs[:, 1] - pairs[:, 0])
    i, j = pairs[np.minimum(gap, len(points) - gap) > 1].T
    det = _cross(direction[i], direction[j])
    with np.errstate(divide="ignore", invalid="ignore"):
        s = _cross(start[j] - start[i], direction[j]) / det
        t = _cross(start[j] - start[i], direction[i]) / det
    hits = np.flatnonzero((s >= 0.0) & (s < 1.0) & (t >= 0.0) & (t < 1.0))
    return [(start[i[h]] + s[h] * direction[i[h]], _angle(direction[i[h]], direction[j[h]])) for h in hits]


def _angle(a: Array, b: Array) -> float:
    return float(np.arccos(np.clip(abs(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)), 0.0, 1.0)))


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
