"""vloc retrieve --rerank and vloc evaluate retrieval --rerank as a user runs them, with RANSAC on SIFT."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest
from data_samples import development_data
from html_page import Page
from retrieval_samples import again, place

from vloc_ros.cli import main

TRUTH = Path(__file__).parents[1] / "benchmarks" / "truth"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    queries, database = tmp_path / "queries", tmp_path / "database"
    for folder in (queries, database):
        folder.mkdir()
    for number in range(5):
        assert cv2.imwrite(str(database / f"{number}.png"), place(number))
        assert cv2.imwrite(str(queries / f"{number}.png"), again(place(number)))
    return queries, database


def test_retrieve(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries, database = folders
    (queries / "5.png").write_bytes(b"")
    assert cv2.imwrite(str(queries / "6.png"), place(77))
    out = tmp_path / "out"
    arguments = ["retrieve", str(queries), "--database", str(database), "--rerank", "ransac", "--top", "3", "--out", str(out)]
    assert main([*arguments, "--set", "rerank.min_inliers=15", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["queries"], values["answered"], values["accepted"]) == (7, 6, 5)
    with (out / "retrieved.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 3
    for number in range(5):
        best = next(row for row in rows if (row["query"], row["rank"]) == (f"{number}.png", "1"))
        assert best["database"] == f"{number}.png" and best["accepted"] == "yes" and best["why_not"] == ""
        assert 15 <= int(best["inliers"]) <= int(best["matches"]) and 1 <= int(best["old_rank"]) <= 5
    assert all(row["accepted"] == "no" and row["why_not"] for row in rows if row["query"] == "6.png")
    page = Page((out / "report.html").read_text())
    assert "5 have a candidate that is accepted; 1 got no answer" in page.text and "none of them is accepted" in page.text
    assert all(address.startswith("data:") for address in page.addresses)


def test_those_that_were_not_compared_say_so(folders: tuple[Path, Path], tmp_path: Path) -> None:
    queries, database = folders
    arguments = ["retrieve", str(queries), "--database", str(database), "--rerank", "ransac", "--rerank-top", "1"]
    assert main([*arguments, "--top", "2", "--out", str(tmp_path)]) == 0
    with (tmp_path / "retrieved.csv").open() as file:
        seconds = [row for row in csv.DictReader(file) if row["rank"] == "2"]
    assert len(seconds) == 5 and {(row["why_not"], row["inliers"]) for row in seconds} == {("not compared", "")}


def test_evaluate(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries, database = folders
    arguments = ["evaluate", "retrieval", str(queries), "--database", str(database), "--layout", "aligned", "--rerank", "ransac"]
    options = ["--descriptors", "thumbnail,hog", "--sequence", "none,trajectory", "--rerank-top", "4"]
    assert main([*arguments, *options, "--set", "rerank.settle=1", "--out", str(tmp_path / "out"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [(one["descriptor"], one["sequence"], one["reranker"], one["candidates"]) for one in values["reranked"]] == [
        (name, method, "ransac", 4) for name in ("thumbnail", "hog") for method in ("none", "trajectory")
    ]
    assert len(values["results"]) == 4 and values["reranked"][0]["recall_at_1"] == 1.0
    assert "reranker" not in values["results"][0]
    assert all((tmp_path / "out" / f"report.{ending}").is_file() for ending in ("html", "json", "csv"))
    assert main([*arguments, "--descriptors", "hog"]) == 0
    assert "> ransac" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rerank", "x"], "unknown re-ranker 'x'"),
        (["--set", "rerank.settle=1"], "say with --rerank what re-ranks"),
        (["--rerank-top", "3"], "say with --rerank what re-ranks"),
        (["--rerank", "ransac", "--set", "features.name=orb"], "features.name=... is no setting of re-ranking"),
        (["--rerank", "ransac", "--set", "rerank.reranker=x"], "rerank.reranker=... is no setting of re-ranking"),
        (["--rerank", "ransac", "--set", "rerank.x=1"], "unknown key 'rerank.x'"),
        (["--rerank", "ransac", "--rerank-top", "0"], "rerank.candidates"),
        (["--rerank", "ransac,ransac"], "names several"),
    ],
)
def test_wrong_use_is_one_sentence(
    folders: tuple[Path, Path], tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retrieve", str(folders[0]), "--database", str(folders[1]), "--out", str(tmp_path), *options]) == 1
    error = capsys.readouterr().err
    assert words in error and error.startswith("vloc retrieve: ") and error.count("\n") == 1


@pytest.mark.data
@pytest.mark.slow
def test_a_corridor_walked_twice(capsys: pytest.CaptureFixture[str]) -> None:
    folder = development_data("rtabmap_loop_samples")
    arguments = ["evaluate", "retrieval", str(folder), "--layout", "pairs", "--pairs", str(TRUTH / "rtabmap_loop_samples.csv")]
    options = ["--descriptors", "hog", "--rerank", "ransac", "--rerank-top", "8", "--set", "rerank.min_inliers=20", "--json"]
    assert main([*arguments, *options]) == 0
    values = json.loads(capsys.readouterr().out)
    [before], [after] = values["results"], values["reranked"]
    assert after["recall_at_1"] > before["recall_at_1"] + 0.2 and after["lost"] == 0 and after["p_value"] < 0.01
    assert after["acceptance"]["accepted_precision"] == 1.0 and after["acceptance"]["none_unknown"] == 1.0
