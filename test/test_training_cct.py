"""Training of place recognition on networks of one input size, alone and as the first stage of a file with both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from network_samples import place as picture  # noqa: E402

from vloc_ros.calibration.tuples import TrainingTuple, TupleSet  # noqa: E402
from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.models import shipped_features  # noqa: E402
from vloc_ros.data.output import write_image  # noqa: E402
from vloc_ros.errors import ConfigError  # noqa: E402
from vloc_ros.mapping.keyframe import KeyframeId  # noqa: E402
from vloc_ros.networks import Backbone, LearnedPart, NetworkKind  # noqa: E402
from vloc_ros.networks.files import load_network, save_network  # noqa: E402
from vloc_ros.networks.local_files import load_local_network  # noqa: E402
from vloc_ros.networks.network import random_network  # noqa: E402
from vloc_ros.networks.two_stage import random_two_stage  # noqa: E402
from vloc_ros.networks.two_stage_files import load_two_stage, save_two_stage  # noqa: E402
from vloc_ros.training import run_folder  # noqa: E402
from vloc_ros.training.place_views import PlaceImageSettings  # noqa: E402
from vloc_ros.training.settings import TrainingSettings  # noqa: E402
from vloc_ros.training.tuple_settings import TripletSettings  # noqa: E402
from vloc_ros.training.tuple_training import TupleJob, tune  # noqa: E402

FAST = ("epochs=1", "samples=2", "batch=2", "validation_samples=2", "workers=0", "warm_up=1")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """To draw curves takes as long as so small a training."""
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    for number in range(3):
        for hour, brightness in enumerate((1.0, 0.5)):
            write_image(tmp_path / "cameras" / f"camera{number}" / f"{hour}.png", picture(number, brightness, colour=True))
    return tmp_path / "cameras"


def command(cameras: Path, *more: str) -> list[str]:
    sets = [word for value in FAST for word in ("--set", f"training.{value}")]
    data = ["--data", f"static:{cameras}", "--held-out", f"static:{cameras}", "--out", str(cameras.parent / "run")]
    return ["train", "places", "--network", "cct_small", *data, *sets, "--set", "images.per_place=2", *more]


def test_images_have_the_size_that_the_network_learns_from():
    assert PlaceImageSettings().sized_for(Backbone.COMPACT_UNET).size == 160
    assert PlaceImageSettings(size=96).sized_for(Backbone.VGG16).size == 96
    assert PlaceImageSettings().sized_for(Backbone.CCT_SMALL).size == 256
    assert PlaceImageSettings(size=384).sized_for(Backbone.CCT14).size == 384
    for size, backbone, words in (
        (160, Backbone.CCT_SMALL, "256 px"),
        (32, Backbone.VGG16, "64 to 224"),
        (300, Backbone.VGG16, "224"),
    ):
        with pytest.raises(ConfigError, match=words):
            PlaceImageSettings(size=size).sized_for(backbone)


def test_a_cct_learns_places(cameras, capsys):
    assert main(command(cameras, "--json")) == 0
    values = json.loads(capsys.readouterr().out)
    network, card = load_network(Path(values["weights"]))
    assert (card.network, card.backbone, network.dimension) == ("plain_gem", "cct_small", 192)
    assert 0.0 <= values["task"] <= 1.0 and not network.training
    begun = load_local_network(shipped_features()["unet"])[0].state_dict()["encoder.0.0.weight"]  # a step away from it
    assert torch.allclose(network.encoder.tokenizer.trunk.encoder[0][0].weight, begun, atol=0.02)
    assert main(command(cameras, "--head", "netvlad", "--out", str(cameras.parent / "other"))) == 1
    assert "there is no netvlad on cct_small" in capsys.readouterr().err


def test_the_second_stage_of_a_file_stays_with_the_first(cameras, tmp_path):
    card = save_two_stage(tmp_path / "both.safetensors", random_two_stage(Backbone.CCT_SMALL, 2), "nothing")
    assert main(command(cameras, "--start", str(tmp_path / "both.safetensors"))) == 0
    trained, made = load_two_stage(tmp_path / "run" / "best.safetensors")
    before = load_two_stage(tmp_path / "both.safetensors")[0].state_dict()
    changed = {name.split(".")[0] for name, tensor in trained.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"place"} and made.parent == card.sha256


def test_tuples_reach_it_at_its_size(tmp_path):
    start = tmp_path / "start.safetensors"
    save_network(start, random_network(NetworkKind.PLAIN_GEM, Backbone.CCT_SMALL), "nothing")
    ids = [KeyframeId(1, number) for number in range(1, 5)]
    tuples = TupleSet((TrainingTuple(ids[0], ids[1], (ids[2], ids[3]), 1.0, 0),))
    settings = TrainingSettings(epochs=1, batch=1, workers=0, warm_up=0)

    def image_of(id: KeyframeId) -> np.ndarray:
        return picture(id.keyframe, colour=True)

    job = TupleJob(start, TripletSettings(margin=1.0), LearnedPart.PUBLISHED, tuples, image_of, settings, list, "one tuple")
    assert tune(job, tmp_path / "run")[0].steps == 1
    ours, theirs = (load_network(path)[0].state_dict() for path in (tmp_path / "run" / "best.safetensors", start))
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
