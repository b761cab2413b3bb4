"""From solutions to labels, and ``vloc optimise``."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_samples import development_data
from pose_graph_samples import square, with_closure

from vloc_ros.cli import main
from vloc_ros.pose_graph import GncSettings, GncSolution, Label, LabelReason, PoseGraph, solve_gnc
from vloc_ros.pose_graph.files import RotationInformation, read_graph, write_g2o
from vloc_ros.pose_graph.judged import judge_graph
from vloc_ros.pose_graph.labelling import LabelSettings, label_closures
from vloc_ros.pose_graph.settings import PoseGraphSettings
from vloc_ros.pose_graph.synthetic import two_laps


def solution(graph: PoseGraph, weight: float, chi2: float, converged: bool = True) -> GncSolution:
    """A solution that gives all closures the same weight and residual."""
    weights = np.where(graph.trusted, 1.0, weight)
    return GncSolution(graph.poses, weights, np.where(graph.trusted, 0.0, chi2), 5, converged, 0.1)


# The threshold of three degrees of freedom at 0.99 is 11.34.
CASES = [
    (1.0, 11.0, True, Label.INLIER, LabelReason.AGREES),
    (1.0, 11.7, True, Label.UNDECIDED, LabelReason.LARGE_RESIDUAL),
    (0.0, 11.7, True, Label.OUTLIER, LabelReason.REJECTED),
    (0.0, 11.0, True, Label.UNDECIDED, LabelReason.BETWEEN),
    (0.5, 11.7, True, Label.UNDECIDED, LabelReason.BETWEEN),
    (0.5, 11.7, False, Label.UNDECIDED, LabelReason.NOT_CONVERGED),
    (1.0, 1.0, False, Label.INLIER, LabelReason.AGREES),
]


@pytest.mark.parametrize(("weight", "chi2", "converged", "label", "reason"), CASES)
def test_three_labels(weight, chi2, converged, label, reason):
    graph = square(2)
    verdicts = label_closures(graph, solution(graph, weight, chi2, converged), LabelSettings(), 42)
    assert [verdict is None for verdict in verdicts] == graph.trusted.tolist()
    for verdict in filter(None, verdicts):
        assert (verdict.label, verdict.reason, verdict.revision) == (label, reason, 42)
        assert (verdict.weight, verdict.chi2) == (weight, chi2)


def test_probability_moves_the_threshold():
    graph = square(2)
    strict = label_closures(graph, solution(graph, 1.0, 10.0), LabelSettings(probability=0.9), 0)
    assert {verdict.reason for verdict in strict if verdict} == {LabelReason.LARGE_RESIDUAL}


def parts(pairs: list[tuple[int, int]]) -> PoseGraph:
    """Four pieces of odometry (0-4, 5-9, 10-14, 15-19) joined by closures between these poses."""
    graph = square(2, turns=1)
    odometry = np.flatnonzero(graph.trusted & (graph.b % 5 != 0))
    graph = replace(
        graph,
        a=graph.a[odometry],
        b=graph.b[odometry],
        a_T_b=graph.a_T_b[odometry],
        information=graph.information[odometry],
        trusted=graph.trusted[odometry],
    )
    for a, b in pairs:
        graph = with_closure(graph, a, b, np.linalg.inv(graph.poses[a]) @ graph.poses[b])
    return graph


@pytest.mark.parametrize(
    ("pairs", "unchecked"),
    [
        ([(0, 5)], [0]),
        ([(0, 5), (1, 6)], []),
        ([(0, 5), (5, 10), (10, 15)], [0, 1, 2]),
        ([(0, 5), (5, 10), (10, 0)], []),
        ([(0, 5), (5, 10), (10, 0), (11, 16)], [3]),
        ([(0, 3)], []),
        ([(0, 5), (1, 6), (6, 11), (12, 17), (13, 18)], [2]),
    ],
)
def test_what_nothing_could_contradict_is_undecided(pairs, unchecked):
    graph = parts(pairs)
    verdicts = [verdict for verdict in label_closures(graph, solution(graph, 1.0, 0.0), LabelSettings(), 1) if verdict]
    for number, verdict in enumerate(verdicts):
        expected = LabelReason.UNCHECKED if number in unchecked else LabelReason.AGREES
        assert verdict.reason is expected, number


def test_rejected_closures_check_nothing():
    graph = parts([(0, 5), (1, 6)])
    weights = np.where(graph.trusted, 1.0, [0.0] * (len(graph.a) - 2) + [1.0, 0.0])
    chi2 = np.array([0.0] * (len(graph.a) - 1) + [1e4])
    verdicts = label_closures(graph, GncSolution(graph.poses, weights, chi2, 1, True, 0.0), LabelSettings(), 1)
    assert [verdict.reason for verdict in verdicts if verdict] == [LabelReason.UNCHECKED, LabelReason.REJECTED]


@pytest.mark.slow
def test_two_laps_of_a_thousand_keyframes():
    """The issue's graph: precision at least 0.99 and recall at least 0.97 over ten seeds, no odometry dropped."""
    kept = true_kept = true = 0
    for seed in range(10):
        graph, _, is_true = two_laps(1000, 100, 50, seed)
        judged = judge_graph(graph, PoseGraphSettings())
        inlier = judged.labels() == Label.INLIER
        kept, true_kept, true = kept + inlier.sum(), true_kept + (inlier & is_true).sum(), true + 100
        assert judged.solution.chi2[graph.trusted].max() < 25.0
    assert true_kept / kept >= 0.99 and true_kept / true >= 0.97


