"""Layouts of place recognition data sets, and what counts as the same place in each."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import development_data
from retrieval_samples import place

from vloc_ros.data.places import PlaceDataset, nearby
from vloc_ros.data.vpr_folder import PlaceTruth, open_aligned, open_pairs, open_poses, open_route, open_tree, pictures_of
from vloc_ros.errors import DataError


def write(path: Path, number: int = 0, level: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = place(number) if level is None else np.full((20, 30), level, dtype=np.uint8)
    assert cv2.imwrite(str(path), image)


def truth_of(data: PlaceDataset) -> dict[str, list[str]]:
    names = [picture.name for picture in data.database]
    return {query.name: [names[row] for row in rows] for query, rows in zip(data.queries, data.positives, strict=True)}


@pytest.mark.parametrize("base", ["database", "gallery"])
def test_a_tree_is_read_from_file_names_only(tmp_path: Path, base: str) -> None:
    # a folder with an @ of its own must not be taken for coordinates
    root = tmp_path / "user@100@200@" / "site"
    split = root / "images" / "val"
    write(split / "queries" / "@1000.0@2000@a.png")
    write(split / "queries" / "@9000@2000@b.png")
    for east in (1000, 1025, 1026):
        write(split / base / f"@{east}@2000.0@@@x.jpg")
    data = open_tree(root, "val")
    assert truth_of(data) == {
        "@1000.0@2000@a.png": ["@1000@2000.0@@@x.jpg", "@1025@2000.0@@@x.jpg"],
        "@9000@2000@b.png": [],
    }
    assert open_tree(root / "images", "val", PlaceTruth(radius_m=0.5)).positives[0].tolist() == [0]
    assert data.queries[0].read().shape == (160, 240, 3)


def test_a_tree_may_have_folders_in_its_folders(tmp_path: Path) -> None:
    split = tmp_path / "images" / "test"
    write(split / "queries" / "night" / "@1000.0@2000@a.png")
    for east, folder in ((1000, ""), (1001, "000"), (5000, "001/b")):
        write(split / "database" / folder / f"@{east}@2000.0@.jpg")
    data = open_tree(tmp_path)
    assert truth_of(data) == {"@1000.0@2000@a.png": ["@1000@2000.0@.jpg", "@1001@2000.0@.jpg"]}
    assert data.database[2].name == "@5000@2000.0@.jpg" and data.database[2].read().shape == (160, 240, 3)


def test_wrong_trees_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images/test"):
        open_tree(tmp_path)
    split = tmp_path / "test"
    write(split / "queries" / "@1@2@.png")
    with pytest.raises(DataError, match="one of database and gallery"):
        open_tree(tmp_path)
    write(split / "database" / "plain.png")
    with pytest.raises(DataError, match=r"plain\.png: the name should begin with @UTM"):
        open_tree(tmp_path)
    (split / "database" / "plain.png").unlink()
    with pytest.raises(DataError, match="no images in"):
        open_tree(tmp_path)


def test_aligned_folders_by_name_with_tolerance_and_without_dark_frames(tmp_path: Path) -> None:
    for number in range(8, 13):
        write(tmp_path / "winter" / f"{number}.png", level=5 if number == 10 else 100)
        write(tmp_path / "summer" / f"{number}.jpg", level=100)
    data = open_aligned(tmp_path / "winter", tmp_path / "summer", PlaceTruth(tolerance=1, min_brightness=15.0))
    # the dark frame leaves a gap: its neighbours stay two frames apart
    assert truth_of(data) == {
        "8.png": ["8.jpg", "9.jpg"],
        "9.png": ["8.jpg", "9.jpg"],
        "11.png": ["11.jpg", "12.jpg"],
        "12.png": ["11.jpg", "12.jpg"],
    }


def test_aligned_folders_by_order(tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / "a" / f"left{k}.png")
        write(tmp_path / "b" / f"right{k}.png")
    assert [rows.tolist() for rows in open_aligned(tmp_path / "a", tmp_path / "b").positives] == [[0], [1], [2]]
    write(tmp_path / "b" / "right3.png")
    with pytest.raises(DataError, match=r"3 images .* 4"):
        open_aligned(tmp_path / "a", tmp_path / "b")
    write(tmp_path / "b" / "left1.png")
    with pytest.raises(DataError, match=r"left0\.png has no partner"):
        open_aligned(tmp_path / "a", tmp_path / "b")
    with pytest.raises(DataError, match="as bright as"):
        open_aligned(tmp_path / "a", tmp_path / "a", PlaceTruth(min_brightness=254.0))


def test_a_route_whose_second_part_the_database_does_not_have(tmp_path: Path) -> None:
    for k in range(12):
        write(tmp_path / f"{k:03d}.png")
    data = open_route(tmp_path, every=3, share=0.5, truth=PlaceTruth(tolerance=1))
    assert [picture.name for picture in data.database] == ["000.png", "003.png"]
    expected = {f"{k:03d}.png": [] for k in (1, 2, 4, 5, 7, 8, 10, 11)}
    expected |= {"001.png": ["000.png"], "002.png": ["003.png"], "004.png": ["003.png"]}
    assert truth_of(data) == expected
    for every, share in ((1, 0.5), (3, 0.0)):
        with pytest.raises(DataError, match="leaves no queries"):
            open_route(tmp_path, every, share)
    with pytest.raises(DataError, match="too few"):
        open_route(tmp_path, 3, 0.5, PlaceTruth(min_brightness=255.0))


def test_pairs_from_a_list(tmp_path: Path) -> None:
    for name in ("1", "2", "3", "4"):
        write(tmp_path / "walk" / f"{name}.png")
    listing = tmp_path / "loops.csv"
    listing.write_text("# by eye\n3.png,1.png\n3.png,2.png\n4.png,\n")
    data = open_pairs(tmp_path / "walk", tmp_path / "walk", listing)
    assert truth_of(data) == {"3.png": ["1.png", "2.png"], "4.png": []}
    for text, words in (
        ("3.png,9.png", "line 1 names 3.png and 9.png"),
        ("3.png", "line 1 has 1 columns"),
        ("a,b,c", "has 3 columns"),
    ):
        listing.write_text(text + "\n")
        with pytest.raises(DataError, match=words):
            open_pairs(tmp_path / "walk", tmp_path / "walk", listing)


def test_a_damaged_image_is_found_out_when_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    [picture] = pictures_of(tmp_path)
    with pytest.raises(DataError, match=r"1\.png"):
        picture.read()


def test_a_data_set_must_fit_together(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    pictures = pictures_of(tmp_path)
    with pytest.raises(DataError, match="truth of 0 queries"):
        PlaceDataset("x", pictures, pictures, ())
    with pytest.raises(DataError, match="does not have"):
        PlaceDataset("x", pictures, pictures, (np.array([1]),))
    assert [rows.tolist() for rows in nearby(np.zeros((1, 2)), np.array([[3.0, 4.0], [3.0, 4.1]]), 5.0)] == [[0]]


@pytest.mark.data
def test_a_recording_with_poses() -> None:
    source = development_data("kitti_stereo_51")
    data = open_poses(source, source, truth=PlaceTruth(radius_m=1.0, angle_deg=20.0))
    assert len(data.queries) == len(data.database) == 51
    assert all(query in rows for query, rows in enumerate(data.positives))
    assert all(len(rows) < 10 for rows in data.positives)
    halves = open_poses(source, None, truth=PlaceTruth(radius_m=1.0))
    assert (len(halves.queries), len(halves.database)) == (26, 25)
    with pytest.raises(DataError, match="has no poses"):
        open_poses(development_data("rtabmap_stereo_rect"), None)
