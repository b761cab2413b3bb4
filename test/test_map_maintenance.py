"""inspect_map and prune_map."""

from itertools import pairwise

import numpy as np
import pytest
from map_samples import CAMERA, COVARIANCE, add_keyframe, assert_same_features, create, features, pose, stamp, teach

from vloc_ros.errors import MapError
from vloc_ros.geometry import se3
from vloc_ros.mapping.inspection import inspect_map
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import Edge, EdgeKind, KeyframeId
from vloc_ros.mapping.pruning import compose, prune_map
from vloc_ros.mapping.schema import SCHEMA_VERSION
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore


def test_info_of_a_map(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=6, sessions=2)
    with MapStore.open(path) as store:
        store.set_global_descriptor(KeyframeId(1, 1), "gem", np.ones(60, np.float32))
        store.add_edge(Edge(KeyframeId(1, 2), KeyframeId(2, 2), EdgeKind.SPATIAL, np.eye(4), COVARIANCE))
    info = inspect_map(path)
    lengths = [sum(np.linalg.norm(pose(s, k + 1)[:3, 3] - pose(s, k)[:3, 3]) for k in range(1, 6)) for s in (1, 2)]
    assert info.path == path and info.size_bytes == path.stat().st_size and info.schema == SCHEMA_VERSION
    assert info.camera == CAMERA and info.feature_name == "sift" and info.features == 60
    assert (info.keyframes, info.odometry_edges, info.spatial_edges, info.closures) == (12, 10, 1, 0)
    assert [session.length_m for session in info.sessions] == pytest.approx(lengths)
    assert info.route_length_m == pytest.approx(sum(lengths)) and 4.0 < info.route_length_m < 6.0
    assert (info.first_stamp_ns, info.last_stamp_ns) == (stamp(1), stamp(6))
    assert [(s.session.kind, s.session.keyframes) for s in info.sessions] == [(SessionKind.TEACH, 6), (SessionKind.REPEAT, 6)]
    assert info.bytes_per_keyframe["keypoints"] == 60 * 20 and info.bytes_per_keyframe["descriptors"] == 60 * 32 * 2
    assert info.bytes_per_keyframe["global_descriptors"] == 60 * 4 / 12
    assert sum(info.bytes_per_keyframe.values()) * 12 == pytest.approx(info.size_bytes)
    assert [card.name for card in info.models] == ["gem"]


def test_info_of_an_empty_map(tmp_path):
    with create(tmp_path / "site.vloc") as store:
        store.begin_session(SessionKind.TEACH, "x")
    info = inspect_map(store.path)
    assert info.keyframes == 0 and info.route_length_m == 0.0 and info.first_stamp_ns is None and len(info.sessions) == 1


def test_info_counts_what_is_still_in_the_log(tmp_path):
    with create(tmp_path / "site.vloc") as store:
        add_keyframe(store, store.begin_session(SessionKind.TEACH, "x"))
        info = inspect_map(store.path)
        assert info.keyframes == 1 and info.size_bytes > store.path.stat().st_size


def test_pruning_thins_and_keeps_the_chain(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=21, sessions=2)
    result = prune_map(path, min_distance_m=1.2, min_angle_rad=1.0)
    assert check_map(path) == []
    with MapStore.open(path) as store:
        keyframes, edges = store.keyframes(), store.edges()
        assert len(keyframes) == result.kept and result.removed == 42 - result.kept
        assert 14 <= result.kept <= 18
        for session in (1, 2):
            route = [keyframe for keyframe in keyframes if keyframe.id.session == session]
            assert (route[0].id.keyframe, route[-1].id.keyframe) == (1, 21)
            assert [(e.a, e.b) for e in edges if e.a.session == session] == [(a.id, b.id) for a, b in pairwise(route)]
            gaps = [se3.translation_norm(se3.between(a.map_T_base, b.map_T_base)) for a, b in pairwise(route)]
            assert all(1.1 < gap < 1.9 for gap in gaps[:-1])
        for keyframe in keyframes:
            np.testing.assert_array_equal(keyframe.map_T_base, pose(*keyframe.id))
            assert_same_features(store.features(keyframe.id), features(keyframe.id))
            assert store.image(keyframe.id) is not None
        for edge in edges:
            np.testing.assert_allclose(edge.a_T_b, se3.between(pose(*edge.a), pose(*edge.b)), atol=1e-12)
            assert np.all(np.linalg.eigvalsh(edge.covariance - COVARIANCE) > -1e-12) or edge.b.keyframe - edge.a.keyframe == 1
        assert add_keyframe(store, 1).id == KeyframeId(1, 22)
    assert result.bytes_after < 0.6 * result.bytes_before and result.bytes_saved == result.bytes_before - result.bytes_after
    assert prune_map(path, min_distance_m=0.1).removed == 0


