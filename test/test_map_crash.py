"""What a map holds after its writer died or the disk was full."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from map_samples import add_keyframe, assert_same_features, contents, create, features, pose, teach

import vloc_ros
from vloc_ros.errors import MapError
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore

HERE = Path(__file__).parent
KILLS = 8


def start_teacher(path, keyframes=100_000, *limits):
    folders = [str(Path(vloc_ros.__file__).parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, str(HERE / "map_teacher.py"), str(path), str(keyframes), *map(str, limits)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    )


def kill(teacher):
    """Kill the process at once and return what else it had reported."""
    teacher.send_signal(signal.SIGKILL)
    rest = teacher.stdout.read().split()
    assert teacher.wait(10) == -signal.SIGKILL
    return rest


def assert_as_taught(store, keyframes):
    for keyframe in keyframes:
        np.testing.assert_array_equal(keyframe.map_T_base, pose(*keyframe.id))
        assert_same_features(store.features(keyframe.id), features(keyframe.id))
        assert store.image(keyframe.id) is not None


def test_kill_while_teaching_loses_nothing_that_was_reported(tmp_path):
    """One map, a new session after each kill. What was reported is there; at most the keyframe in flight is there as well."""
    path, dice = tmp_path / "site.vloc", random.Random()
    for number in range(1, KILLS + 1):
        seed = random.SystemRandom().randrange(2**32)
        dice.seed(seed)
        wanted, delay = dice.randrange(25), dice.uniform(0.0, 0.03)
        sys.stdout.write(f"kill {number}: seed {seed}, {wanted} keyframes and {delay:.4f} s later\n")
        with start_teacher(path) as teacher:
            reported = [teacher.stdout.readline().strip() for _ in range(2 + wanted)][2:]
            time.sleep(delay)
            reported += kill(teacher)
        assert check_map(path) == []
        with MapStore.open(path, read_only=True) as store:
            stored = store.keyframes(number)
            assert [str(keyframe.id) for keyframe in stored][: len(reported)] == reported
            assert len(stored) - len(reported) in (0, 1)
            assert_as_taught(store, stored)
            assert [session.id for session in store.sessions()] == list(range(1, number + 1))


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.003, 0.01])
def test_kill_while_the_map_is_made_leaves_a_map_or_says_what_to_do(tmp_path, delay):
    path = tmp_path / "site.vloc"
    with start_teacher(path) as teacher:
        assert teacher.stdout.readline() == "started\n"
        time.sleep(delay)
        kill(teacher)
    if not path.exists():
        return
    problems = check_map(path)
    if problems:
        assert len(problems) == 1 and "delete it" in problems[0].text
    else:
        with MapStore.open(path) as store:
            add_keyframe(store, store.begin_session(SessionKind.TEACH, "again"))


def test_others_read_while_a_process_teaches(tmp_path):
    path, counts = tmp_path / "site.vloc", []
    with start_teacher(path) as teacher:
        assert [teacher.stdout.readline().strip() for _ in range(3)][2] == "s1/k1"
        deadline = time.monotonic() + 20.0
        with MapStore.open(path, read_only=True) as reader:
            while len(set(counts)) < 5 and time.monotonic() < deadline:
                keyframes = reader.keyframes()
                counts.append(len(keyframes))
                assert_as_taught(reader, keyframes[-2:])
                assert len(reader.edges()) >= len(keyframes) - 1
            assert check_map(path) == []
        reported = [line for line in kill(teacher) if line.startswith("s1/")]
    assert counts == sorted(counts) and len(set(counts)) == 5
    assert len(reported) + 1 >= counts[-1]


def test_a_full_disk_keeps_what_was_stored_and_the_map_usable(tmp_path):
    path = tmp_path / "site.vloc"
    with start_teacher(path, 60, 300_000) as teacher:
        lines = teacher.stdout.read().splitlines()
    assert teacher.returncode == 0 and lines[-1] == "closed"
    error = next(index for index, line in enumerate(lines) if line.startswith("error"))
    before = [line for line in lines[:error] if line.startswith("s1/")]
    assert str(path) in lines[error] and "disk" in lines[error] and "kept" in lines[error]
    assert 3 <= len(before) < 59
    assert lines[error + 1] == f"readable {60 * len(before)} in {len(before)}"
    assert check_map(path) == []
    with MapStore.open(path) as store:
        keyframes = store.keyframes()
        assert [str(keyframe.id) for keyframe in keyframes] == [line for line in lines if line.startswith("s1/")]
        assert len(keyframes) == 59
        assert_as_taught(store, keyframes)


def test_the_database_being_full_is_explained(tmp_path):
    with create(tmp_path / "site.vloc") as store:
        session = store.begin_session(SessionKind.TEACH, "a drive")
        add_keyframe(store, session)
        before = contents(store)
        pages = store.database.pragma("page_count")
        store.database.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(MapError, match=r"the disk is full: free some space; what was stored before is kept"):
            add_keyframe(store, session)
        assert contents(store) == before
        store.database.execute("PRAGMA max_page_count = 1000000")
        assert add_keyframe(store, session).id == KeyframeId(1, 2)
    assert check_map(store.path) == []


def say_with_small_files_only(path, expression):
    """What an expression gives in a process whose files are limited to 16 KiB; SQLite's index needs 32."""
    script = (
        "import resource, sys; from pathlib import Path; from map_samples import create\n"
        "from vloc_ros.errors import MapError\n"
        "from vloc_ros.mapping.integrity import check_map\n"
        "from vloc_ros.mapping.store import MapStore\n"
        "path = Path(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))\n"
        f"try:\n    sys.stdout.write(str({expression}))\n"
        "except MapError as error:\n    sys.stdout.write(str(error))\n"
    )
    folders = os.pathsep.join([str(Path(vloc_ros.__file__).parents[1]), str(HERE)])
    command = [sys.executable, "-c", script, str(path)]
    environment = {**os.environ, "PYTHONPATH": folders}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True).stdout


def test_a_map_that_cannot_be_made_leaves_no_file(tmp_path):
    text = say_with_small_files_only(tmp_path / "site.vloc", "create(path)")
    assert "disk" in text and "site.vloc" in text
    assert list(tmp_path.iterdir()) == []


def test_a_map_on_a_full_disk_can_be_read(tmp_path):
    path = teach(tmp_path / "site.vloc", 3)
    expression = "(len(MapStore.open(path, read_only=True).keyframes()), check_map(path))"
    assert say_with_small_files_only(path, expression) == "(3, [])"


def test_an_interrupted_transaction_leaves_the_store_usable(tmp_path):
    path = teach(tmp_path / "site.vloc", 2)
    with MapStore.open(path) as store:
        before = contents(store)
        with pytest.raises(KeyboardInterrupt), store.database.transaction():
            store.database.execute("DELETE FROM keyframe")
            raise KeyboardInterrupt
        assert contents(store) == before
        add_keyframe(store, 1)
    assert check_map(path) == []
