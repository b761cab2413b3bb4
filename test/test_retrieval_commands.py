"""vloc retrieve, vloc evaluate retrieval and vloc vocabulary as a user runs them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest
from data_samples import development_data
from retrieval_samples import again, place

from vloc_ros.cli import main


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    queries, database = tmp_path / "queries", tmp_path / "database"
    for folder in (queries, database):
        folder.mkdir()
    for number in range(6):
        assert cv2.imwrite(str(database / f"{number}.png"), place(number))
        assert cv2.imwrite(str(queries / f"{number}.png"), again(place(number)))
    return queries, database


def test_retrieve(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries, database = folders
    (queries / "7.png").write_bytes(b"")
    out = tmp_path / "out"
    assert main(["retrieve", str(queries), "--database", str(database), "--top", "2", "--out", str(out), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["queries"], values["answered"]) == (7, 6)
    with (out / "retrieved.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["database"] for row in rows if row["rank"] == "1"] == [f"{k}.png" for k in range(6)]
    assert len(rows) == 12 and all(-1.0 <= float(row["score"]) <= 1.0 for row in rows)
    assert "1 got no answer" in (out / "report.html").read_text()


def test_a_vocabulary_is_learned_once_and_used_again(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries, database = folders
    words = tmp_path / "words" / "site.vocabulary"
    assert main(["vocabulary", str(database), "--features", "orb", "--words", "16", "--out", str(words), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["words"] == 16
    common = ["retrieve", str(queries), "--database", str(database), "--descriptor", "vlad", "--top", "1", "--out", str(tmp_path)]
    assert main([*common, "--features", "orb", "--assets", f"vlad={words}"]) == 0
    assert "0.png,1,0.png" in (tmp_path / "retrieved.csv").read_text()
    capsys.readouterr()
    assert main([*common, "--features", "sift_fast", "--assets", f"vlad={words}"]) == 1
    assert "learn one from the features in use" in capsys.readouterr().err


def test_evaluate_retrieval(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries, database = folders
    arguments = ["evaluate", "retrieval", str(queries), "--database", str(database), "--layout", "aligned", "--features", "orb"]
    assert main([*arguments, "--sequence", "none,trajectory", "--out", str(tmp_path / "out"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    names = [(result["descriptor"], result["sequence"]) for result in values["results"]]
    assert names == [(name, method) for name in ("thumbnail", "hog", "vlad") for method in ("none", "trajectory")]
    assert all(result["recall_at_1"] == 1.0 for result in values["results"] if result["sequence"] == "none")
    assert (tmp_path / "out" / "report.html").is_file()
    assert main([*arguments, "--descriptors", "hog"]) == 0
    assert "R@100%P" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--layout", "aligned"], "needs --database"),
        (["--layout", "pairs"], "needs --pairs"),
        (["--layout", "tree"], "no images/test"),
        (["--layout", "route", "--every", "1"], "leaves no queries"),
        (["--layout", "route", "--radius", "-1"], "radius_m"),
        (["--layout", "route", "--sequence", "x"], "--sequence 'x' is unknown"),
        (["--layout", "route", "--descriptors", "x"], "unknown descriptor 'x'"),
        (["--layout", "route", "--assets", "x"], "not of the form NAME=FILE"),
        (["--layout", "route", "--assets", "vlad=/nowhere/x"], "cannot read /nowhere/x"),
        (["--layout", "route", "--max-features", "0"], "--max-features 0"),
    ],
)
def test_wrong_use_is_one_sentence(
    folders: tuple[Path, Path], arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "retrieval", str(folders[0]), *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error and error.startswith("vloc evaluate: ") and error.count("\n") == 1


def test_wrong_retrievals(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries, _ = folders
    assert main(["retrieve", str(queries), "--database", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert "cannot read the folder" in capsys.readouterr().err
    assert main(["retrieve", str(queries), "--database", str(queries), "--top", "0", "--out", str(tmp_path)]) == 1
    assert "--top 0" in capsys.readouterr().err
    assert main(["vocabulary", str(queries), "--words", "1", "--out", str(tmp_path / "v")]) == 1
    assert "--words 1" in capsys.readouterr().err


@pytest.mark.data
def test_hog_across_seasons(capsys: pytest.CaptureFixture[str]) -> None:
    folder = development_data("nordland_64x32")
    arguments = [str(folder / "winter"), "--database", str(folder / "summer"), "--layout", "aligned", "--tolerance", "2"]
    options = ["--min-brightness", "15", "--descriptors", "thumbnail,hog", "--sequence", "none,trajectory", "--json"]
    assert main(["evaluate", "retrieval", *arguments, *options]) == 0
    shares = [result["recall_at_1"] for result in json.loads(capsys.readouterr().out)["results"]]
    assert shares[0] < shares[1] and shares[2] > 0.5 and shares[2] < shares[3] and shares[3] > 0.88
