"""Training of place recognition: sources, batches, the loss, the loop in one process and two, and the weights that come out."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from network_samples import place as picture  # noqa: E402
from place_samples import IMAGES, MadeUpPlaces, TinyNetwork, train_tiny  # noqa: E402

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.config import from_dict, replace  # noqa: E402
from vloc_ros.data.output import write_image  # noqa: E402
from vloc_ros.networks import Backbone, NetworkKind  # noqa: E402
from vloc_ros.networks.files import load_network  # noqa: E402
from vloc_ros.networks.network import random_network  # noqa: E402
from vloc_ros.retrieval import View, create_descriptor  # noqa: E402
from vloc_ros.training import checkpoint, distributed, run_folder  # noqa: E402
from vloc_ros.training.augmentation import AugmentationSettings  # noqa: E402
from vloc_ros.training.distributed import Group  # noqa: E402
from vloc_ros.training.live_norm import let_norms_learn, normalise_inputs, with_frozen_norms  # noqa: E402
from vloc_ros.training.multi_similarity import MultiSimilaritySettings, mined, multi_similarity  # noqa: E402
from vloc_ros.training.place_feed import PlaceFeed  # noqa: E402
from vloc_ros.training.place_registry import default_settings, open_places  # noqa: E402
from vloc_ros.training.registry import DataSpec, open_source, settings_class  # noqa: E402
from vloc_ros.training.sampling import Weighted  # noqa: E402
from vloc_ros.training.settings import TrainingSettings  # noqa: E402

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
ALONE = Group(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """One thread, and no pictures of curves, which take as long as so small a training."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)
    yield
    torch.set_num_threads(before)


def history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def feed_of(count: int = 4, **changes: object) -> PlaceFeed:
    settings = from_dict(TrainingSettings, {"samples": 8, "batch": count, "workers": 0, "validation_samples": 4} | changes)
    sources = [Weighted(MadeUpPlaces(0), 1.0, "a"), Weighted(MadeUpPlaces(50), 1.0, "b")]
    return PlaceFeed(sources, [Weighted(MadeUpPlaces(90), 1.0, "c")], settings, IMAGES, AugmentationSettings(0.5))


class TestLoss:
    # Anchor 0 and image 1 are one place, 2 and 3 two others, 4 is near 0 and counts as neither.
    SIMILARITY = torch.tensor([[1.0, 0.6, 0.55, 0.3, 0.9]])
    SAME = torch.tensor([[False, True, False, False, False]])
    DIFFERENT = torch.tensor([[False, False, True, True, False]])

    def test_what_is_clearly_right_is_left_out(self):
        pairs = mined(self.SIMILARITY, self.SAME, self.DIFFERENT, 0.1)
        assert pairs.positive.tolist() == [[False, True, False, False, False]]  # 0.6 < 0.55 + 0.1
        assert pairs.negative.tolist() == [[False, False, True, False, False]]  # 0.55 > 0.6 - 0.1 > 0.3
        clear = mined(self.SIMILARITY, self.SAME, self.DIFFERENT, 0.02)
        assert not clear.positive.any() and not clear.negative.any()

    def test_it_is_that_of_the_paper(self):
        settings = MultiSimilaritySettings(positive_scale=2.0, negative_scale=50.0, base=0.5)
        pairs = mined(self.SIMILARITY, self.SAME, self.DIFFERENT, 0.4)  # all of them
        expected = math.log(1 + math.exp(-2.0 * 0.1)) / 2.0
        expected += math.log(1 + math.exp(50.0 * 0.05) + math.exp(50.0 * -0.2)) / 50.0
        assert float(multi_similarity(self.SIMILARITY, pairs, settings)[0]) == pytest.approx(expected, rel=1e-5)

    def test_without_pairs_it_is_zero_and_large_exponents_do_not_overflow(self):
        none = torch.zeros(1, 5, dtype=torch.bool)
        pairs = mined(self.SIMILARITY, none, none, 0.1)
        assert float(multi_similarity(self.SIMILARITY, pairs, MultiSimilaritySettings())[0]) == 0.0
        steep = MultiSimilaritySettings(negative_scale=500.0, base=-1.0)
        similarity = self.SIMILARITY.clone().requires_grad_()
        loss = multi_similarity(similarity, mined(self.SIMILARITY, self.SAME, self.DIFFERENT, 0.4), steep).sum()
        loss.backward()
        assert math.isfinite(float(loss)) and bool(torch.isfinite(similarity.grad).all())


