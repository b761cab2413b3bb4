"""Re-ranking judged on the questions of a validation of places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from rerank_toys import MATCHES, LeftHalf, RightHalf, broken, halves, settings

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.evaluation.rerank_run import RerankStage
from vloc_ros.retrieval import View
from vloc_ros.training.place_reranking import Compared, rerank_places
from vloc_ros.training.place_validation import PlaceValidation
from vloc_ros.training.places import Place, PlaceSource, PlaceView


class Sites(PlaceSource):
    """Two places of one site and two of another, by day and at night."""

    LEVELS = (((20, 60), (25, 60)), ((60, 100), (55, 105)), ((100, 150), (60, 150)), ((140, 200), (145, 40)))
    """Of each place the halves of its image by day, and at night."""

    def __len__(self) -> int:
        return len(self.LEVELS)

    def place(self, index: int) -> Place:
        views = (
            PlaceView(name, partial(halves, *levels)) for name, levels in zip(("day", "night"), self.LEVELS[index], strict=True)
        )
        return Place(f"sim:{'lookalike' if index > 1 else 'mixed'}_1:{index}", tuple(views))

    def near(self, index: int) -> set[int]:
        return set()


def describe(images: Sequence[Image]) -> np.ndarray:
    return LeftHalf().describe_many([View(image) for image in images])


def run(limit: int | None = None, **values: object):
    stage = RerankStage(RightHalf(), settings(**values))
    return rerank_places(PlaceValidation([Sites()]), describe, [stage], limit), stage


def test_each_question_is_answered_by_all() -> None:
    answers, stage = run()
    by_night = [one for one in answers if one.group == "sim:night>day"]
    assert [one.site for one in by_night] == ["sim:mixed_1"] * 2 + ["sim:lookalike_1"] * 2
    # the third looks like the second to the search, not to the re-ranker; the fourth is nearest to the first for the re-ranker
    assert [one.right for one in by_night] == [(True, True), (True, True), (False, True), (True, False)]
    assert all(one.reachable == (True,) and one.milliseconds[0] > 0.0 for one in answers)
    assert {one.group for one in answers} == {"sim:night>day", "sim:day>night"} and len(answers) == 8
    # eight images as queries, and each once as one of a database
    assert len(stage.reranker.prepared) == 8 + 8


def test_what_geometry_said_of_each_candidate_is_kept() -> None:
    answers, _ = run()
    third = [one for one in answers if one.group == "sim:night>day"][2]
    # its right half is 150: as that of the third by day; the second is 50 darker, so that nothing of it or of the first agrees
    assert sorted(third.compared[0], key=lambda one: -one.inliers)[0] == Compared(MATCHES, 1.0, True)
    assert [one.right for one in third.compared[0]].count(True) == 1 and third.spot == 0.5
    assert all(one.inliers >= 4 and one.share == one.inliers / MATCHES for answer in answers for one in answer.compared[0])
    unlike, _ = run(candidates=1)
    assert [one for one in unlike if one.group == "sim:night>day"][2].compared == ((),)


def test_places_near_by_are_neither_right_nor_wrong() -> None:
    class Neighbours(Sites):
        def near(self, index: int) -> set[int]:
            return set(range(4)) - {index}

    stage = RerankStage(RightHalf(), settings())
    answers = rerank_places(PlaceValidation([Neighbours()]), describe, [stage])
    assert len(answers) == 8 and all(one.right for answer in answers for one in answer.compared[0])


def test_a_source_of_which_nothing_is_asked_is_not_described() -> None:
    class Unread(Sites):
        def place(self, index: int) -> Place:
            return Place(f"photo:{index}", (PlaceView("#0", broken),))

    assert len(rerank_places(PlaceValidation([Unread(), Sites()]), describe, [])) == 8


def test_what_is_not_compared_is_out_of_reach() -> None:
    answers, _ = run(candidates=1)
    third = [one for one in answers if one.group == "sim:night>day"][2]
    assert third.reachable == (False,) and third.right == (False, False)


def test_a_share_of_the_questions() -> None:
    answers, _ = run(limit=2)
    assert len(answers) == 2 and {one.site for one in answers} == {"sim:mixed_1", "sim:lookalike_1"}


def test_one_condition_is_too_few() -> None:
    class Day(Sites):
        def place(self, index: int) -> Place:
            place = super().place(index)
            return Place(place.name, place.views[:1])

    with pytest.raises(ConfigError, match="in one condition each"):
        rerank_places(PlaceValidation([Day()]), describe, [])
