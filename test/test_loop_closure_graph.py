"""Maps as pose graphs: aliasing is labelled, sessions are joined or left alone, poses move and go back."""

import numpy as np
import pytest
from loop_samples import Scene, circle, drive, new_map
from map_samples import COVARIANCE, contents

from vloc_ros.config import replace
from vloc_ros.errors import MapError
from vloc_ros.evaluation import absolute_trajectory_error
from vloc_ros.geometry import se3
from vloc_ros.loop_closure import Candidate, apply_judgement, graph_of_map, judge, next_revision, store_judgement
from vloc_ros.loop_closure.search import find_loops
from vloc_ros.loop_closure.settings import LoopClosureSettings
from vloc_ros.mapping import Edge, EdgeKind, KeyframeId, MapStore
from vloc_ros.mapping.closures import closures_of, put_spatial_edges
from vloc_ros.mapping.integrity import check_map
from vloc_ros.pose_graph import GncSettings, Label
from vloc_ros.pose_graph.labelling import LabelSettings

SETTINGS = replace(LoopClosureSettings(), {"loops.gates.gap.keyframes": 8, "loops.gates.gap.seconds": 1.0})
FIRST, SECOND = circle(45, 1.5), circle(24, 0.8, start=1.0)
TRUTH = np.concatenate([FIRST, SECOND])


@pytest.fixture(scope="module")
def aliased(tmp_path_factory):
    """A map of two sessions, each in its own frame, around a ring whose halves look alike."""
    path = tmp_path_factory.mktemp("ring") / "ring.vloc"
    with new_map(path) as store:
        drive(store, Scene.ring(1, twin=True), FIRST, 1)
        drive(store, Scene.ring(1, twin=True), SECOND, 2)
        find_loops(store, SETTINGS)
    return path.read_bytes()


@pytest.fixture
def path(aliased, tmp_path):
    (tmp_path / "ring.vloc").write_bytes(aliased)
    return tmp_path / "ring.vloc"


def rows(store):
    return {keyframe.id: row for row, keyframe in enumerate(store.keyframes())}


def is_false(candidate, row):
    error = se3.between(se3.between(TRUTH[row[candidate.a]], TRUTH[row[candidate.b]]), candidate.a_T_b)
    return se3.translation_norm(error) > 2.0


def test_aliasing_is_labelled_and_two_sessions_become_one_map(path):
    with MapStore.open(path) as store:
        run = find_loops(store, SETTINGS)
        row = rows(store)
    closures = run.judgement.closures
    false = np.array([is_false(run.candidate_of(closure), row) for closure in closures])
    inlier = np.array([closure.verdict.label is Label.INLIER for closure in closures])
    outlier = np.array([closure.verdict.label is Label.OUTLIER for closure in closures])
    assert false.sum() >= 15 and (~false).sum() >= 15, "false ones reach the graph"
    assert outlier[false].all(), "and are labelled"
    assert inlier[~false].mean() > 0.9
    # both sessions in one frame, against the truth of both
    after = absolute_trajectory_error(run.judgement.poses, TRUTH).translation.rmse
    before = absolute_trajectory_error(run.odometry[: len(FIRST)], FIRST).translation.rmse
    assert after < 0.15 < before, (before, after)


def test_the_frame_of_the_second_session_does_not_matter(path):
    with MapStore.open(path) as store:
        once = find_loops(store, SETTINGS).judgement
        shift = se3.exp(np.array([200.0, -50.0, 3.0, 0.0, 0.0, 2.5]))
        store.update_poses({k.id: shift @ k.map_T_base for k in store.keyframes(2)})
        again = find_loops(store, SETTINGS).judgement
    assert [c.verdict.label for c in once.closures] == [c.verdict.label for c in again.closures]
    np.testing.assert_allclose(once.poses, again.poses, atol=1e-3)