def test_turns_on_the_spot_are_kept(tmp_path):
    with create(tmp_path / "site.vloc") as store:
        session = store.begin_session(SessionKind.TEACH, "x")
        turn = se3.exp(np.array([0.0, 0.0, 0.0, 0.0, 0.0, np.deg2rad(15.0)]))
        map_T_base, edge = np.eye(4), None
        for number in range(1, 7):
            store.add_keyframe(session, number, map_T_base, features(number), None, edge)
            id = KeyframeId(1, number)
            edge = Edge(id, KeyframeId(1, number + 1), EdgeKind.ODOMETRY, turn, COVARIANCE)
            map_T_base = map_T_base @ turn
    assert prune_map(store.path, 1.0, min_angle_rad=np.deg2rad(10.0)).removed == 0
    assert prune_map(store.path, 1.0, min_angle_rad=np.deg2rad(20.0)).removed == 2


def test_keep_every_bounds_the_thinning(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=10)
    assert prune_map(path, 1000.0, keep_every=3, min_angle_rad=3.0).kept == 4
    with MapStore.open(path) as store:
        assert [keyframe.id.keyframe for keyframe in store.keyframes()] == [1, 4, 7, 10]
    assert prune_map(path, 1000.0, keep_every=1, min_angle_rad=3.0).removed == 0
    assert prune_map(path, 1000.0, min_angle_rad=3.0).kept == 2
    assert check_map(path) == []


def test_what_others_refer_to_is_kept(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=9, sessions=2)
    with MapStore.open(path) as store:
        store.add_edge(Edge(KeyframeId(1, 3), KeyframeId(2, 5), EdgeKind.SPATIAL, np.eye(4), COVARIANCE))
        with store.database.transaction():
            store.database.insert("closure", (1, 7, 2, 2, "inlier", 1.0, 0.5, 1, "AGREES"))
    prune_map(path, 1000.0, min_angle_rad=3.0)
    with MapStore.open(path) as store:
        kept = [(1, 1), (1, 3), (1, 7), (1, 9), (2, 1), (2, 2), (2, 5), (2, 9)]
        assert [keyframe.id for keyframe in store.keyframes()] == kept
        assert sum(edge.kind is EdgeKind.SPATIAL for edge in store.edges()) == 1
    assert check_map(path) == []


def test_a_gap_in_the_chain_is_not_bridged(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=9)
    with MapStore.open(path) as store:
        store.database.execute("DELETE FROM edge WHERE b_keyframe = 5")
    prune_map(path, 1000.0, min_angle_rad=3.0)
    with MapStore.open(path) as store:
        assert [keyframe.id.keyframe for keyframe in store.keyframes()] == [1, 4, 5, 9]
        assert [(edge.a.keyframe, edge.b.keyframe) for edge in store.edges()] == [(1, 4), (5, 9)]


def test_the_covariance_of_a_merged_edge_is_that_of_sampled_motions():
    rng = np.random.default_rng(1)
    a, b, c = (KeyframeId(1, number) for number in (1, 2, 3))
    sigmas = np.diag([0.02, 0.01, 0.03, 0.005, 0.01, 0.02])
    first = Edge(a, b, EdgeKind.ODOMETRY, se3.exp(np.array([1.0, 0.2, 0.0, 0.0, 0.0, 0.6])), sigmas**2)
    second = Edge(b, c, EdgeKind.ODOMETRY, se3.exp(np.array([2.0, 0.0, 0.1, 0.1, 0.0, -0.3])), sigmas**2)
    merged = compose(first, second)
    assert (merged.a, merged.b) == (a, c)
    np.testing.assert_allclose(merged.a_T_b, first.a_T_b @ second.a_T_b, atol=1e-12)
    noise = rng.normal(size=(2000, 2, 6)) @ sigmas
    errors = [se3.log(se3.between(merged.a_T_b, first.a_T_b @ se3.exp(x) @ second.a_T_b @ se3.exp(y))) for x, y in noise]
    whitened = np.linalg.solve(np.linalg.cholesky(merged.covariance), np.array(errors).T)
    np.testing.assert_allclose(np.cov(whitened), np.eye(6), atol=0.15)


def test_pruning_is_refused_while_another_uses_the_map(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=6)
    for read_only in (False, True):
        with MapStore.open(path, read_only) as store:
            store.keyframes()
            with pytest.raises(MapError, match="another process is using it"):
                prune_map(path, 1000.0)
            assert len(store.keyframes()) == 6
    assert prune_map(path, 1000.0, min_angle_rad=3.0).removed == 4


def test_pruning_refuses_senseless_arguments_and_absent_maps(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=3)
    for arguments in ({"min_distance_m": 0.0}, {"min_distance_m": float("nan")}, {"min_distance_m": 1.0, "keep_every": 0}):
        with pytest.raises(MapError, match="cannot prune with"):
            prune_map(path, **arguments)
    with pytest.raises(MapError, match="there is no map"):
        prune_map(tmp_path / "absent.vloc", 1.0)
