import threading
from dataclasses import replace

import numpy as np
import pytest
from map_samples import (
    CAMERA,
    COVARIANCE,
    FINGERPRINT,
    add_keyframe,
    assert_same_features,
    contents,
    create,
    features,
    image,
    pose,
    stamp,
    teach,
)

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError
from vloc_ros.geometry import se3
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import Edge, EdgeKind, KeyframeId
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore


@pytest.fixture
def store(tmp_path):
    with create(tmp_path / "site.vloc") as store:
        yield store


@pytest.fixture
def session(store):
    return store.begin_session(SessionKind.TEACH, "a drive")


def test_what_describes_the_map_survives(tmp_path):
    path = tmp_path / "odd name ?#%é.vloc"
    create(path).close()
    for read_only in (False, True):
        with MapStore.open(path, read_only) as store:
            assert store.path == path and store.camera == CAMERA
            assert (store.feature_name, store.feature_fingerprint) == ("sift", FINGERPRINT)
            np.testing.assert_array_equal(store.base_T_camera, se3.BASE_T_OPTICAL)
            assert store.keyframes() == [] and store.sessions() == [] and store.edges() == []
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("hamming", [False, True])
def test_keyframes_survive(tmp_path, hamming):
    path = teach(tmp_path / "site.vloc", keyframes=4, sessions=2, hamming=hamming)
    with MapStore.open(path, read_only=True) as store:
        keyframes = store.keyframes()
        assert [keyframe.id for keyframe in keyframes] == [KeyframeId(s, k) for s in (1, 2) for k in (1, 2, 3, 4)]
        for keyframe in keyframes:
            assert keyframe.stamp_ns == stamp(keyframe.id.keyframe)
            np.testing.assert_array_equal(keyframe.map_T_base, pose(*keyframe.id))
            assert_same_features(store.features(keyframe.id), features(keyframe.id, hamming=hamming))
            assert np.abs(store.image(keyframe.id).astype(int) - image(keyframe.id)).mean() < 3.0
        assert [keyframe.id.session for keyframe in store.keyframes(2)] == [2] * 4
        edges = store.edges()
        assert [(edge.a, edge.b) for edge in edges] == [((s, k), (s, k + 1)) for s in (1, 2) for k in (1, 2, 3)]
        assert all(isinstance(edge.a, KeyframeId) and edge.kind is EdgeKind.ODOMETRY for edge in edges)
        np.testing.assert_array_equal(edges[0].a_T_b, se3.between(pose(1, 1), pose(1, 2)))
        np.testing.assert_array_equal(edges[0].covariance, COVARIANCE)
        assert [(s.id, s.kind, s.source, s.keyframes) for s in store.sessions()] == [
            (1, SessionKind.TEACH, "drive 0", 4),
            (2, SessionKind.REPEAT, "drive 1", 4),
        ]
    assert check_map(path) == []


def test_the_returned_keyframe_is_the_stored_one(store, session):
    id = store.next_keyframe_id(session)
    returned = add_keyframe(store, session)
    stored = store.keyframes()[0]
    assert returned.id == stored.id == id == KeyframeId(1, 1) and returned.stamp_ns == stored.stamp_ns
    np.testing.assert_array_equal(returned.map_T_base, stored.map_T_base)


def test_a_keyframe_needs_no_image_and_no_features(store, session):
    id = store.add_keyframe(session, 1, np.eye(4), features(0, count=0), None, None).id
    assert store.image(id) is None and len(store.features(id)) == 0
    assert check_map(store.path) == []


def test_colour_and_quality_of_images_are_the_callers_choice(store, session):
    colour = image(1, colour=True)
    first = store.add_keyframe(session, 1, np.eye(4), features(0), colour, None, jpeg_quality=98).id
    second = store.add_keyframe(session, 2, np.eye(4), features(0), colour, None, jpeg_quality=20).id
    losses = [np.abs(store.image(id).astype(int) - colour).mean() for id in (first, second)]
    assert store.image(first).shape == colour.shape and losses[0] < losses[1]


