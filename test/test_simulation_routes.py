"""Routes: their length, their bends and their crossings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vloc_ros.errors import ConfigError
from vloc_ros.simulation import Route, RouteShape
from vloc_ros.simulation.route_shapes import MAX_CURVATURE, MIN_CROSSING_RAD, self_crossings

PLANAR = [(shape, length) for shape in RouteShape for length in (50.0, 120.0, 500.0)]


@pytest.mark.parametrize(("shape", "length"), PLANAR)
def test_a_route_has_its_length_and_can_be_driven(shape: RouteShape, length: float) -> None:
    for seed in range(4):
        route = Route.generate(seed, length, shape)
        points = route.samples(0.05)
        steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
        assert steps.sum() == pytest.approx(length, rel=2e-3)
        np.testing.assert_allclose(steps, 0.05, rtol=0.03)
        assert np.abs(route.curvature(np.arange(0.0, length, 0.05))).max() <= MAX_CURVATURE
        np.testing.assert_array_equal(points, Route.generate(seed, length, shape).samples(0.05))
        turns = np.sum(route.curvature(np.arange(0.0, length, 0.05))) * 0.05 / (2.0 * np.pi)
        assert turns == pytest.approx(0.0 if shape is RouteShape.FIGURE_EIGHT else 1.0, abs=0.01)


def test_the_shortest_loops_are_not_too_tight() -> None:
    for seed in range(40):
        assert np.abs(Route.generate(seed, 30.0).curvature(np.arange(0.0, 30.0, 0.05))).max() <= MAX_CURVATURE


@pytest.mark.parametrize(("shape", "length"), PLANAR)
def test_only_a_figure_eight_crosses_itself_and_does_so_steeply(shape: RouteShape, length: float) -> None:
    for seed in range(4):
        crossings = self_crossings(Route.generate(seed, length, shape).samples(0.5))
        assert len(crossings) == (1 if shape is RouteShape.FIGURE_EIGHT else 0)
        assert all(angle > np.deg2rad(50.0) for _, angle in crossings)
    assert np.deg2rad(50.0) < MIN_CROSSING_RAD


def test_crossings_are_found_where_they_are() -> None:
    bow_tie = np.array([[0.0, 0.0], [4.0, 2.0], [4.0, 0.0], [0.0, 2.0]])
    dense = np.concatenate(
        [np.linspace(a, b, 20, endpoint=False) for a, b in zip(bow_tie, np.roll(bow_tie, -1, axis=0), strict=True)]
    )
    ((place, angle),) = self_crossings(dense)
    np.testing.assert_allclose(place, [2.0, 1.0], atol=1e-9)
    assert angle == pytest.approx(2.0 * np.arctan(0.5))
    assert self_crossings(bow_tie[[0, 2, 1, 3]]) == []


def test_a_meander_bends_often_and_runs_beside_itself() -> None:
    for seed in range(6):
        route = Route.generate(seed, 120.0, RouteShape.MEANDER)
        curvature = route.curvature(np.arange(0.0, 120.0, 0.1))
        bends = np.count_nonzero(np.diff(np.sign(curvature)) != 0)
        assert bends >= 6
        assert np.count_nonzero(np.abs(curvature) > 0.15) > 200
        points = route.samples(0.5)
        pairs = cKDTree(points).query_pairs(14.0, output_type="ndarray")
        apart = np.abs(pairs[:, 0] - pairs[:, 1])
        pairs = pairs[np.minimum(apart, len(points) - apart) > 50]  # 25 m along the route, but at most 14 m across
        tangents = route.tangent(np.arange(0.0, 120.0, 0.5))
        opposite = np.sum(tangents[pairs[:, 0]] * tangents[pairs[:, 1]], axis=1) < -np.cos(np.deg2rad(30.0))
        assert len(np.unique(pairs[opposite])) > 15
        assert np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1).min(initial=14.0) > 6.0


@pytest.mark.parametrize("shape", [RouteShape.FIGURE_EIGHT, RouteShape.MEANDER])
def test_a_shape_without_room_is_refused(shape: RouteShape) -> None:
    with pytest.raises(ConfigError, match=f"a {shape.value} of 40.0 m would bend too tightly"):
        Route.generate(0, 40.0, shape)
    with pytest.raises(ConfigError, match="30 to 2000 m"):
        Route.generate(0, 2001.0, shape)
    with pytest.raises(ConfigError, match="seed"):
        Route.generate(-1, 100.0, shape)
