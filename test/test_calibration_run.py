"""A calibration of a whole map: what is refused at once, what a run leaves behind, and what the process says of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from calibration_maps import SMALL, base_weights, flip_labels, ring_map, small_settings, spoiled_weights

pytest.importorskip("torch", reason="a calibration needs torch")

from vloc_ros.calibration.child import Lines
from vloc_ros.calibration.promotion import Decision
from vloc_ros.calibration.run import Calibrated, calibrate
from vloc_ros.calibration.stage import Stage
from vloc_ros.cli import main
from vloc_ros.data.weights import load_card
from vloc_ros.errors import TrainingError, WeightsError
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.closures import forget_closures
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import number_in_use, switches, version, versions, weights_of
from vloc_ros.mapping.training_tuples import tuples_of
from vloc_ros.processes import child_environment
from vloc_ros.training.run_state import only_writer

QUICK = {"training__epochs": 1, "training__learning_rate": 1e-4, "learning__pairs": False}
QUICK |= {"mining__attempts": 2, "mining__negatives": 1}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with a map that was driven round twice, and weights to begin with."""
    folder = tmp_path_factory.mktemp("ring")
    ring_map(folder / "ring.vloc")
    spoiled_weights(base_weights(folder))
    return folder


@pytest.fixture
def site(room, tmp_path):
    """A copy of that map."""
    path = tmp_path / "ring.vloc"
    path.write_bytes((room / "ring.vloc").read_bytes())
    return path


def attempt(site, room, **changes):
    told = []
    found = calibrate(
        site, site.parent / "work", room / "base.safetensors", small_settings(**changes), lambda *what: told.append(what)
    )
    return found, told


# --- refusals


def test_without_inliers_nothing_is_learned(site, room):
    with MapStore.open(site) as store:
        forget_closures(store)
    found, told = attempt(site, room)
    assert found == Calibrated(refusal=found.refusal) and "has no inliers among 0 loop closures" in found.refusal
    assert {stage for stage, *_ in told} == {Stage.MINING} and not found.won
    values = found.to_dict()
    assert values["refusal"] == found.refusal and values["version"] is None and values["promote"] is False
    with MapStore.open(site) as store:
        assert versions(store) == [] and not tuples_of(store)


@pytest.mark.parametrize(
    ("share", "weights_too", "words"),
    [
        (1.0, True, "are the opposite of what the graph says when it is solved anew"),
        (0.4, True, "none of them is believed"),
        (1.0, False, "say the opposite of their weights"),
    ],
)
def test_labels_that_were_flipped_are_not_believed(site, room, share, weights_too, words):
    assert flip_labels(site, share, weights_too) > 10
    found, _ = attempt(site, room)
    assert words in found.refusal and found.version is None


def test_too_few_held_out_places_are_said_before_anything_is_trained(site, room):
    found, told = attempt(site, room, promotion__min_queries=500)
    assert "the promotion test asks for 500 from 4" in found.refusal and {stage for stage, *_ in told} == {Stage.MINING}
    assert not (site.parent / "work" / "plan.json").exists()


def test_a_map_without_images_teaches_nothing(tmp_path, room):

    bare = ring_map(tmp_path / "bare.vloc", images=False)
    assert "only 0 held-out keyframes" in attempt(bare, room)[0].refusal


def test_a_covered_camera_teaches_nothing(tmp_path, room):
    dark = ring_map(tmp_path / "dark.vloc", wall=np.full((120, 1440, 3), -500.0))
    found, told = attempt(dark, room)
    assert "was the camera covered?" in found.refusal and {stage for stage, *_ in told} == {Stage.MINING}


def test_there_must_be_weights_to_begin_with(site, room, tmp_path, monkeypatch):
    monkeypatch.setattr("vloc_ros.calibration.base.shipped_places", dict)  # as in an installation without models
    found = calibrate(site, tmp_path / "work", None, small_settings())
    assert "name a file with --base" in found.refusal
    with pytest.raises(WeightsError, match="is not a file of weights"):
        calibrate(site, tmp_path / "work", tmp_path / "no.safetensors", small_settings())
    local = Path(__file__).parents[1] / "models" / "unet.safetensors"
    if local.is_file():
        with pytest.raises(WeightsError, match="not of place recognition"):
            calibrate(site, tmp_path / "work", local, small_settings())


def test_one_process_works_in_a_folder(site, room, tmp_path):
    import os

    work = tmp_path / "work"
    with only_writer(work):
        pid = os.fork()  # a lock of this process is none for itself
        if pid == 0:
            try:
                calibrate(site, work, room / "base.safetensors", small_settings())
            except TrainingError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


# --- a whole run


@pytest.fixture(scope="module")
def done(room, tmp_path_factory):
    """A map is calibrated from good weights, and has to be better than bad ones."""
    folder = tmp_path_factory.mktemp("done")
    site = folder / "ring.vloc"
    site.write_bytes((room / "ring.vloc").read_bytes())
    told = []
    found = calibrate(site, folder / "work", room / "base.safetensors", quick(room), lambda *what: told.append(what))
    return site, found, told


def quick(room):
    return small_settings(**QUICK, descriptor=str(room / "spoiled.safetensors"))


