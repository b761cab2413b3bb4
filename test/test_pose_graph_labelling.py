"""Labels from weights and residuals, and closures that nothing could contradict."""

import numpy as np
import pytest

from vloc_ros.pose_graph import GncSolution, Label, LabelReason, PoseGraph
from vloc_ros.pose_graph.labelling import LabelSettings, label_closures


def graph(edges):
    """Three chains of three poses each (0-2, 3-5, 6-8) and some closures."""
    chains = [(0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8)]
    joined = np.array(chains + edges, dtype=np.int64)
    many = len(joined)
    identities = np.tile(np.eye(4), (many, 1, 1))
    trusted = np.arange(many) < len(chains)
    information = np.tile(np.eye(6), (many, 1, 1))
    return PoseGraph(np.arange(9), np.tile(np.eye(4), (9, 1, 1)), *joined.T, identities, information, trusted)


def labels(edges, weights, chi2, converged=True):
    built = graph(edges)
    odometry = len(built.a) - len(edges)
    solution = GncSolution(built.poses, np.array([1.0] * odometry + weights), np.array([0.0] * odometry + chi2), 5, converged, 0.1)
    verdicts = label_closures(built, solution, LabelSettings(), 7)
    assert verdicts[:odometry] == [None] * odometry
    assert all(verdict.revision == 7 for verdict in verdicts[odometry:])
    return [(verdict.label, verdict.reason) for verdict in verdicts[odometry:]]


@pytest.mark.parametrize(
    ("weight", "chi2", "converged", "expected"),
    [
        (1.0, 3.0, True, (Label.INLIER, LabelReason.AGREES)),
        (0.999, 3.0, True, (Label.INLIER, LabelReason.AGREES)),
        (0.0, 90.0, True, (Label.OUTLIER, LabelReason.REJECTED)),
        (1.0, 90.0, True, (Label.UNDECIDED, LabelReason.LARGE_RESIDUAL)),
        (0.5, 18.0, True, (Label.UNDECIDED, LabelReason.BETWEEN)),
        (0.5, 18.0, False, (Label.UNDECIDED, LabelReason.NOT_CONVERGED)),
        (0.0, 3.0, True, (Label.UNDECIDED, LabelReason.BETWEEN)),
    ],
)
def test_labels_of_a_loop_within_a_chain(weight, chi2, converged, expected):
    assert labels([(0, 2)], [weight], [chi2], converged) == [expected]


UNCHECKED, AGREES = (Label.UNDECIDED, LabelReason.UNCHECKED), (Label.INLIER, LabelReason.AGREES)


def test_what_alone_joins_two_drives_is_unchecked():
    assert labels([(0, 3)], [1.0], [0.0]) == [UNCHECKED]
    assert labels([(0, 3), (5, 6)], [1.0, 1.0], [0.0, 0.0]) == [UNCHECKED, UNCHECKED]


def test_two_between_the_same_drives_check_each_other():
    assert labels([(0, 3), (5, 2)], [1.0, 1.0], [0.0, 0.0]) == [AGREES, AGREES]


def test_a_ring_of_drives_checks_itself():
    assert labels([(0, 3), (5, 6), (8, 1)], [1.0] * 3, [0.0] * 3) == [AGREES] * 3


def test_a_rejected_closure_checks_nothing():
    found = labels([(0, 3), (5, 2)], [1.0, 0.0], [0.0, 90.0])
    assert found == [UNCHECKED, (Label.OUTLIER, LabelReason.REJECTED)]


def test_a_graph_without_closures_has_no_verdicts():
    assert labels([], [], []) == []
