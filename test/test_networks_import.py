"""Check points of system M whose names inside were never published, and of timm's ViT."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.weights import load_card  # noqa: E402
from vloc_ros.errors import WeightsError  # noqa: E402
from vloc_ros.networks import Backbone, NetworkKind  # noqa: E402
from vloc_ros.networks.checkpoint import import_checkpoint  # noqa: E402
from vloc_ros.networks.network import random_network, tensors_of  # noqa: E402

State = dict[str, torch.Tensor]
# How the released program might call its parts: our names and theirs.
LAYOUTS = {
    "attributes": {
        "encoder.features.": "backbone.0.",
        "encoder.project.": "backbone.1.",
        "pool.gem.": "mean_head.0.",
        "pool.fc.": "mean_head.2.",
        "variance.gem.": "std_head.0.",
        "variance.fc.0.": "std_head.2.",
        "variance.fc.1.": "std_head.3.",
    },
    "flat": {
        "encoder.features.": "encoder.module.0.",
        "encoder.project.": "encoder.module.1.",
        "variance.gem.": "gem_sigma.",
        "variance.fc.0.": "fc1_sigma.",
        "variance.fc.1.": "fc2_sigma.",
        "pool.gem.": "gem_mean.",
        "pool.fc.": "fc_mean.",
    },
}


@pytest.fixture(scope="module")
def mobilenet() -> State:
    network = random_network(NetworkKind.UNCERTAINTY, Backbone.MOBILENETV3, seed=6)
    torch.nn.init.constant_(network.pool.gem.p, 2.5)
    torch.nn.init.constant_(network.variance.gem.p, 3.5)
    torch.nn.init.normal_(network.variance.fc[1].weight, generator=torch.Generator().manual_seed(0))
    return dict(network.state_dict())


def renamed(state: State, names: dict[str, str]) -> State:
    result = {}
    for name, tensor in state.items():
        ours = next((prefix for prefix in names if name.startswith(prefix)), "")
        result[names.get(ours, "") + name[len(ours) :]] = tensor
    return result


def as_published(state: State) -> dict[str, object]:
    """The entries that the check points of system M have."""
    momentum = {0: {"momentum_buffer": torch.zeros(3)}}
    return {
        "epoch": 9,
        "state_dict": state,
        "recalls": {1: np.float64(0.5)},
        "best_score": np.float64(0.7),
        "optimizer": {"state": momentum, "param_groups": [{"lr": 1e-4, "momentum": 0.9, "params": [0]}]},
        "parallel": False,
    }


def read(path: Path, kind: NetworkKind = NetworkKind.UNCERTAINTY, backbone: Backbone = Backbone.MOBILENETV3):
    result = import_checkpoint(path, kind, backbone)
    return tensors_of(result.network), result.random


@pytest.mark.parametrize("layout", LAYOUTS)
def test_heads_are_recognised_by_their_shapes(mobilenet, tmp_path, layout):
    torch.save(as_published(renamed(mobilenet, LAYOUTS[layout])), tmp_path / "u.pth.tar")
    tensors, random = read(tmp_path / "u.pth.tar")
    assert random == () and tensors.keys() == mobilenet.keys()
    assert [name for name in tensors if not np.array_equal(tensors[name], mobilenet[name].numpy())] == []


def test_vgg_below_any_name_is_recognised(tmp_path):
    ours = random_network(NetworkKind.UNCERTAINTY, Backbone.VGG16, seed=2).state_dict()
    names = {"encoder.features.": "base.vgg.", "pool.": "mean.", "variance.": "sigma."}
    torch.save(as_published(renamed(dict(ours), names)), tmp_path / "vgg.pth")
    tensors, random = read(tmp_path / "vgg.pth", backbone=Backbone.VGG16)
    assert random == () and all(np.array_equal(tensors[name], ours[name].numpy()) for name in ours)


def test_a_gem_network_has_a_random_variance_and_a_gem_head_is_recognised(mobilenet, tmp_path):
    gem = {name: tensor for name, tensor in renamed(mobilenet, LAYOUTS["flat"]).items() if "sigma" not in name}
    torch.save(as_published(gem), tmp_path / "gem.pth")
    tensors, random = read(tmp_path / "gem.pth")
    assert random == ("variance",) and np.array_equal(tensors["pool.fc.weight"], mobilenet["pool.fc.weight"].numpy())
    tensors, random = read(tmp_path / "gem.pth", NetworkKind.GEM)
    assert random == () and tensors["pool.gem.p"] == [2.5]


def test_powers_that_cannot_be_told_apart_are_refused_unless_they_are_equal(mobilenet, tmp_path):
    state = renamed(mobilenet, LAYOUTS["attributes"] | {"pool.gem.": "power_a.", "variance.gem.": "power_b."})
    torch.save(state, tmp_path / "u.pth")
    with pytest.raises(WeightsError, match=r"u.pth: which of 'power_a.p' and 'power_b.p' is the power of the mean head .*: rename"):
        read(tmp_path / "u.pth")
    torch.save(state | {"power_a.p": torch.full((1,), 3.0), "power_b.p": torch.full((1,), 3.0)}, tmp_path / "u.pth")
    assert read(tmp_path / "u.pth")[0]["variance.gem.p"] == [3.0]


def test_a_wrong_file_is_told_what_is_wrong(mobilenet, tmp_path):
    published = renamed(mobilenet, LAYOUTS["attributes"])
    netvlad = {name: tensor for name, tensor in published.items() if name.startswith("backbone.")}
    netvlad |= {"pool.conv.weight": torch.zeros(64, 256, 1, 1), "pool.centroids": torch.zeros(64, 256)}
    cases = {
        "lacks 3 of .* weights of uncertainty on mobilenetv3: pool.gem.p, pool.fc.weight, pool.fc.bias": netvlad,
        "lacks 1 of .* weights of uncertainty on mobilenetv3: variance.fc.1.bias": {
            name: tensor for name, tensor in published.items() if name != "std_head.3.bias"
        },
        "'encoder.features.1.block.0.0.weight' has the shape": published | {"backbone.0.1.block.0.0.weight": torch.zeros(1)},
        "holds values that are not finite": published | {"mean_head.2.bias": torch.full((255,), float("nan"))},
    }
    for words, state in cases.items():
        torch.save(as_published(state), tmp_path / "wrong.pth")
        with pytest.raises(WeightsError, match=words) as caught:
            read(tmp_path / "wrong.pth")
        assert "wrong.pth" in str(caught.value)
    torch.save(as_published(published), tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=r"wrong.pth holds no weights of vgg16: it has backbone\.0"):
        read(tmp_path / "wrong.pth", backbone=Backbone.VGG16)


@pytest.mark.parametrize("prefix", ["", "vit."])
def test_a_vit_of_timm_loses_its_classifier(tmp_path, prefix):
    encoder = random_network(NetworkKind.BAREBONE, Backbone.VIT_SMALL, seed=3).encoder.state_dict()
    state = {f"{prefix}{name}": tensor for name, tensor in encoder.items()}
    torch.save({"model_state_dict": state | {"head.weight": torch.zeros(1000, 384)}}, tmp_path / "vit.pth")
    tensors, random = read(tmp_path / "vit.pth", NetworkKind.BAREBONE, Backbone.VIT_SMALL)
    assert random == () and tensors.keys() == {f"encoder.{name}" for name in encoder}
    assert all(np.array_equal(tensors[f"encoder.{name}"], tensor.numpy()) for name, tensor in encoder.items())
    state[f"{prefix}pos_embed"] = torch.zeros(1, 577, 384)
    torch.save(state, tmp_path / "large.pth")
    with pytest.raises(WeightsError, match=r"'encoder.pos_embed' has the shape \(1, 577, 384\) instead of \(1, 197, 384\)"):
        read(tmp_path / "large.pth", NetworkKind.BAREBONE, Backbone.VIT_SMALL)


def test_the_command_imports_an_uncertainty_network(mobilenet, tmp_path, capsys):
    torch.save(as_published(renamed(mobilenet, LAYOUTS["flat"])), tmp_path / "u.pth.tar")
    command = ["weights", "import", str(tmp_path / "u.pth.tar"), "--as", "uncertainty", "--out", str(tmp_path / "u.safetensors")]
    assert main([*command, "--backbone", "mobilenetv3", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["network"], values["backbone"], values["dimension"]) == ("uncertainty", "mobilenetv3", 255)
    assert load_card(tmp_path / "u.safetensors").sha256 == values["sha256"]
    assert main([*command, "--backbone", "vit_small"]) == 1
    assert "there is no uncertainty on vit_small: take vgg16 or compact_unet or mobilenetv3" in capsys.readouterr().err
