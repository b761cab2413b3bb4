"""What a search is told of conditions and of the truth, and how numbers by condition are shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from place_poses import pose
from rerank_toys import RightHalf, halves, rows, settings
from retrieval_samples import extractor

from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.place_poses import seen_from
from vloc_ros.data.places import Picture, PlaceDataset, PlacePoses, thinned
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.evaluation.condition_metrics import GroupKind, by_condition, groups_of
from vloc_ros.evaluation.condition_table import csv_table, inferred_tables, sections, tables, text_tables
from vloc_ros.evaluation.conditions import Conditions, confusion, without_truth
from vloc_ros.evaluation.pose_thresholds import PoseThreshold
from vloc_ros.evaluation.rerank_metrics import change_of
from vloc_ros.evaluation.rerank_run import RerankStage, evaluate_reranking
from vloc_ros.evaluation.retrieval_run import evaluate_retrieval
from vloc_ros.evaluation.submission import submission, write_submissions
from vloc_ros.networks.disam_form import DisamForm
from vloc_ros.retrieval import FineReranker, GlobalDescriptor, RerankSettings, View, contract

CONDITIONS = ("day", "night")


class Seer(GlobalDescriptor):
    """The left half of an image as an angle. Takes what is dark for night, and remembers what it was told."""

    name = "seer"
    events: list[str] = []  # noqa: RUF012 - of all of them, emptied by each test

    @property
    def card(self) -> ModelCard:
        return ModelCard(self.name, 2)

    @property
    def form(self) -> DisamForm:
        return DisamForm(conditions=CONDITIONS)

    def infer(self, images: Sequence[Image]) -> list[str]:
        return ["night" if image[:, 20:].mean() < 50 else "day" for image in images]

    def describe(self, view: View) -> np.ndarray:
        self.events.append(f"told {view.condition}")
        angle = float(view.image[:, :20].mean()) / 100.0
        return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


class Sealed(tuple):
    """A truth that says when it is read."""

    def __iter__(self):
        Seer.events.append("truth")
        return super().__iter__()

    def __getitem__(self, key):
        Seer.events.append("truth")
        return super().__getitem__(key)


@pytest.fixture(autouse=True)
def seer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(contract._MAKERS, Seer.name, Seer)
    monkeypatch.setattr(Seer, "events", [])


def picture(name: str, left: int, right: int, condition: str) -> Picture:
    return Picture(name, partial(halves, left, right), condition)


def broken() -> Image:
    raise DataError("broken.png is cut off")


def benchmark() -> PlaceDataset:
    """Two places by day; by night one query is 0.4 m off, one finds the wrong place; one in the snow is broken, one is secret."""
    database = (picture("d0", 10, 200, "day"), picture("d1", 110, 200, "day"))
    queries = (
        picture("q0", 12, 20, "night"),
        picture("q1", 15, 90, "night"),
        picture("q2", 100, 90, "day"),
        Picture("q3", broken, "snow"),
        picture("q4", 100, 20, "snow"),
    )
    poses = PlacePoses((pose(0.4), pose(50.0), pose(50.0), pose(50.0), None), (pose(0.0), pose(50.0)))
    return PlaceDataset("toys", queries, database, seen_from(poses, 5.0, 10.0), poses)


def test_a_search_is_told_conditions_only_when_they_are_given() -> None:
    data = benchmark()
    stage = RerankStage(FineReranker(Seer()), RerankSettings(reranker="seer", candidates=2))
    evaluate_reranking([data], "seer", extractor(), [stage])
    assert set(Seer.events) == {"told "}
    Seer.events.clear()
    stage = RerankStage(FineReranker(Seer()), RerankSettings(reranker="seer", candidates=2))
    evaluate_reranking([data], "seer", extractor(), [stage], conditions=Conditions.GIVEN)
    # each is described for the search; queries twice more for the fine stage, and its database once
    assert Seer.events.count("told day") == 3 + 2 + 2 and Seer.events.count("told night") == 2 + 2 * 2
    assert "told " not in Seer.events


def test_the_truth_is_read_after_the_last_search() -> None:
    data = benchmark()
    sealed = PlacePoses(Sealed(data.poses.queries), Sealed(data.poses.database))
    data = PlaceDataset("sealed", data.queries, data.database, Sealed(data.positives), sealed)
    Seer.events.clear()
    fine = RerankStage(FineReranker(Seer()), RerankSettings(reranker="seer", candidates=2))
    stages = [fine, RerankStage(RightHalf(), settings(), after=fine)]
    [(before, after)] = evaluate_reranking([data], "seer", extractor(), stages)
    by_condition([data], [before, *after], groups_of([data]))
    last = max(k for k, event in enumerate(Seer.events) if event.startswith("told"))
    assert "truth" in Seer.events and "truth" not in Seer.events[:last]


def test_a_search_sees_no_truth() -> None:
    [given], [blind] = (without_truth([benchmark()], conditions) for conditions in (Conditions.GIVEN, Conditions.INFERRED))
    for seen in (given, blind):
        assert seen.poses is None and all(len(found) == 0 for found in seen.positives)
    assert [query.condition for query in given.queries] == ["night", "night", "day", "snow", "snow"]
    assert {one.condition for one in (*blind.queries, *blind.database)} == {""}


def test_numbers_by_condition() -> None:
    data = benchmark()
    [result] = evaluate_retrieval([data], "seer", extractor())
    groups = groups_of([data], {"dark": ["N*", "snow"]})
    assert [(group.name, group.kind) for group in groups] == [
        *((name, GroupKind.CONDITION) for name in ("night", "day", "snow")),
        ("dark", GroupKind.CHOSEN),
        ("all", GroupKind.ALL),
    ]
    near, far = PoseThreshold(0.5, 5.0), PoseThreshold(0.3, 5.0)
    found = by_condition([data], [result], groups, [near, far])
    shares = {group.name: one.within for group, one in zip(groups, found.numbers["seer"], strict=True)}
    # q0 finds its place, 0.4 m away; q1 does not; q2 does; q3 is broken, and q4 counts nowhere
    assert [shares[name][near] for name in ("night", "day", "snow", "dark", "all")] == [1 / 2, 1.0, 0.0, 1 / 3, 2 / 4]
    assert [shares[name][far] for name in ("night", "day", "snow", "all")] == [0.0, 1.0, 0.0, 1 / 4]
    # of q1 to q3 a picture is at the very place, of q0 0.4 m away
    most = {group.name: one for group, one in zip(groups, found.attainable, strict=True)}
    assert [most[name][far] for name in ("night", "day", "snow", "all")] == [1 / 2, 1.0, 1.0, 3 / 4] and most["night"][near] == 1.0
    every = found.numbers["seer"][-1]
    assert (every.queries, every.judged, every.failed, every.recall[1]) == (5, 4, 1, 2 / 4)
    with pytest.raises(ConfigError, match="no query was taken in the condition 'rain'"):
        groups_of([data], {"x": ["rain"]})


def test_methods_are_compared_query_by_query_and_the_best_is_marked() -> None:
    data = benchmark()
    # the right halves of q0 and q1 tell nothing, that of q2 is nearer to both alike
    stage = RerankStage(RightHalf(), settings())
    [(before, [after])] = evaluate_reranking([data], "seer", extractor(), [stage])
    [other] = evaluate_retrieval([thinned(data, 5)], "thumbnail", extractor())
    found = by_condition([data], [before, after, other], groups_of([data]))
    assert change_of(np.array([True, False, False]), np.array([False, True, True])).won == 2
    text = text_tables(list(tables(found)))
    assert "Queries that are given a pose within 0.25 m 2° / 0.5 m 5° / 5 m 10° of their own [%]" in text
    assert re.search(r"queries +2 +1 +1 +4\n", text) and "Against seer" in text
    assert "a picture is so near" in text and "0.0 / 50.0 / 50.0" in text and "+0 -0 p 1" in text
    page = sections(list(tables(found)), "By <condition>")
    assert "By &lt;condition&gt;" in page and "<b>100.0</b>" in page and "<b>0.0</b>" not in page
    assert csv_table(found).count("\n") == 1 + 3 * 4


def test_wide_tables_go_on_below() -> None:
    queries = tuple(picture(f"q{k}", 10, 20, f"a rather long condition {k}") for k in range(12))
    data = PlaceDataset("wide", queries, (picture("d", 10, 20, ""),), (rows(0),) * 12)
    [result] = evaluate_retrieval([data], "seer", extractor())
    found = by_condition([data], [result], groups_of([data]))
    assert not found.thresholds
    [table] = tables(found)
    assert sum(len(part.head) - 1 for part in table.parts()) == 13 and len(table.parts()) > 1
    assert max(len(line) for line in text_tables([table]).splitlines()) <= 130


def test_inferred_conditions_are_counted_where_they_are_known() -> None:
    data = benchmark()
    [result] = evaluate_retrieval([data], "seer", extractor())
    assert result.inferred is not None
    assert (result.inferred.labels, result.inferred.names) == (("night", "day", "snow"), ("night", "day"))
    assert result.inferred.counts.tolist() == [[1, 1], [0, 1], [1, 0]]
    # snow is none that it could be right about
    assert result.inferred.right == pytest.approx(2 / 3) and result.to_dict()["inferred"]["counts"]["night"] == {
        "night": 1,
        "day": 1,
    }
    text = text_tables(list(inferred_tables({"seer": result.inferred})))
    assert "right for 66.7 % of the queries in those it knows" in text
    [told] = evaluate_retrieval([data], "seer", extractor(), conditions=Conditions.GIVEN)
    assert told.inferred is None
    [other] = evaluate_retrieval([data], "thumbnail", extractor())
    assert other.inferred is None


def test_confusion_of_conditions_that_a_descriptor_does_not_know() -> None:
    strange = confusion(["rain", "rain", ""], ["day", "night", "day"], CONDITIONS)
    assert strange is not None and strange.right is None and strange.counts.tolist() == [[1, 1]]
    assert "knows none of them" in next(inferred_tables({"x": strange})).title
    assert confusion(["", "day"], ["day", ""], CONDITIONS) is None


def test_submissions_that_nobody_could_read_are_refused(tmp_path) -> None:
    data = benchmark()
    [result] = evaluate_retrieval([data], "seer", extractor())
    assert [line.split()[0] for line in submission(result, [data]).splitlines()] == ["q0", "q1", "q2", "q4"]
    bare = PlaceDataset("bare", data.queries, data.database, data.positives)
    with pytest.raises(DataError, match="has no poses"):
        submission(result, [bare])
    for name in ("two words", "q0"):
        queries = (*data.queries[:4], picture(name, 100, 20, "snow"))
        with pytest.raises(DataError, match="must have no space"):
            submission(result, [PlaceDataset("x", queries, data.database, data.positives, data.poses)])
    with pytest.raises(DataError, match="two methods"):
        write_submissions(tmp_path / "x.txt", [result, result], [data])


def test_a_thinner_data_set_keeps_what_belongs_together() -> None:
    data = thinned(benchmark(), 2)
    assert [query.name for query in data.queries] == ["q0", "q4"] and data.hidden.tolist() == [False, True]
    assert [found.tolist() for found in data.positives] == [[0], []] and len(data.database) == 2
    assert thinned(data, 2) is data
