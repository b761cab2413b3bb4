"""Photos and what instruments said of them; positions are read by another reader, and by judges alone."""

import ast
from pathlib import Path

import cv2
import numpy as np
import pytest
from aerial_samples import landscape

from vloc_ros.aerial.georeference import LatLon
from vloc_ros.aerial.locating import locate_all
from vloc_ros.aerial.photo_list import Instruments, Optics, read_instruments, shots_of
from vloc_ros.aerial.truth import read_truth
from vloc_ros.errors import DataError

AERIAL = Path(__file__).resolve().parents[1] / "vloc_ros" / "aerial"


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_found_by_name_and_empty_cells_are_unknown(tmp_path):
    table = written(
        tmp_path / "t.csv",
        "time,pitch,file,heading,roll,rel_alt,lat,lon\n12.000000001,10,a.jpg,-90,20,+40.5,47,8\n,,b.jpg,,,,47,8\n\n1.5,,c.jpg,,3,,47,8\n",
    )
    said = read_instruments(table)
    assert list(said) == ["a.jpg", "b.jpg", "c.jpg"]
    a = said["a.jpg"]
    assert (a.height_m, a.heading_deg, a.stamp_ns) == (40.5, -90.0, 12_000_000_001)
    assert (a.tilt.roll, a.tilt.pitch) == pytest.approx(np.deg2rad([20.0, 10.0]))
    assert said["b.jpg"] == Instruments()
    assert said["c.jpg"] == Instruments(stamp_ns=1_500_000_000)  # roll without pitch says nothing


def test_the_first_of_several_names_counts(tmp_path):
    table = written(tmp_path / "t.csv", "file,flight_yaw,gimbal_yaw,rel_alt,alt\na.jpg,1,2,3,4\n")
    assert read_instruments(table)["a.jpg"] == Instruments(3.0, 2.0)


def test_a_height_above_the_sea_does_not_go_before_one_above_the_ground(tmp_path):
    table = written(tmp_path / "t.csv", "file,altitude,rel_alt\na.jpg,438,40\n")
    assert read_instruments(table)["a.jpg"].height_m == 40.0
    assert read_instruments(written(tmp_path / "u.csv", "file,altitude\na.jpg,38\n"))["a.jpg"].height_m == 38.0


def test_a_table_of_other_photos_is_an_error(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "p.jpg"), landscape(64, 1))
    with pytest.raises(DataError, match=r"names none of the 1 photos.*such as p.jpg"):
        shots_of([tmp_path / "a"], written(tmp_path / "t.csv", "file,height\nq.jpg,40\n"))
    both = [tmp_path / "a", tmp_path / "b"]
    assert len(shots_of(both)) == 2
    with pytest.raises(DataError, match=r"cannot tell apart the photos that are named p.jpg"):
        shots_of(both, written(tmp_path / "u.csv", "file,height\np.jpg,40\n"))


