"""vloc evaluate retrieval on a long-term benchmark of pictures whose errors are known, as a user runs it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from html_page import Page
from retrieval_samples import again, place
from scipy.spatial.transform import Rotation

from vloc_ros.cli import main
from vloc_ros.data.seasons import pose_line
from vloc_ros.geometry.se3 import inverse

SPACING_M = 20.0
SIDES = {"c0": 0.0, "c1": 90.0}
NIGHT = [(0.2, 1.0), (0.4, 4.0), (3.0, 8.0), (0.0, 0.0)]
"""Metres and degrees between the queries of the night and the picture that shows their place; the last one is broken."""


def pose(number: int, side: str, metres: float = 0.0, degrees: float = 0.0) -> np.ndarray:
    world_T_camera = np.eye(4)
    world_T_camera[:3, :3] = Rotation.from_euler("y", SIDES[side] + degrees, degrees=True).as_matrix()
    world_T_camera[:3, 3] = (SPACING_M * number, metres, 1.0)
    return world_T_camera


def name(condition: int, number: int, side: str) -> str:
    return f"img_{condition}{number:04d}_{side}_17us.png"


def write(folder: Path, condition: int, number: int, side: str, image: np.ndarray) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(folder / name(condition, number, side)), image)
    return name(condition, number, side)


@pytest.fixture
def park(tmp_path: Path) -> Path:
    """Four places; a night with known errors, another camera in the snow whose queries look like pictures of the first one, fog
    whose poses are secret."""
    area, lines = tmp_path / "park", []
    images = area / "s1"
    for number in range(4):
        for side, first in (("c0", 0), ("c1", 50)):
            file = write(images / "test00", 0, number, side, place(first + number))
            lines.append(pose_line(file, pose(number, side)))
        file = write(images / "test01", 1, number, "c0", again(place(number)))
        lines.append(pose_line(file, pose(number, "c0", *NIGHT[number])))
        # seen by c1, and the very picture that c0 has of the place in the database
        file = write(images / "test02", 2, number, "c1", place(number))
        lines.append(pose_line(file, pose(number, "c1")))
        write(images / "test03", 3, number, "c0", again(place(number), seed=5))
    (images / "test01" / name(1, 3, "c0")).write_bytes(b"")
    (images / "pose_new_s1.txt").write_text("\n".join(lines) + "\n")
    (area / "conditions.txt").write_text("00 day\n01 night\n02 snow\n03 fog\n")
    return area


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["evaluate", "retrieval", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def cells(values: dict, method: str) -> dict[str, dict]:
    by = values["by_condition"]
    [row] = [one for one in by["methods"] if one["method"] == method]
    return {group["name"]: numbers for group, numbers in zip(by["groups"], row["groups"], strict=True)}


def test_shares_by_condition_are_those_of_the_known_errors(park: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = cells(run(capsys, str(park), "--layout", "seasons", "--descriptors", "thumbnail"), "thumbnail")
    assert list(found) == ["night", "snow", "fog", "all"]
    night = found["night"]
    assert [night[key] for key in ("within_0.25m_2deg", "within_0.5m_5deg", "within_5m_10deg")] == [1 / 4, 2 / 4, 3 / 4]
    # the broken query is one whose place is known, and it is not found
    assert (night["queries"], night["judged"], night["failed"], night["recall_at_1"]) == (4, 4, 1, 3 / 4)
    fog = found["fog"]
    assert (fog["queries"], fog["judged"], fog["within_5m_10deg"], fog["recall_at_1"]) == (4, 0, None, None)
    assert (found["all"]["queries"], found["all"]["judged"]) == (12, 8)


def test_thresholds_and_groups_can_be_chosen(park: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--descriptors", "thumbnail,hog", "--thresholds", "0.3:5,1:5", "--group", "Dark=NIGHT,f*"]
    values = run(capsys, str(park), "--layout", "seasons", *options)
    found = cells(values, "thumbnail")
    assert found["Dark"]["within_0.3m_5deg"] == 1 / 4 and found["Dark"]["within_1m_5deg"] == 2 / 4
    assert (found["Dark"]["queries"], found["Dark"]["judged"]) == (8, 4)
    against = cells(values, "hog")["night"]
    assert (against["within_1m_5deg.won"], against["within_1m_5deg.lost"], against["within_1m_5deg.p_value"]) == (0, 0, 1.0)
    assert "within_1m_5deg.won" not in found["night"]


def answered(file: Path) -> dict[str, np.ndarray]:
    """world_T_camera by name, read as the site of the benchmark does: ``camera_T_world``, the real part of the quaternion first."""
    poses = {}
    for line in file.read_text().splitlines():
        image, *numbers = line.split(" ")
        w, x, y, z, *translation = map(float, numbers)
        camera_T_world = np.eye(4)
        camera_T_world[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
        camera_T_world[:3, 3] = translation
        poses[image] = inverse(camera_T_world)
    return poses


def test_a_submission_has_the_pose_of_the_best_answer_of_the_same_camera(
    park: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "park.txt"
    run(capsys, str(park), "--layout", "seasons", "--descriptors", "thumbnail", "--submission", str(file))
    poses = answered(file)
    # secret or not, all that could be read have a line
    expected = [*(name(1, k, "c0") for k in range(3)), *(name(2, k, "c1") for k in range(4)), *(name(3, k, "c0") for k in range(4))]
    assert list(poses) == expected
    for number in range(3):
        np.testing.assert_allclose(poses[name(1, number, "c0")], pose(number, "c0"), atol=1e-6)
        np.testing.assert_allclose(poses[name(3, number, "c0")], pose(number, "c0"), atol=1e-6)
    of_second = [pose(number, "c1") for number in range(4)]
    for number in range(4):
        given = poses[name(2, number, "c1")]
        assert any(np.allclose(given, one, atol=1e-6) for one in of_second)


def test_each_method_has_a_submission_and_a_row(park: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--descriptors", "thumbnail", "--fine", "hog", "--fine-top", "2", "--rerank", "ransac"]
    files = ["--submission", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out")]
    values = run(capsys, str(park), "--layout", "seasons", *options, *files)
    methods = ["thumbnail", "thumbnail > hog", "thumbnail > ransac", "thumbnail > hog > ransac"]
    assert [one["method"] for one in values["by_condition"]["methods"]] == methods
    assert list(values["submissions"]) == methods
    assert {Path(file).name for file in values["submissions"].values()} == {
        "a-thumbnail.txt",
        "a-thumbnail_hog.txt",
        "a-thumbnail_ransac.txt",
        "a-thumbnail_hog_ransac.txt",
    }
    assert cells(values, "thumbnail > hog")["night"]["within_5m_10deg"] == 3 / 4
    with (tmp_path / "out" / "report_conditions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["group"]) for row in rows[:5]] == [
        *(("thumbnail", group) for group in ("night", "snow", "fog", "all")),
        ("thumbnail > hog", "night"),
    ]
    assert rows[0]["within_0.25m_2deg"] == "0.25" and rows[2]["within_0.25m_2deg"] == ""
    text = (tmp_path / "out" / "report.html").read_text()
    assert "By condition" in text and "within 0.25 m 2° / 0.5 m 5° / 5 m 10°" in text
    assert all(address.startswith("data:") for address in Page(text).addresses)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["by_condition"] == values["by_condition"]


def test_several_areas_are_columns(park: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    park.rename(tmp_path / "urban")
    (tmp_path / "urban" / "s1").rename(tmp_path / "urban" / "s7")
    (tmp_path / "urban" / "s7" / "pose_new_s1.txt").rename(tmp_path / "urban" / "s7" / "pose_new_s7.txt")
    other = tmp_path / "suburban" / "s3"
    for number in range(2):
        write(other / "test00", 0, number, "c0", place(number))
        write(other / "test01", 1, number, "c0", again(place(number)))
    lines = [pose_line(name(k, number, "c0"), pose(number, "c0")) for k in (0, 1) for number in range(2)]
    (other / "pose_new_s3.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "suburban" / "conditions.txt").write_text("00 day\n01 night\n")
    areas = [str(tmp_path / area) for area in ("urban", "suburban")]
    found = cells(run(capsys, *areas, "--layout", "seasons", "--descriptors", "thumbnail"), "thumbnail")
    assert list(found) == ["urban", "suburban", "night", "snow", "fog", "all"]
    assert found["suburban"]["within_0.25m_2deg"] == 1.0 and found["night"]["within_5m_10deg"] == 5 / 6


def test_folders_of_one_route_are_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, count in (("summer", 4), ("winter", 4), ("autumn", 4)):
        for number in range(count):
            image = place(number) if folder == "summer" else again(place(number if folder == "winter" else 3 - number))
            (tmp_path / folder).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / folder / f"{number}.png"), image)
    queries = [str(tmp_path / folder) for folder in ("winter", "autumn")]
    options = ["--layout", "aligned", "--database", str(tmp_path / "summer"), "--descriptors", "thumbnail"]
    found = cells(run(capsys, *queries, *options), "thumbnail")
    assert {group: one["recall_at_1"] for group, one in found.items()} == {"winter": 1.0, "autumn": 0.0, "all": 0.5}
    assert "within_5m_10deg" not in found["all"]
    assert "by_condition" not in run(capsys, queries[0], *options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--thresholds", "1"], "is no threshold"),
        (["--group", "x"], "NAME=CONDITION"),
        (["--group", "x=rain"], "no query was taken in the condition 'rain'; there are: night, snow, fog"),
        (["--max-queries", "0"], "--max-queries 0"),
        (["--radius", "-1"], "radius_m"),
        (["--fine-top", "2"], "--fine-top"),
        (["--fine", "x"], "unknown descriptor 'x'"),
    ],
)
def test_wrong_use_is_one_sentence(park: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "retrieval", str(park), "--layout", "seasons", *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error and error.startswith("vloc evaluate: ") and error.count("\n") == 1


def test_a_submission_needs_poses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        assert cv2.imwrite(str(tmp_path / folder / "0.png"), place(0))
    options = ["--layout", "aligned", "--database", str(tmp_path / "b"), "--submission", str(tmp_path / "x.txt")]
    assert main(["evaluate", "retrieval", str(tmp_path / "a"), *options]) == 1
    assert "--submission needs poses" in capsys.readouterr().err and not (tmp_path / "x.txt").exists()


def test_few_queries_are_spread_over_each_traverse(park: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "few.txt"
    options = ["--descriptors", "thumbnail", "--max-queries", "2", "--submission", str(file)]
    run(capsys, str(park), "--layout", "seasons", *options)
    expected = [name(1, 0, "c0"), *(name(k, n, side) for k, side in ((2, "c1"), (3, "c0")) for n in (0, 3))]
    assert list(answered(file)) == expected