def test_a_better_version_is_stored_with_all_that_it_was_decided_by(done, room):
    site, found, _ = done
    assert found.won and found.refusal is None and found.decision.before == "spoiled" and found.decision.after == "site-1"
    assert found.decision.attempt == 1 and found.decision.gain > 0.0
    with MapStore.open(site, read_only=True) as store:
        stored = version(store, 1)
        assert stored == found.version and number_in_use(store) == 0
        assert Decision.from_dict(stored.decision) == found.decision
        assert stored.card.parent == load_card(room / "base.safetensors").sha256 and stored.parent is None
        assert stored.card.results == str(found.decision) and "tuples" in stored.card.trained_on
        assert len(weights_of(store, 1)) > 10_000_000
        assert stored.probability is None or stored.probability["right"] >= 4
        assert tuples_of(store)
    assert check_map(site) == []
    assert found.report.name == "site-1.html" and "site-1 takes over" in found.report.read_text()
    assert json.loads(found.report.with_suffix(".json").read_text())["decision"] == found.decision.to_dict()


def test_stages_come_in_order_and_the_lock_of_the_map_is_announced(done):
    _, _, told = done
    assert list(dict.fromkeys(stage for stage, *_ in told)) == list(Stage)
    for stage in Stage:
        shares = [share for its, share, more in told if its is stage and "writing" not in more]
        assert shares == sorted(shares) and shares[0] >= 0.0 and shares[-1] <= 1.0
    writing = [(stage, more["writing"]) for stage, _, more in told if "writing" in more]
    assert writing == [(Stage.MINING, True), (Stage.MINING, False), (Stage.STORING, True), (Stage.STORING, False)]
    losses = [more["loss"] for stage, _, more in told if stage is Stage.TRAINING and "loss" in more]
    assert len(losses) >= 2 and all(loss > 0.0 for loss in losses)


def test_the_same_again_is_the_same_version_at_once(done, room):
    site, found, _ = done
    again = calibrate(site, site.parent / "work", room / "base.safetensors", quick(room))
    assert again == found
    with MapStore.open(site, read_only=True) as store:
        assert [v.number for v in versions(store)] == [1]


def command(done, room):
    site, *_ = done
    values = _flat(SMALL) | {name.replace("__", "."): value for name, value in QUICK.items()}
    values["descriptor"] = str(room / "spoiled.safetensors")
    common = ["calibrate", "--map", str(site), "--base", str(room / "base.safetensors"), "--out", str(site.parent / "work")]
    return common + [f"--set={name}={value}" for name, value in values.items()]


def test_the_command_keeps_what_is_in_use_unless_told(done, room, capsys):
    site, *_ = done
    for flags in (["--keep"], []):  # nobody is at a terminal here
        assert main([*command(done, room), *flags]) == 0
        kept = capsys.readouterr().out
        assert "takes over from spoiled" in kept and f"as before; vloc models promote 1 --map {site} changes that" in kept
    with MapStore.open(site, read_only=True) as store:
        assert number_in_use(store) == 0 and switches(store) == []


@pytest.mark.slow
def test_the_command_promotes_and_says_so(done, room, capsys):
    site, found, _ = done
    assert main([*command(done, room), "--promote", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["promoted"] is True and values["sha256"] == found.version.card.sha256
    with MapStore.open(site, read_only=True) as store:
        assert number_in_use(store) == 1
        assert switches(store)[-1].figures["gain"] == pytest.approx(found.decision.gain)
    assert check_map(site) == []


def _flat(values, prefix=""):
    result = {}
    for key, value in values.items():
        result |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def test_the_command_says_why_not(site, room, capsys):
    with MapStore.open(site) as store:
        forget_closures(store)
    assert main(["calibrate", "--map", str(site), "--base", str(room / "base.safetensors")]) == 3
    assert "is not calibrated: the pose graph has no inliers" in capsys.readouterr().out
    assert (site.with_suffix(".calibration")).is_dir()
    assert main(["calibrate"]) == 1 and "--map" in capsys.readouterr().err
    assert main(["calibrate", "--show-settings"]) == 0
    shown = capsys.readouterr().out
    assert "max_misfit" in shown and "objective: triplet" in shown and "part: published" in shown


# --- the process


def test_lines_are_few_but_complete(capsys):
    lines = Lines(sys.stdout)
    for step in range(1000):
        lines.progress(Stage.TRAINING, step / 1000, {"loss": 0.1})
    lines.progress(Stage.TRAINING, 0.9991, {"writing": True})
    lines.progress(Stage.TRAINING, 0.9992, {"writing": False})
    lines.progress(Stage.TRAINING, 1.0, {})
    lines.progress(Stage.STORING, 0.0, {})
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(said) < 20 and said[0] == {"stage": "training", "share": 0.0, "loss": 0.1}
    assert [line["writing"] for line in said if "writing" in line] == [True, False]
    assert [line["share"] for line in said[-2:]] == [1.0, 0.0] and said[-1]["stage"] == "storing"


def started(site, room, settings, work, *more):
    file = site.parent / "settings.json"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "vloc_ros.calibration.child", "--map", str(site), "--work", str(work)]
    command += ["--settings", str(file), "--base", str(room / "base.safetensors"), "--eager", *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=child_environment({"OMP_NUM_THREADS": "1"})
    )


def test_the_process_ends_with_done_or_with_a_sentence(site, room, tmp_path):
    with started(site, room, SMALL | {"promotion.min_queries": 500}, tmp_path / "work") as process:
        out, _ = process.communicate(timeout=120)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0 and lines[0] == {"stage": "mining", "share": 0.0}
    assert "asks for 500" in lines[-1]["done"]["refusal"]
    with started(site, room, {"nonsense": 1}, tmp_path / "work") as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "nonsense" in json.loads(out.splitlines()[-1])["error"]
