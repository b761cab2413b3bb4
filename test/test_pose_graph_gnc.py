"""The robust solver: labels, poses and bookkeeping against gtsam's own optimiser and against known truth."""

from __future__ import annotations

from dataclasses import replace

import gtsam
import numpy as np
import pytest
from pose_graph_samples import chosen, moved, square, with_closure
from scipy.spatial.transform import Rotation

from vloc_ros.errors import DataError
from vloc_ros.geometry import se3
from vloc_ros.pose_graph import GncMethod, GncSettings, Optimizer, PoseGraph, chi2_threshold, manifold, solve_gnc
from vloc_ros.pose_graph.anchors import odometry_poses
from vloc_ros.pose_graph.bare import bare_solver
from vloc_ros.pose_graph.factors import factor_table, from_values, to_values
from vloc_ros.pose_graph.odometry_gate import odometry_view
from vloc_ros.pose_graph.reduction import reduce_graph
from vloc_ros.pose_graph.synthetic import two_laps, with_false_closures

METHODS = list(GncMethod)


def shuffled(graph: PoseGraph, seed: int) -> tuple[PoseGraph, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(graph.a))
    return chosen(graph, order), order


def test_manifold_agrees_with_the_package():
    rng = np.random.default_rng(1)
    twists = np.concatenate([rng.normal(0.0, 0.8, (20, 6)), np.zeros((1, 6)), rng.normal(0.0, 1e-9, (1, 6))])
    poses = manifold.exp(twists)
    for twist, pose, log, ad, inv in zip(
        twists, poses, manifold.log(poses), manifold.adjoint(poses), manifold.inverse(poses), strict=True
    ):
        np.testing.assert_allclose(pose, se3.exp(twist), atol=1e-12)
        np.testing.assert_allclose(log, se3.log(pose), atol=1e-9)
        np.testing.assert_allclose(ad, se3.adjoint(pose), atol=1e-12)
        np.testing.assert_allclose(inv, se3.inverse(pose), atol=1e-12)


@pytest.mark.parametrize("k", [3, 6])
def test_manifold_round_trip_and_adjoint(k):
    rng = np.random.default_rng(2)
    xi, other = rng.normal(0.0, 0.7, (15, k)), rng.normal(0.0, 0.3, (15, k))
    poses = manifold.exp(xi)
    np.testing.assert_allclose(manifold.log(poses), xi, atol=1e-9)
    left = manifold.exp(np.einsum("nij,nj->ni", manifold.adjoint(poses), other)) @ poses
    np.testing.assert_allclose(poses @ manifold.exp(other), left, atol=1e-9)


