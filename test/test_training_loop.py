"""The training loop: learns, goes on exactly where it was killed, and does in two processes what it does in one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from data_samples import texture  # noqa: E402
from training_samples import NearestObjective, ShiftSource, SparseSource, shifted, train_toy  # noqa: E402

from vloc_ros.errors import ConfigError, DataError, TrainingError  # noqa: E402
from vloc_ros.training import checkpoint as files  # noqa: E402
from vloc_ros.training import distributed, run_folder  # noqa: E402
from vloc_ros.training.distributed import Group  # noqa: E402
from vloc_ros.training.events import EventFile, crc32c  # noqa: E402
from vloc_ros.training.interruption import Interruption  # noqa: E402
from vloc_ros.training.run_state import only_writer  # noqa: E402
from vloc_ros.training.schedule import learning_rate  # noqa: E402
from vloc_ros.training.settings import TrainingSettings  # noqa: E402

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def drawn():
    """For the tests that want the curves of a run."""


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """The others do without: to draw them takes as long as so small a training itself."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)


def history(run: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    found = files.read(run)
    assert found is not None
    return found.tensors


def test_it_learns(tmp_path, drawn):
    outcome = train_toy(tmp_path, {"epochs": 10, "learning_rate": 0.004})
    rows = history(tmp_path)
    assert outcome.steps == 30 and len(rows) == 10
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["validation_right"] > 0.6 > 0.3 > rows[0]["validation_right"]
    assert outcome.best == max(row["task"] for row in rows)
    assert {"best.safetensors", "curves.png", files.FILE_NAME, files.PREVIOUS_NAME} <= {path.name for path in tmp_path.iterdir()}


LONG = {"samples": 24, "epochs": 3, "validation_samples": 4}


def test_killed_and_resumed_equals_never_killed(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, HERE / "training_samples.py", killed, "workers=1", *(f"{k}={v}" for k, v in LONG.items())]
    child = subprocess.Popen(command, env=ENVIRONMENT, cwd=HERE)
    deadline = time.monotonic() + 120
    steps = 0
    while steps < 8 and child.poll() is None and time.monotonic() < deadline:
        found = files.read(killed)
        steps = 0 if found is None else found.state["run"]["step"]
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert 8 <= files.read(killed).state["run"]["step"] < 18
    resumed = train_toy(killed, LONG)
    never = train_toy(whole, LONG)
    assert resumed.steps == never.steps == 18 and resumed.best == never.best and resumed.best_epoch == never.best_epoch
    ours, theirs = tensors(killed), tensors(whole)
    assert ours.keys() == theirs.keys() and any(name.startswith("optimizer.") for name in ours)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert history(killed) == history(whole)
    assert (killed / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


def test_a_finished_run_stays_as_it_is_and_can_be_prolonged(tmp_path):
    changes = {"epochs": 1, "schedule": "constant"}
    train_toy(tmp_path, changes)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    assert train_toy(tmp_path, changes).steps == 3
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    assert train_toy(tmp_path, changes | {"epochs": 2}).steps == 6


def test_a_damaged_check_point_falls_back_to_the_one_before(tmp_path, caplog):
    train_toy(tmp_path, {"epochs": 2})
    last = tensors(tmp_path)
    path = tmp_path / files.FILE_NAME
    path.write_bytes(path.read_bytes()[:-1000])
    train_toy(tmp_path, {"epochs": 2})
    assert "not a whole check point" in caplog.text
    again = tensors(tmp_path)
    assert all(torch.equal(last[name], again[name]) for name in last)
    for name in (files.FILE_NAME, files.PREVIOUS_NAME):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"checkpoint\.previous\.safetensors is not a whole check point"):
        train_toy(tmp_path, {"epochs": 2})


def test_other_settings_are_refused_by_name(tmp_path):
    train_toy(tmp_path, {"epochs": 1})
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ConfigError, match=r"other settings \(training.learning_rate 0.001 there and 0.01 here, training.seed"):
        train_toy(tmp_path, {"epochs": 1, "learning_rate": 0.01, "seed": 2, "workers": 1})
    with pytest.raises(ConfigError, match=r"training.epochs 1 there"):  # the cosine depends on them
        train_toy(tmp_path, {"epochs": 2})
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_only_one_training_writes_to_a_folder(tmp_path):
    holding = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print('held'); input()"
    command = [sys.executable, "-c", holding, tmp_path / ".lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n" or pytest.fail("the other process holds no lock")
        with pytest.raises(TrainingError, match="another training writes"), only_writer(tmp_path):
            pass
        other.communicate("\n")
    with only_writer(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make the folder"):
        train_toy(tmp_path / "file" / "run", {"epochs": 1})


class Poisoned(NearestObjective):
    """Not a number in some steps."""

    def __init__(self, steps: set[int]) -> None:
        self.steps, self.calls = steps, -1

    def __call__(self, network, batch, epoch):
        loss, terms = super().__call__(network, batch, epoch)
        if not torch.is_grad_enabled():
            return loss, terms
        self.calls += 1
        if self.calls in self.steps:
            batch.images_a.fill_(float("nan"))
            loss, _ = super().__call__(network, batch, epoch)  # reaches the statistics of the network, too
        return loss, terms


def test_a_loss_that_is_not_a_number_names_step_and_pairs(tmp_path):
    with pytest.raises(TrainingError, match=r"step 4: the loss is nan .*shift:\d, shift:\d") as caught:
        train_toy(tmp_path, {}, Poisoned({4}))
    assert "training.bad_steps" in str(caught.value)
    assert files.read(tmp_path).state["run"]["step"] == 4


def test_some_bad_steps_are_left_out_and_counted(tmp_path):
    outcome = train_toy(tmp_path, {"bad_steps": 2}, Poisoned({1, 4}))
    assert outcome.skipped == 2 and outcome.steps == 9
    assert all(torch.isfinite(tensor).all() for tensor in tensors(tmp_path).values())
    with pytest.raises(TrainingError, match="step 5"):
        train_toy(tmp_path / "more", {"bad_steps": 2}, Poisoned({1, 4, 5}))


class Broken(ShiftSource):
    """One image is damaged."""

    def pair(self, index, rng):
        if index == 5:
            raise DataError("image 5 is damaged")
        return shifted(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_ends_the_training_with_its_own_words(tmp_path, workers):
    with pytest.raises(DataError, match=r"^image 5 is damaged$"):
        train_toy(tmp_path, {"workers": workers}, source=Broken())


def test_an_interrupt_leaves_a_check_point_of_the_last_step(tmp_path):
    def interrupt(progress):
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    changes = {"checkpoint_every": 100}
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path / "a", changes, on_step=interrupt)
    assert files.read(tmp_path / "a").state["run"]["step"] in (5, 6)
    train_toy(tmp_path / "a", changes)
    train_toy(tmp_path / "b", changes)
    ours, theirs = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert history(tmp_path / "a") == history(tmp_path / "b")


def test_a_second_interrupt_is_immediate():
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background of a shell
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_best_is_by_the_task_and_patience_ends_it(tmp_path):
    marks = iter([0.2, 0.6, 0.5, 0.5, 0.4])
    saved = []

    def judge(network):
        saved.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        assert not network.training
        return {"task": next(marks), "right": 7.0}

    outcome = train_toy(tmp_path, {"epochs": 9, "patience": 2}, validator=judge)
    assert (outcome.best, outcome.best_epoch, outcome.ended_early, outcome.steps) == (0.6, 1, True, 12)
    from safetensors.torch import load_file

    best = load_file(tmp_path / "best.safetensors")
    assert all(torch.equal(best[name], saved[1][name]) for name in best)
    assert history(tmp_path)[2]["right"] == 7.0
    assert train_toy(tmp_path, {"epochs": 9, "patience": 2}, validator=judge).steps == 12  # it has ended
    with pytest.raises(ConfigError, match="no 'task' but right"):
        train_toy(tmp_path / "other", {"epochs": 1}, validator=lambda network: {"right": 1.0})


def test_two_processes_equal_one(tmp_path, monkeypatch):
    """A batch of 3 is split in 1 and 2 pairs, and some shares hold nothing to learn from; this is the first process.

    Small steps: where a rounding error decides on which side of its kink a ReLU is, large ones of Adam would lead elsewhere.
    """
    changes = {"batch": 3, "epochs": 2, "samples": 9, "learning_rate": 1e-5}
    words = [f"{name}={value}" for name, value in changes.items()]
    command = [sys.executable, HERE / "training_samples.py", tmp_path / "two", *words, "sparse"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}  # as torchrun does
    second = ENVIRONMENT | told | {"RANK": "1", "LOCAL_RANK": "1"}
    with subprocess.Popen(command, env=second, cwd=HERE) as child:
        try:
            train_toy(tmp_path / "one", changes, source=SparseSource())  # while the other one starts
            with monkeypatch.context() as here:
                for name, value in (told | {"RANK": "0", "LOCAL_RANK": "0"}).items():
                    here.setenv(name, value)
                here.setattr(distributed, "_PATIENCE", timedelta(seconds=120))  # with a process that has died
                train_toy(tmp_path / "two", changes, source=SparseSource())
            assert child.wait(timeout=60) == 0
        finally:
            child.kill()
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    assert len(one) == len(two) == 2
    for ours, theirs in zip(one, two, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["task"] == pytest.approx(theirs["task"], rel=1e-4)
    ours, theirs = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    gradients = [name for name in ours if name.endswith("exp_avg")]
    assert len(gradients) > 30 and ours.keys() <= theirs.keys()  # what is not learned has gradients of zero in several processes
    for name in gradients:  # shares weighed wrongly would be off by a third or more
        assert float((ours[name] - theirs[name]).abs().max()) < 0.1 * float(ours[name].abs().max()) + 1e-9, name
    for name in ours:
        if "running" in name:
            assert torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-4), name
    # A run of two processes goes on in one.
    assert train_toy(tmp_path / "two", changes, source=SparseSource()).steps == 6


@pytest.mark.slow
def test_torchrun_starts_the_command(tmp_path):
    """Training by the command itself, on views of pictures."""
    import cv2

    (tmp_path / "pictures").mkdir()
    for number in range(4):
        assert cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), texture(number, True, (160, 120)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    data = ["--data", f"homography:{tmp_path / 'pictures'}", "--held-out", f"homography:{tmp_path / 'pictures'}"]
    changes = {"epochs": 1, "samples": 8, "batch": 4, "workers": 1, "validation_samples": 4}
    small = ["images.width=96", "images.height=64", "validation.pairs=2", *(f"training.{k}={v}" for k, v in changes.items())]
    sets = [word for value in small for word in ("--set", value)]
    command = [*launcher, "-m", "vloc_ros", "train", "features", *data, "--out", tmp_path / "run", "--width", "6", *sets, "--json"]
    result = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    values = json.loads(result.stdout)  # of the first process alone
    assert values["steps"] == 2 and values["epoch"] == 1 and Path(values["weights"]).exists()


def test_shares_of_a_batch_are_all_of_it():
    for size in (1, 2, 3, 5):
        groups = [Group(rank, size, torch.device("cpu")) for rank in range(size)]
        assert [place for group in groups for place in group.share(8)] == list(range(8))


def test_the_learning_rate_rises_and_falls():
    settings = TrainingSettings(epochs=10, samples=80, batch=8, warm_up=10, learning_rate=0.1)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.1) == rates[10]
    assert rates[55] == pytest.approx(0.05) and rates[-1] < 1e-4
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_event_files_are_what_tensorboard_reads(tmp_path):
    """Checked against the definition of TFRecord, and against TensorBoard's own messages where it is installed."""
    import struct

    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720
    file = EventFile(tmp_path)
    file.write(300, {"loss": 0.25, "task": -1.5})
    (path,) = tmp_path.iterdir()
    data, messages = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        for part, mark in ((data[:8], data[8:12]), (data[12 : 12 + length], data[12 + length : 16 + length])):
            crc = crc32c(part)
            assert struct.unpack("<I", mark)[0] == ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
        messages.append(data[12 : 12 + length])
        data = data[16 + length :]
    assert messages[0].endswith(b"brain.Event:2") and b"loss\x15" + struct.pack("<f", 0.25) in messages[1]
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2", reason="TensorBoard is not installed")
    event = event_pb2.Event.FromString(messages[1])
    assert event.step == 300 and [(v.tag, v.simple_value) for v in event.summary.value] == [("loss", 0.25), ("task", -1.5)]
