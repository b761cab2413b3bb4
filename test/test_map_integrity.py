"""check_map: healthy maps pass, whatever is wrong is named, and no damage of the file escapes as anything but MapError."""

import random
import sqlite3

import numpy as np
import pytest
from map_samples import COVARIANCE, add_keyframe, contents, create, features, image, pose, stamp, teach

from vloc_ros.errors import MapError
from vloc_ros.geometry import se3
from vloc_ros.mapping import codec
from vloc_ros.mapping.database import checksum
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import Edge, EdgeKind, KeyframeId
from vloc_ros.mapping.schema import TABLES
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """A map with everything in it: its bytes and its contents."""
    path = teach(tmp_path_factory.mktemp("healthy") / "site.vloc", keyframes=5, sessions=2, count=400)
    with MapStore.open(path) as store:
        store.add_edge(Edge(KeyframeId(1, 2), KeyframeId(2, 2), EdgeKind.SPATIAL, np.eye(4), COVARIANCE))
        for keyframe in store.keyframes():
            store.set_global_descriptor(keyframe.id, "gem", np.full(64, keyframe.id.keyframe, np.float32))
        everything = contents(store)
    assert check_map(path) == []
    return path.read_bytes(), everything


def test_an_empty_map_is_healthy(tmp_path):
    create(tmp_path / "site.vloc").close()
    assert check_map(tmp_path / "site.vloc") == []


