"""Re-ranking by the nodes, as separate processes over real topics; what they say of it, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import fault_samples as faults
import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from test_node_place_recognition import announced, copy_of, recognition, recording, said, taught

from vloc_ros.data.models import shipped_places
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.patches import patch_counts
from vloc_ros.mapping.searches import searches_of

__all__ = ["recording", "taught"]  # fixtures
PATIENCE_S = 120.0
RERANKERS = [
    "ransac",
    pytest.param("homography", marks=pytest.mark.skipif("cct" not in shipped_places(), reason="its weights are not shipped yet")),
]


@pytest.mark.parametrize("reranker", RERANKERS)
def test_loops_are_found_and_the_patches_stay_in_the_map(reranker: str, taught: Path, tmp_path: Path) -> None:
    path = copy_of(taught, tmp_path)
    with MapStore.open(path, read_only=True) as store:
        messages = announced(store)
    every, parameters = str(len(messages)), {"loops.rerank.reranker": reranker, "loops.rerank.candidates": 10}
    with recognition(path, tmp_path, **parameters) as (probe, node):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == every, "all keyframes", PATIENCE_S)
        values = said(diagnostics, "place rec")
        assert values["reranker"].split()[0] == reranker and values["patches_made"] == every
        assert int(values["candidates"]) >= 7 and float(values["rerank_ms_p50"]) > 0.0 and "problem_patches" not in values
        assert node.end() == 0, node.output
    with MapStore.open(path, read_only=True) as store:
        assert [count.keyframes for count in patch_counts(store)] == [len(messages)]
    assert check_map(path) == []
    with recognition(path, tmp_path, **parameters) as (probe, node):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == "1", "the keyframe", PATIENCE_S)
        assert "patches_made" not in said(diagnostics, "place rec"), "they were made once"
        assert node.end() == 0, node.output


def test_what_is_refused_is_counted_and_kept(taught: Path, tmp_path: Path) -> None:
    path = copy_of(taught, tmp_path)
    with MapStore.open(path, read_only=True) as store:
        messages = announced(store)
    parameters = {"loops.rerank.reranker": "ransac", "loops.rerank.candidates": 5, "loops.rerank.min_inliers": 100000}
    with recognition(path, tmp_path, **parameters) as (probe, node):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.publish("keyframes", messages[-1])
        every = str(len(messages))
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == every, "all keyframes", PATIENCE_S)
        values = said(diagnostics, "place rec")
        assert values["candidates"] == "0" and int(values["rejected_rerank_inliers"]) >= len(messages)
        assert node.end() == 0, node.output
    with MapStore.open(path, read_only=True) as store:
        assert {row.reason for row in searches_of(store)} == {"rerank_inliers", "nothing_found"}


@pytest.mark.parametrize(
    ("node_name", "parameter"),
    [("place_recognition", "loops.rerank.reranker"), ("localization", "localization.rerank.reranker")],
)
@pytest.mark.parametrize(("name", "text"), [("ransack", "unknown re-ranker 'ransack'"), ("/nowhere/x.safetensors", "/nowhere/x")])
def test_a_reranker_that_cannot_be_made_ends_the_start(
    node_name: str, parameter: str, name: str, text: str, taught: Path, tmp_path: Path
) -> None:
    parameters = {"map": str(taught), parameter: name}
    with samples.node(node_name, parameters, tmp_path, samples.ros_environment()) as node:
        assert node.wait() != 0
    assert text in node.output and "Traceback" not in node.output


def test_a_lost_robot_says_what_reranks_and_how_long_it_takes(tmp_path: Path) -> None:
    path = faults.teach(tmp_path / "site.vloc")
    before = path.read_bytes()
    with faults.bench({"mode": "localize", "map": str(path), "localization.rerank.reranker": "ransac"}, tmp_path) as bench:
        bench.camera.calibrate()
        bench.well()
        values = bench.values
        assert values["reranker"] == "ransac" and float(values["rerank_ms"]) > 0.0
    assert path.read_bytes() == before
