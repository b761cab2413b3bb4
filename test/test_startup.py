"""A start on a map takes what it needs and no more: the images stay where they are; and the benchmark measures what it says."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import ros_samples as samples

from vloc_ros.config import replace
from vloc_ros.data import StereoFrame
from vloc_ros.geometry import se3
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.localization import Localizer, State
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.processes import child_environment
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.redescribe import redescribe
from vloc_ros.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import load
import load_record
import startup
from startup_map import Place

SETTINGS = replace(Settings(), {"keyframes.distance": 0.25, "features.max_features": 500, "localization.descriptor": "hog"})
POSES = samples.walk(12, step=0.15)
IMAGE_BYTES = 10_000_000


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A map that describes its keyframes, as `vloc teach` leaves it."""
    path, extractor = tmp_path / "site.vloc", SETTINGS.features.create()
    with MapStore.create(path, samples.CAMERA, BASE_T_OPTICAL, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(samples.CAMERA, store, SETTINGS)
        for index, pose in enumerate(POSES):
            teacher.process(StereoFrame(index * 10**8, *samples.pair(pose)))
        teacher.close()
        redescribe(store, MapDescriptor.of(store, "hog"))
    return path


def bytes_read() -> int:
    """By this process, from files."""
    return startup.bytes_read(int(Path("/proc/self").resolve().name))


def test_a_lost_robot_finds_itself_without_the_images_of_the_map(site: Path) -> None:
    """They are replaced by much larger ones, which are no images."""
    connection = sqlite3.connect(site)
    connection.execute("UPDATE image SET jpeg = zeroblob(?)", (IMAGE_BYTES,))
    connection.commit()
    connection.close()
    before = bytes_read()
    with MapStore.open(site, read_only=True) as store:
        assert len(store.keyframes()) >= 4
        localizer = Localizer(samples.CAMERA, store, SETTINGS)
        results = [localizer.process(StereoFrame(k * 10**8, *samples.pair(POSES[3]))) for k in range(4)]
    assert results[-1].state is State.LOCALISED
    assert bytes_read() - before < IMAGE_BYTES


def test_bags_are_imported_with_the_first_bag() -> None:
    program = "import sys, vloc_ros.data, vloc_ros.data.writers; sys.exit('rosbags' in sys.modules)"
    environment = child_environment({})
    assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == 0


@pytest.mark.slow
def test_the_benchmark_starts_a_node_and_tells_its_phases(site: Path) -> None:
    pose = BASE_T_OPTICAL @ POSES[3] @ se3.inverse(BASE_T_OPTICAL)
    row = startup.start(Namespace(rate=10.0, cold=True), site, Place(0.45, pose, samples.pair(POSES[3])))
    phases = [row[name] for name in startup.PHASES]
    assert phases[0] > 0.0 and phases[1:] == sorted(phases[1:]) and row["error_m"] < 0.1


def record(memory: list[int], ages: list[float], waiting: int = 0) -> load_record.Record:
    made = load_record.Record()
    made.said("/camera0/localization: localisation", {"state": "localised"})
    made.said("/camera0/localization: input", {"images_waiting": str(waiting), "dropped_superseded": "7"})
    for second, (mib, age) in enumerate(zip(memory, ages, strict=True)):
        made.finished("camera0", age)
        made.note(float(second), {"localization0": mib * load_record.MIB})
    return made


@pytest.mark.parametrize(
    ("memory", "ages", "waiting", "cameras", "text"),
    [
        ([100] * 40, [0.5] * 40, 3, 1, ""),
        (list(range(100, 140)), [0.5] * 40, 3, 1, "grew by"),
        ([100] * 40, [0.1 * k for k in range(40)], 3, 1, "grew old"),
        ([100] * 40, [0.5] * 40, 400, 1, "400 images_waiting"),
        ([100] * 40, [0.5] * 40, 3, 4, "only 1 of 4"),
    ],
)
def test_the_load_is_judged(memory: list[int], ages: list[float], waiting: int, cameras: int, text: str) -> None:
    made = record(memory, ages, waiting)
    faults = made.faults(10.0, cameras)
    assert (faults == []) if not text else (len(faults) == 1 and text in faults[0])
    assert "dropped_superseded 7" in made.table()


@pytest.mark.slow
def test_the_load_runs(site: Path, tmp_path: Path) -> None:
    made = load_record.Record()
    options = Namespace(out=tmp_path, cameras=2, minutes=0.25, rate=10.0)
    published = load.run(options, site, np.array([samples.pair(pose) for pose in POSES]), made)
    assert published > 100 and made.figures()["finished"] > 20
    assert made.faults(200.0, 2) == [], made.table()