class TestFeed:
    def test_a_batch_follows_from_the_number_of_the_step(self):
        whole = [portion.content for portion in feed_of().batches(0, 3, ALONE)]
        later = next(feed_of().batches(2, 3, ALONE)).content
        assert torch.equal(later.images, whole[2].images) and torch.equal(later.places, whole[2].places)
        assert whole[0].images.shape == (12, 3, 64, 64) and not torch.equal(whole[0].images, whole[1].images)
        assert all(len(set(group.tolist())) == 1 for group in whole[0].places.reshape(4, 3))

    def test_shares_of_processes_are_the_batch(self):
        whole = next(feed_of(5).batches(1, 2, ALONE)).content
        shares = [next(feed_of(5).batches(1, 2, Group(rank, 2, torch.device("cpu")))).content for rank in range(2)]
        assert torch.equal(torch.cat([share.images for share in shares]), whole.images)
        assert torch.equal(torch.cat([share.places for share in shares]), whole.places)

    def test_held_out_images_are_as_they_are(self):
        portions = list(feed_of().held_out(ALONE))
        assert len(portions) == 1 and portions[0].count == 4
        assert bool((portions[0].content.places % 2 == 0).all())  # none is mirrored
        again = list(feed_of().held_out(ALONE))
        assert torch.equal(portions[0].content.images, again[0].content.images)

    def test_what_identifies_a_run(self):
        assert feed_of().settings() == {"data.a": [1.0, 8], "data.b": [1.0, 8]}


def test_norms_learn_in_training_and_are_frozen_in_files(tmp_path):
    network = random_network(NetworkKind.GEM, Backbone.MOBILENETV3)
    names = set(network.state_dict())
    let_norms_learn(network)
    assert {name for name in network.state_dict() if not name.endswith("num_batches_tracked")} == names
    learned = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert "encoder.features.0.1.weight" in learned and learned == {name for name, _ in network.named_parameters()}
    images = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 3, 64, 64)).astype(np.float32))
    normalise_inputs(network)
    network.train()
    network(images)
    network.eval()
    assert float(network.pool.fc.input_norm.running_mean.abs().max()) > 1e-3
    with torch.inference_mode():
        assert torch.allclose(with_frozen_norms(network)(images), network(images), atol=1e-5)
    assert float(network.encoder.features[0][1].running_var.sub(1.0).abs().max()) > 0.01


