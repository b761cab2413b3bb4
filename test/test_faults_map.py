"""The disk fills while a route is taught, and the map's file is taken away under a node that uses it: nothing stored is lost."""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fault_samples as faults
import numpy as np
import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from fault_samples import Bench, views
from map_samples import contents
from nav_msgs.msg import Odometry

from vloc_ros.cli import main
from vloc_ros.evaluation import read_run
from vloc_ros.mapping import KeyframeId, MapStore, SessionKind
from vloc_ros.mapping.patches import patches_of
from vloc_ros.mapping.searches import searched_keyframes
from vloc_ros.processes import NodeSpec, command_of
from vloc_ros.retrieval.rerank_ransac import RansacReranker
from vloc_ros.ros.conversions import odometry_to_ros

OFTEN = {"mode": "teach", "keyframes.distance": 0.01}
"""Teach a keyframe of every frame."""
MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'


def names(heard: list[Odometry]) -> list[str]:
    return [message.child_frame_id for message in heard]


def finish(bench: Bench) -> str:
    answer = bench.probe.call("localization/finish", samples.Trigger.Request())
    assert answer.success, answer.message
    return answer.message


def fill_and_make_room(bench: Bench, announced: list[Odometry], limit, lift) -> None:
    """Teach until the disk is full, drive on for a while, make room, and teach on."""
    bench.play(lambda: len(announced) >= 3, "keyframes")
    limit()
    bench.play(lambda: "the disk" in bench.problems.get("problem_map", ""), "the reason of a full disk")
    dropped, before = bench.number("dropped_map"), len(announced)
    bench.play(lambda: bench.number("dropped_map") > dropped, "frames that are not stored")
    assert bench.number("dropped_map") > 0
    lift()
    bench.play(lambda: len(announced) > before + 3 and "problem_map" not in bench.problems, "keyframes again")


def test_a_full_disk_while_teaching(tmp_path: Path) -> None:
    """The node's process may make no file larger than what it has (RLIMIT_FSIZE), and then may again."""
    path, out = tmp_path / "site.vloc", tmp_path / "out"
    with faults.bench({**OFTEN, "map": str(path), "out": str(out)}, tmp_path) as bench:
        announced = bench.probe.listen(Odometry, "keyframes")
        bench.camera.calibrate()
        pid = bench.node.process.pid

        def limit() -> None:
            size = max(file.stat().st_size for file in tmp_path.glob("site.vloc*"))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 50_000, resource.RLIM_INFINITY))

        def lift() -> None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        fill_and_make_room(bench, announced, limit, lift)
        finish(bench)
        assert faults.kept(path) == names(announced)
    assert main(["map", "check", str(path)]) == 0
    assert read_run(out).frames


