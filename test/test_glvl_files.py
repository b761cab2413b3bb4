"""Networks of GLVL in files: back as they were, their local half apart, and what does not fit is refused in one sentence."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from glvl_samples import random_glvl

torch = pytest.importorskip("torch", reason="networks need torch")

from vloc_ros.calibration.base import base_of  # noqa: E402
from vloc_ros.data.weights import GLVL, card_path, hash_of, load_card, load_weights, save_weights  # noqa: E402
from vloc_ros.errors import WeightsError  # noqa: E402
from vloc_ros.networks.files import load_network  # noqa: E402
from vloc_ros.networks.glvl_files import glvl_of, load_glvl, save_glvl, save_superpoint_of  # noqa: E402
from vloc_ros.networks.local_files import build_network, load_local_network  # noqa: E402


@pytest.fixture(scope="module")
def network():
    return random_glvl()


@pytest.fixture
def path(tmp_path: Path, network) -> Path:
    save_glvl(tmp_path / "glvl.safetensors", network, "a map", "abc", "ours", "2 m", "short")
    return tmp_path / "glvl.safetensors"


@pytest.fixture
def local(tmp_path: Path, network) -> Path:
    save_superpoint_of(tmp_path / "superpoint.safetensors", network, "a map", "ours", "2 m", "short")
    return tmp_path / "superpoint.safetensors"


def change(path: Path, tensors: dict[str, np.ndarray | None] | None = None, **card: object) -> None:
    """Write other tensors (None takes one away), or another card, as a whole file."""
    found, old = load_weights(path)
    found.update(tensors or {})
    found = {name: tensor for name, tensor in found.items() if tensor is not None}
    save_weights(path, found, dataclasses.replace(old, **{"sha256": hash_of(found)} | card))


def refusal(load, path: Path) -> str:
    """What is said of a file: one sentence that names it."""
    with pytest.raises(WeightsError) as caught:
        load(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    return text


def test_a_network_comes_back(path, network):
    found, card = load_glvl(path)
    assert found.form == network.form and not found.training
    before, after = network.state_dict(), found.state_dict()
    same = [name for name in before if not name.endswith("num_batches_tracked")]
    assert list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in same)
    image = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(network(image), found(image), strict=True))
    assert card == load_card(path)


def test_what_the_card_says(path):
    card = load_card(path)
    assert (card.network, card.backbone) == (GLVL, "resnet 8 1-2-1-1, descriptors 32, 96 px")
    assert card.dimension == 256 and card.name == "glvl" and card.sha256 == hash_of(load_weights(path)[0])
    assert card.preprocessing == "whole image to 96x96 (area, linear where enlarged), grey, values from 0 to 1"
    said = (card.trained_on, card.parent, card.licence, card.results, card.notes)
    assert said == ("a map", "abc", "ours", "2 m", "short")
    assert not any("num_batches" in name for name in load_weights(path)[0])


def test_the_local_half_is_a_network_of_local_features(path, local, network):
    found, card = load_local_network(local)
    assert (card.network, card.backbone, card.dimension) == ("superpoint", "width 8, blocks 1-2", 32)
    assert card.parent == load_card(path).sha256 and card.preprocessing == "grey, values from 0 to 1"
    image = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        assert torch.equal(found(image).maps[0], network(image).descriptors)


def test_the_published_size_is_what_is_built_without_blocks():
    assert build_network("superpoint", 64, 256).backbone == "width 64, blocks 3-4"
    assert build_network("superpoint", 8, 32, (1, 1)).backbone == "width 8, blocks 1-1"
    for blocks in ((1,), (1, 0), (99, 99)):
        with pytest.raises(WeightsError, match="cannot be"):
            build_network("superpoint", 8, 32, blocks)


@pytest.mark.parametrize(
    ("tensors", "card", "complaint"),
    [
        ({"gem.p": None}, {}, "lacks 1 of"),
        ({"more": np.zeros(1, np.float32)}, {}, "does not have: more"),
        ({"gem.p": np.zeros(2, np.float32)}, {}, r"instead of \(1,\)"),
        ({"gem.p": np.full(1, np.nan, np.float32)}, {}, "not finite"),
        ({}, {"backbone": "resnet 9999 1-2-1-1, descriptors 32, 96 px"}, "cannot be"),
        ({}, {"backbone": "resnet 8 1-2-1-999, descriptors 32, 96 px"}, "cannot be"),
        ({}, {"backbone": "resnet 8 1-2-1-1, descriptors 32, 9 px"}, "cannot be"),
        ({}, {"backbone": "resnet 8 1-2-1-1, descriptors 0, 96 px"}, "cannot be"),
        ({}, {"backbone": "resnet 8 1-2-1-1, descriptors 64, 96 px"}, "instead of"),
        ({}, {"backbone": "resnet 8 1-2-1, descriptors 32, 96 px"}, "here some of glvl are needed"),
        ({}, {"backbone": "vgg16"}, "here some of glvl are needed"),
        ({}, {"network": "disam"}, "here some of glvl are needed"),
        ({}, {"dimension": 255}, "vectors of 256 elements and its card says 255"),
        ({}, {"preprocessing": "RGB"}, "prepared in another way"),
        ({}, {"backbone": "resnet 8 1-2-1-1, descriptors 32, 128 px"}, "prepared in another way"),
    ],
)
def test_what_does_not_fit(path, tensors, card, complaint):
    change(path, tensors, **card)
    assert re.search(complaint, refusal(load_glvl, path))


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        ({"backbone": "width 8"}, "how large the network is ('width 8, blocks 3-4')"),
        ({"backbone": "width 8, blocks 1-2-1-1"}, "how large the network is ('width 8, blocks 1-2')"),
        ({"backbone": "width 8, blocks 1-3"}, "lacks"),
        ({"backbone": "resnet 8 1-2-1-1"}, "how large the network is"),
        ({"dimension": 33}, "shape"),
        ({"network": "compact_unet"}, "how large the network is ('width 8')"),
        ({"preprocessing": "RGB, values from 0 to 1"}, "prepared in another way"),
    ],
)
def test_local_halves_that_do_not_fit(local, card, complaint):
    change(local, **card)
    assert complaint in refusal(load_local_network, local)


def test_files_that_are_damaged_or_missing(path, tmp_path):
    card_path(path).unlink()
    assert "no model card" in refusal(load_glvl, path)
    assert "not a file of weights" in refusal(load_glvl, tmp_path / "none.safetensors")


def test_names_of_files(tmp_path, network):
    for save in (save_glvl, save_superpoint_of):
        with pytest.raises(WeightsError, match="must end in"):
            save(tmp_path / "glvl.bin", network, "nothing")


def test_others_do_not_take_it(path, tmp_path):
    """Whoever needs a network of another kind says which command takes this one."""
    assert "`vloc train glvl` alone takes" in refusal(load_network, path)
    with pytest.raises(WeightsError, match="maps of the ground"):
        base_of(None, path, tmp_path)


def test_weights_from_memory(path):
    tensors, card = load_weights(path)
    assert glvl_of(tensors, card, "the model 'x'").form.size == 96
    with pytest.raises(WeightsError, match="the model 'x' lacks"):
        glvl_of({}, card, "the model 'x'")
