"""Long-term benchmarks as they are published: what readers find in them, and what they say of damaged ones."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from data_samples import texture
from seasons_samples import EAST_AXES, cmu, images, pose_text, robotcar

from vloc_ros.data.condition_folders import condition_folders, training_conditions
from vloc_ros.data.output import write_text
from vloc_ros.data.places import Picture
from vloc_ros.data.seasons import (
    SeasonsDataset,
    SeasonsPicture,
    open_all_seasons,
    open_cmu,
    open_robotcar,
    open_seasons,
    pose_line,
)
from vloc_ros.data.seasons_layout import CMU_CONDITIONS, ROBOTCAR_CONDITIONS, names_of
from vloc_ros.errors import DataError


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


class TestCmu:
    def test_database_and_queries_of_a_slice(self, tmp_path: Path) -> None:
        found = open_cmu(cmu(tmp_path / "urban", {2: "", 7: ""}), 7)
        assert found.name == "urban s7"
        assert found.conditions == ("00", "01", "02")
        assert [entry.picture.name for entry in found.database] == ["img_00010_c0_0077us_rect.jpg", "img_00011_c1_0177us_rect.jpg"]
        assert [entry.side for entry in found.queries] == ["c0", "c1", "c0", "c1"]
        assert [entry.picture.condition for entry in found.queries] == ["01", "01", "02", "02"]
        assert np.array_equal(found.queries[1].picture.read(), texture(1, True, (32, 24)))

    def test_a_line_is_the_transform_from_the_world_to_the_camera(self, tmp_path: Path) -> None:
        pose = open_cmu(cmu(tmp_path)).database[1].world_T_camera
        assert pose is not None
        assert np.allclose(pose[:3, 3], [10.0, 1.0, 1.5])
        assert np.allclose(pose[:3, :3], EAST_AXES)

    def test_poses_of_queries_are_known_only_where_they_are_told(self, tmp_path: Path) -> None:
        found = open_cmu(cmu(tmp_path, {1: pose_text("img_00011_c1_2177us_rect.jpg", (11.0, 0.0, 1.0))}))
        assert [entry.world_T_camera is None for entry in found.queries] == [True, True, True, False]

    def test_the_side_is_a_field_of_the_name_wherever_it_stands(self, tmp_path: Path) -> None:
        area = cmu(tmp_path)
        images(area / "s1" / "test01", ["img_9_c1_5us.jpg", "img_000000119_c1_6us_rect.jpg", "c0_7us.jpg"])
        sides = {entry.picture.name: entry.side for entry in open_cmu(area).queries}
        assert sides["img_9_c1_5us.jpg"] == sides["img_000000119_c1_6us_rect.jpg"] == "c1"
        assert sides["c0_7us.jpg"] == "c0"

    def test_twelve_conditions_are_those_of_the_benchmark(self, tmp_path: Path) -> None:
        found = open_cmu(cmu(tmp_path, conditions=12))
        assert found.conditions == CMU_CONDITIONS
        assert found.queries[-1].picture.condition == "overcast_foliage_20110728"
        assert len(set(CMU_CONDITIONS)) == 12

    def test_conditions_that_are_named_have_these_names(self, tmp_path: Path) -> None:
        write_text(cmu(tmp_path, conditions=12) / "conditions.txt", "".join(f"{k:02d} day_{k}\n" for k in range(13)))
        assert open_cmu(tmp_path).conditions == tuple(f"day_{k}" for k in range(12))

    def test_poses_of_images_that_are_not_there_are_mentioned(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        area = cmu(tmp_path, {1: pose_text("img_99999_c0_1us.jpg", (0.0, 0.0, 0.0))})
        with caplog.at_level(logging.WARNING):
            open_cmu(area)
        assert "1 images that are not there, as img_99999_c0_1us" in caplog.text


class TestRobotcar:
    def test_the_rear_camera_with_names_for_the_site(self, tmp_path: Path) -> None:
        found = open_robotcar(robotcar(tmp_path))
        assert found.conditions == ROBOTCAR_CONDITIONS
        assert [entry.picture.name for entry in found.database] == ["rear/1418133700" + k + ".jpg" for k in "01"]
        assert len(found.queries) == 18
        assert found.queries[0].picture.condition == "dawn"
        assert {entry.side for entry in (*found.database, *found.queries)} == {"rear"}
        assert found.queries[0].world_T_camera is None

    def test_endings_and_folders_of_the_poses_may_differ(self, tmp_path: Path) -> None:
        pose = open_robotcar(robotcar(tmp_path)).database[1].world_T_camera
        assert pose is not None
        assert np.allclose(pose[:3, 3], [1.0, 0.0, 2.0])

    def test_images_may_lie_in_the_folder_itself(self, tmp_path: Path) -> None:
        images(robotcar(tmp_path) / "test03", ["1418133799.jpg"])
        assert "rear/1418133799.jpg" in {entry.picture.name for entry in open_robotcar(tmp_path).queries}


class TestWhichLayout:
    def test_is_seen_from_the_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cmu(tmp_path / "area")
        assert open_seasons(robotcar(tmp_path / "robotcar")).name == "robotcar"
        assert open_seasons(tmp_path / "area").name == open_seasons(tmp_path / "area" / "s1").name == "area s1"
        monkeypatch.chdir(tmp_path / "area" / "s1")
        assert open_seasons(Path()).name == "area s1"

    def test_several_slices_are_several_benchmarks(self, tmp_path: Path) -> None:
        cmu(tmp_path / "park", {18: "", 19: ""})
        cmu(tmp_path / "urban", {2: ""})
        assert [found.name for found in open_all_seasons(tmp_path)] == ["park s18", "park s19", "urban s2"]
        with pytest.raises(DataError, match=r"has 2 slices .* name the folder of one"):
            open_seasons(tmp_path / "park")
        with pytest.raises(DataError, match="no slice by default; name one of those that are there: 18, 19"):
            open_cmu(tmp_path / "park")

    def test_anything_else_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="is no long-term benchmark"):
            open_seasons(tmp_path)
        with pytest.raises(DataError, match="cannot read the folder"):
            open_seasons(tmp_path / "nowhere")


class TestConditionsToLearnFrom:
    def test_of_an_area(self, tmp_path: Path) -> None:
        found = training_conditions(cmu(tmp_path))
        assert list(found) == ["00", "01", "02"]
        assert [file.name for file in found["01"]] == ["img_00000_c0_1000us_rect.jpg", "img_00001_c0_1001us_rect.jpg"]
        assert condition_folders(tmp_path) == found

    def test_of_several_areas_by_name_and_not_by_number(self, tmp_path: Path) -> None:
        write_text(cmu(tmp_path / "a", conditions=2) / "conditions.txt", "00 noon\n01 night\n")
        write_text(cmu(tmp_path / "b") / "conditions.txt", "00 noon\n01 snow\n02 night\n")
        found = condition_folders(tmp_path)
        assert {name: len(files) for name, files in found.items()} == {"noon": 4, "night": 4, "snow": 2}
        assert [file.parent.relative_to(tmp_path).as_posix() for file in found["night"]] == ["a/train01"] * 2 + ["b/train02"] * 2

    def test_one_condition_teaches_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"two or more conditions \(it has 1\)"):
            condition_folders(cmu(tmp_path, conditions=1))

    def test_plain_folders_go_by_their_names(self, tmp_path: Path) -> None:
        for name in ("summer", "winter"):
            images(tmp_path / name, ["1.png"])
        assert list(condition_folders(tmp_path)) == ["summer", "winter"]


class TestDamage:
    """Each is one sentence that names the file."""

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("img_1_c0_1us.jpg 1 0 0 0 1 2\n", "line 3 has 7 columns instead of 8"),
            ("img_1_c0_1us.jpg 1 0 0 x 1 2 3\n", "line 3 holds something that is not a number"),
            ("img_1_c0_1us.jpg 1 0 0 0 nan 2 3\n", "line 3 holds a value that is not finite"),
            ("img_1_c0_1us.jpg 0 0 0 0 1 2 3\n", "line 3: the four numbers after the name are no unit quaternion"),
            ("img_1_c0_1us.jpg 3 4 0 0 1 2 3\n", r"line 3: .* are no unit quaternion \(their norm is 5\)"),
            ("img_00010_c0_0077us_rect.png 1 0 0 0 1 2 3\n", "line 3 has a pose for img_00010_c0_0077us_rect.png a second time"),
        ],
    )
    def test_lines_of_poses(self, tmp_path: Path, text: str, told: str) -> None:
        append(cmu(tmp_path) / "s1" / "pose_new_s1.txt", text)
        with pytest.raises(DataError, match=f"pose_new_s1.txt {told}"):
            open_cmu(tmp_path)

    @pytest.mark.parametrize(("make", "file"), [(cmu, "s1/pose_new_s1.txt"), (robotcar, "pose_new_rear.txt")])
    def test_no_file_of_poses(self, tmp_path: Path, make, file: str) -> None:
        (make(tmp_path) / file).unlink()
        with pytest.raises(DataError, match=f"{file} is missing"):
            open_cmu(tmp_path) if make is cmu else open_robotcar(tmp_path)

    def test_a_picture_of_the_reference_without_a_pose(self, tmp_path: Path) -> None:
        images(cmu(tmp_path) / "s1" / "test00", ["img_5_c0_1us.jpg"])
        with pytest.raises(DataError, match=r"img_5_c0_1us.jpg of the reference has no pose \(1 of 3 have none\)"):
            open_cmu(tmp_path)

    @pytest.mark.parametrize("name", ["img_00119_1283us.jpg", "img_c0x_1us.jpg", "img_c0_c1_1us.jpg"])
    def test_a_name_without_a_side(self, tmp_path: Path, name: str) -> None:
        images(cmu(tmp_path) / "s1" / "test02", [name])
        with pytest.raises(DataError, match=f"{name}: the name must say which camera took the image"):
            open_cmu(tmp_path)

    def test_a_side_that_the_reference_does_not_have(self, tmp_path: Path) -> None:
        images(cmu(tmp_path) / "s1" / "test02", ["img_5_c4_1us.jpg"])
        with pytest.raises(DataError, match=r"img_5_c4_1us\.jpg is of side 'c4', of which the reference has no picture"):
            open_cmu(tmp_path)

    def test_no_reference_or_no_queries(self, tmp_path: Path) -> None:
        area = cmu(tmp_path, conditions=1)
        with pytest.raises(DataError, match="has 2 pictures of the reference and 0 queries"):
            open_cmu(area)
        for file in (area / "s1" / "test00").iterdir():
            file.unlink()
        with pytest.raises(DataError, match="has no images in test00"):
            open_cmu(area)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("00 noon\n01 night\n", "has no name for the condition of the folders of number 02"),
            ("00 noon\n01 night\n02 late night\n", "line 3 must be a number and a name"),
            ("00 noon\n01 night\n02 a,b\n", "line 3 must be a number and a name"),
            ("noon\nnight\nfog\n", "line 1 must be a number and a name"),
            ("00 noon\n01 night\n02 noon\n", "line 3 names a condition a second time"),
            ("00 noon\n01 night\n1 fog\n", "line 3 names a condition a second time"),
        ],
    )
    def test_names_of_conditions(self, tmp_path: Path, text: str, told: str) -> None:
        write_text(cmu(tmp_path) / "conditions.txt", text)
        for read in (names_of, open_cmu, condition_folders):
            with pytest.raises(DataError, match=f"conditions.txt {told}"):
                read(tmp_path)

    def test_two_folders_of_one_number(self, tmp_path: Path) -> None:
        images(cmu(tmp_path) / "s1" / "test2", ["img_5_c0_1us.jpg"])
        with pytest.raises(DataError, match="has both test02 and test2"):
            open_cmu(tmp_path)

    def test_a_condition_that_nobody_named(self) -> None:
        pictures = [SeasonsPicture(Picture(name, lambda: texture(0, True), name), "", np.eye(4)) for name in ("noon", "fog")]
        with pytest.raises(DataError, match="fog is none of its conditions noon"):
            SeasonsDataset("toy", (pictures[0],), (pictures[1],), ("noon",))


def test_a_pose_is_written_as_the_site_wants_it() -> None:
    world_T_camera = np.eye(4)
    world_T_camera[:3, :3], world_T_camera[:3, 3] = EAST_AXES, [10.0, 1.0, 1.5]
    name, *values = pose_line("rear/1.jpg", world_T_camera).split(" ")
    assert name == "rear/1.jpg"
    assert np.allclose([float(value) for value in values], [0.5, 0.5, -0.5, 0.5, 1.0, 1.5, -10.0])
