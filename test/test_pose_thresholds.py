"""Shares of queries within thresholds, of poses whose errors are known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_ros.data.place_poses import places_of_seasons, seen_from
from vloc_ros.data.places import Picture, PlaceDataset, PlacePoses
from vloc_ros.data.seasons import SeasonsDataset, SeasonsPicture
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.evaluation.pose_thresholds import PUBLISHED, PoseErrorsOfAnswers, PoseThreshold, errors_of_answers, thresholds_of


def pose(x: float, degrees: float = 0.0) -> np.ndarray:
    """At (x, 3, 1) m, turned about an axis that is none of the frame's."""
    world_T_camera = np.eye(4)
    axis = np.array([1.0, 2.0, 2.0]) / 3.0
    world_T_camera[:3, :3] = Rotation.from_rotvec(math.radians(degrees) * axis).as_matrix()
    world_T_camera[:3, 3] = (x, 3.0, 1.0)
    return world_T_camera


def picture(name: str, condition: str = "") -> Picture:
    return Picture(name, lambda: np.zeros((4, 4), np.uint8), condition)


def rows(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def data_with(queries: list[np.ndarray | None], database: list[np.ndarray]) -> PlaceDataset:
    poses = PlacePoses(tuple(queries), tuple(database))
    pictures = (tuple(picture(f"{side}{k}") for k in range(len(some))) for side, some in (("q", queries), ("d", database)))
    return PlaceDataset("known", *pictures, seen_from(poses, 5.0, 10.0), poses)


def test_the_published_thresholds() -> None:
    assert (PoseThreshold(0.25, 2.0), PoseThreshold(0.5, 5.0), PoseThreshold(5.0, 10.0)) == PUBLISHED
    assert [one.label for one in PUBLISHED] == ["0.25 m 2°", "0.5 m 5°", "5 m 10°"]
    assert thresholds_of("0.25:2,0.5:5,5:10") == PUBLISHED


@pytest.mark.parametrize("text", ["", "1", "1:2:3", "a:2", "0:2", "1:-1", "1:181", "inf:2", "nan:2", "1:2,1:2"])
def test_thresholds_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        thresholds_of(text)


def test_errors_and_shares_are_those_of_the_poses() -> None:
    # Distances and angles to the only answer. Both must hold, so the fourth counts nowhere, and the third only at 5 m.
    known = [(0.2, 1.0), (0.4, 4.0), (0.1, 6.0), (0.1, 20.0), (4.0, 9.0), (7.0, 0.0)]
    data = data_with([*(pose(x, degrees) for x, degrees in known), pose(0.0), None], [pose(0.0)])
    errors = errors_of_answers([*([rows(0)] * 6), rows(), rows(0)], data)
    assert errors.metres[:6] == pytest.approx([x for x, _ in known]) and errors.metres[6] == np.inf and np.isnan(errors.metres[7])
    assert errors.degrees[:6] == pytest.approx([degrees for _, degrees in known], abs=1e-6)
    assert errors.judged.tolist() == [True] * 7 + [False]
    assert [errors.share(threshold) for threshold in PUBLISHED] == [1 / 7, 2 / 7, 4 / 7]
    some = np.array([False, False, False, False, True, True, False, True])
    assert errors.share(PUBLISHED[2], some) == 1 / 2
    assert errors.share(PUBLISHED[2], np.arange(8) == 7) is None
    assert not errors.within(PoseThreshold(1e9, 180.0))[6:].any()
    twice = PoseErrorsOfAnswers.pooled([errors, errors])
    assert len(twice) == 16 and twice.share(PUBLISHED[0]) == 1 / 7


def test_only_the_best_answer_counts() -> None:
    data = data_with([pose(0.0)], [pose(9.0), pose(0.0)])
    assert errors_of_answers([rows(0, 1)], data).metres.tolist() == [9.0]
    assert errors_of_answers([rows(1, 0)], data).metres.tolist() == [0.0]


def test_without_poses_nothing_is_judged() -> None:
    data = PlaceDataset("none", (picture("q"),), (picture("d"),), (rows(0),))
    assert not errors_of_answers([rows(0)], data).judged.any() and not data.hidden.any()


def test_the_same_place_is_near_and_in_the_same_direction() -> None:
    poses = PlacePoses((pose(0.0), None, pose(2.0, 30.0), pose(99.0)), (pose(4.0), pose(1.0, 25.0), pose(5.5), pose(-5.0, 9.0)))
    assert [found.tolist() for found in seen_from(poses, 5.0, 10.0)] == [[0, 3], [], [1], []]
    assert [found.tolist() for found in seen_from(PlacePoses((None,), poses.database), 5.0, 10.0)] == [[]]
    data = PlaceDataset("x", (picture("a"),) * 4, (picture("b"),) * 4, seen_from(poses, 5.0, 10.0), poses)
    assert data.hidden.tolist() == [False, True, False, False]
    with pytest.raises(DataError, match="must be a pose"):
        PlaceDataset("x", (picture("a"),) * 3, (picture("b"),) * 4, (rows(),) * 3, poses)


def test_sides_and_conditions_of_a_benchmark_are_searched_apart() -> None:
    def entry(name: str, condition: str, side: str, where: np.ndarray | None) -> SeasonsPicture:
        return SeasonsPicture(picture(name, condition), side, where)

    database = tuple(entry(f"d{k}_c{k % 2}", "day", f"c{k % 2}", pose(float(k))) for k in range(4))
    queries = (
        entry("q0", "night", "c0", pose(2.1)),
        entry("q1", "night", "c1", pose(2.1)),
        entry("q2", "snow", "c1", None),
        entry("q3", "night", "c0", pose(50.0)),
    )
    parts = places_of_seasons(SeasonsDataset("park s1", database, queries, ("day", "night", "snow"), "park"), 1.0, 10.0)
    assert [[q.name for q in part.queries] for part in parts] == [["q0", "q3"], ["q1"], ["q2"]]
    assert [[d.name for d in part.database] for part in parts] == [["d0_c0", "d2_c0"], ["d1_c1", "d3_c1"], ["d1_c1", "d3_c1"]]
    # the nearest picture to q1 is d2, but it is of the other camera
    assert [[found.tolist() for found in part.positives] for part in parts] == [[[1], []], [[1]], [[]]]
    assert [part.hidden.tolist() for part in parts] == [[False, False], [False], [True]]
    assert {part.area for part in parts} == {"park"}