@pytest.mark.data
@pytest.mark.parametrize(("name", "closures", "label"), [("ordered", 17, "INLIER"), ("unordered", 17, "INLIER")])
def test_kimera_graphs_without_outliers(name, closures, label):
    path = development_data(f"posegraphs/kimera_rpgo/tests/data/{name}.g2o")
    for rotation in RotationInformation:
        counts = judge_graph(read_graph(path, rotation=rotation), PoseGraphSettings()).counts()
        assert counts[Label[label]] == closures


@pytest.mark.data
@pytest.mark.parametrize(("name", "closures"), [("robot_a", 3), ("robot_b", 2)])
def test_kimera_graphs_whose_closures_are_false(name, closures):
    """Each is a copy of the last odometry edge (1 m) between poses that are 6 to 20 m apart."""
    path = development_data(f"posegraphs/kimera_rpgo/tests/data/{name}.g2o")
    for rotation in RotationInformation:
        graph = read_graph(path, rotation=rotation)
        last_step = graph.a_T_b[np.flatnonzero(graph.trusted)[-1]]
        np.testing.assert_allclose(graph.a_T_b[~graph.trusted], np.tile(last_step, (closures, 1, 1)))
        judged = judge_graph(graph, PoseGraphSettings())
        assert judged.counts()[Label.OUTLIER] == closures


@pytest.fixture
def false_one(tmp_path: Path) -> Path:
    graph = with_closure(square(2), 3, 17, np.eye(3))
    write_g2o(tmp_path / "graph.g2o", graph)
    return tmp_path / "graph.g2o"


def test_optimise(false_one, tmp_path, capsys):
    out = tmp_path / "judged"
    assert main(["optimise", str(false_one), "--out", str(out), "--export", "tum", "--export", "kitti", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["inliers"], summary["outliers"], summary["undecided"]) == (7, 1, 0) and summary["converged"]
    rows = list(csv.DictReader((out / "labels.csv").open()))
    assert list(rows[0]) == ["id_a", "id_b", "label", "weight", "chi2", "reason"]
    [rejected] = [row for row in rows if row["label"] == "outlier"]
    assert (rejected["id_a"], rejected["id_b"], rejected["reason"]) == ("3", "17", "rejected")
    assert float(rejected["weight"]) == 0.0 and float(rejected["chi2"]) > 11.34
    before, after = read_graph(false_one), read_graph(out / "optimised.g2o")
    assert len(after.a) == len(before.a) - 1
    np.testing.assert_allclose(after.poses, before.poses, atol=1e-6)
    page = (out / "report.html").read_text()
    assert "data:image/png" in page and "contradicts the odometry" in page
    assert (out / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "optimised_tum.txt").exists() and (out / "optimised_kitti.txt").exists()


def test_optimise_settings_and_errors(false_one, tmp_path, capsys):
    assert main(["optimise", str(false_one), "--out", str(tmp_path / "a"), "--odometry", "all"]) == 0
    assert "outliers        0" in capsys.readouterr().out
    assert main(["optimise", str(false_one), "--out", str(tmp_path / "b"), "--set", "gnc.probability=2"]) == 1
    assert "'gnc.probability' = 2.0 is above its maximum" in capsys.readouterr().err
    (tmp_path / "settings.yaml").write_text("gnc:\n  methods: warm\n")
    assert main(["optimise", str(false_one), "--out", str(tmp_path / "c"), "--config", str(tmp_path / "settings.yaml")]) == 1
    assert "settings.yaml: unknown key 'gnc.methods'" in capsys.readouterr().err
    assert main(["optimise", str(false_one), "--out", str(tmp_path / "a")]) == 1
    assert "is not an empty folder" in capsys.readouterr().err
    false_one.write_text("EDGE_SE2 0 1 1 0 x 1 0 0 1 0 1\n")
    assert main(["optimise", str(false_one), "--out", str(tmp_path / "d")]) == 1
    assert "line 1 column 18: 'x' is not a number" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_label_may_flip():
    """Support that arrives later turns the verdict on a closure; the revision says which one is newer."""
    graph = parts([(0, 5)])
    first = judge_graph(graph, PoseGraphSettings(), 1).verdicts[-1]
    more = with_closure(graph, 1, 6, np.linalg.inv(graph.poses[1]) @ graph.poses[6])
    second = judge_graph(more, PoseGraphSettings(), 2).verdicts[-2]
    assert first is not None and second is not None
    assert (first.label, second.label) == (Label.UNDECIDED, Label.INLIER) and second.revision > first.revision
    assert solve_gnc(more, GncSettings()).converged
