"""Loop closures by the nodes, as separate processes over real topics: from a bag to labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from map_samples import UNTUNED
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as RosPath

from vloc_ros.config import replace
from vloc_ros.data import open_recording
from vloc_ros.data.writers import write_recording
from vloc_ros.geometry import se3
from vloc_ros.mapping import KeyframeId, MapStore, Teacher
from vloc_ros.mapping.closures import closures_of
from vloc_ros.pose_graph import Label
from vloc_ros.ros.conversions import odometry_to_ros, pose_from_ros
from vloc_ros.settings import Settings

TEACHING = {"keyframes.distance": 0.05, "features.max_features": 500}
GATES = {"loops.gates.gap.keyframes": 4, "loops.gates.gap.seconds": 0.3, "begin_with": 8}
OUT = 14


def there_and_back() -> list[np.ndarray]:
    """A walk down the corridor and backwards again, past the very same places."""
    way = samples.walk(OUT)
    return [*way, *way[-2::-1]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_recording(tmp_path_factory.mktemp("walk") / "kitti", there_and_back())


@pytest.fixture(scope="module")
def taught(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map whose loops nobody has looked for."""
    reader, settings = open_recording(recording), replace(Settings(), TEACHING)
    extractor = settings.features.create()
    path = tmp_path_factory.mktemp("map") / "site.vloc"
    with MapStore.create(path, reader.camera, reader.base_T_camera, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(reader.camera, store, settings, "walk")
        for index in range(len(reader)):
            teacher.process(reader.frame(index), None)
        teacher.close()
    return path


def copy_of(taught: Path, folder: Path) -> Path:
    path = folder / "site.vloc"
    path.write_bytes(taught.read_bytes())
    return path


def said(messages: list[DiagnosticArray], node: str) -> dict[str, str]:
    """The newest diagnostics of a node."""
    for message in reversed(messages):
        for status in message.status:
            if node in status.name:
                return {pair.key: pair.value for pair in status.values} | {"message": status.message}
    return {}


def announced(store: MapStore) -> list[Odometry]:
    """The keyframes of a map as the localization node publishes them."""
    return [odometry_to_ros(k.stamp_ns, "map", str(k.id), k.map_T_base, 1e-6 * np.eye(6)) for k in store.keyframes()]


@contextmanager
def recognition(path: Path, folder: Path, **parameters: object) -> Iterator[tuple[samples.Probe, samples.NodeProcess]]:
    environment = samples.ros_environment()
    with (
        samples.probe(environment) as probe,
        samples.node("place_recognition", {"map": str(path), **GATES, **parameters}, folder, environment) as node,
    ):
        yield probe, node


def truth_of(message: Odometry, store: MapStore) -> np.ndarray:
    """True ``a_T_b`` of a closure, by the poses of the walk at the stamps of its keyframes."""
    base_T_camera = store.base_T_camera
    stamps = {k.id: k.stamp_ns for k in store.keyframes()}
    poses = there_and_back()

    def world_T_base(name: str) -> np.ndarray:
        index = round((stamps[KeyframeId.parse(name)] * 1e-9 - 100.0) * 10.0)
        return poses[index] @ se3.inverse(base_T_camera)

    return np.asarray(se3.between(world_T_base(message.header.frame_id), world_T_base(message.child_frame_id)))


def test_from_a_bag_to_labels(recording: Path, tmp_path: Path) -> None:
    bag = write_recording(open_recording(recording), tmp_path / "bag", "mcap")
    environment, path = samples.ros_environment(), tmp_path / "site.vloc"
    teaching = {"mode": "teach", "map": str(path), "qos.reliability": "reliable", "qos.depth": 20, **TEACHING}
    with ExitStack() as stack:
        probe = stack.enter_context(samples.probe(environment))
        labelled = {
            label: probe.listen(Odometry, f"loop_closures/{label.value}s", latched=True) for label in (Label.INLIER, Label.OUTLIER)
        }
        candidates = probe.listen(Odometry, "loop_closures/candidates", latched=True)
        optimised = probe.listen(RosPath, "pose_graph/path", latched=True)
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        graph = stack.enter_context(samples.node("pose_graph", {"map": str(path)}, tmp_path, environment))
        finder = stack.enter_context(samples.node("place_recognition", {"map": str(path), **GATES}, tmp_path, environment))
        localization = stack.enter_context(samples.node("localization", teaching, tmp_path, environment))
        playing = {"source": str(bag), "lockstep": True, "rectification": "off"}
        player = stack.enter_context(samples.node("player", playing, tmp_path, environment))
        assert player.wait(90.0) == 0, player.output
        last = 2 * OUT - 1
        probe.wait(lambda: said(diagnostics, "place recognition").get("keyframes_searched") == str(last), "the last keyframe", 60.0)
        found = int(said(diagnostics, "place recognition")["candidates"])
        assert found >= OUT // 2, said(diagnostics, "place recognition")
        probe.wait(lambda: len(candidates) == found, "all candidates")
        probe.wait(
            lambda: len({(m.header.frame_id, m.child_frame_id) for m in labelled[Label.INLIER]}) == found, "their labels", 60.0
        )
        assert not labelled[Label.OUTLIER]
        probe.wait(lambda: optimised and len(optimised[-1].poses) == last, "the optimised path")
        for running in (finder, graph, localization):
            assert running.end() == 0, running.output
    with MapStore.open(path, read_only=True) as store:
        for message in candidates:
            error = se3.log(se3.between(truth_of(message, store), pose_from_ros(message.pose.pose)))
            assert np.linalg.norm(error[:3]) < 0.03 and np.linalg.norm(error[3:]) < 0.02
        verdicts = closures_of(store)
    assert len(verdicts) == found and {closure.verdict.label for closure in verdicts} == {Label.INLIER}


def test_what_was_missed_is_made_up_for_and_nothing_is_searched_twice(taught: Path, tmp_path: Path) -> None:
    path = copy_of(taught, tmp_path)
    with MapStore.open(path, read_only=True) as store:
        messages = announced(store)
    with recognition(path, tmp_path) as (probe, node):
        diagnostics, candidates = (
            probe.listen(DiagnosticArray, "/diagnostics"),
            probe.listen(Odometry, "loop_closures/candidates", True),
        )
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == str(len(messages)), "all keyframes", 60.0)
        assert said(diagnostics, "place rec")["model"].startswith(UNTUNED)
        first = len(candidates)
        assert first >= OUT // 2
        probe.publish("keyframes", messages[-1])
        assert node.end() == 0, node.output
    assert f"{len(messages)} keyframes searched, {first} candidates, 0 left waiting" in node.output
    with recognition(path, tmp_path) as (probe, node):
        diagnostics, candidates = (
            probe.listen(DiagnosticArray, "/diagnostics"),
            probe.listen(Odometry, "loop_closures/candidates", True),
        )
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == "1", "the keyframe")
        assert node.end() == 0, node.output
    assert len(candidates) <= 1


