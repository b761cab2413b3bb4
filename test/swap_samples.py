"""A map of a walk there and back with versions of a model that nobody uses yet, for the tests of the swap."""

from __future__ import annotations

from pathlib import Path

import ros_samples as samples
from map_samples import UNTUNED
from version_samples import PROBABILITY, untrained

from vloc_ros.config import replace
from vloc_ros.data import open_recording
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.mapping.model_versions import NO_VERSION, SwitchReason, add_version, ask_switch, number_in_use, switches
from vloc_ros.mapping.searches import searches_of
from vloc_ros.settings import Settings

GATES = {"loops.gates.gap.keyframes": 4, "loops.gates.gap.seconds": 0.3}


def teach_with_versions(folder: Path, out: int, versions: int) -> Path:
    """A map of ``2 out - 1`` keyframes; needs torch."""
    way = samples.walk(out)
    reader = open_recording(samples.write_recording(folder / "kitti", [*way, *way[-2::-1]]))
    settings = replace(Settings(), {"keyframes.distance": 0.05, "features.max_features": 500})
    extractor, path = settings.features.create(), folder / "site.vloc"
    with MapStore.create(path, reader.camera, reader.base_T_camera, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(reader.camera, store, settings, "walk")
        for index in range(len(reader)):
            teacher.process(reader.frame(index), None)
        teacher.close()
        for seed in range(versions):
            add_version(store, *untrained(folder, seed), probability=PROBABILITY.to_dict())
    return path


def ask(path: Path, number: int, reason: SwitchReason = SwitchReason.PROMOTED) -> None:
    """What calibration does after a won test, or the watch after a loss."""
    with MapStore.open(path) as store:
        ask_switch(store, number, reason)


def in_use(path: Path) -> int:
    with MapStore.open(path, read_only=True) as store:
        return number_in_use(store)


def assert_each_search_was_by_the_version_in_use(path: Path) -> None:
    """By the clock of the searches and of the switches."""
    with MapStore.open(path, read_only=True) as store:
        finished = [(switch.finished_ns, switch.version) for switch in switches(store) if switch.finished_ns is not None]
        for row in searches_of(store):
            before = [version for finished_ns, version in finished if finished_ns <= row.searched_ns]
            expected = before[-1] if before else NO_VERSION
            assert row.version == expected, f"{row} while version {expected} was in use"
            assert row.model == (f"site-{expected}" if expected else UNTUNED)
