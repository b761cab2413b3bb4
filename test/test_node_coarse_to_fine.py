"""DISAM with a fine stage and a condition in the nodes, as processes over real topics, with small models of random weights."""

from __future__ import annotations

from pathlib import Path

import fault_samples as faults
import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from node_graph import NodeGraph
from std_srvs.srv import Trigger
from test_node_place_recognition import announced, copy_of, recognition, recording, said, taught

from vloc_ros.cli import main
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.patches import patch_counts

pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")
from disam_samples import CONDITIONS, written

from vloc_ros.networks.disam_form import Stage

__all__ = ["recording", "taught"]  # fixtures
PATIENCE_S = 180.0
KNOWN = f"known: {', '.join(CONDITIONS)};"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files of a coarse model and of a fine one."""
    folder = tmp_path_factory.mktemp("models")
    coarse, _ = written(folder / "coarse.safetensors", stage=Stage.COARSE, seed=1)
    fine, _ = written(folder / "fine.safetensors", stage=Stage.FINE, seed=2)
    return str(coarse), str(fine)


def parameters_of(section: str, models: tuple[str, str], **others: object) -> dict[str, object]:
    values = {"descriptor": models[0], "coarse_to_fine.fine": models[1], **others}
    return {f"{section}.{key}": value for key, value in values.items()}


def test_loops_are_found_and_the_fine_vectors_stay_in_the_map(models: tuple[str, str], taught: Path, tmp_path: Path) -> None:
    path = copy_of(taught, tmp_path)
    with MapStore.open(path, read_only=True) as store:
        messages = announced(store)
    every, parameters = str(len(messages)), parameters_of("loops", models, condition="night")
    with recognition(path, tmp_path, **parameters) as (probe, node):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.wait(lambda: said(diagnostics, "place rec"), "the node, which imports torch first", PATIENCE_S)
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == every, "all keyframes", PATIENCE_S)
        values = said(diagnostics, "place rec")
        assert values["model"].split()[0] == "coarse" and values["fine"].split()[0] == "fine" and values["condition"] == "night"
        assert values["fine_vectors_made"] == every and float(values["fine_ms_p50"]) > 0.0 and "problem_patches" not in values
        assert int(values["candidates"]) >= 5
        graph = NodeGraph(probe, "place_recognition", "/")
        refused = graph.refused({"loops.condition": "noon"})
        assert "the condition 'noon' is unknown to 'coarse' and 'fine " in refused and KNOWN in refused
        graph.set({"loops.condition": "snow"})
        graph.set({"loops.condition": ""})
        assert node.end() == 0, node.output
    with MapStore.open(path, read_only=True) as store:
        assert [(count.card.name, count.keyframes) for count in patch_counts(store)] == [("fine", len(messages))]
    assert check_map(path) == []
    with recognition(path, tmp_path, **parameters) as (probe, node):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.wait(lambda: said(diagnostics, "place rec"), "the node, which imports torch first", PATIENCE_S)
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == "1", "the keyframe", PATIENCE_S)
        values = said(diagnostics, "place rec")
        assert "fine_vectors_made" not in values and "condition" not in values, "all was made before"
        assert node.end() == 0, node.output


@pytest.mark.parametrize(("node_name", "section"), [("place_recognition", "loops"), ("localization", "localization")])
@pytest.mark.parametrize(
    ("others", "text"),
    [({"condition": "noon"}, KNOWN), ({"coarse_to_fine.fine": "nobody"}, "unknown descriptor 'nobody'")],
)
def test_what_cannot_be_ends_the_start(
    node_name: str, section: str, others: dict[str, object], text: str, models: tuple[str, str], taught: Path, tmp_path: Path
) -> None:
    parameters = {"map": str(taught), **parameters_of(section, models, **others)}
    with samples.node(node_name, parameters, tmp_path, samples.ros_environment()) as node:
        assert node.wait(PATIENCE_S) != 0
    assert text in node.output and "Traceback" not in node.output


def test_a_lost_robot_says_of_which_condition_it_is_and_takes_another_word_for_it(models: tuple[str, str], tmp_path: Path) -> None:
    path = faults.teach(tmp_path / "site.vloc")
    assert main(["map", "redescribe", str(path), "--descriptor", models[0], "--fine", models[1]]) == 0
    before = path.read_bytes()
    parameters = {"mode": "localize", "map": str(path), **parameters_of("localization", models)}
    with faults.bench(parameters, tmp_path) as bench:
        bench.probe.wait(lambda: bench.values, "the node, which imports torch first", PATIENCE_S)
        bench.camera.calibrate()
        bench.well()
        values = bench.values
        assert values["fine"].split()[0] == "fine" and float(values["fine_ms"]) > 0.0 and values["condition"] in CONDITIONS
        assert "fine_vectors_made" not in values, "they are in the map"
        graph = NodeGraph(bench.probe, "localization", "/")
        refused = graph.refused({"localization.condition": "noon", "localization.candidates": 3})
        assert "'noon' is unknown" in refused and KNOWN in refused
        other = next(name for name in CONDITIONS if name != values["condition"])
        graph.set({"localization.condition": other})
        assert bench.probe.call("localization/reset", Trigger.Request()).success
        bench.play(lambda: bench.values.get("condition") == other, "a search that was told")
    assert path.read_bytes() == before
