"""Pairs from UTIAS folders: the pose graph, both samplings, and the truth of a pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from test_data_utias import _row, _run

from vloc_ros.data.utias_graph import UtiasGraph
from vloc_ros.data.utias_samples import (
    IN_THE_DARK_RUNS,
    MULTISEASON_RUNS,
    load_samples,
    random_samples,
    save_samples,
    sequential_samples,
)
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.geometry import se3
from vloc_ros.training.utias import UtiasPairs, split_of
from vloc_ros.training.utias_settings import Split, UtiasSettings

COUNT = 12


def on_circle(k: float) -> np.ndarray:
    """world_T_vehicle on a circle of twelve places."""
    angle = 2.0 * np.pi * k / COUNT
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    return se3.from_rotation_translation(rotation, np.array([5.0 * np.sin(angle), 5.0 - 5.0 * np.cos(angle), 0.0]))


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """A taught circle, and three repeats of all its places, each a bit farther on."""
    path = tmp_path / "circle"
    teach = _run(path, 0, range(2))
    rows = [_row((0, k), (0, (k + 1) % COUNT), se3.between(on_circle(k + 1), on_circle(k))) for k in range(COUNT)]
    (teach / "transforms_temporal.txt").write_text("\n".join(rows))
    for number in (1, 2, 3):
        run = _run(path, number, range(2))
        rows = [_row((number, k), (0, k), se3.between(on_circle(k), on_circle(k + 0.1 * number))) for k in range(COUNT)]
        (run / "transforms_spatial.txt").write_text("\n".join(rows))
    return path


def test_poses_and_distances_go_the_shorter_way(loop):
    graph = UtiasGraph.read(loop)
    assert len(graph.chain) == COUNT and graph.closing is not None and graph.runs() == [0, 1, 2, 3]
    assert graph.distance((1, 1), (2, 11)) == 2 and graph.distance((1, 0), (2, 6)) == 6
    for a, b in (((1, 1), (2, 11)), ((2, 11), (1, 1)), ((1, 3), (3, 5)), ((0, 10), (3, 0))):
        expected = se3.between(on_circle(b[1] + 0.1 * b[0]), on_circle(a[1] + 0.1 * a[0]))
        np.testing.assert_allclose(graph.b_T_a(a, b), expected, atol=1e-6)


def test_the_way_round_uses_the_closing_edge(loop):
    """An error in the middle of the chain is not in a pose that leads round it."""
    file = loop / "run_000000" / "transforms_temporal.txt"
    rows = file.read_text().splitlines()
    wrong = se3.between(on_circle(6), on_circle(5)) @ se3.exp(np.array([1.0, 0, 0, 0, 0, 0]))
    rows[5] = _row((0, 5), (0, 6), wrong)
    file.write_text("\n".join(rows))
    graph = UtiasGraph.read(loop)
    np.testing.assert_allclose(graph.b_T_a((0, 1), (0, 11)), se3.between(on_circle(11), on_circle(1)), atol=1e-6)
    assert np.abs(graph.b_T_a((0, 4), (0, 7)) - se3.between(on_circle(7), on_circle(4))).max() > 0.5


def test_random_pairs_are_near_unlike_and_the_same_again(loop):
    graph = UtiasGraph.read(loop)
    samples = random_samples(graph, [1, 2, 3], 60, 2, 7)
    assert len(samples) == len(set(samples)) == 60
    assert all(live[0] != other[0] and graph.distance(live, other) <= 2 for live, other in samples)
    assert {graph.distance(live, other) for live, other in samples} == {0, 1, 2}
    assert samples == random_samples(graph, [1, 2, 3], 60, 2, 7) != random_samples(graph, [1, 2, 3], 60, 2, 8)
    assert len(random_samples(graph, [1, 2], 10**4, 0, 1)) == 2 * COUNT
    with pytest.raises(DataError, match="no two of the runs 1 have"):
        random_samples(graph, [1], 5, 2, 1)


def test_sequential_pairs_are_the_nearest_at_their_distance(loop):
    graph = UtiasGraph.read(loop)
    samples = sequential_samples(graph, 1, 2, 1)
    assert [live for live, _ in samples] == [(1, k) for k in range(COUNT)]
    # Run 2 is farther on than run 1, so that the place behind is the nearer one.
    assert [other for _, other in samples] == [(2, (k - 1) % COUNT) for k in range(COUNT)]
    with pytest.raises(ConfigError, match="radius of 1 edges"):
        sequential_samples(graph, 1, 2, 3, 1)


def test_lists_of_pairs_are_read_back(loop, tmp_path):
    samples = random_samples(UtiasGraph.read(loop), [1, 2], 9, 1, 1)
    save_samples(tmp_path / "list.csv", samples)
    assert load_samples(tmp_path / "list.csv") == samples
    (tmp_path / "list.csv").write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"list\.csv line 1 has 3 columns"):
        load_samples(tmp_path / "list.csv")


def test_the_published_splits():
    assert [len(part) for part in MULTISEASON_RUNS] == [86, 24, 7] and [len(part) for part in IN_THE_DARK_RUNS] == [21, 9, 7]
    for runs in (MULTISEASON_RUNS, IN_THE_DARK_RUNS):
        assert len({run for part in runs for run in part}) == sum(map(len, runs)), "the parts are disjoint"
    assert split_of(Path("x/UTIAS-In-The-Dark/path"), Split.AUTO) is IN_THE_DARK_RUNS
    assert split_of(Path("x/multiseason"), Split.AUTO) is MULTISEASON_RUNS and split_of(Path("x/y"), Split.AUTO) is None


def test_a_pair_has_images_disparity_and_pose(loop):
    settings = UtiasSettings(temporal_length=0, samples=8)
    source = UtiasPairs(
        loop, settings, samples=[s for s in random_samples(UtiasGraph.read(loop), [1, 2], 24, 0, 1) if s.live == (1, 1)]
    )
    pair = source.pair(0, np.random.default_rng(0))
    assert pair.image_a.shape == (384, 512, 3) and pair.tag == "utias:circle-1-1-2-1"
    stereo = pair.stereo
    moved = stereo.base_T_camera @ stereo.b_T_a @ se3.inverse(stereo.base_T_camera)
    np.testing.assert_allclose(moved, se3.between(on_circle(1.2), on_circle(1.1)), atol=1e-5)
    assert stereo.disparity_a.shape == (384, 512) and not (stereo.disparity_a < 0.233).any()
    with pytest.raises(DataError, match="holds 1 of the runs that are learned from"):
        UtiasPairs(loop, UtiasSettings(split=Split.IN_THE_DARK))
    with pytest.raises(DataError, match="no UTIAS path"):
        UtiasPairs(loop / "run_000001", settings)
