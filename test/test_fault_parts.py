"""The parts that make a fault harmless, by themselves: a map that is put back, problems that are told once, and lost partners."""

from __future__ import annotations

from pathlib import Path

import pytest
from map_samples import add_keyframe, contents, teach

from vloc_ros.errors import MapError
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.opening import side_files
from vloc_ros.mapping.store import MapStore
from vloc_ros.ros.pairing_watch import PairingWatch
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.sync import SyncCounts


def test_nothing_is_written_into_a_file_without_a_name_and_all_of_it_is_put_back(tmp_path: Path) -> None:
    path = teach(tmp_path / "site.vloc", 3)
    with MapStore.open(path) as store:
        add_keyframe(store, 1)  # in the log beside the file
        before = contents(store)
        for file in (path, *side_files(path)):
            file.unlink()
        assert not store.in_place
        with pytest.raises(MapError, match=r"site\.vloc was removed or replaced while it is open"):
            add_keyframe(store, 1)
        store.put_back()
        assert store.in_place and contents(store) == before
        assert check_map(path) == []
        add_keyframe(store, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["site.vloc"]
    with MapStore.open(path, read_only=True) as store:
        assert len(store.keyframes()) == 5
    assert check_map(path) == []


def test_another_file_of_that_name_is_not_touched(tmp_path: Path) -> None:
    path = teach(tmp_path / "site.vloc", 2)
    with MapStore.open(path) as store:
        path.rename(tmp_path / "old.vloc")
        path.write_text("mine")
        with pytest.raises(MapError, match="another file has its name: move that away"):
            store.put_back()
        assert path.read_text() == "mine" and len(store.keyframes()) == 2
        path.unlink()
        (tmp_path / "old.vloc").rename(path)
        assert store.in_place
        add_keyframe(store, 1)


def test_a_folder_that_is_gone_keeps_the_map_open(tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    folder.mkdir()
    path = teach(folder / "site.vloc", 2)
    with MapStore.open(path) as store:
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(MapError, match=r"the folder .*maps does not exist"):
            store.put_back()
        assert len(store.keyframes()) == 2


def test_what_was_wrong_for_a_moment_is_told_once() -> None:
    problems = Problems(warn=lambda text: None)
    problems.report(Problem.BAD_FRAME, "one bad frame")
    problems.clear(Problem.BAD_FRAME)
    problems.report(Problem.DISK, "little room")
    assert problems.active == {Problem.DISK: "little room"}
    assert problems.take() == {Problem.BAD_FRAME: "one bad frame", Problem.DISK: "little room"}
    assert problems.take() == {Problem.DISK: "little room"}


def counted(pairs: int, unpaired: int) -> SyncCounts:
    return SyncCounts(received=2 * pairs + unpaired, pairs=pairs, unpaired=unpaired)


def test_many_images_without_a_partner_are_a_problem_until_few_are() -> None:
    now = [0.0]
    problems = Problems(warn=lambda text: None)
    watch = PairingWatch(problems, clock=lambda: now[0])
    for second, (pairs, unpaired) in enumerate([(0, 0), (10, 0), (20, 2), (27, 8), (34, 14)]):
        now[0] = float(second)
        watch.look(counted(pairs, unpaired))
    assert "about 2 of 10 images have no partner" in problems.active[Problem.UNPAIRED]
    for second in range(5, 11):
        now[0] = float(second)
        watch.look(counted(34 + 10 * (second - 4), 14))
    assert problems.active == {}


def test_no_pair_at_all_or_few_images_are_no_matter_of_lost_partners() -> None:
    problems = Problems(warn=lambda text: None)
    watch = PairingWatch(problems, clock=lambda: 0.0)
    for counts in (counted(0, 0), counted(0, 100)):
        watch.look(counts)
    watch.close()
    for counts in (counted(0, 100), counted(2, 110)):
        watch.look(counts)
    assert problems.active == {}


def test_who_still_has_the_removed_file_open_does_no_harm_to_the_new_one(tmp_path: Path) -> None:
    """SQLite deletes the log beside a file by name; here it is that of the new file, with a keyframe in it."""
    path = teach(tmp_path / "site.vloc", 2)
    reader, writer = MapStore.open(path, read_only=True), MapStore.open(path)
    for other in (MapStore.open(path, read_only=True), MapStore.open(path)):
        path.unlink()
        writer.put_back()
        id = add_keyframe(writer, 1).id
        assert len(other.keyframes()) < id.keyframe
        other.close()
        assert side_files(path)[0].stat().st_size > 0
    reader.close()
    with MapStore.open(path, read_only=True) as store:
        assert len(store.keyframes()) == 4
    writer.close()
    assert check_map(path) == []
