"""Learned features through the commands and the nodes: taught and repeated, listed, imported, exported."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import ros_samples as samples
from local_samples import random_network, random_weights

from vloc_ros.cli import main
from vloc_ros.processes import NodeSpec, run_nodes

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (requirements/torch.txt)")
QUICK = ["--set", "features.learned.threads=1", "--set", "stereo.min_depth=0.8", "--rectification", "off"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(tmp_path_factory.mktemp("weights") / "small.safetensors", descriptor_size=64)


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_recording(tmp_path_factory.mktemp("corridor") / "c", samples.walk(6))


@pytest.fixture(scope="module")
def site(corridor: Path, weights: Path) -> Path:
    path = corridor.parent / "site.vloc"
    assert main(["teach", str(corridor), "--map", str(path), "--features", str(weights), *QUICK]) == 0
    return path


def test_repeat(corridor, site, weights, capsys):
    assert main(["repeat", str(corridor), "--map", str(site), "--features", str(weights), "--json", *QUICK]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["frames"] == 6 and values["localised"] >= 5, values


def test_the_map_names_the_weights_and_takes_no_others(corridor, site, weights, tmp_path, capsys):
    assert main(["map", "info", str(site)]) == 0
    assert "small, " in capsys.readouterr().out
    other = random_weights(tmp_path / "small.safetensors", descriptor_size=64, seed=1)
    for change in (["--features", str(other)], ["--features", str(weights), "--set", "features.learned.detection=window"]):
        assert main(["repeat", str(corridor), "--map", str(site), *change, *QUICK]) == 1
        assert "was made with other features (map: 'small', compact_unet-" in capsys.readouterr().err


def test_the_node_takes_a_file_of_weights(corridor, weights, tmp_path):
    parameters = {
        "mode": "teach",
        "map": str(tmp_path / "node.vloc"),
        "features.name": str(weights),
        "features.learned.threads": 1,
        "stereo.min_depth": 0.8,
        "qos.reliability": "reliable",
        "qos.depth": 20,
    }
    player = NodeSpec("player", "player", {"source": str(corridor), "lockstep": True, "rectification": "off"})
    lines: list[str] = []
    nodes = [NodeSpec("localization", "localization", parameters), player]
    code = run_nodes(nodes, until="player", timeout_s=80, environment=samples.ros_environment(), output=lines.append)
    assert code == 0, "\n".join(lines)
    from vloc_ros.mapping import MapStore

    with MapStore.open(tmp_path / "node.vloc", read_only=True) as store:
        assert store.feature_name == "small" and store.feature_fingerprint.startswith("compact_unet-")
        assert len(store.features(store.keyframes()[0].id)) > 50


def test_weights_list_and_info(weights, capsys):
    assert main(["weights", "list", str(weights.parent)]) == 0
    assert "compact_unet of width 8, 64 elements, trained on nothing" in capsys.readouterr().out
    assert main(["weights", "info", str(weights)]) == 0
    assert "grey, values from 0 to 1" in capsys.readouterr().out


def test_weights_import_of_u(tmp_path, capsys):
    import torch

    from vloc_ros.networks.local_files import load_local_network
    from vloc_ros.networks.unet import UNet
    from vloc_ros.networks.unet_checkpoint import published_names

    network = UNet(4).eval()
    tensors = published_names({name: tensor.numpy() for name, tensor in network.state_dict().items()})
    torch.save({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}, tmp_path / "u.pth")
    out = tmp_path / "u.safetensors"
    assert main(["weights", "import", str(tmp_path / "u.pth"), "--as", "unet", "--out", str(out)]) == 0
    assert "width 4" in capsys.readouterr().out
    image = torch.rand(1, 3, 32, 48)
    assert torch.equal(load_local_network(out)[0](image).logits, network(image).logits)
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "wrong.pth")
    assert main(["weights", "import", str(tmp_path / "wrong.pth"), "--as", "unet", "--out", str(out)]) == 1
    assert "holds no weights of a U-Net" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "module"), [("onnx", "onnxruntime"), ("openvino", "openvino"), ("torchscript", "torch")])
def test_export(weights, tmp_path, capsys, kind, module):
    if importlib.util.find_spec(module) is None or importlib.util.find_spec("onnx") is None:
        pytest.skip(f"{module} or onnx is not installed")
    from vloc_ros.networks.export_files import ExportKind

    out = tmp_path / f"a{ExportKind(kind).suffix}"
    assert main(["export", str(weights), "--to", kind, "--out", str(out), "--size", "96x64", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["difference"] < 1e-3
    assert values["bytes"] == sum(file.stat().st_size for file in tmp_path.glob("a.*")) > 1000


def test_torchscript_has_the_interface_of_vtr3():
    """RGB images in; key points of windows, dense descriptors as the maps enlarged, and scores out."""
    import torch

    from vloc_ros.features.keypoints import one_per_window
    from vloc_ros.networks.export import for_vtr3

    network = random_network()
    with torch.inference_mode():
        keypoints, descriptors, scores = for_vtr3(network, 16)(torch.full((1, 3, 64, 96), 0.5) + torch.rand(1, 1, 64, 96) * 0.4)
    assert keypoints.shape == (1, 2, 24) and descriptors.shape == (1, 32, 64, 96) and scores.shape == (1, 1, 64, 96)
    image = torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        made, maps = for_vtr3(network, 16)(image.repeat(1, 3, 1, 1)), network(image)
    expected = one_per_window(maps.logits[0, 0].numpy(), maps.scores[0, 0].numpy(), 16)
    assert np.abs(made[0][0].T.numpy() - expected.pixels).max() < 0.05


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "onnx", "--size", "100x64"], "multiples of 32 px"),
        (["--to", "onnx", "--size", "large"], "WIDTHxHEIGHT"),
        (["--to", "onnx", "--out", "a.pt"], "must end in .onnx"),
        (["--to", "torchscript", "--window", "1"], "--window 1"),
    ],
)
def test_export_of_what_cannot_be(weights, tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(weights), *arguments]) == 1
    assert complaint in capsys.readouterr().err and list(tmp_path.glob("a.*")) == []