class TestLoop:
    def test_it_learns(self, tmp_path):
        outcome = train_tiny(tmp_path, {"epochs": 12, "learning_rate": 0.003, "samples": 30})
        rows = history(tmp_path)
        assert outcome.steps == 72 and rows[-1]["loss"] < 0.7 * rows[0]["loss"]
        assert rows[-1]["right"] > rows[0]["right"] + 0.2

    def test_interrupted_and_resumed_equals_never_interrupted(self, tmp_path):
        def stop(done):
            if done.step == 2:
                raise RuntimeError("power cut")

        with pytest.raises(RuntimeError):
            train_tiny(tmp_path / "cut", {}, on_step=stop)
        assert train_tiny(tmp_path / "cut", {}).steps == train_tiny(tmp_path / "whole", {}).steps == 6
        ours, theirs = (checkpoint.read(tmp_path / name).tensors for name in ("cut", "whole"))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)

    def test_two_processes_equal_one(self, tmp_path, monkeypatch):
        """A batch of 5 places is split in 2 and 3, and each image is compared with those of both."""
        changes = {"learning_rate": 1e-5}
        command = [sys.executable, HERE / "place_samples.py", tmp_path / "two", "learning_rate=1e-5"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
        second = ENVIRONMENT | told | {"RANK": "1", "LOCAL_RANK": "1"}
        with subprocess.Popen(command, env=second, cwd=HERE) as child:
            try:
                train_tiny(tmp_path / "one", changes)
                with monkeypatch.context() as here:
                    for name, value in (told | {"RANK": "0", "LOCAL_RANK": "0"}).items():
                        here.setenv(name, value)
                    here.setattr(distributed, "_PATIENCE", timedelta(seconds=300))
                    train_tiny(tmp_path / "two", changes)
                assert child.wait(timeout=300) == 0
            finally:
                child.kill()
        for ours, theirs in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
            for name in ("loss", "right", "positive", "negative", "validation_loss"):
                assert ours[name] == pytest.approx(theirs[name], rel=1e-3), name
        ours, theirs = (checkpoint.read(tmp_path / name).tensors for name in ("one", "two"))
        gradients = [name for name in ours if name.endswith("exp_avg")]
        assert len(gradients) == len(list(TinyNetwork().parameters()))
        for name in gradients:  # without those of images that another process has, they would be off by a third or more
            assert float((ours[name] - theirs[name]).abs().max()) < 0.02 * float(ours[name].abs().max()) + 1e-9, name


@pytest.mark.parametrize(("held_out", "learned", "watched"), [("", "ab", "ab"), ("b, d", "a", "b"), ("b,c", "a", "b")])
def test_fixed_cameras_are_held_out_by_name(tmp_path, held_out, learned, watched):
    for camera in "abc":
        for hour in range(2):
            write_image(tmp_path / camera / f"{hour}.png", picture(ord(camera), 1.0 - 0.2 * hour))
    spec, named = DataSpec("static", tmp_path), {"static.exclude": "c", "static.held_out": held_out}
    of_places, of_pairs = replace(default_settings(), named), replace(settings_class("contrastive")(), named)
    for is_held_out, expected in ((False, learned), (True, watched)):
        places = open_places(spec, of_places, is_held_out)
        assert [places.place(k).name for k in range(len(places))] == [f"static:{camera}" for camera in expected]
        assert list(open_source(spec, of_pairs, is_held_out).cameras) == list(expected)


class TestCommand:
    FAST = ("training.epochs=2", "training.samples=4", "training.batch=4", "training.validation_samples=4", "training.workers=0")
    FAST += ("images.size=64", "images.per_place=2", "training.warm_up=1", "centre_images=10")

    @pytest.fixture
    def cameras(self, tmp_path: Path) -> Path:
        for number in range(5):
            for hour, brightness in enumerate((1.0, 0.7, 0.4)):
                write_image(tmp_path / "cameras" / f"camera{number}" / f"{hour}.png", picture(number, brightness, colour=True))
        return tmp_path / "cameras"

    def command(self, cameras: Path, *more: str, fast: tuple[str, ...] = FAST) -> list[str]:
        data = ["--data", f"static:{cameras}", "--held-out", f"static:{cameras}", "--out", str(cameras.parent / "run")]
        sets = [word for value in (*fast, "static.held_out=camera3,camera4") for word in ("--set", value)]
        return ["train", "places", *data, *sets, *more]

    def test_weights_are_a_descriptor_and_the_run_goes_on(self, cameras, capsys):
        network = ("--network", "mobilenetv3", "--licence", "CC0-1.0", "--json")
        assert main(self.command(cameras, *network)) == 0
        values = json.loads(capsys.readouterr().out)
        assert values["steps"] == 2 and 0.0 <= values["task"] <= 1.0
        trained, card = load_network(Path(values["weights"]))
        assert (card.network, card.backbone, card.dimension, card.licence) == ("gem", "mobilenetv3", 255, "CC0-1.0")
        assert "static:cameras (1); epoch" in card.trained_on
        assert float(trained.encoder.features[0][1].weight.sub(1.0).abs().max()) > 0.0  # its normalisations have learned
        descriptor = create_descriptor(values["weights"])
        assert np.linalg.norm(descriptor.describe(View(picture(1)))) == pytest.approx(1.0, abs=1e-5)
        assert {"task", "static/recall_1", "validation_loss", "right"} <= set(history(cameras.parent / "run")[-1])
        assert main(self.command(cameras, *network)) == 0  # a finished run stays as it is
        assert json.loads(capsys.readouterr().out)["seconds"] == values["seconds"]
        start = ["--start", values["weights"], "--out", str(cameras.parent / "more"), "--json"]
        assert main([*self.command(cameras, *network[:2]), *start]) == 0
        assert load_network(cameras.parent / "more" / "best.safetensors")[1].parent == card.sha256

    def test_netvlad_with_a_projection(self, cameras):
        one = (*self.FAST, "training.epochs=1")
        assert main(self.command(cameras, "--head", "netvlad", "--project", "8", fast=one)) == 0
        network, card = load_network(cameras.parent / "run" / "best.safetensors")
        assert (card.network, card.dimension, network.pooled_dimension) == ("netvlad", 8, 64 * 256)
        centres = network.pool.centroids.detach()
        assert len({tuple(np.round(row, 5)) for row in centres.numpy()}) == 64 and bool(torch.isfinite(centres).all())

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["--data", "photos:x"], "with a kind of: simulated, static, homography, tree, aligned, recording"),
            (["--project", "-1"], "--project must be 1 or more"),
            (["--set", "images.size=500"], "images.size"),
            (["--data", "aligned:one"], "must name the folders of two traverses"),
            (["--data", "recording:a,b,c"], "must name one recording, or two"),
        ],
    )
    def test_what_cannot_be_is_said(self, cameras, capsys, more, words):
        assert main(self.command(cameras, *more)) == 1
        assert words in capsys.readouterr().err

    def test_nothing_named(self, capsys):
        assert main(["train", "places", "--out", "run"]) == 1
        assert "name what to learn from" in capsys.readouterr().err
        assert main(["train", "places", "--show-settings"]) == 0
        assert "per_place: 4" in capsys.readouterr().out
