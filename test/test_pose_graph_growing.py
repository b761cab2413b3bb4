"""The growing pose graph: what goes in, what is kept out and why, how labels change, and that the cost stays bounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vloc_ros.geometry import se3
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.pose_graph import Label, LabelReason, manifold
from vloc_ros.pose_graph.chain import OdometryChain
from vloc_ros.pose_graph.gnc import solve_gnc
from vloc_ros.pose_graph.growing import GrowingGraph, GrowthSettings
from vloc_ros.pose_graph.intake import Candidate, Intake, Rejection
from vloc_ros.pose_graph.settings import PoseGraphSettings
from vloc_ros.pose_graph.solving import solve_and_label
from vloc_ros.pose_graph.synthetic import two_laps

SURE = isotropic(0.1, 0.01)
SETTINGS = PoseGraphSettings()


def random_motions(count, seed=0):
    rng = np.random.default_rng(seed)
    motions = [se3.exp(np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.05]) + rng.normal(size=6) * 0.02) for _ in range(count)]
    spreads = [rng.normal(size=(6, 6)) for _ in range(count)]
    return motions, [1e-4 * spread @ spread.T + 1e-5 * np.eye(6) for spread in spreads]


def candidates_of(graph):
    """Odometry and closures of a pose graph, closures in their order."""
    covariances = np.linalg.inv(graph.information)
    rows = zip(graph.a.tolist(), graph.b.tolist(), graph.a_T_b, covariances, graph.trusted.tolist(), strict=True)
    both = [(Candidate(a, b, pose, 0.5 * (c + c.T)), trusted) for a, b, pose, c, trusted in rows]
    return [c for c, trusted in both if trusted], [c for c, trusted in both if not trusted]


def grown(graph, settings=None, keyframes=None):
    """A growing graph with the odometry of a pose graph; and its closures, not added yet."""
    odometry, closures = candidates_of(graph)
    growing = GrowingGraph(settings)
    growing.add_keyframe(0, graph.poses[0])
    for step in odometry[:keyframes]:
        assert growing.add_keyframe(step.b, np.eye(4), step) is None
    return growing, closures


def solve(growing):
    snapshot = growing.snapshot()
    labelled = solve_and_label(snapshot.graph, SETTINGS, snapshot.graph.poses, snapshot.revision)
    return snapshot, growing.accept(snapshot, labelled.solution, labelled.verdicts)


def line(count=40, step_m=1.0):
    """A growing graph of a straight drive."""
    growing = GrowingGraph(GrowthSettings(max_waiting=3, max_wait=10.0), clock=lambda: line.now)
    growing.add_keyframe(0, np.eye(4))
    for row in range(1, count):
        growing.add_keyframe(row, np.eye(4), Candidate(row - 1, row, forward(step_m), isotropic(0.02, 0.002)))
    return growing


line.now = 0.0


def forward(metres):
    return se3.from_rotation_translation(np.eye(3), np.array([metres, 0.0, 0.0]))


# --- chains of odometry


def test_the_motion_over_any_span_is_the_product_of_its_steps():
    motions, covariances = random_motions(100)
    chain = OdometryChain()
    for motion, covariance in zip(motions, covariances, strict=True):
        chain.append(motion, covariance)
    spans = [(i, j) for i in range(0, 101, 7) for j in range(i, 101, 3)]
    found, spread = chain.between(*np.array(spans).T)
    for number, (i, j) in enumerate(spans):
        product, covariance = np.eye(4), np.zeros((6, 6))
        for row in range(i, j):
            covariance = se3.compose_covariance(covariance, motions[row], covariances[row])
            product = product @ motions[row]
        np.testing.assert_allclose(found[number], product, atol=1e-12)
        np.testing.assert_allclose(spread[number], covariance, rtol=1e-9, atol=1e-12)
    with pytest.raises(IndexError, match="run forward"):
        chain.between(np.array([5]), np.array([4]))
    with pytest.raises(IndexError):
        chain.between(np.array([5]), np.array([101]))


def test_the_condensed_graph_has_the_solution_of_the_whole_one():
    graph, _, _ = two_laps(200, 20, 0, 3)
    whole = solve_gnc(graph, SETTINGS.gnc, graph.poses)
    growing, closures = grown(graph)
    for closure in closures:
        assert growing.add_candidate(closure) is Intake.ADDED
    snapshot, _ = solve(growing)
    assert len(snapshot.graph.ids) < 0.35 * len(graph.ids)
    for _ in range(2):  # the odometry is linearised where the last solution was
        solve(growing)
    found = growing.poses(list(range(200)))
    difference = manifold.log(manifold.inverse(whole.poses) @ found)
    drift = manifold.log(manifold.inverse(whole.poses) @ graph.poses)
    assert np.abs(difference[:, :3]).max() < 0.1 * np.abs(drift[:, :3]).max()
    assert np.abs(difference[:, :3]).max() < 0.15
    assert np.abs(difference[:, 3:]).max() < 0.02


# --- labels


def test_true_and_false_closures_are_told_apart_as_they_come():
    graph, truth, is_true = two_laps(300, 30, 15, 1)
    growing, closures = grown(graph)
    true = is_true[~graph.trusted]
    for begin in range(0, len(closures), 9):
        for closure in closures[begin : begin + 9]:
            growing.add_candidate(closure)
        assert growing.needs_solving
        solve(growing)
    assert not growing.needs_solving
    labels = np.array([closure.verdict.label is Label.INLIER for closure in growing.closures])
    assert not np.any(labels & ~true)
    assert np.mean(labels[true]) >= 0.97
    assert {closure.verdict.revision for closure in growing.closures} == {growing.revision}
    error = np.linalg.norm(growing.poses(range(300))[:, :3, 3] - truth[:, :3, 3], axis=1)
    odometry = np.linalg.norm(graph.poses[:, :3, 3] - truth[:, :3, 3], axis=1)
    assert np.mean(error) < 0.5 * np.mean(odometry)


def test_a_label_flips_when_the_others_say_so_and_that_is_recorded():
    growing = line(60)
    far = se3.exp(np.array([0.0, 40.0, 0.0, 0.0, 0.0, 0.0]))
    # Two that agree with each other, and not with the odometry; then many that agree with the odometry.
    lying = [Candidate(0, 50, far, SURE), Candidate(1, 51, far, SURE)]
    loose = isotropic(30.0, 3.0)
    growing.add_candidate(replace(lying[0], covariance=loose))
    solve(growing)
    first = growing.closures[0].verdict
    assert first.label is Label.INLIER, "it is so unsure that it fits"
    assert growing.add_candidate(lying[0]) is Intake.REPLACED
    solve(growing)
    second = growing.closures[0].verdict
    assert second.label is Label.OUTLIER
    assert growing.book.flip_count == 1
    flip = growing.book.flips[-1]
    assert (flip.closure, flip.before.label, flip.after.label) == (0, Label.INLIER, Label.OUTLIER)
    assert flip.after.revision == growing.revision > flip.before.revision


def test_contradictory_measurements_of_a_pair_both_go_in_and_the_graph_decides():
    growing = line(40)
    right = Candidate(0, 30, forward(30.0), SURE)
    wrong = Candidate(30, 0, se3.exp(np.array([3.0, -2.0, 0.5, 0.1, 0.0, 2.0])), SURE)
    assert growing.add_candidate(right) is Intake.ADDED
    assert growing.add_candidate(wrong) is Intake.ADDED
    solve(growing)
    assert [closure.verdict.label for closure in growing.closures] == [Label.INLIER, Label.OUTLIER]


def test_sessions_without_odometry_between_them_are_joined_by_their_closures():
    growing = line(30)
    for row in range(100, 130):  # the same drive again, in a world of its own
        step = Candidate(row - 1, row, forward(1.0), isotropic(0.02, 0.002)) if row > 100 else None
        growing.add_keyframe(row, se3.exp(np.array([500.0, 0.0, 0.0, 0.0, 0.0, 2.0])), step)
    growing.add_candidate(Candidate(5, 105, forward(0.3), SURE))
    solve(growing)
    verdict = growing.closures[0].verdict
    assert (verdict.label, verdict.reason) == (Label.UNDECIDED, LabelReason.UNCHECKED)
    growing.add_candidate(Candidate(3, 110, se3.exp(np.array([40.0, 0.0, 0.0, 0.0, 0.0, 1.0])), SURE))
    for row in (10, 15, 20, 25):
        growing.add_candidate(Candidate(row + 100, row, forward(-0.3), SURE))
    solve(growing)
    labels = [closure.verdict.label for closure in growing.closures]
    assert labels == [Label.INLIER, Label.OUTLIER, *[Label.INLIER] * 4]
    expected = np.array([se3.inverse(forward(-0.3)) @ forward(row) for row in range(30)])
    np.testing.assert_allclose(growing.poses(range(100, 130))[:, :3, 3], expected[:, :3, 3], atol=0.2)
    np.testing.assert_allclose(growing.poses([0])[0], np.eye(4), atol=1e-6)


def test_the_first_keyframe_never_moves_however_often_the_graph_is_solved():
    graph, _, _ = two_laps(100, 20, 4, 5)
    growing, closures = grown(graph)
    for closure in closures:
        growing.add_candidate(closure)
        _, _ = solve(growing)
    np.testing.assert_allclose(growing.poses([0])[0], graph.poses[0], atol=1e-5)
    assert growing.revision == len(closures)


# --- what is kept out


@pytest.mark.parametrize(
    ("pose", "covariance", "reason"),
    [
        (np.full((4, 4), np.nan), SURE, Rejection.NOT_FINITE),
        (np.eye(4), np.full((6, 6), np.inf), Rejection.NOT_FINITE),
        (np.diag([1.0, 1.0, -1.0, 1.0]), SURE, Rejection.NOT_RIGID),
        (2.0 * np.eye(4), SURE, Rejection.NOT_RIGID),
        (np.eye(4), np.zeros((6, 6)), Rejection.INDEFINITE_COVARIANCE),
        (np.eye(4), np.diag([1.0, 1.0, 1.0, 1.0, 1.0, -1.0]), Rejection.INDEFINITE_COVARIANCE),
        (np.eye(4), np.ones((6, 6)), Rejection.INDEFINITE_COVARIANCE),
        (np.eye(4), SURE + np.triu(np.full((6, 6), 0.01), 1), Rejection.INDEFINITE_COVARIANCE),
    ],
)
def test_a_measurement_that_is_none_is_rejected_with_its_reason(pose, covariance, reason):
    growing = line(10)
    assert growing.add_candidate(Candidate(0, 5, pose, covariance)) is Intake.REJECTED
    assert growing.add_keyframe(10, np.eye(4), Candidate(9, 10, pose, covariance)) is reason
    assert growing.rejections.counts == {reason: 2}
    assert len(growing) == 10
    assert not growing.needs_solving


def test_duplicates_keep_the_better_and_a_pair_has_only_so_many_contradictions():
    growing = line(10)
    first = Candidate(0, 5, forward(5.0), isotropic(0.1, 0.01))
    assert growing.add_candidate(first) is Intake.ADDED
    worse = Candidate(0, 5, forward(5.1), isotropic(0.2, 0.02))
    assert growing.add_candidate(worse) is Intake.REJECTED
    assert growing.rejections.counts[Rejection.DUPLICATE] == 1
    better = Candidate(5, 0, forward(-4.95), isotropic(0.05, 0.005))
    assert growing.add_candidate(better) is Intake.REPLACED
    np.testing.assert_allclose(growing.closures[0].measured.a_T_b, forward(4.95), atol=1e-12)
    assert growing.duplicates_replaced == 1
    for metres in (20.0, 40.0, 60.0, 80.0):
        assert growing.add_candidate(Candidate(0, 5, forward(metres), SURE)) is Intake.ADDED
    assert growing.add_candidate(Candidate(0, 5, forward(100.0), SURE)) is Intake.REJECTED
    assert growing.rejections.counts[Rejection.TOO_MANY_OF_PAIR] == 1
    assert len(growing.closures) == 5


def test_candidates_wait_for_their_keyframes_a_bounded_time_in_a_bounded_number():
    line.now = 0.0
    growing = line(10)
    assert growing.add_candidate(Candidate(0, 10, forward(10.0), SURE)) is Intake.WAITING
    assert growing.add_candidate(Candidate(11, 12, forward(1.0), SURE)) is Intake.WAITING
    assert growing.add_keyframe(10, np.eye(4), Candidate(9, 10, forward(1.0), SURE)) is None
    assert (len(growing.closures), growing.waiting) == (1, 1)
    assert growing.add_candidate(Candidate(0, 77, forward(1.0), SURE)) is Intake.WAITING
    assert growing.add_candidate(Candidate(0, 78, forward(1.0), SURE)) is Intake.WAITING
    assert growing.add_candidate(Candidate(0, 79, forward(1.0), SURE)) is Intake.REJECTED
    assert growing.rejections.counts[Rejection.TOO_MANY_WAITING] == 1
    line.now = 9.0
    growing.drop_expired()
    assert growing.waiting == 3
    line.now = 11.0
    growing.drop_expired()
    assert growing.waiting == 0
    assert growing.rejections.counts[Rejection.UNKNOWN_KEYFRAME] == 3
    assert set(growing.rejections.last[Rejection.UNKNOWN_KEYFRAME]) == {0, 78}


def test_what_cannot_be_is_rejected():
    growing = line(10)
    assert growing.add_candidate(Candidate(3, 3, np.eye(4), SURE)) is Intake.REJECTED
    assert growing.rejections.counts[Rejection.SELF_LOOP] == 1
    assert growing.add_keyframe(3, np.eye(4)) is Rejection.KEYFRAME_KNOWN
    assert growing.add_keyframe(12, np.eye(4), Candidate(11, 12, np.eye(4), SURE)) is Rejection.UNKNOWN_KEYFRAME


def test_odometry_from_a_keyframe_in_the_middle_makes_a_branch_that_is_trusted():
    growing = line(20)
    growing.add_keyframe(100, np.eye(4), Candidate(5, 100, forward(2.0), isotropic(0.02, 0.002)))
    growing.add_keyframe(101, np.eye(4), Candidate(100, 101, forward(1.0), isotropic(0.02, 0.002)))
    np.testing.assert_allclose(growing.poses([101])[0], forward(8.0), atol=1e-12)
    growing.add_candidate(Candidate(101, 10, forward(2.1), SURE))
    snapshot, changed = solve(growing)
    assert snapshot.graph.trusted.sum() == len(snapshot.graph.a) - 1
    assert changed == [0]
    assert growing.closures[0].verdict.label is Label.INLIER


# --- growth


def test_the_solved_graph_stays_small_and_new_lies_are_still_found():
    graph, _, is_true = two_laps(2000, 400, 40, 2)
    settings = GrowthSettings(max_closures=60)
    growing, closures = grown(graph, settings)
    true = is_true[~graph.trusted]
    sizes = []
    for begin in range(0, len(closures), 20):
        for closure in closures[begin : begin + 20]:
            growing.add_candidate(closure)
        snapshot, _ = solve(growing)
        sizes.append((len(snapshot.graph.ids), len(snapshot.measured)))
    while growing.needs_solving:
        solve(growing)
    assert max(count for _, count in sizes) <= 60
    assert max(poses for poses, _ in sizes) <= 2 * 60 + 2000 // 50 + 2
    labels = np.array([closure.verdict.label is Label.INLIER for closure in growing.closures])
    assert np.mean(true[labels]) >= 0.99
    assert np.mean(labels[true]) >= 0.95


def test_what_was_added_while_the_solver_was_at_it_is_not_judged():
    growing = line(40)
    growing.add_candidate(Candidate(0, 30, forward(30.0), SURE))
    snapshot = growing.snapshot()
    growing.add_keyframe(40, np.eye(4), Candidate(39, 40, forward(1.0), SURE))
    growing.add_candidate(Candidate(0, 30, forward(30.01), isotropic(0.01, 0.001)))  # takes the place of the first
    growing.add_candidate(Candidate(1, 40, forward(39.0), SURE))
    labelled = solve_and_label(snapshot.graph, SETTINGS, snapshot.graph.poses, snapshot.revision)
    changed = growing.accept(snapshot, labelled.solution, labelled.verdicts)
    assert changed == []
    assert {closure.verdict.reason for closure in growing.closures} == {LabelReason.NOT_YET}
    assert growing.needs_solving
    _, changed = solve(growing)
    assert changed == [0, 1]
    np.testing.assert_allclose(growing.poses([40])[0], forward(40.0), atol=0.1)
