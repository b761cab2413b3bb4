"""Synthetic pose graphs with known truth, for tests and benchmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError
from vloc_ros.pose_graph import manifold
from vloc_ros.pose_graph.graph import PoseGraph

Array = NDArray[np.float64]

SIGMA_M, SIGMA_RAD = 0.1, 0.01
"""Noise of every relative pose, odometry and true closures alike [m, rad]: the sigmas that the reference back end assumes."""
SPACING_M = 1.0
FALSE_CLOSURE_DISTANCE_M = 10.0
"""A false closure joins places at least so far apart that what it claims cannot be true."""


def two_laps(keyframes: int, true_closures: int, false_closures: int, seed: int) -> tuple[PoseGraph, Array, NDArray[np.bool_]]:
    """Two laps of a hilly circuit in space, with loop closures between the laps and false ones between random places.

    A true closure joins a keyframe of the second lap with one of the first lap at most two keyframes from the same place. A
    false one claims that two random places coincide, up to a metre on each axis and half a radian about each, as perceptual
    aliasing does. The poses of the graph are the integrated odometry.

    Args:
        keyframes: number of poses, at least 8.
        true_closures: how many, at most half of the keyframes.
        false_closures: how many.
        seed: of the random numbers.

    Returns:
        The graph (edges: odometry, then the closures in random order), the truth (N, 4, 4), and (M,) bool whether an edge is
        true.

    Raises:
        DataError: fewer than 8 keyframes, more true closures than the laps can have, or a circuit too small for false ones.
    """
    lap = keyframes // 2
    if keyframes < 8 or not 0 <= true_closures <= lap:
        raise DataError(f"two laps need 8 keyframes and at most half as many true closures, not {keyframes} and {true_closures}")
    rng = np.random.default_rng(seed)
    truth = _circuit(np.arange(keyframes) / lap, lap * SPACING_M)
    sigmas = np.repeat([SIGMA_M, SIGMA_RAD], 3)

    later = lap + rng.choice(keyframes - lap, true_closures, replace=False)
    earlier = np.clip(later - lap + rng.integers(-2, 3, true_closures), 0, lap - 1)
    false = _distant_pairs(truth[:, :3, 3], false_closures, FALSE_CLOSURE_DISTANCE_M, rng)
    joined = np.concatenate([np.stack([earlier, later], axis=1), false])
    claims = np.concatenate([_between(truth, earlier, later), np.tile(np.eye(4), (false_closures, 1, 1))])
    errors = np.concatenate([rng.normal(0.0, sigmas, (true_closures, 6)), _aliasing(false_closures, rng)])
    order = rng.permutation(true_closures + false_closures)

    chain = np.stack([np.arange(keyframes - 1), np.arange(1, keyframes)], axis=1)
    odometry = _between(truth, chain[:, 0], chain[:, 1]) @ manifold.exp(rng.normal(0.0, sigmas, (keyframes - 1, 6)))
    ends = np.concatenate([chain, joined[order]]).astype(np.int64)
    edges = len(ends)
    graph = PoseGraph(
        ids=np.arange(keyframes, dtype=np.int64),
        poses=_integrated(odometry, truth[0]),
        a=ends[:, 0],
        b=ends[:, 1],
        a_T_b=np.concatenate([odometry, (claims @ manifold.exp(errors))[order]]),
        information=np.tile(np.diag(sigmas**-2.0), (edges, 1, 1)),
        trusted=np.arange(edges) < keyframes - 1,
    )
    return graph, truth, np.concatenate([np.ones(keyframes - 1, dtype=bool), order < true_closures])


def with_false_closures(graph: PoseGraph, places: Array, share: float, seed: int) -> tuple[PoseGraph, NDArray[np.bool_]]:
    """A graph with further closures that claim that random distant places coincide, with the noise of :func:`two_laps`.

    Args:
        graph: with at least one closure, whose information matrices the false ones borrow.
        places: (N, d + 1, d + 1) poses by which places are distant: at least a tenth of the diagonal of the map apart.
        share: number of false closures over that of the closures there are; at least one is added.
        seed: of the random numbers.

    Returns:
        The graph with the false closures at the end, and (M,) bool whether an edge was there before.

    Raises:
        DataError: the graph has no closure to borrow from.
    """
    closures = np.flatnonzero(~graph.trusted)
    if len(closures) == 0:
        raise DataError("a graph without loop closures has no information matrices that false ones could borrow")
    rng = np.random.default_rng(seed)
    count = max(1, round(share * len(closures)))
    positions = places[:, :-1, -1]
    far = 0.1 * float(np.linalg.norm(positions.max(axis=0) - positions.min(axis=0)))
    pairs = _distant_pairs(positions, count, far, rng)
    claims = manifold.exp(_aliasing(count, rng)[:, manifold.PLANAR if graph.dimension == 2 else slice(None)])
    result = PoseGraph(
        ids=graph.ids,
        poses=graph.poses,
        a=np.concatenate([graph.a, pairs[:, 0]]),
        b=np.concatenate([graph.b, pairs[:, 1]]),
        a_T_b=np.concatenate([graph.a_T_b, claims]),
        information=np.concatenate([graph.information, graph.information[rng.choice(closures, count)]]),
        trusted=np.concatenate([graph.trusted, np.zeros(count, dtype=bool)]),
    )
    return result, np.arange(len(result.a)) < len(graph.a)


def _circuit(turns: Array, length_m: float) -> Array:
    """(N, 4, 4) poses along a closed, hilly, uneven oval of roughly this length, x forwards."""
    angle = 2.0 * np.pi * turns
    radius = length_m / (2.0 * np.pi)

    def position(angle: Array) -> Array:
        r = radius * (1.0 + 0.2 * np.sin(3.0 * angle))
        return np.stack([r * np.cos(angle), r * np.sin(angle), 0.05 * radius * np.sin(2.0 * angle)], axis=1)

    forward = position(angle + 1e-4) - position(angle - 1e-4)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    left = np.cross([0.0, 0.0, 1.0], forward)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    poses = np.tile(np.eye(4), (len(turns), 1, 1))
    poses[:, :3, :3] = np.stack([forward, left, np.cross(forward, left)], axis=2)
    poses[:, :3, 3] = position(angle)
    return poses


def _between(poses: Array, a: NDArray[np.int64], b: NDArray[np.int64]) -> Array:
    return manifold.inverse(poses[a]) @ poses[b]


def _aliasing(count: int, rng: np.random.Generator) -> Array:
    """(count, 6) tangents: how far from coinciding a false closure claims two places to be."""
    return np.concatenate([rng.uniform(-1.0, 1.0, (count, 3)), rng.uniform(-0.5, 0.5, (count, 3))], axis=1)


def _distant_pairs(positions: Array, count: int, far: float, rng: np.random.Generator) -> NDArray[np.int64]:
    pairs: list[tuple[int, int]] = []
    for _ in range(1000 * count):
        if len(pairs) == count:
            break
        a, b = sorted(rng.choice(len(positions), 2, replace=False).tolist())
        if np.linalg.norm(positions[a] - positions[b]) > far:
            pairs.append((a, b))
    if len(pairs) < count:
        raise DataError(f"the map is too small for false closures: hardly any two of its poses are {far:.1f} m apart")
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _integrated(steps: Array, start: Array) -> Array:
    poses = [start]
    for step in steps:
        poses.append(poses[-1] @ step)
    return np.array(poses)
