"""Networks of DISAM in files: back as they were, and what does not fit is refused in one sentence."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks need torch")

from vloc_ros.data.weights import WeightsCard, card_path, hash_of, load_weights, save_weights  # noqa: E402
from vloc_ros.errors import ConfigError, WeightsError  # noqa: E402
from vloc_ros.networks.disam_files import load_disam, save_disam  # noqa: E402
from vloc_ros.networks.disam_form import DisamForm, Stage  # noqa: E402
from vloc_ros.networks.domains import DomainNetwork, LatentCompression, random_domains  # noqa: E402

FORM = DisamForm(2, 36, 32, Stage.FINE, ("summer", "winter"))


@pytest.fixture
def network() -> DomainNetwork:
    made = random_domains(FORM, seed=2)
    made.compression = LatentCompression(FORM, 3, 5)
    with torch.no_grad():
        made.compression.mean.uniform_(generator=torch.Generator().manual_seed(1))
        made.compression.basis.uniform_(generator=torch.Generator().manual_seed(2))
    return made


@pytest.fixture
def path(tmp_path, network):
    path = tmp_path / "site.safetensors"
    save_disam(path, network, "two seasons", parent="abc", licence="ours", notes="short")
    return path


def change(path, tensors=None, **card):
    """Write other tensors (None takes one away), or another card, as a whole file."""
    found, old = load_weights(path)
    found.update(tensors or {})
    found = {name: tensor for name, tensor in found.items() if tensor is not None}
    save_weights(path, found, dataclasses.replace(old, **{"sha256": hash_of(found)} | card))


def refusal(path) -> str:
    """What is said of a file: one sentence that names it."""
    with pytest.raises(WeightsError) as caught:
        load_disam(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    return text


def test_a_network_comes_back(path, network):
    found, card = load_disam(path)
    assert found.form == FORM and not found.training
    before, after = network.state_dict(), found.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in before)
    images = torch.rand(2, 3, FORM.height, FORM.width, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        vectors = [one.compression(one.encode(images, 1), 1) for one in (network, found)]
    assert torch.equal(*vectors) and vectors[0].shape == (2, 5)
    assert isinstance(card, WeightsCard)
    assert (card.name, card.network, card.backbone) == ("site", "disam", "2 channels, 36x32, fine")
    assert (card.dimension, card.conditions, card.trained_on, card.parent) == (5, "summer,winter", "two seasons", "abc")
    assert (card.licence, card.notes) == ("ours", "short")


@pytest.mark.parametrize("parts", [{"decoders": False}, {"classifier": False}, {"decoders": False, "classifier": False}])
def test_parts_may_be_missing(tmp_path, parts):
    network = DomainNetwork(FORM, **parts, cell=2)
    save_disam(tmp_path / "a.safetensors", network, "nothing")
    found, card = load_disam(tmp_path / "a.safetensors")
    assert len(found.decoders) == (0 if "decoders" in parts else 2)
    assert (found.classifier is None) == ("classifier" in parts)
    assert card.dimension == found.compression.length == 8 * 4 * 5  # cells of 2 in a latent of 8 x 9


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"network": "gem"}, "holds weights of gem"),
        ({"backbone": "2 channels"}, "some of disam are needed"),
        ({"backbone": "2 channels, 36x32, medium"}, "some of disam are needed"),
        ({"backbone": "0 channels, 36x32, fine"}, "cannot be: a network of 0 channels"),
        ({"backbone": "2 channels, 34x32, fine"}, "cannot be: images of width 34 px"),
        ({"backbone": "99999 channels, 36x32, fine"}, "some of disam are needed"),
        ({"backbone": "9999 channels, 36x32, fine"}, "has the shape"),  # of hundreds of GB, if it were believed
        ({"conditions": "summer"}, "cannot be: images are translated between two or more"),
        ({"conditions": "summer,summer"}, "cannot be"),
        ({"conditions": "summer,winter,night"}, "lacks"),
        ({"conditions": ""}, "cannot be"),
        ({"preprocessing": "cropped"}, "prepared in another way"),
        ({"dimension": 6}, "makes descriptors of 5 elements and its card says 6"),
    ],
)
def test_cards_that_do_not_fit_are_refused(path, card, said):
    change(path, **card)
    assert said in refusal(path)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("encoders.1.first.1.weight", None, "lacks 1 of"),
        ("encoders.1.first.1.weight", np.zeros((2, 3, 7, 5), np.float32), "has the shape"),
        ("encoders.1.first.1.weight", np.full((2, 3, 7, 7), np.nan, np.float32), "not finite"),
        ("encoders.2.first.1.weight", np.zeros((2, 3, 7, 7), np.float32), "holds 1 weights that"),
        ("decoders.1.layers.0.layers.1.weight", None, "lacks 1 of"),
        ("classifier.layers.2.bias", None, "lacks 1 of"),
        ("compression.mean", None, "lacks 1 of"),
        ("compression.mean", np.zeros(71, np.float32), "has the shape"),
        ("compression.cell", None, "does not say how its latents are compressed"),
        ("compression.basis", None, "does not say how its latents are compressed"),
        ("compression.basis", np.zeros(72, np.float32), "does not say how its latents are compressed"),
        ("compression.cell", np.zeros(1, np.float32), "does not say how its latents are compressed"),
        ("compression.cell", np.full(1, 9.0, np.float32), "does not say how its latents are compressed"),
        ("compression.cell", np.full(1, np.nan, np.float32), "does not say how its latents are compressed"),
        ("compression.cell", np.full(1, 2.5, np.float32), "does not say how its latents are compressed"),
        ("compression.cell", np.full((1, 1), 3.0, np.float32), "does not say how its latents are compressed"),
    ],
)
def test_weights_that_do_not_fit_are_refused(path, name, tensor, said):
    change(path, {name: tensor})
    assert said in refusal(path)


def test_damaged_files_are_refused(path):
    content = path.read_bytes()
    for damaged in (b"", content[:100], content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        assert "copy" in refusal(path)
    path.write_bytes(content)
    card_path(path).write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_disam(path)
    card_path(path).write_text(json.dumps({"name": "x"}))
    with pytest.raises(WeightsError, match="is not one of this release"):
        load_disam(path)
    card_path(path).unlink()
    assert "has no model card" in refusal(path)


def test_a_name_must_end_as_weights_do(tmp_path, network):
    with pytest.raises(WeightsError, match=r"must end in \.safetensors"):
        save_disam(tmp_path / "site.pth", network, "nothing")


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 0},
        {"width": 28},
        {"height": 34},
        {"conditions": ("day",)},
        {"conditions": ("day", "day")},
        {"conditions": ("day", "late, dark")},
        {"conditions": ("day", "")},
    ],
)
def test_forms_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError):
        DisamForm(**wrong)
