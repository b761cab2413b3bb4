"""What re-rankers keep of the keyframes of a map."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from map_samples import age, contents, teach

import vloc_ros
from vloc_ros.cli import main
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError
from vloc_ros.mapping.inspection import inspect_map
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.patches import (
    fingerprint,
    forget_patches,
    keyframes_with_patches,
    patch_counts,
    patches_of,
    put_patches,
)
from vloc_ros.mapping.pruning import prune_map
from vloc_ros.mapping.schema import SCHEMA_VERSION
from vloc_ros.mapping.store import MapStore

FIRST, SECOND, THIRD = (KeyframeId(1, number) for number in (1, 2, 3))
CARD = ModelCard("homography", 192, "ab" * 32, "grey 256")
OTHERS = [
    ModelCard("homography", 192, "cd" * 32, "grey 256"),
    ModelCard("homography", 384, "ab" * 32, "grey 256"),
    ModelCard("homography", 192, "ab" * 32, "grey 384"),
    ModelCard("ransac", 192, "ab" * 32, "grey 256"),
]
WRITER = """
import sys
from pathlib import Path
from vloc_ros.data.model_card import ModelCard
from vloc_ros.mapping.patches import put_patches
from vloc_ros.mapping.store import MapStore
card = ModelCard("homography", 192, "ab" * 32, "grey 256")
store = MapStore.open(Path(sys.argv[1]))
for number in range(1000):
    for keyframe in store.keyframes():
        put_patches(store, card, {keyframe.id: bytes([number % 256]) * 200_000})
        print(number, keyframe.id, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return teach(tmp_path / "site.vloc", 6)


def test_what_is_kept_is_read_again_and_belongs_to_one_card_alone(path):
    with MapStore.open(path) as store:
        before = contents(store)
        put_patches(store, CARD, {FIRST: b"one", SECOND: b""})
        put_patches(store, CARD, {THIRD: b"three"})
    with MapStore.open(path, read_only=True) as store:
        assert [patches_of(store, CARD, id) for id in (FIRST, SECOND, THIRD, KeyframeId(1, 4))] == [b"one", b"", b"three", None]
        assert keyframes_with_patches(store, CARD) == {FIRST, SECOND, THIRD}
        for other in OTHERS:
            assert patches_of(store, other, FIRST) is None and keyframes_with_patches(store, other) == set()
        assert contents(store) == before
    assert len({fingerprint(card) for card in (CARD, *OTHERS)}) == 5
    assert check_map(path) == []


def test_another_models_patches_stay_beside(path):
    with MapStore.open(path) as store:
        put_patches(store, CARD, {FIRST: b"one"})
        put_patches(store, OTHERS[0], {FIRST: b"another", SECOND: b"more"})
        put_patches(store, CARD, {FIRST: b"new"})
        assert patches_of(store, CARD, FIRST) == b"new" and patches_of(store, OTHERS[0], FIRST) == b"another"
        assert forget_patches(store, OTHERS[0]) == 2 and forget_patches(store, OTHERS[0]) == 0
        assert patches_of(store, CARD, FIRST) == b"new" and patches_of(store, OTHERS[0], FIRST) is None
        assert [count.card for count in patch_counts(store)] == [CARD]
    assert check_map(path) == []


def test_all_of_a_call_or_nothing(path):
    with MapStore.open(path) as store:
        with pytest.raises(MapError, match="refers to a keyframe or session that it does not hold"):
            put_patches(store, CARD, {FIRST: b"one", KeyframeId(7, 7): b"seven"})
        assert keyframes_with_patches(store, CARD) == set() and patch_counts(store) == []
    assert check_map(path) == []


def test_pruning_takes_them_along(path):
    with MapStore.open(path) as store:
        for keyframe in store.keyframes():
            put_patches(store, CARD, {keyframe.id: bytes(1000)})
    assert prune_map(path, 1000.0, None, 10.0).removed > 0
    with MapStore.open(path, read_only=True) as store:
        assert keyframes_with_patches(store, CARD) == {keyframe.id for keyframe in store.keyframes()}
        assert store.database.scalar("SELECT count(*) FROM patches") == len(store.keyframes())
    assert check_map(path) == []


def test_the_map_says_how_many_and_how_large(path, capsys):
    with MapStore.open(path) as store:
        put_patches(store, CARD, {FIRST: bytes(60_000), SECOND: bytes(20_000)})
    info = inspect_map(path)
    assert [(count.card, count.keyframes, count.size_bytes) for count in info.patches] == [(CARD, 2, 80_000)]
    assert info.bytes_per_keyframe["patches"] == pytest.approx(80_000 / 6)
    assert main(["map", "info", str(path)]) == 0
    assert "homography abababababab of 2 keyframes (0.08 MB)" in capsys.readouterr().out
    assert main(["map", "info", str(path), "--json"]) == 0
    assert '"patches": [{"reranker": "homography abababababab", "keyframes": 2, "size_bytes": 80000}]' in capsys.readouterr().out


def test_a_map_of_the_release_before_is_read_without_and_upgraded_when_written(path):
    age(path, 3)
    before = path.read_bytes()
    with MapStore.open(path, read_only=True) as store:
        assert patches_of(store, CARD, FIRST) is None and keyframes_with_patches(store, CARD) == set()
        assert patch_counts(store) == []
        with pytest.raises(MapError):
            put_patches(store, CARD, {FIRST: b"one"})
    assert inspect_map(path).patches == () and path.read_bytes() == before
    with MapStore.open(path) as store:
        put_patches(store, CARD, {FIRST: b"one"})
    assert inspect_map(path).schema == SCHEMA_VERSION and inspect_map(path).patches[0].keyframes == 1
    assert check_map(path) == []


def test_damage_is_found_and_can_be_replaced(path):
    with MapStore.open(path) as store:
        put_patches(store, CARD, {FIRST: b"one", SECOND: b"two"})
        store.database.execute("UPDATE patches SET content = x'00' WHERE keyframe = 1")
        with pytest.raises(MapError, match="the patches of keyframe s1/k1 fails its checksum"):
            patches_of(store, CARD, FIRST)
        assert patches_of(store, CARD, SECOND) == b"two"
        assert [problem.keyframe for problem in check_map(path)] == [FIRST]
        put_patches(store, CARD, {FIRST: b"again"})
        assert patches_of(store, CARD, FIRST) == b"again"
    assert check_map(path) == []


def test_a_full_disk_keeps_what_was_stored(path):
    with MapStore.open(path) as store:
        put_patches(store, CARD, {FIRST: b"one"})
        before = contents(store)
        store.database.execute(f"PRAGMA max_page_count = {store.database.pragma('page_count') + 2}")
        with pytest.raises(MapError, match="the disk is full"):
            put_patches(store, CARD, {SECOND: b"small", THIRD: bytes(1_000_000)})
        assert keyframes_with_patches(store, CARD) == {FIRST} and contents(store) == before
        store.database.execute("PRAGMA max_page_count = 1000000")
        put_patches(store, CARD, {THIRD: bytes(1_000_000)})
    assert check_map(path) == []


@pytest.mark.parametrize("lines", [1, 4, 9])
def test_a_writer_that_is_killed_leaves_whole_patches(path, lines):
    """Each is all of one round: none is cut off, and what was reported is there."""
    folders = os.pathsep.join([str(Path(vloc_ros.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": folders}
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        reported = [writer.stdout.readline().split() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        reported += [line.split() for line in writer.stdout.read().splitlines()]
        assert writer.wait(10) == -signal.SIGKILL
    assert check_map(path) == []
    newest = {KeyframeId.parse(id): int(number) for number, id in reported}
    with MapStore.open(path, read_only=True) as store:
        assert keyframes_with_patches(store, CARD) >= set(newest)
        for id, number in newest.items():
            content = patches_of(store, CARD, id)
            assert len(content) == 200_000 and len(set(content)) == 1 and content[0] in (number, number + 1)
