"""Numbers of retrieval, against hand-made answers, and a run over a small data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from retrieval_samples import again, extractor, place

from vloc_ros.data.frame import Image
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.errors import DataError
from vloc_ros.evaluation.retrieval_metrics import NOT_FOUND, judge, pool, precision_recall, summarise
from vloc_ros.evaluation.retrieval_report import write_retrieval_report
from vloc_ros.evaluation.retrieval_run import SequenceMethod, evaluate_retrieval
from vloc_ros.evaluation.retrieval_table import text_table


def rows(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_by_hand() -> None:
    """Four known queries and one unknown; best scores 0.9 right, 0.8 wrong, 0.7 right, 0.6 unknown, one failed."""
    answers = judge(
        [rows(4, 1), rows(2, 3), rows(7), rows(5), rows()],
        [np.array([0.9, 0.1]), np.array([0.8, 0.2]), np.array([0.7]), np.array([0.6]), np.array([])],
        [rows(4), rows(3, 8), rows(6, 7), rows(), rows(1)],
    )
    assert answers.first_right.tolist() == [0, 1, 0, NOT_FOUND, NOT_FOUND]
    assert answers.known.tolist() == [True, True, True, False, True] and answers.failed.tolist() == [False] * 4 + [True]
    curve = precision_recall(answers)
    assert curve is not None
    np.testing.assert_allclose(curve.thresholds, [0.9, 0.8, 0.7, 0.6])
    np.testing.assert_allclose(curve.precision, [1.0, 0.5, 2 / 3, 0.5])
    np.testing.assert_allclose(curve.recall, [0.25, 0.25, 0.5, 0.5])
    summary = summarise(answers)
    assert (summary.queries, summary.unknown, summary.failed) == (5, 1, 1)
    assert summary.recall == {1: 0.5, 5: 0.75, 10: 0.75, 20: 0.75}
    assert summary.average_precision == pytest.approx(0.25 * 1.0 + 0.25 * 2 / 3)
    assert summary.max_f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5)) and summary.best_threshold == 0.7
    assert summary.recall_at_full_precision == 0.25
    assert summary.to_dict()["recall_at_5"] == 0.75


def test_answers_of_one_score_are_believed_together() -> None:
    answers = judge([rows(0), rows(1)], [np.array([0.5]), np.array([0.5])], [rows(0), rows(0)])
    curve = precision_recall(answers)
    assert curve is not None and curve.precision.tolist() == [0.5] and curve.recall_at_full_precision == 0.0


def test_what_says_nothing_is_none() -> None:
    unknown = summarise(judge([rows(0)], [np.array([0.5])], [rows()]))
    assert unknown.recall[1] is None and unknown.average_precision is None and unknown.max_f1 is None and unknown.unknown == 1
    failed = summarise(judge([rows()], [np.array([])], [rows(0)]))
    assert failed.recall[1] == 0.0 and failed.average_precision is None and failed.failed == 1


def test_pooled_answers_are_all_of_them() -> None:
    part = judge([rows(0)], [np.array([0.5])], [rows(0)])
    assert len(pool([part, part, part])) == 3


def picture(name: str, image: Image) -> Picture:
    return Picture(name, lambda: image)


def broken() -> Image:
    raise DataError("broken.png is cut off")


def small_set() -> PlaceDataset:
    """Six places, five asked for again, one unknown place, one blank and one broken query, one broken picture in the database."""
    queries = [picture(f"q{k}", again(place(k))) for k in range(5)]
    queries += [picture("unknown", place(77)), picture("blank", np.zeros((50, 60), np.uint8)), Picture("broken", broken)]
    database = [*(picture(f"d{k}", place(k)) for k in range(6)), Picture("broken", broken)]
    truth = [*(rows(k) for k in range(5)), rows(), rows(0), rows(1)]
    return PlaceDataset("small", tuple(queries), tuple(database), tuple(truth))


@pytest.mark.parametrize("name", ["thumbnail", "hog", "vlad"])
def test_a_run_counts_what_it_could_not_do(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = small_set()
    results = evaluate_retrieval([data], name, extractor(), methods=list(SequenceMethod))
    assert [result.method for result in results] == list(SequenceMethod)
    summary = results[0].summary
    assert (summary.queries, summary.unknown, summary.failed) == (8, 1, 2)
    assert summary.recall[1] == pytest.approx(5 / 7)
    assert summary.recall_at_full_precision == pytest.approx(5 / 7)
    assert "broken.png is cut off" in caplog.text
    assert results[0].describe_ms > 0.0 and results[0].search_ms > 0.0
    table = text_table(results)
    assert "7 of them with their place" in table and f"{name} + bayes" in table
    write_retrieval_report(tmp_path / "out" / "report.html", "A <title>", [data], results)
    text = (tmp_path / "out" / "report.html").read_text()
    assert "A &lt;title&gt;" in text and "q0 answered by d0" in text and "unknown answered by" in text
    assert (tmp_path / "out" / "report.json").stat().st_size > 0
    page = Page(text)
    assert page.addresses and all(address.startswith("data:") for address in page.addresses)


def test_the_answers_do_not_depend_on_the_truth() -> None:
    """The same searches with a truth that is all wrong: found the same, judged otherwise."""
    data = small_set()
    other = PlaceDataset("other", data.queries, data.database, tuple(rows(5) for _ in data.queries))
    first, second = (evaluate_retrieval([some], "vlad", extractor())[0] for some in (data, other))
    for a, b in zip(first.found[0].rows, second.found[0].rows, strict=True):
        np.testing.assert_array_equal(a, b)
    assert second.summary.recall[1] == 0.0


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(DataError, match="no data set"):
        evaluate_retrieval([], "hog", extractor())
