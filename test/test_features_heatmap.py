"""Key points of a map of probabilities: against a greedy search pixel by pixel, and known answers between pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_ros.features.heatmap import greedy_maxima, probable
from vloc_ros.features.sampling import sample_columns

SIZE = (40, 48)


def greedy(values: np.ndarray, radius: int) -> np.ndarray:
    """Pixel by pixel, the most probable first, of equal ones the one that is read first."""
    taken = np.zeros(values.shape, dtype=bool)
    free = values > 0.0
    for index in np.argsort(-values.ravel(), kind="stable"):
        v, u = np.unravel_index(index, values.shape)
        if free[v, u]:
            taken[v, u] = True
            free[max(0, v - radius) : v + radius + 1, max(0, u - radius) : u + radius + 1] = False
    return taken


def blob(u: float, v: float, size: tuple[int, int] = SIZE, deviation: float = 0.9, peak: float = 0.8) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (peak * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * deviation**2))).astype(np.float32)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000), height=st.integers(1, 24), width=st.integers(1, 24), radius=st.integers(1, 6),
    levels=st.sampled_from([2, 5, 1_000_000]),
)  # fmt: skip
def test_what_is_taken_is_what_a_greedy_search_takes(seed, height, width, radius, levels):
    """With few levels many pixels are equal."""
    values = np.random.default_rng(seed).integers(0, levels, (height, width)).astype(np.float32) / np.float32(levels)
    assert np.array_equal(greedy_maxima(values, radius), greedy(values, radius))


def test_a_chain_of_falling_values_is_taken_one_by_one():
    """Where each excludes the next, every second one is left: what is excluded excludes nothing."""
    values = np.linspace(1.0, 0.5, 30, dtype=np.float32)[None]
    assert np.flatnonzero(greedy_maxima(values, 4)[0]).tolist() == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize("seed", range(5))
def test_threshold_border_and_order(seed):
    values = (np.random.default_rng(seed).random(SIZE) ** 40).astype(np.float32)
    found = probable(values, threshold=0.1, radius=3, border=6)
    wanted = greedy(np.where(values >= 0.1, values, 0.0), 3)
    wanted[:6] = wanted[-6:] = wanted[:, :6] = wanted[:, -6:] = False
    assert len(found.pixels) == wanted.sum() > 5
    assert (np.diff(found.scores) <= 0.0).all() and sorted(found.scores) == sorted(values[wanted])
    assert found.pixels.dtype == found.scores.dtype == np.float32


def test_exactly_the_threshold_is_enough():
    values = np.zeros(SIZE, np.float32)
    values[20, 20] = np.float32(0.015)
    assert len(probable(values, threshold=float(np.float32(0.015))).pixels) == 1
    assert len(probable(values, threshold=0.0151).pixels) == 0


def test_the_border_excludes_but_gives_nothing():
    """The most probable is taken wherever it is; what it excludes is not found in its place."""
    values = np.zeros(SIZE, np.float32)
    values[20, 3], values[20, 5], values[20, 8], values[35, 43], values[36, 20] = 0.9, 0.5, 0.4, 0.3, 0.3
    found = probable(values)
    assert found.pixels.tolist() == [[8.0, 20.0], [43.0, 35.0]]
    assert len(probable(values, border=0).pixels) == 4
    assert len(probable(values, border=20).pixels) == len(probable(values, border=100).pixels) == 0


@pytest.mark.parametrize("border", [0, 4])
def test_maps_with_nothing_in_them(border):
    for values in (np.zeros(SIZE), np.full(SIZE, np.nan), np.full(SIZE, np.inf), np.zeros((1, 1)), np.zeros((3, 50))):
        found = probable(values.astype(np.float32), border=border)
        assert found.pixels.shape == (0, 2) and found.scores.shape == (0,)


def test_what_is_not_finite_counts_as_nothing():
    values = blob(20.3, 15.6)
    values[15, 23], values[2, 2] = np.nan, np.inf
    found = probable(values)
    assert len(found.pixels) == 1 and np.isfinite(found.pixels).all() and found.scores[0] == values.max(where=values < 1, initial=0)


@pytest.mark.parametrize("u", [4.0, 4.4, 5.5, 12.3, 24.0, 33.7, 42.51, 43.0])
@pytest.mark.parametrize("v", [4.0, 4.45, 17.5, 35.0])
def test_a_position_between_pixels_is_found_at_any_distance_from_the_border(u, v):
    found = probable(blob(u, v))
    assert len(found.pixels) == 1 and np.abs(found.pixels[0] - [u, v]).max() < 0.1
    assert found.scores[0] == blob(u, v).max()


def test_the_centre_of_mass_by_hand():
    """5 x 5 pixels count, and no others; what lies outside of the map has no mass."""
    values = np.zeros(SIZE, np.float32)
    values[20, 20], values[20, 22], values[18, 20], values[20, 23] = 0.5, 0.25, 0.25, 0.25
    found = probable(values)
    assert found.pixels.tolist() == [[20.5, 19.5]]
    corner = np.zeros(SIZE, np.float32)
    corner[0, 0], corner[0, 1] = 0.3, 0.1
    assert probable(corner, border=0).pixels.tolist() == [[0.25, 0.0]]


def test_sampling_does_not_drift_with_the_position():
    """A map that says where the centres of its cells are says so of every key point between them.

    As published, coordinates were scaled by the distance of the outermost centres (align_corners), wrong by up to half a cell.
    """
    cells = (np.arange(20, dtype=np.float32) * 8 + 3.5, np.arange(15, dtype=np.float32) * 8 + 3.5)
    one = np.stack(np.meshgrid(*cells)).astype(np.float32)
    rng = np.random.default_rng(0)
    points = (rng.random((300, 2)) * [152, 112] + 3.5).astype(np.float32)
    made = sample_columns([one], [8], points, (160, 120), False)
    assert np.abs(made.T - points).max() < 1e-3
    outer = np.array([[0.0, 0.0], [159.0, 119.0]], np.float32)
    assert sample_columns([one], [8], outer, (160, 120), False).T.tolist() == [[3.5, 3.5], [155.5, 115.5]]