def test_the_diagnostics_say_what_was_rejected_and_why(taught: Path, tmp_path: Path) -> None:
    path = copy_of(taught, tmp_path)
    with MapStore.open(path, read_only=True) as store:
        messages = announced(store)
    with recognition(path, tmp_path, **{"loops.verification.min_inliers": 5000}) as (probe, node):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == str(len(messages)), "all keyframes", 60.0)
        values = said(diagnostics, "place rec")
        assert node.end() == 0, node.output
    assert values["candidates"] == "0" and int(values["rejected_too_few_inliers"]) >= OUT
    assert "too few matches agree on one pose" in values["last_rejection"]


def test_bad_names_and_a_map_that_comes_later(taught: Path, tmp_path: Path) -> None:
    path = tmp_path / "site.vloc"
    with MapStore.open(taught, read_only=True) as store:
        messages = announced(store)
    with recognition(path, tmp_path) as (probe, node):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        nonsense = announced_as("../../etc/passwd", messages[0])
        probe.publish("keyframes", nonsense)
        probe.wait(lambda: "is not a keyframe name" in said(diagnostics, "place rec").get("problem_bad_input", ""), "the refusal")
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: "there is no map" in said(diagnostics, "place rec").get("problem_bad_input", ""), "the missing map")
        copy_of(taught, tmp_path)
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == str(len(messages)), "all keyframes", 60.0)
        probe.publish("keyframes", announced_as("s9/k9", messages[0]))
        probe.wait(lambda: said(diagnostics, "place rec").get("left_out_unreadable") == "1", "the unknown keyframe")
        assert "s9/k9" in said(diagnostics, "place rec")["problem_bad_input"]
        assert node.end() == 0, node.output


def announced_as(name: str, message: Odometry) -> Odometry:
    return Odometry(header=message.header, child_frame_id=name, pose=message.pose)


def test_without_a_map_it_says_so(tmp_path: Path) -> None:
    with samples.node("place_recognition", {}, tmp_path, samples.ros_environment()) as node:
        assert node.wait() != 0
    assert "no map is named" in node.output