def test_sessions_that_nothing_joins_stay_where_they_are(path):
    with MapStore.open(path) as store:
        before = {k.id: k.map_T_base for k in store.keyframes()}
        lie = Candidate(KeyframeId(1, 3), KeyframeId(2, 4), 0.5, se3.exp(np.array([40.0, 0, 0, 0, 0, 1])), COVARIANCE, 30, 40)
        other = Candidate(KeyframeId(1, 9), KeyframeId(2, 6), 0.5, se3.exp(np.array([-70.0, 9, 0, 0, 0, 2])), COVARIANCE, 30, 40)
        judged = judge(graph_of_map(store, [lie, other]), GncSettings(), LabelSettings(), 1)
        assert all(closure.verdict.label is not Label.INLIER for closure in judged.closures)
        for id, pose in judged.poses_by_keyframe().items():
            np.testing.assert_allclose(pose, before[id], atol=1e-3)
        alone = judge(graph_of_map(store), GncSettings(), LabelSettings(), 1)
        assert alone.closures == ()
        np.testing.assert_allclose(alone.poses, list(before.values()), atol=1e-6)


def test_verdicts_and_measurements_are_kept_with_their_revision(path):
    with MapStore.open(path) as store:
        first = find_loops(store, SETTINGS).judgement
        store_judgement(store, first)
        assert first.revision == 1 and next_revision(store) == 2
        kept = {(closure.a, closure.b): closure for closure in closures_of(store)}
        assert kept == {(closure.a, closure.b): closure for closure in first.closures}
        # without candidates the map's own spatial edges are judged again
        second = judge(graph_of_map(store), GncSettings(), LabelSettings(), 2)
        assert [(c.a, c.b, c.verdict.label) for c in second.closures] == [(c.a, c.b, c.verdict.label) for c in first.closures]
    assert check_map(path) == []


def test_optimised_poses_are_applied_when_asked_and_go_back_exactly(path):
    with MapStore.open(path) as store:
        taught = contents(store)
        edges = store.edges()
        judged = find_loops(store, SETTINGS).judgement
        assert contents(store) == taught, "judging moves nothing"
        moved = apply_judgement(store, judged)
        assert 0 < moved <= len(judged.poses)
        for keyframe in store.keyframes():
            np.testing.assert_allclose(keyframe.map_T_base, judged.poses_by_keyframe()[keyframe.id], atol=1e-9)
        assert [edge.a_T_b.tobytes() for edge in store.edges()] == [edge.a_T_b.tobytes() for edge in edges]
        again = find_loops(store, SETTINGS).judgement
        np.testing.assert_allclose(again.poses, judged.poses, atol=1e-3), "applying changes no verdict"
        apply_judgement(store, again)
        store.restore_taught_poses()
        assert contents(store) == taught
    assert check_map(path) == []


def test_a_pair_counts_once_whichever_way_round(path):
    with MapStore.open(path) as store:
        a, b = KeyframeId(1, 2), KeyframeId(2, 2)
        put_spatial_edges(store, [Edge(b, a, EdgeKind.SPATIAL, np.eye(4), COVARIANCE)])
        measured = se3.exp(np.full(6, 0.1))
        built = graph_of_map(store, [Candidate(a, b, 0.5, measured, COVARIANCE, 30, 40)])
        assert [(edge.a, edge.b) for edge in built.closures] == [(a, b)]
        last = built.first_closure
        assert (built.keyframes[built.graph.a[last]], built.keyframes[built.graph.b[last]]) == (a, b)
        np.testing.assert_allclose(built.graph.a_T_b[last], measured)
        np.testing.assert_allclose(built.graph.information[last] @ COVARIANCE, np.eye(6), atol=1e-9)
        assert built.graph.trusted.sum() == last == len(TRUTH) - 2


def test_what_cannot_be_a_graph_is_refused(tmp_path, path):
    with new_map(tmp_path / "empty.vloc") as store, pytest.raises(MapError, match="no keyframe yet"):
        graph_of_map(store)
    with MapStore.open(path) as store:
        unknown = Candidate(KeyframeId(1, 1), KeyframeId(9, 9), 0.5, np.eye(4), COVARIANCE, 30, 40)
        with pytest.raises(MapError, match="names keyframe s9/k9"):
            graph_of_map(store, [unknown])
        for bad in (np.zeros((6, 6)), np.full((6, 6), np.nan), -COVARIANCE):
            flat = Candidate(KeyframeId(1, 1), KeyframeId(2, 1), 0.5, np.eye(4), bad, 30, 40)
            with pytest.raises(MapError, match="singular covariance"):
                graph_of_map(store, [flat])
