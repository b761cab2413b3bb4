"""The trainer's process is killed at random moments, and poisoned maps: the map stays whole, and nothing wrong takes over."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from calibration_maps import SMALL, base_weights, flip_labels, ring_map, small_settings, spoiled_weights

pytest.importorskip("torch", reason="a calibration needs torch")

from vloc_ros.calibration.promotion import AgainstPromotion
from vloc_ros.calibration.run import calibrate
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import number_in_use, versions
from vloc_ros.processes import child_environment

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("VLOC_KILLS", "20"))


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ring")
    ring_map(folder / "ring.vloc")
    spoiled_weights(base_weights(folder))
    return folder


def start(room, folder):
    values = SMALL | {"descriptor": "thumbnail", "mining.attempts": 2, "mining.negatives": 1, "training.epochs": 1}
    (folder / "settings.json").write_text(json.dumps(values))
    command = [sys.executable, "-m", "vloc_ros.calibration.child", "--map", str(folder / "ring.vloc")]
    command += ["--work", str(folder / "work"), "--settings", str(folder / "settings.json")]
    command += ["--base", str(room / "base.safetensors"), "--eager"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment({}))


def test_killed_at_random_moments_it_ends_with_the_same_weights(room, tmp_path):
    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
        shutil.copy(room / "ring.vloc", folder)
    whole, killed = folders
    begun = time.monotonic()
    with start(room, whole) as process:
        out, _ = process.communicate()
    seconds = time.monotonic() - begun
    expected = json.loads(out.splitlines()[-1])["done"]
    assert process.returncode == 0 and expected["version"] == 1
    dice, kills, ends, stages = random.Random(random.SystemRandom().randrange(2**32)), 0, 0, []
    while kills < KILLS:
        with start(room, killed) as process:
            delay = dice.uniform(0.0, 0.7 * seconds)
            try:
                out, _ = process.communicate(timeout=delay)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                out, _ = process.communicate()
        lines = out.splitlines()
        if process.returncode == 0:  # it was faster: from the beginning
            assert json.loads(lines[-1])["done"]["sha256"] == expected["sha256"]
            ends += 1
            shutil.rmtree(killed / "work")
            (killed / "ring.vloc").write_bytes((room / "ring.vloc").read_bytes())
            continue
        assert process.returncode == -signal.SIGKILL
        kills += 1
        stages.append(json.loads(lines[-1])["stage"] if lines else "start")
        sys.stdout.write(f"kill {kills} after {delay:.1f} s of {seconds:.1f} s, {stages[-1]}\n")
        assert check_map(killed / "ring.vloc") == []
        with MapStore.open(killed / "ring.vloc", read_only=True) as store:
            assert len(versions(store)) <= 1 and number_in_use(store) == 0
    with start(room, killed) as process:
        out, _ = process.communicate()
    last = json.loads(out.splitlines()[-1])["done"]
    assert last["sha256"] == expected["sha256"] and last["promote"] == expected["promote"]
    assert last["decision"] == expected["decision"] and check_map(killed / "ring.vloc") == []
    with MapStore.open(killed / "ring.vloc", read_only=True) as store:
        assert [version.card.sha256 for version in versions(store)] == [expected["sha256"]]
    assert len(set(stages)) >= 2, stages


def test_sigterm_leaves_a_check_point_and_says_so(room, tmp_path):
    shutil.copy(room / "ring.vloc", tmp_path)
    with start(room, tmp_path) as process:
        for line in process.stdout:
            if json.loads(line).get("step") == 1:
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().splitlines()
    assert process.returncode == 1 and "interrupted" in json.loads(rest[-1])["error"]
    assert list((tmp_path / "work").glob("run-*/triplet/checkpoint.safetensors"))


def test_poisoned_labels_are_not_promoted_even_where_they_are_believed(room, tmp_path):
    """With the check of the labels switched off it is for the promotion test to find out."""
    path = tmp_path / "ring.vloc"
    shutil.copy(room / "ring.vloc", path)
    flip_labels(path, 0.5)
    settings = small_settings(
        max_misfit=1.0, descriptor=str(room / "base.safetensors"), promotion__min_stretches=2, promotion__min_queries=4
    )
    found = calibrate(path, tmp_path / "work", room / "base.safetensors", settings)
    assert not found.won and (found.refusal or found.decision.reasons)
    sys.stdout.write(f"{found.refusal or found.decision}\n")


def test_a_covered_camera_is_not_promoted(room, tmp_path):
    """All images show the same grey with noise; the loop closures are as good as ever."""
    path = ring_map(tmp_path / "dark.vloc", wall=np.full((120, 1440, 3), 9, np.uint8))
    settings = small_settings(descriptor=str(room / "base.safetensors"))
    found = calibrate(path, tmp_path / "work", room / "base.safetensors", settings)
    assert not found.won and AgainstPromotion.NOT_SIGNIFICANT in found.decision.reasons
    sys.stdout.write(f"{found.decision}\n")
