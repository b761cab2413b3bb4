"""Killed at any moment of a switch, a map is sound and one version answers; what was described stays."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from map_samples import UNTUNED, teach

pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

from model_switcher import VERSIONS

import vloc_ros
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import (
    NO_VERSION,
    add_version,
    name_of,
    number_in_use,
    pending_switch,
    switches,
    undescribed,
    version_in_use,
    weights_of,
)
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.variances import variances_of
from vloc_ros.networks import Backbone, NetworkKind
from vloc_ros.networks.files import save_network
from vloc_ros.networks.network import random_network
from vloc_ros.retrieval.of_map import MapDescriptor

HERE = Path(__file__).parent
KEYFRAMES = 12
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(vloc_ros.__file__).parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture
def path(tmp_path):
    path = teach(tmp_path / "site.vloc", KEYFRAMES)
    with MapStore.open(path) as store:
        for seed in range(1, VERSIONS + 1):
            file = tmp_path / f"{seed}.safetensors"
            card = save_network(file, random_network(NetworkKind.UNCERTAINTY, Backbone.MOBILENETV3, seed), "nothing")
            add_version(store, file.read_bytes(), card)
    return path


def truth(path):
    """(N, D) descriptors and variances of each version, made without the map's help."""
    with MapStore.open(path, read_only=True) as store:
        describers = {name: MapDescriptor.of(store, name) for name in map(name_of, range(1, VERSIONS + 1))}
        ids = [keyframe.id for keyframe in store.keyframes()]
        return {name: {id: describer.describe(store, id) for id in ids} for name, describer in describers.items()}


def assert_one_version_answers(path, expected):
    """Sound, and whatever the descriptors of a version are in the map, they are that version's own and complete when in use."""
    assert check_map(path) == []
    with MapStore.open(path, read_only=True) as store:
        for name, right in expected.items():
            ids, vectors = store.global_descriptors(name)
            variances = variances_of(store, name)
            for id, vector in zip(ids, vectors, strict=True):
                np.testing.assert_allclose(vector, right[id][0], atol=1e-5)
                assert variances[id] == pytest.approx(right[id][1], rel=1e-3)
        used = version_in_use(store)
        answering = MapDescriptor.of(store, "auto")
        assert answering.version == used
        assert answering.descriptor.card.name == (UNTUNED if used is None else used.name)
        if used is not None:
            assert undescribed(store, used.name) == [] and len(answering.stored(store)[0]) == KEYFRAMES
        pending = pending_switch(store)
        return number_in_use(store), None if pending is None else (pending.number, undescribed(store, name_of(pending.version)))


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_of_a_switch_at_random_moments(path, kills):
    """One map, one process after the other; each goes on where the one before was killed."""
    expected, seen, dice = truth(path), set(), random.Random()
    command = [sys.executable, str(HERE / "model_switcher.py"), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as parent:
        before = (NO_VERSION, None)
        for number in range(1, kills + 1):
            seed = random.SystemRandom().randrange(2**32)
            dice.seed(seed)
            wanted, delay = dice.randrange(2 * KEYFRAMES), dice.uniform(0.0, 0.3)
            sys.stdout.write(f"kill {number}: seed {seed}, {wanted} keyframes and {delay:.4f} s later\n")
            parent.stdin.write("go\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline())
            for _ in range(wanted):
                assert parent.stdout.readline().startswith("s1/k")
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
            ended = next(line for line in parent.stdout if not line.startswith("s1/k"))
            assert int(ended) == signal.SIGKILL, "it died of itself"
            after = assert_one_version_answers(path, expected)
            if before[1] is not None and after[1] is not None and before[1][0] == after[1][0]:
                assert set(after[1][1]) <= set(before[1][1]), "what was described stays"
            seen.add((after[0], None if after[1] is None else len(after[1][1])))
            before = after
        parent.stdin.close()
    with MapStore.open(path, read_only=True) as store:
        sys.stdout.write(f"seen (in use, left): {sorted(seen, key=str)}; {len(switches(store))} switches\n")
    assert len(seen) >= kills // 4 + 1, f"the kills hit hardly anything but one moment: {seen}"


@pytest.mark.slow
def test_kill_of_vloc_models_promote_at_twenty_random_moments(path):
    """The command itself, from the start of the interpreter; asked again it goes on, and the last one ends."""
    expected, dice, target = truth(path), random.Random(), 1
    command = [sys.executable, "-m", "vloc_ros", "models", "promote"]
    begun = time.monotonic()
    assert subprocess.run([*command, "1", "--map", str(path)], env=ENVIRONMENT, stdout=subprocess.DEVNULL).returncode == 0
    whole = time.monotonic() - begun
    finished = 0
    for number in range(1, 21):
        with MapStore.open(path, read_only=True) as store:
            if pending_switch(store) is None:
                target, finished = number_in_use(store) % VERSIONS + 1, finished + 1
        seed = random.SystemRandom().randrange(2**32)
        dice.seed(seed)
        delay = dice.uniform(0.2, 1.1) * whole
        sys.stdout.write(f"kill {number}: seed {seed}, after {delay:.4f} s\n")
        with subprocess.Popen([*command, str(target), "--map", str(path)], env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
            time.sleep(delay)
            process.kill()
        assert_one_version_answers(path, expected)
    sys.stdout.write(f"{finished} promotions begun, a whole one takes {whole:.1f} s\n")
    assert subprocess.run([*command, str(target), "--map", str(path)], env=ENVIRONMENT, stdout=subprocess.DEVNULL).returncode == 0
    assert assert_one_version_answers(path, expected) == (target, None)
    with MapStore.open(path, read_only=True) as store:
        assert len(weights_of(store, target)) > 1_000_000
