"""vloc retrieve --fine and --condition as a user runs them, with a small descriptor that hears what it is told."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest
from condition_toys import Hearing, HearingToo, register_hearing
from retrieval_samples import again, place

from vloc_ros.cli import main


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    register_hearing(monkeypatch)
    queries, database = tmp_path / "queries", tmp_path / "database"
    for folder in (queries, database):
        folder.mkdir()
    for number in range(4):
        assert cv2.imwrite(str(database / f"{number}.png"), place(number))
        assert cv2.imwrite(str(queries / f"{number}.png"), again(place(number)))
    return ["retrieve", str(queries), "--database", str(database), "--out", str(tmp_path / "out"), "--top", "3", "--json"]


def answers(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    with Path(json.loads(capsys.readouterr().out)["csv"]).open() as file:
        return list(csv.DictReader(file))


def test_the_fine_descriptor_orders_the_first_and_geometry_what_it_gives(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fine = ["--descriptor", "hearing", "--fine", "hog", "--fine-top", "2"]
    assert main([*command, *fine]) == 0
    rows = answers(capsys)
    assert len(rows) == 12 and [row["database"] for row in rows if row["rank"] == "1"] == [f"{n}.png" for n in range(4)]
    first, second, third = rows[:3]
    assert float(first["similarity"]) >= float(second["similarity"]) and first["inliers"] == first["why_not"] == ""
    assert first["accepted"] == second["accepted"] == "yes" and third["why_not"] == "not compared"
    assert main([*command, *fine, "--rerank", "ransac", "--rerank-top", "1"]) == 0
    rows = answers(capsys)
    assert rows[0]["similarity"] == "" and int(rows[0]["inliers"]) > 10 and rows[0]["database"] == "0.png"


def test_the_condition_is_that_of_the_queries(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--descriptor", "hearing", "--fine", "hearing_too", "--condition", "night"]) == 0
    assert sorted(Hearing.heard) == [""] * 4 + ["night"] * 4 == sorted(HearingToo.heard)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--descriptor", "hearing", "--condition", "snow"], "'snow' is unknown to 'hearing'; known: noon, dusk, night;"),
        (["--condition", "night"], "the condition 'night' says nothing to 'hog'"),
        (["--fine", "hog,thumbnail"], "--fine hog,thumbnail names several"),
        (["--fine-top", "3"], "say with --fine what compares"),
        (["--fine", "vlad"], "vlad"),
        (["--fine", "hog", "--fine-top", "0"], "coarse_to_fine.candidates"),
    ],
)
def test_wrong_use_is_one_sentence(command: list[str], options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, *options]) == 1
    error = capsys.readouterr().err
    assert words in error and error.startswith("vloc retrieve: ") and error.count("\n") == 1
