"""Numbers of re-ranking: by hand, and of a run whose answers can be worked out by hand."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from rerank_toys import LeftHalf, RightHalf, register_toys, rows, settings, toy_set
from retrieval_samples import extractor

from vloc_ros.data.places import PlaceDataset
from vloc_ros.errors import DataError
from vloc_ros.evaluation import rerank_table
from vloc_ros.evaluation.rerank_metrics import acceptance, accepted_answer, change
from vloc_ros.evaluation.rerank_run import RerankStage, evaluate_reranking, prepare_query
from vloc_ros.evaluation.rerank_words import verdict, why_not
from vloc_ros.evaluation.retrieval_metrics import Answers, judge
from vloc_ros.retrieval import Doubt, Reranked, Verification


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    register_toys(monkeypatch)


def answered(*right: bool | None) -> Answers:
    """Best answers that are right or wrong; None for a query whose place is not in the database."""
    truth = [rows() if one is None else rows(0 if one else 1) for one in right]
    return judge([rows(0)] * len(right), [np.array([1.0])] * len(right), truth)


def test_queries_that_change_are_counted_and_tested() -> None:
    found = change(answered(True, False, False, None), answered(True, True, False, None))
    assert (found.won, found.lost, found.p_value) == (1, 0, 1.0)
    # five of five in one direction: twice one half to the power of five
    assert change(answered(*[False] * 5), answered(*[True] * 5)).p_value == pytest.approx(2 * 0.5**5)
    assert change(answered(*[True] * 6), answered(*[False] * 6)).lost == 6
    assert change(answered(True), answered(True)).p_value == 1.0
    for other in (answered(True, True), answered(None)):
        with pytest.raises(DataError, match="cannot be compared"):
            change(answered(True), other)


def reranked(ids: list[int], accepted: list[bool]) -> Reranked[int]:
    return Reranked(ids, [Verification.without(Doubt.NO_MODEL)] * len(accepted), accepted, None, 1.0)


def test_only_what_is_accepted_is_an_answer() -> None:
    second, nobody = reranked([4, 7, 9], [False, True]), reranked([4, 7], [False, False])
    assert (accepted_answer(second), accepted_answer(nobody), accepted_answer(None)) == (7, None, None)
    found = acceptance([second, second, nobody, nobody, None], [rows(7), rows(4), rows(4), rows(), rows(1)])
    assert found.none == 2 / 5 and found.none_unknown == 1.0
    assert found.precision == 1 / 2 and found.recall == 1 / 4
    silent = acceptance([nobody], [rows(4)])
    assert silent.precision is None and silent.recall == 0.0 and silent.none_unknown is None
    assert acceptance([], []).none is None


@pytest.mark.usefixtures("toys")
class TestRun:
    @staticmethod
    def run(data: PlaceDataset | None = None, **values: object):
        stage = RerankStage(RightHalf(), settings(**values))
        [(before, [after])] = evaluate_reranking([data or toy_set()], LeftHalf.name, extractor(), [stage])
        return before, after, stage

    def test_before_and_after(self, caplog: pytest.LogCaptureFixture) -> None:
        before, after, _ = self.run()
        assert [answer.ids if answer else None for answer in after.reranked[0]] == [
            [1, 0, 2],  # won
            [2, 1, 0],  # still
            [2, 1, 0],  # lost
            [0, 1, 2],  # unknown: nothing agrees, so the order of the search stays
            [1, 0, 2],  # blank: likewise
            [1, 0, 2],  # tie of d0 and d1: the search had d1 first
            None,  # broken
        ]
        assert before.summary.recall[1] == after.summary.recall[1] == pytest.approx(4 / 6) and after.summary.recall[5] == 5 / 6
        assert (after.change.won, after.change.lost, after.change.p_value) == (1, 1, 1.0)
        assert after.summary.failed == 1 and after.acceptance is None and after.confidence is None
        assert "broken.png is cut off" in caplog.text
        # the surest answers have 50 inliers: two of three are right
        assert after.answers.best_score.tolist() == [50.0, 50.0, 50.0, 0.0, 0.0, 25.0, -np.inf]

    def test_accepted_or_none_of_them(self) -> None:
        _, after, _ = self.run(min_inliers=30)
        assert after.acceptance is not None
        assert after.acceptance.none == 3 / 7 and after.acceptance.none_unknown == 1.0
        assert after.acceptance.precision == pytest.approx(2 / 3) and after.acceptance.recall == pytest.approx(2 / 6)
        _, nobody, _ = self.run(min_inliers=1000)
        assert nobody.acceptance is not None and nobody.acceptance.none == 6 / 7 and nobody.acceptance.precision is None
        assert nobody.summary.recall == after.summary.recall  # the order is another matter

    def test_a_probability_is_judged(self) -> None:
        stage = RerankStage(RightHalf(), settings(min_probability=0.4), lambda inliers, share: share)
        [(_, [after])] = evaluate_reranking([toy_set()], LeftHalf.name, extractor(), [stage])
        assert after.confidence is not None and after.confidence.count == 6
        # at 1: two of three right; at 0.5: one of one; at 0: one of two
        assert after.confidence.ece == pytest.approx((3 * (1 - 2 / 3) + 1 * 0.5 + 2 * 0.5) / 6)
        assert after.acceptance is not None and after.acceptance.precision == pytest.approx(3 / 4)
        assert after.answers.best_score.tolist()[:6] == [1.0, 1.0, 1.0, 0.0, 0.0, 0.5]

    def test_pictures_of_the_database_are_prepared_once_and_only_when_asked_for(self) -> None:
        *_, stage = self.run()
        reranker = stage.reranker
        queries, database = [15, 110, 60, 15, 60, 60], [10, 60, 110]
        assert isinstance(reranker, RightHalf) and sorted(reranker.prepared) == sorted(queries + database)
        assert (stage.pictures, stage.total_bytes) == (3, 12)
        evaluate_reranking([toy_set()], LeftHalf.name, extractor(), [])
        *_, first = self.run(candidates=1)
        assert sorted(first.reranker.prepared) == sorted([*queries, 10, 60, 110])
        data = toy_set()
        some = PlaceDataset("one", data.queries[:1], data.database, data.positives[:1])
        *_, fewest = self.run(some, candidates=1)
        assert sorted(fewest.reranker.prepared) == [10, 15]

    def test_one_stage_serves_several_descriptors(self) -> None:
        stage = RerankStage(RightHalf(), settings())
        data = toy_set()
        for name in (LeftHalf.name, LeftHalf.name):
            evaluate_reranking([data], name, extractor(), [stage])
        assert stage.pictures == 3 and len(stage.reranker.prepared) == 2 * 6 + 3

    def test_re_rankers_side_by_side_do_not_help_each_other(self) -> None:
        seen: list[bytes] = []

        class Watching(RightHalf):
            """Says for each image whether a re-ranker has seen it before."""

            def prepare(self, views):
                seen.extend(view.image.tobytes() for view in views)
                return super().prepare(views)

        stages = [RerankStage(Watching(), settings()) for _ in range(3)]
        described: list[bytes] = []
        image = np.arange(800, dtype=np.float64).reshape(20, 40).astype(np.uint8)
        prepared = prepare_query(stages, image, lambda picture: described.append(picture.tobytes()))
        assert len(set(described)) == 3 and described[0] == image.tobytes()
        # the image itself, and for the time of the others one that is new to all
        assert seen == [described[0], described[1], described[0], described[2], described[0]]
        assert len({tuple(kept) for kept, _ in prepared}) == 1 and all(taken > 0.0 for _, taken in prepared)

    def test_answers_do_not_depend_on_the_truth(self) -> None:
        data = toy_set()
        other = PlaceDataset("other", data.queries, data.database, tuple(rows(3) for _ in data.queries))
        first, second = self.run(data)[1], self.run(other)[1]
        assert [a and a.ids for a in first.reranked[0]] == [b and b.ids for b in second.reranked[0]]
        assert second.summary.recall[1] == 0.0

    def test_several_sets_are_judged_as_one(self) -> None:
        stage = RerankStage(RightHalf(), settings())
        [(before, [after])] = evaluate_reranking([toy_set(), toy_set()], LeftHalf.name, extractor(), [stage])
        assert len(after.reranked) == 2 and after.summary.queries == before.summary.queries == 14
        assert (after.change.won, after.change.lost) == (2, 2)

    def test_tables(self) -> None:
        before, after, _ = self.run(min_inliers=30)
        evaluated = [(before, [after])]
        alone, with_it = rerank_table.rows(evaluated)
        assert alone[:7] == ("left_half", "0.667", "0.833", "0.833", "0.833", "–", "–")
        assert with_it[:7] == ("  > right_half", "0.667", "0.833", "0.833", "0.833", "+1 -1", "1")
        assert with_it[8:13] == ("0.429", "1.000", "0.667", "0.333", "–") and with_it[-2:] == ("8 + 4", "1")
        text = rerank_table.text_table(evaluated)
        assert "right_half 0.0 MB" in text and len({len(line) for line in text.splitlines()[:3]}) == 1
        listed = list(csv.DictReader(io.StringIO(rerank_table.csv_table(evaluated))))
        assert [row["reranker"] for row in listed] == ["none", "right_half"]
        assert listed[1]["acceptance.accepted_precision"] == str(2 / 3) and listed[0]["won"] == ""

    def test_json(self) -> None:
        _, after, _ = self.run()
        values = json.loads(json.dumps(after.to_dict(), allow_nan=False))
        assert (values["descriptor"], values["reranker"], values["candidates"]) == ("left_half", "right_half", 32)
        assert (values["won"], values["lost"], values["kept_bytes_per_image"], values["kept_bytes"]) == (1, 1, 4.0, 12)
        assert values["acceptance"] is None and values["probability"] is None
        for name in ("describe", "search", "prepare", "compare"):
            assert 0.0 < values[f"{name}_ms"] <= values[f"{name}_p95_ms"]


def test_why_not() -> None:
    good = Verification(20, 40, np.eye(3), np.zeros((20, 2), np.float32), np.zeros((20, 2), np.float32))
    assert why_not(good, 0.9, settings()) == ""
    assert why_not(good, 0.9, settings(min_inliers=21)) == "fewer than 21 inliers"
    assert why_not(good, 0.9, settings(min_share=0.6)) == "less than 60% of the matches are inliers"
    assert why_not(good, 0.3, settings(min_probability=0.5)) == "less probable than 0.5"
    assert why_not(good, None, settings(min_probability=0.5)) == ""
    assert {why_not(Verification.without(doubt), None, settings()) for doubt in Doubt} == {
        "nothing to compare",
        "fewer than four matches",
        "the homography is degenerate",
        "no homography found",
    }
    answer = Reranked([3, 4], [good], [True], [0.5], 1.0)
    assert verdict(answer, 0, settings()) == "20 of 40 matches agree, probability 0.50, accepted"
    assert verdict(answer, 1, settings()) == "not compared"