def rewrite(path, table, where, column, value, keep_checksum=False):
    """Change one column; the checksum follows, as if this release had written the row."""
    columns = TABLES[table]
    connection = sqlite3.connect(path)
    row = list(connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {where}").fetchone())
    row[columns.index(column)] = value
    crc = row[-1] if keep_checksum else checksum(row[:-1])
    connection.execute(f"UPDATE {table} SET {column} = ?, crc = ? WHERE {where}", (value, crc))
    connection.commit()
    connection.close()


def bent(a_T_b):
    return (a_T_b * 1.01).astype("<f8").tobytes()


THIRD, EDGE = "session = 1 AND keyframe = 3", "b_session = 1 AND b_keyframe = 3 AND kind = 'odometry'"
OUTSIDE = codec.encode_features(features(0), "k")._replace(points=np.full((5, 400), 900.0, "<f4").tobytes())
NEGATIVE = codec.encode_features(features(0), "k")._replace(
    points=np.vstack([np.ones((4, 400)), -np.ones(400)]).astype("<f4").tobytes()
)
FAULTS = {
    "stamp": (("keyframe", THIRD, "stamp_ns", stamp(2)), "keyframe s1/k3: its stamp is not later than that of s1/k2", "s1/k3"),
    "bent pose": (
        ("keyframe", THIRD, "map_T_base", bent(pose(1, 3))),
        "keyframe s1/k3: its pose is not a rigid transform",
        "s1/k3",
    ),
    "short pose": (("keyframe", THIRD, "map_T_base", b"1234"), "keyframe s1/k3 is damaged", None),
    "moved pose": (
        ("keyframe", THIRD, "map_T_base", codec.encode_transform(se3.exp(np.array([5.0, 0, 0, 0, 0, 0])), "k")),
        "from the odometry edge that joins it to s1/k2",
        "s1/k3",
    ),
    "turned pose": (
        ("keyframe", THIRD, "map_T_base", codec.encode_transform(pose(1, 3) @ se3.exp(np.array([0.0, 0, 0, 0, 0, 0.5])), "k")),
        "28.6 deg from the odometry edge that joins it to s1/k2",
        "s1/k3",
    ),
    "bent edge": (("edge", EDGE, "a_T_b", bent(np.eye(4))), "the edge s1/k2 to s1/k3: its pose is not a rigid transform", None),
    "covariance": (("edge", EDGE, "covariance", (-COVARIANCE).tobytes()), "the edge s1/k2 to s1/k3: its covariance", None),
    "kind of edge": (("edge", EDGE, "kind", "guess"), "'guess' is not a kind of edge", None),
    "spatial": (("edge", EDGE, "kind", "spatial"), "keyframe s1/k3: no odometry edge joins it to s1/k2", "s1/k3"),
    "key points outside": (
        ("features", THIRD, "points", OUTSIDE.points),
        "400 of 400 key points lie outside the image",
        "s1/k3",
    ),
    "negative disparity": (("features", THIRD, "points", NEGATIVE.points), "negative disparities", "s1/k3"),
    "short descriptors": (
        ("features", THIRD, "descriptors", b"12"),
        "keyframe s1/k3 is damaged: its descriptors have 2 bytes",
        "s1/k3",
    ),
    "no jpeg": (("image", THIRD, "jpeg", b"no image"), "keyframe s1/k3 is damaged: its image cannot be decoded", "s1/k3"),
    "small jpeg": (
        ("image", THIRD, "jpeg", codec.encode_image(image(0)[:50], 90, "k")),
        "keyframe s1/k3 is damaged: its image is 160x50 px",
        "s1/k3",
    ),
    "short vector": (
        ("global_descriptor", THIRD, "vector", b"1234"),
        "keyframe s1/k3: its descriptor of 'gem' has the wrong length",
        "s1/k3",
    ),
    "camera": (("map", "id = 1", "fx", -1.0), "focal lengths", None),
    "session kind": (("session", "id = 1", "kind", "parade"), "'parade' is not a kind of session", None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(tmp_path, healthy, name):
    change, text, keyframe = FAULTS[name]
    path = tmp_path / "site.vloc"
    path.write_bytes(healthy[0])
    rewrite(path, *change)
    problems = check_map(path)
    found = [problem for problem in problems if text in problem.text]
    assert found, problems
    assert found[0].keyframe == (None if keyframe is None else KeyframeId.parse(keyframe)) and str(found[0]) == found[0].text
    assert all("\n" not in problem.text for problem in problems)


@pytest.mark.parametrize("table", ["map", "session", "keyframe", "features", "image", "edge", "model_card", "global_descriptor"])
def test_a_wrong_checksum_is_named(tmp_path, healthy, table):
    path = tmp_path / "site.vloc"
    path.write_bytes(healthy[0])
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE {table} SET crc = crc + 1")
    connection.commit()
    connection.close()
    problems = check_map(path)
    assert problems and all("checksum" in problem.text for problem in problems)


def test_a_missing_part_is_named(tmp_path, healthy):
    path = tmp_path / "site.vloc"
    path.write_bytes(healthy[0])
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM features WHERE session = 2 AND keyframe = 4")
    connection.execute("DELETE FROM keyframe WHERE session = 1 AND keyframe = 3")
    connection.commit()
    connection.close()
    texts = [problem.text for problem in check_map(path)]
    assert any("refers to a missing keyframe" in text for text in texts)
    with MapStore.open(path) as store, pytest.raises(MapError, match="does not hold the features of keyframe s2/k4"):
        store.features(KeyframeId(2, 4))


def test_mixed_descriptors_are_named(tmp_path):
    with create(tmp_path / "site.vloc") as store:
        session = store.begin_session(SessionKind.TEACH, "x")
        add_keyframe(store, session)
        add_keyframe(store, session, hamming=True)
    assert ["mixes descriptors" in problem.text for problem in check_map(store.path)] == [True]


def test_check_works_beside_a_writer_and_changes_nothing(tmp_path):
    with create(tmp_path / "site.vloc") as store:
        session = store.begin_session(SessionKind.TEACH, "x")
        add_keyframe(store, session)
        before = store.path.read_bytes()
        with store.database.transaction():
            store.database.execute("DELETE FROM image")
            assert check_map(store.path) == []
        assert store.path.read_bytes() == before


def judge(path, everything):
    """Use a perhaps damaged file in every way; returns whether the check finds it healthy."""
    problems = check_map(path)
    for read_only in (True, False):
        try:
            with MapStore.open(path, read_only) as store:
                same = contents(store) == everything
            assert same or problems, "the damage went unnoticed"
        except MapError:
            assert problems, "what the check finds healthy cannot be read"
    try:
        with MapStore.open(path) as store:
            add_keyframe(store, store.begin_session(SessionKind.TEACH, "more"))
            store.update_poses({KeyframeId(1, 1): np.eye(4)})
    except MapError:
        assert problems, "what the check finds healthy cannot be written"
    return problems == []


@pytest.mark.parametrize("length", [1, 8, 300])
def test_random_bytes_anywhere_are_noticed_or_harmless(tmp_path, healthy, length):
    data, everything = healthy
    path, unharmed = tmp_path / "site.vloc", 0
    for seed in range(40):
        dice = random.Random(1000 * length + seed)
        start = dice.randrange(len(data) - length)
        damaged = data[:start] + dice.randbytes(length) + data[start + length :]
        path.write_bytes(damaged)
        unharmed += judge(path, everything)
        for side in ("site.vloc-wal", "site.vloc-shm"):
            path.with_name(side).unlink(missing_ok=True)
    assert unharmed < 20, "hardly any damage was noticed"


def test_damage_of_the_file_header_is_noticed_or_harmless(tmp_path, healthy):
    data, everything = healthy
    path = tmp_path / "site.vloc"
    for offset in sorted({*range(0, 100, 3), 18, 19}):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0xA5]) + data[offset + 1 :])
        judge(path, everything)
        for side in ("site.vloc-wal", "site.vloc-shm"):
            path.with_name(side).unlink(missing_ok=True)


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.001, 0.05, 0.3, 0.5, 0.9, 0.999])
def test_truncated_files_are_noticed(tmp_path, healthy, part):
    data, everything = healthy
    path = tmp_path / "site.vloc"
    path.write_bytes(data[: int(part * len(data))])
    assert not judge(path, everything)


def test_a_damaged_log_loses_its_end_but_not_the_map(tmp_path):
    source = create(tmp_path / "live.vloc")
    session = source.begin_session(SessionKind.TEACH, "x")
    for _ in range(6):
        add_keyframe(source, session)
    data, log = ((tmp_path / name).read_bytes() for name in ("live.vloc", "live.vloc-wal"))
    everything = contents(source)
    source.close()
    path = tmp_path / "copy.vloc"
    for seed in range(12):
        cut = random.Random(seed).randrange(len(log))
        path.write_bytes(data)
        path.with_name("copy.vloc-wal").write_bytes(log[:cut] + bytes(len(log) - cut))
        problems = check_map(path)
        if problems:
            assert len(problems) == 1 and "not a map" in problems[0].text
            continue
        with MapStore.open(path) as store:
            stored = contents(store)
            assert len(store.keyframes()) < 6 and stored[:5] == everything[:5]