def test_a_lens_of_larger_images_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "p.jpg"), landscape(64, 1))
    (shot,) = shots_of([tmp_path / "p.jpg"])
    assert shot.read(Optics(900.0, centre=(63.5, 0.0))).lens.centre == (63.5, 0.0)
    for centre in ((64.0, 31.0), (31.0, 800.0), (-1.0, 31.0)):
        with pytest.raises(DataError, match=r"64x64 pixels.*intrinsics are of images of another size"):
            shot.read(Optics(900.0, centre=centre))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,height\na,1\n", "no column 'file'"),
        ("", "no column 'file'"),
        ("file,height\na.jpg,high\n", "line 2 holds something that is not a number"),
        ("file,height\na.jpg,nan\n", "line 2 holds a value that is not finite"),
        ("file,height\na.jpg,-3\n", "line 2: a height of -3 m is not above the ground"),
        ("file,height\na.jpg\n", "line 2 has 1 columns instead of 2"),
        ("file,height\na.jpg,1\na.jpg,2\n", "line 3 names 'a.jpg' a second time"),
        ("file,time\na.jpg,now\n", "line 2: 'now' is not a number"),
    ],
)
def test_a_damaged_table_is_an_error_that_names_the_line(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read_instruments(written(tmp_path / "t.csv", text))


def test_files_folders_and_tables_are_photos(tmp_path):
    for name in ("p10.png", "p9.png"):
        cv2.imwrite(str(tmp_path / name), landscape(64, 1))
    table = written(tmp_path / "list.csv", "file,height\np10.png,70\n")
    folder = shots_of([tmp_path], table, Instruments(50.0, 3.0))
    assert [shot.name for shot in folder] == ["p9.png", "p10.png"]
    assert [shot.instruments.height_m for shot in folder] == [50.0, 70.0]
    assert [shot.instruments.heading_deg for shot in folder] == [3.0, 3.0]
    listed = shots_of([table, tmp_path / "p9.png"])
    assert [(shot.name, shot.instruments.height_m) for shot in listed] == [("p10.png", 70.0), ("p9.png", None)]
    with pytest.raises(DataError, match="no images in"):
        shots_of([written(tmp_path / "empty.csv", "file\n")])


@pytest.mark.parametrize("name", ["../a.jpg", "C:/a.jpg"])
def test_a_table_cannot_name_files_elsewhere(tmp_path, name):
    with pytest.raises(DataError, match="outside that folder"):
        shots_of([written(tmp_path / "t.csv", f"file\n{name}\n")])


def test_the_lens_follows_from_what_is_given():
    assert Optics().lens(800) is None
    assert Optics(focal=700.0).lens(800).focal == 700.0
    assert Optics(fov_deg=90.0).lens(800).focal == pytest.approx(400.0)
    assert Optics(focal=700.0, centre=(1.0, 2.0)).lens(800).centre == (1.0, 2.0)


def test_a_photo_that_cannot_be_read_is_a_failure_and_the_rest_goes_on(tmp_path):
    cv2.imwrite(str(tmp_path / "good.jpg"), landscape(64, 1))
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    seen = []
    shots = shots_of([tmp_path / "cut.jpg", tmp_path / "absent.jpg", tmp_path / "empty.jpg", tmp_path / "good.jpg"])
    results = list(locate_all(shots, Optics(), lambda photo: seen.append(photo.name)))
    assert seen == ["good.jpg"]
    assert [result.reason for result in results[:3]] == ["unreadable"] * 3
    assert "truncated JPEG" in results[0].sentence and "absent.jpg" in results[1].sentence and "empty" in results[2].sentence


# The truth


def test_truth_is_read_by_name(tmp_path):
    table = written(tmp_path / "g.csv", "lon,file,height,lat\n8.5,flight/a.jpg,wild,47.25\n,b.jpg,,\n")
    assert read_truth(table) == {"a.jpg": LatLon(47.25, 8.5)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,lat\na,1\n", "no column 'lon'"),
        ("file,lat,lon\na,x,1\n", "line 2 holds something that is not a number"),
        ("file,lat,lon\na,91,1\n", "line 2: 91, 1 is no latitude and longitude"),
        ("file,lat,lon\na,1\n", "line 2 has 2 columns instead of 3"),
        ("file,lat,lon\na,1,2\nx/a,1,3\n", "line 3 names 'a' a second time"),
    ],
)
def test_damaged_truth_is_an_error_that_names_the_line(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read_truth(written(tmp_path / "g.csv", text))


def test_instruments_do_not_look_at_positions(tmp_path):
    head = "file,lat,lon,alt,rel_alt,gimbal_yaw\n"
    honest = read_instruments(written(tmp_path / "a.csv", head + "a.jpg,47.1,8.2,400,40,30\n"))
    for poison in ("0,0,0", "90,180,-9", "x,y,z", ",,"):
        assert read_instruments(written(tmp_path / "b.csv", head + f"a.jpg,{poison},40,30\n")) == honest


def test_nothing_that_locates_imports_the_truth():
    importing = []
    for path in sorted(AERIAL.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            importing += [path.name for name in names if "truth" in name]
    assert importing == []