def test_numbers_from_numpy_are_taken(store, session):
    id = store.add_keyframe(np.int64(session), np.int64(5), np.eye(4), features(0), None, None).id
    assert store.keyframes(np.int64(1))[0].stamp_ns == 5
    assert len(store.features(KeyframeId(np.int64(1), np.int64(1)))) == 60
    assert type(id.session) is int


@pytest.mark.parametrize("stamp_ns", [0, -(2**63), 2**63 - 1])
def test_any_stamp_of_64_bits_is_taken(store, session, stamp_ns):
    store.add_keyframe(session, stamp_ns, np.eye(4), features(0), None, None)
    assert store.keyframes()[0].stamp_ns == stamp_ns


def refused_keyframes():
    id, far = KeyframeId(1, 2), KeyframeId(1, 9)
    first = KeyframeId(1, 1)
    odometry = EdgeKind.ODOMETRY
    return {
        "stamp that jumps back": ({"stamp_ns": 1}, "not later"),
        "stamp out of range": ({"stamp_ns": 2**70}, "cannot hold"),
        "unknown session": ({"session": 7}, "no session 7"),
        "bent pose": ({"map_T_base": 2.0 * np.eye(4)}, "rigid"),
        "image of another size": ({"image": np.zeros((10, 10), np.uint8)}, "160x120"),
        "edge to elsewhere": ({"edge": Edge(first, far, odometry, np.eye(4), COVARIANCE)}, "edge.b must be"),
        "edge from nowhere": ({"edge": Edge(far, id, odometry, np.eye(4), COVARIANCE)}, "does not hold keyframe s1/k9"),
        "bad covariance": ({"edge": Edge(first, id, odometry, np.eye(4), -COVARIANCE)}, "covariance"),
    }


@pytest.mark.parametrize("case", refused_keyframes())
def test_a_refused_keyframe_leaves_no_trace(store, session, case):
    add_keyframe(store, session)
    before = contents(store)
    change, text = refused_keyframes()[case]
    good = {"session": session, "stamp_ns": stamp(2), "map_T_base": np.eye(4), "features": features(0), "image": None}
    with pytest.raises(MapError, match=text):
        store.add_keyframe(**{**good, "edge": None, **change})
    assert contents(store) == before
    add_keyframe(store, session)


def test_two_writers_of_one_session_do_not_mix(store, session):
    with MapStore.open(store.path) as other:
        add_keyframe(store, session)
        assert add_keyframe(other, session).id == KeyframeId(1, 2)
        assert add_keyframe(store, session).id == KeyframeId(1, 3)
    assert check_map(store.path) == []


def test_poses_move_together_or_not_at_all(store, session):
    ids = [add_keyframe(store, session).id for _ in range(3)]
    moved = {id: se3.exp(np.full(6, 0.1)) @ pose(*id) for id in ids[1:]}
    store.update_poses(moved)
    poses = {keyframe.id: keyframe.map_T_base for keyframe in store.keyframes()}
    np.testing.assert_array_equal(poses[ids[0]], pose(*ids[0]))
    np.testing.assert_array_equal(poses[ids[2]], moved[ids[2]])
    before = contents(store)
    with pytest.raises(MapError, match="s1/k9"):
        store.update_poses({ids[0]: np.eye(4), KeyframeId(1, 9): np.eye(4)})
    with pytest.raises(MapError, match="rigid"):
        store.update_poses({ids[0]: np.eye(4), ids[1]: np.zeros((4, 4))})
    assert contents(store) == before
    assert check_map(store.path) == []


def test_spatial_edges(store, session):
    a, b = (add_keyframe(store, session).id for _ in range(2))
    edge = Edge(a, b, EdgeKind.SPATIAL, step := se3.exp(np.full(6, 0.2)), COVARIANCE)
    store.add_edge(edge)
    stored = next(edge for edge in store.edges() if edge.kind is EdgeKind.SPATIAL)
    np.testing.assert_array_equal(stored.a_T_b, step)
    with pytest.raises(MapError, match="already holds the edge s1/k1 to s1/k2 of kind spatial"):
        store.add_edge(edge)
    with pytest.raises(MapError, match="to itself"):
        store.add_edge(replace(edge, b=a))
    with pytest.raises(MapError, match="s4/k4"):
        store.add_edge(replace(edge, b=KeyframeId(4, 4)))