@pytest.mark.parametrize("dimension", [2, 3])
def test_chi2_is_that_of_gtsam(dimension):
    """Ours is translation first, gtsam's rotation first: an information matrix without symmetry shows a mix-up."""
    k = 3 if dimension == 2 else 6
    rng = np.random.default_rng(3)
    root = rng.normal(0.0, 1.0, (k, k)) + 4.0 * np.eye(k)
    graph = square(dimension, turns=1)
    graph = replace(graph, information=np.tile(root @ root.T, (len(graph.a), 1, 1)))
    poses = moved(graph, rng.normal(0.0, 0.05, (len(graph.ids), k)))
    table, values = factor_table(graph, graph.poses), to_values(poses)
    ours = manifold.squared_mahalanobis(manifold.residuals(poses, graph.a, graph.b, graph.a_T_b), graph.information)
    theirs = [2.0 * table.factors.at(int(slot)).error(values) for slot in table.slots]
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    np.testing.assert_allclose(from_values(values, dimension), poses, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_slots_name_the_edges_they_stand_for(seed):
    graph, _ = shuffled(two_laps(80, 6, 3, seed)[0], seed)
    table = factor_table(graph, graph.poses)
    for edge, slot in enumerate(table.slots.tolist()):
        assert list(table.factors.at(slot).keys()) == [graph.a[edge], graph.b[edge]]
        np.testing.assert_allclose(table.factors.at(slot).measured().matrix(), graph.a_T_b[edge], atol=1e-12)
    known = table.known_inliers(graph.trusted)
    assert len(known) == graph.trusted.sum() + len(table.anchors)
    assert not set(known) & set(table.slots[~graph.trusted].tolist())


def test_gtsam_is_wrong_with_rows_in_place_of_slots():
    """The proof that the table matters: rows of edges, taken as slots, protect false closures."""
    graph, _, is_true = two_laps(100, 10, 6, 3)
    graph, order = shuffled(graph, 5)
    is_true, settings = is_true[order], GncSettings()
    poses = odometry_poses(graph)
    table = factor_table(graph, poses)
    weights = {}
    for name, known in (
        ("slots", table.known_inliers(graph.trusted)),
        ("rows", np.flatnonzero(graph.trusted).tolist()),
    ):
        solver = bare_solver(table, poses, settings, known)
        solver.optimize()
        weights[name] = np.asarray(solver.getWeights())[table.slots]
    assert (weights["slots"][~is_true] < 0.5).all() and (weights["slots"][graph.trusted] == 1.0).all()
    assert (weights["rows"][~is_true] > 0.5).any() or (weights["rows"][graph.trusted] < 0.5).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_false_closures_are_rejected_and_true_ones_kept(method, optimizer):
    graph, truth, is_true = two_laps(200, 20, 10, 7)
    graph, order = shuffled(graph, 1)
    is_true = is_true[order]
    solution = solve_gnc(graph, GncSettings(method=method, optimizer=optimizer))
    assert solution.converged and solution.seconds > 0.0
    assert (solution.weights[~is_true] < 1e-3).all()
    assert (solution.weights[is_true & ~graph.trusted] > 0.999).all()
    assert (solution.weights[graph.trusted] == 1.0).all()
    # No odometry edge was given up in secret: all stay below the threshold of a true measurement by far.
    assert solution.chi2[graph.trusted].max() < chi2_threshold(0.9999, 6)
    assert (solution.chi2[~is_true] > chi2_threshold(0.99, 6)).all()
    recomputed = manifold.residuals(solution.poses, graph.a, graph.b, graph.a_T_b)
    np.testing.assert_allclose(solution.chi2, manifold.squared_mahalanobis(recomputed, graph.information), rtol=1e-9)
    errors = [np.linalg.norm(poses[:, :3, 3] - truth[:, :3, 3], axis=1).mean() for poses in (graph.poses, solution.poses)]
    assert errors[1] < errors[0]


def test_the_short_cuts_end_where_gtsam_does():
    graph, _, _ = two_laps(200, 20, 10, 11)
    found = {method: solve_gnc(graph, GncSettings(method=method)) for method in METHODS}
    for method in (GncMethod.REDUCED, GncMethod.WARM):
        np.testing.assert_allclose(found[method].weights, found[GncMethod.GTSAM].weights, atol=1e-3)
        np.testing.assert_allclose(found[method].poses, found[GncMethod.GTSAM].poses, atol=0.02)


def test_planar_graphs():
    graph = square(2, turns=3)
    wrong = with_closure(with_closure(graph, 3, 17, np.eye(3)), 8, 31, np.eye(3))
    solution = solve_gnc(wrong, GncSettings())
    np.testing.assert_array_less(solution.weights[-2:], 1e-3)
    np.testing.assert_allclose(solution.weights[:-2], 1.0)
    np.testing.assert_allclose(solution.poses, graph.poses, atol=1e-6)


def test_without_closures_the_odometry_is_the_solution():
    graph, _, _ = two_laps(40, 0, 0, 1)
    solution = solve_gnc(graph, GncSettings())
    np.testing.assert_allclose(solution.poses, graph.poses, atol=1e-6)
    assert solution.converged and (solution.weights == 1.0).all() and solution.iterations == 0


@pytest.mark.parametrize("method", METHODS)
def test_graph_without_edges_stays_where_it_is(method):
    graph = square(3)
    alone = chosen(graph, np.zeros(0, dtype=np.int64))
    solution = solve_gnc(alone, GncSettings(method=method))
    np.testing.assert_allclose(solution.poses, graph.poses, atol=1e-9)
    assert solution.weights.shape == solution.chi2.shape == (0,)


def two_sessions(false: int) -> tuple[PoseGraph, np.ndarray]:
    """Two laps as two sessions whose frames have nothing to do with each other, joined by closures of which some are false."""
    graph, _, is_true = two_laps(100, 15, false, 4)
    keep = np.flatnonzero(~((graph.a == 49) & (graph.b == 50)))
    graph, is_true = chosen(graph, keep), is_true[keep]
    poses = graph.poses.copy()
    poses[50:] = se3.exp(np.array([300.0, -80.0, 20.0, 0.3, -0.2, 2.5])) @ poses[50:]
    return replace(graph, poses=poses), is_true


@pytest.mark.parametrize("method", [GncMethod.REDUCED, GncMethod.WARM])
def test_sessions_are_joined_by_their_closures(method):
    graph, is_true = two_sessions(8)
    solution = solve_gnc(graph, GncSettings(method=method))
    joining = (graph.a < 50) & (graph.b >= 50)
    assert (solution.weights[~is_true] < 1e-3).all()
    assert (solution.weights[is_true & joining] > 0.5).sum() >= 14


def test_sessions_that_no_closure_joins_keep_their_places():
    graph, _ = two_sessions(0)
    apart = chosen(graph, np.flatnonzero(graph.trusted))
    solution = solve_gnc(apart, GncSettings())
    np.testing.assert_allclose(solution.poses, apart.poses, atol=1e-5)


def test_rejected_bridge_leaves_its_session_where_it_started():
    """Two contradictory closures between two sessions: at most one can be believed, and nothing floats away."""
    graph, _ = two_sessions(0)
    joining = np.flatnonzero(~graph.trusted & (graph.b >= 50) & (graph.a < 50))[:2]
    graph = chosen(graph, np.concatenate([np.flatnonzero(graph.trusted), joining]))
    claims = graph.a_T_b.copy()
    claims[-1] = claims[-1] @ se3.exp(np.array([30.0, 10.0, 0.0, 0.0, 0.0, 1.0]))
    solution = solve_gnc(replace(graph, a_T_b=claims), GncSettings())
    assert (solution.weights[-2:] > 0.5).sum() <= 1
    assert np.isfinite(solution.poses).all() and np.abs(solution.poses[:, :3, 3]).max() < 1e3
    assert solution.chi2[graph.trusted].max() < 20.0


@pytest.mark.parametrize("method", METHODS)
def test_closures_alone_make_a_graph(method):
    graph = square(2, turns=2)
    solution = solve_gnc(replace(graph, trusted=np.zeros(len(graph.a), dtype=bool)), GncSettings(method=method))
    np.testing.assert_allclose(solution.poses, graph.poses, atol=1e-3)
    np.testing.assert_allclose(solution.weights, 1.0, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_closure_twice(method):
    graph = square(2)
    closure = np.flatnonzero(~graph.trusted)[0]
    twice = with_closure(graph, int(graph.a[closure]), int(graph.b[closure]), graph.a_T_b[closure])
    twice = with_closure(with_closure(twice, 1, 12, np.eye(3)), 1, 12, np.eye(3))
    solution = solve_gnc(twice, GncSettings(method=method))
    np.testing.assert_allclose(solution.weights[-2:], 0.0, atol=1e-3)
    assert solution.weights[-3] > 0.999


def test_start_is_used_and_checked():
    graph, _, _ = two_laps(100, 8, 4, 2)
    first = solve_gnc(graph, GncSettings())
    again = solve_gnc(graph, GncSettings(), first.poses)
    np.testing.assert_allclose(again.weights, first.weights, atol=1e-3)
    np.testing.assert_allclose(again.poses, first.poses, atol=1e-3)
    with pytest.raises(DataError, match="finite poses of shape"):
        solve_gnc(graph, GncSettings(), first.poses[:-1])
    with pytest.raises(DataError, match="finite poses"):
        solve_gnc(graph, GncSettings(), np.full_like(first.poses, np.nan))


def test_too_few_rounds_are_said():
    graph, _, _ = two_laps(100, 10, 5, 2)
    solution = solve_gnc(graph, GncSettings(max_iterations=1, gate=0.0))
    assert not solution.converged and solution.iterations == 1


def test_gate_alone_does_not_judge():
    """True closures that odometry contradicts (one in a hundred does by chance) come back once the others are solved."""
    graph, _, is_true = two_laps(200, 20, 10, 7)
    unlucky = ~graph.trusted & is_true & (odometry_view(graph).chi2 > chi2_threshold(0.99, 6))
    assert unlucky.any()
    solution = solve_gnc(graph, GncSettings(gate=1.0))
    assert (solution.weights[unlucky] > 0.999).all() and (solution.weights[~is_true] < 1e-3).all()


def test_odometry_is_not_bent_for_a_closure_it_contradicts():
    """Loose odometry can be bent into any loop for less than a threshold; the gate asks how likely the bend is."""
    rng = np.random.default_rng(0)
    steps = manifold.exp(rng.normal([1.0, 0.0, 0.0], [0.05, 0.05, 0.05], (40, 3)))
    line = PoseGraph(
        ids=np.arange(41),
        poses=np.tile(np.eye(3), (41, 1, 1)),
        a=np.arange(40),
        b=np.arange(1, 41),
        a_T_b=steps,
        information=np.tile(np.diag([2.5, 2.5, 2.5]), (40, 1, 1)),
        trusted=np.ones(40, dtype=bool),
    )
    claimed = with_closure(line, 10, 21, steps[0])
    assert solve_gnc(claimed, GncSettings(method=GncMethod.GTSAM)).weights[-1] > 0.5
    assert solve_gnc(claimed, GncSettings()).weights[-1] == 0.0


@pytest.mark.parametrize("dimension", [2, 3])
def test_odometry_chi2_is_that_of_many_drives(dimension):
    """Under its own noise, the distance of a closure from the odometry is chi-square distributed."""
    graph = square(dimension, turns=2)
    k, rng = graph.freedoms, np.random.default_rng(9)
    quiet = replace(graph, information=graph.information * 100.0)
    sigmas = np.diagonal(quiet.information[0]) ** -0.5
    found = []
    for _ in range(60):
        noisy = quiet.a_T_b @ manifold.exp(rng.normal(0.0, sigmas, (len(graph.a), k)))
        found.append(odometry_view(replace(quiet, a_T_b=noisy)).chi2[~graph.trusted])
    assert np.mean(found) == pytest.approx(k, rel=0.12)
    assert (odometry_view(quiet).chi2[graph.trusted] == 0.0).all()


def test_reduction_keeps_the_closures_and_gives_back_least_squares():
    """The reduced graph has the solution of the whole one, and inner poses get their share of what the ends disagree by."""
    graph, _, _ = two_laps(120, 6, 0, 8)
    graph = chosen(graph, np.concatenate([np.arange(119)[::-1], np.arange(119, len(graph.a))]))
    backwards = graph.a.copy()
    flip = np.arange(len(graph.a)) % 3 == 0
    a, b = np.where(flip, graph.b, backwards), np.where(flip, backwards, graph.b)
    graph = replace(graph, a=a, b=b, a_T_b=np.where(flip[:, None, None], manifold.inverse(graph.a_T_b), graph.a_T_b))
    poses = odometry_poses(graph)
    reduced = reduce_graph(graph, poses)
    assert reduced is not None and len(reduced.kept) <= 2 * 6 + 2
    np.testing.assert_array_equal(graph.ids[reduced.kept][reduced.graph.a[-6:]], graph.ids[graph.a[-6:]])
    np.testing.assert_allclose(reduced.expanded(reduced.graph.poses), poses, atol=1e-6)
    small = solve_gnc(reduced.graph, GncSettings(method=GncMethod.WARM))
    whole = solve_gnc(graph, GncSettings(method=GncMethod.GTSAM))
    assert np.abs(reduced.expanded(small.poses) - whole.poses).max() < 0.1 * np.abs(poses - whole.poses).max()


def test_graphs_where_everything_is_an_end_are_not_reduced():
    graph = square(2)
    assert reduce_graph(replace(graph, trusted=np.zeros(len(graph.a), dtype=bool)), graph.poses) is None


def test_false_closures_are_false():
    graph, truth, is_true = two_laps(100, 20, 10, 0)
    distance = np.linalg.norm(truth[graph.a, :3, 3] - truth[graph.b, :3, 3], axis=1)
    assert (distance[~is_true] > 10.0).all() and is_true.sum() == 99 + 20
    claimed = manifold.log(graph.a_T_b[~is_true])
    assert np.abs(graph.a_T_b[~is_true][:, :3, 3]).max() < 2.0 and np.abs(claimed[:, 3:]).max() <= 0.5 + 1e-9
    more, original = with_false_closures(square(2), square(2).poses, 0.5, 3)
    assert (~original).sum() == round(0.5 * (~square(2).trusted).sum()) and not more.trusted[~original].any()
    with pytest.raises(DataError, match="two laps need"):
        two_laps(6, 1, 1, 0)
    with pytest.raises(DataError, match="too small for false closures"):
        two_laps(20, 1, 1, 0)
    with pytest.raises(DataError, match="without loop closures"):
        with_false_closures(two_laps(20, 0, 0, 0)[0], np.zeros((20, 4, 4)), 0.5, 0)


BROKEN = {
    "twice": lambda graph: replace(graph, ids=np.zeros_like(graph.ids)),
    "joins the rows": lambda graph: replace(graph, b=graph.b + 1000),
    "to itself": lambda graph: replace(graph, b=graph.a.copy()),
    "pose 0 .* not finite": lambda graph: replace(graph, poses=graph.poses * np.nan),
    "edge 0 .* not finite": lambda graph: replace(graph, a_T_b=np.full_like(graph.a_T_b, np.inf)),
    "not positive definite": lambda graph: replace(graph, information=-graph.information),
    "shape": lambda graph: replace(graph, trusted=graph.trusted[:-1]),
}


@pytest.mark.parametrize("problem", list(BROKEN))
def test_impossible_graphs_are_refused(problem):
    with pytest.raises(DataError, match=problem):
        BROKEN[problem](square(2))


def test_poses_of_gtsam_are_ours():
    pose = se3.from_rotation_translation(Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_matrix(), np.array([1.0, 2.0, 3.0]))
    values = to_values(pose[None])
    assert values.atPose3(0).equals(gtsam.Pose3(pose), 1e-12)