@contextmanager
def small_disk(folder: Path, size: str, parameters: dict[str, object]) -> Iterator[tuple[Bench, Path]]:
    """A node whose folder lies on a file system of its own of that size, in its own mount namespace; and that folder from here."""
    disk = folder / "disk"
    disk.mkdir()
    wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size, str(disk)]
    if shutil.which("unshare") is None or subprocess.run([*wrapper, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine does not let a user mount a tmpfs of his own")
    environment = samples.ros_environment()
    given = {**faults.PARAMETERS, "map": str(disk / "site.vloc"), "out": str(disk / "out"), **parameters}
    command = [*wrapper, *command_of(NodeSpec("localization", "localization", given), folder)]
    with (
        samples.ended(samples.NodeProcess.of_command(command, folder / "node", environment)) as node,
        samples.probe(environment) as probe,
    ):
        made = Bench(node, probe, faults.Camera(probe), environment)
        made.camera.connect()
        yield made, Path(f"/proc/{node.process.pid}/root{disk}")
        assert node.end() == 0, node.output
        assert "Traceback" not in node.output


def fill(ballast: Path) -> None:
    """Write until not a byte is left."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error


@pytest.mark.slow
def test_a_file_system_that_is_really_full_while_teaching(tmp_path: Path) -> None:
    """A tmpfs of 8 MB: map and run log have no byte left, until somebody deletes a file."""
    with small_disk(tmp_path, "8m", OFTEN) as (bench, disk):
        announced = bench.probe.listen(Odometry, "keyframes")
        bench.camera.calibrate()
        ballast = disk / "ballast"
        fill_and_make_room(bench, announced, lambda: fill(ballast), ballast.unlink)
        assert "the disk is full: free some space; what was stored before is kept" in bench.node.output
        bench.play(lambda: not bench.problems, "the end of it")
        finish(bench)
        copy = tmp_path / "copy.vloc"
        shutil.copy(disk / "site.vloc", copy)
        shutil.copytree(disk / "out", tmp_path / "out")
        assert faults.kept(copy) == names(announced)
    assert read_run(tmp_path / "out").frames


@pytest.mark.slow
def test_the_disk_of_the_run_log_is_full_while_repeating(tmp_path: Path) -> None:
    """Localisation does not need its log: it goes on, and so does the log when there is room."""
    path = faults.teach(tmp_path / "site.vloc")
    with small_disk(tmp_path, "4m", {"map": str(path)}) as (bench, disk):
        bench.camera.calibrate()
        bench.well()
        fill(disk / "ballast")
        bench.play(lambda: "No space left on device" in bench.problems.get("problem_output", ""), "the reason")
        bench.play_to_poses("without a log")
        assert bench.judge() > 0
        (disk / "ballast").unlink()
        bench.well()
        shutil.copytree(disk / "out", tmp_path / "out")
    assert read_run(tmp_path / "out").frames


def test_the_map_is_removed_while_it_is_taught(tmp_path: Path) -> None:
    """With its side files, three times: it is written anew, whole; another file of its name is not touched."""
    path = tmp_path / "site.vloc"
    with faults.bench({**OFTEN, "map": str(path)}, tmp_path) as bench:
        announced = bench.probe.listen(Odometry, "keyframes")
        bench.camera.calibrate()
        bench.play(lambda: len(announced) >= 3, "keyframes")
        for file in tmp_path.glob("site.vloc*"):
            file.unlink()
        bench.play(lambda: "was removed while it was taught" in bench.problems.get("problem_map", ""), "the reason")
        bench.play(lambda: not bench.problems, "the end of it")
        path.unlink()
        path.write_text("something else")
        bench.play(lambda: "another file has its name" in bench.problems.get("problem_map", ""), "the reason")
        assert path.read_text() == "something else"
        path.rename(tmp_path / "moved")
        count = len(announced)
        bench.play(lambda: len(announced) > count + 1 and not bench.problems, "the end of it")
        path.unlink()  # and once more when nothing comes any more
        finish(bench)
        assert faults.kept(path) == names(announced)


def test_the_map_is_removed_while_it_is_repeated(tmp_path: Path) -> None:
    """What is open is used on, and no pose is wrong; put back, all is well."""
    path = faults.teach(tmp_path / "site.vloc")
    with faults.bench({"mode": "repeat", "map": str(path)}, tmp_path) as bench:
        bench.camera.calibrate()
        bench.well()
        path.rename(tmp_path / "elsewhere.vloc")
        bench.play(lambda: "was removed or replaced while it is in use" in bench.problems.get("problem_map", ""), "the reason")
        bench.poses.clear()
        bench.play(lambda: len(bench.poses) > 5, "poses")
        assert bench.judge() > 0
        (tmp_path / "elsewhere.vloc").rename(path)
        bench.well()


@pytest.mark.slow
def test_the_map_is_removed_under_place_recognition(tmp_path: Path) -> None:
    """Keyframes wait until it is back, though it is another file then, and none is left out."""
    path = faults.teach(tmp_path / "site.vloc", keyframe_distance=0.01)
    environment = samples.ros_environment()
    parameters = {"map": str(path), "begin_with": 3}
    with samples.node("place_recognition", parameters, tmp_path, environment) as node, samples.probe(environment) as probe:
        heard = probe.listen(DiagnosticArray, "/diagnostics")

        def value(key: str) -> str:
            return next((pair.value for array in heard[-1:] for pair in array.status[0].values if pair.key == key), "")

        def announce(*numbers: int) -> None:
            for number in numbers:
                probe.publish("keyframes", odometry_to_ros(number, "map", f"s1/k{number}", np.eye(4), np.eye(6)))

        announce(1, 2, 3)
        probe.wait(lambda: value("keyframes_searched") == str(faults.COUNT), "what was missed", 60.0)
        elsewhere = tmp_path / "elsewhere.vloc"
        with MapStore.open(path) as store:  # all of it in one file
            store.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(path, elsewhere)
        path.unlink()
        with MapStore.open(elsewhere) as store:
            session = store.begin_session(SessionKind.TEACH, "later")
            store.add_keyframe(session, 1, np.eye(4), store.features(KeyframeId(1, 1)), views(0)[0], None)
        probe.publish("keyframes", odometry_to_ros(20, "map", "s2/k1", np.eye(4), np.eye(6)))
        probe.wait(lambda: "was removed; 1 keyframes wait until it is back" in value("problem_bad_input"), "the reason", 60.0)
        shutil.copy(elsewhere, path)
        probe.wait(
            lambda: not value("problem_bad_input") and value("keyframes_waiting") == "0", f"the end of it: {heard[-1]}", 60.0
        )
        assert node.end() == 0, node.output
        assert "Traceback" not in node.output
    with MapStore.open(path, read_only=True) as store:
        assert len(searched_keyframes(store)) == faults.COUNT + 1


def test_what_the_map_holds_for_a_reranker_is_damaged(tmp_path: Path) -> None:
    """It is made again, the keyframe is searched for all the same, and the rest of the map stays as it is."""
    path = faults.teach(tmp_path / "site.vloc", keyframe_distance=0.01)
    reranker, card = {"loops.rerank.reranker": "ransac"}, RansacReranker().card
    assert main(["map", "redescribe", str(path), "--rerank", "ransac"]) == 0
    with MapStore.open(path) as store:
        before = contents(store)
        whole = {keyframe.id: patches_of(store, card, keyframe.id) for keyframe in store.keyframes()}
        store.database.execute("UPDATE patches SET content = zeroblob(100)")
    assert main(["map", "check", str(path)]) == 1
    gates = {"begin_with": 3, "loops.gates.gap.keyframes": 1, "loops.gates.gap.seconds": 0.0}
    environment = samples.ros_environment()
    with (
        samples.node("place_recognition", {"map": str(path), **gates, **reranker}, tmp_path, environment) as node,
        samples.probe(environment) as probe,
    ):
        heard = probe.listen(DiagnosticArray, "/diagnostics")
        said: list[str] = []

        def value(key: str) -> str:
            return next((pair.value for array in heard[-1:] for pair in array.status[0].values if pair.key == key), "")

        def searched() -> bool:
            said.append(value("problem_patches"))
            return value("keyframes_searched") == str(len(whole)) and not value("problem_patches")

        probe.publish("keyframes", odometry_to_ros(1, "map", "s1/k1", np.eye(4), np.eye(6)))
        probe.wait(searched, "all keyframes, and the end of the problem", 60.0)
        assert any("are damaged; they are made again" in text for text in said), said
        assert int(value("patches_made_again")) == len(whole)
        assert node.end() == 0, node.output
        assert "Traceback" not in node.output
    assert main(["map", "check", str(path)]) == 0
    with MapStore.open(path, read_only=True) as store:
        assert {id: patches_of(store, card, id) for id in whole} == whole and contents(store) == before