def test_unknown_keyframes_are_named(store, session):
    id = KeyframeId(session, 3)
    for read in (store.features, store.image):
        with pytest.raises(MapError, match="s1/k3"):
            read(id)
    with pytest.raises(MapError, match="s1/k3"):
        store.set_global_descriptor(id, "gem", np.ones(4, np.float32))


def test_global_descriptors_are_exact_and_replaceable(store, session):
    ids = [add_keyframe(store, session).id for _ in range(3)]
    vectors = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    for id, vector in zip(reversed(ids), vectors[::-1], strict=True):
        store.set_global_descriptor(id, "gem", vector)
    store.set_global_descriptor(ids[0], "bow", np.ones(3, np.float32))
    found, stored = store.global_descriptors("gem")
    assert found == ids and stored.dtype == np.float32
    np.testing.assert_array_equal(stored, vectors)
    store.set_global_descriptor(ids[1], "gem", -vectors[1])
    np.testing.assert_array_equal(store.global_descriptors("gem")[1][1], -vectors[1])
    assert store.global_descriptors("bow")[0] == [ids[0]]
    unknown, none = store.global_descriptors("netvlad")
    assert unknown == [] and none.shape == (0, 0)
    with pytest.raises(MapError, match="16 elements"):
        store.set_global_descriptor(ids[0], "gem", np.ones(8, np.float32))
    with pytest.raises(MapError, match="finite vector"):
        store.set_global_descriptor(ids[0], "gem", np.full(16, np.nan, np.float32))
    assert check_map(store.path) == []


def test_model_cards_guard_against_another_model(store):
    card = ModelCard("gem", 512, "ab" * 32, "grey, 320 px wide")
    store.add_model_card(card)
    store.add_model_card(card)
    assert store.model_cards() == [card]
    with pytest.raises(MapError, match="another model 'gem'"):
        store.add_model_card(replace(card, sha256="cd" * 32))


def test_the_same_camera_and_features_are_compatible(store):
    near = replace(CAMERA, fx=CAMERA.fx + 0.4, cy=CAMERA.cy - 0.4, baseline=CAMERA.baseline * 1.004)
    store.require_compatible(CAMERA, FINGERPRINT)
    store.require_compatible(near, FINGERPRINT)


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        ({"width": 320}, ["width 160 px in the map, 320 px given"]),
        ({"fx": 140.0, "cx": 70.0}, ["fx 120.00 px in the map, 140.00 px given", "cx 80.50 px in the map, 70.00 px given"]),
        ({"baseline": 0.25}, ["baseline 0.2400 m in the map, 0.2500 m given"]),
    ],
)
def test_another_camera_is_refused_with_what_differs(store, change, texts):
    with pytest.raises(MapError) as caught:
        store.require_compatible(replace(CAMERA, **change), FINGERPRINT)
    message = str(caught.value)
    assert all(text in message for text in texts) and "teach a new map" in message
    assert message.count("in the map") == len(texts)


def test_other_features_are_refused(store):
    with pytest.raises(MapError, match=r"'sift', sift-root-128; given: orb-256\): use features 'sift'"):
        store.require_compatible(CAMERA, "orb-256")


def test_a_closed_map_says_so(tmp_path):
    store = create(tmp_path / "site.vloc")
    store.close()
    store.close()
    for read in (store.keyframes, store.sessions, lambda: store.begin_session(SessionKind.TEACH, "x")):
        with pytest.raises(MapError, match="closed"):
            read()


def test_use_from_another_thread_says_so(store):
    caught = []

    def read():
        try:
            store.keyframes()
        except MapError as error:
            caught.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(caught) == 1 and "thread" in caught[0]


def test_a_read_only_map_refuses_changes(tmp_path):
    path = teach(tmp_path / "site.vloc", 2)
    with MapStore.open(path, read_only=True) as store, pytest.raises(MapError, match="read-only"):
        store.begin_session(SessionKind.TEACH, "x")


def test_sources_may_hold_any_character(store):
    store.begin_session(SessionKind.TEACH, "odd \udcff name 'x';")
    assert store.sessions()[0].source == "odd ? name 'x';"
