"""The U-Net of U: its known numbers, what its outputs are, and how its weights are named elsewhere."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from vloc_ros.errors import WeightsError

torch = pytest.importorskip("torch", reason="torch is not installed; the networks need it")

from vloc_ros.networks.local import sample_maps  # noqa: E402
from vloc_ros.networks.unet import UNet  # noqa: E402
from vloc_ros.networks.unet_checkpoint import import_unet, published_names  # noqa: E402


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("width", "encoder", "decoder", "whole"), [(16, 1_180_752, 784_817, 2_750_386), (32, 4_716_192, 3_136_353, 10_988_898)]
)
def test_it_has_the_published_number_of_parameters(width, encoder, decoder, whole):
    network = UNet(width)
    assert count(network.encoder) == encoder
    assert count(network.detector) == count(network.scorer) == decoder
    assert count(network) == whole


@pytest.mark.parametrize(("width", "size"), [(16, 496), (32, 992)])
def test_descriptors_have_the_published_length(width, size):
    assert UNet(width).descriptor_size == size


@pytest.mark.parametrize("width", [2, 16])
def test_maps_have_the_sizes_that_the_contract_says(width):
    network = UNet(width).eval()
    with torch.inference_mode():
        maps = network(torch.rand(2, 3, 48, 64))
    assert maps.logits.shape == maps.scores.shape == (2, 1, 48, 64)
    assert tuple(m.shape[1] for m in maps.maps) == network.map_channels
    for one, stride in zip(maps.maps, network.strides, strict=True):
        assert one.shape[-2:] == (48 // stride, 64 // stride)
    assert maps.scores.min() > 0.0 and maps.scores.max() < 1.0


def test_scores_are_a_sigmoid_once():
    network = UNet(2).eval()
    with torch.no_grad():
        network.scorer.head.weight.zero_()
        network.scorer.head.bias.fill_(-6.0)
        scores = network(torch.rand(1, 3, 32, 32)).scores
    assert scores.max().item() == pytest.approx(1.0 / (1.0 + torch.e**6), rel=1e-3)  # twice would be 0.5006


def test_the_correlation_of_a_descriptor_with_itself_is_one_and_of_its_opposite_minus_one():
    network = UNet(4).eval()
    with torch.inference_mode():
        columns = sample_maps(network(torch.rand(1, 3, 32, 48)), network, torch.tensor([[[3.25, 7.5], [40.0, 20.75]]]))
        one, other = network.describe(columns), network.describe(5.0 - 2.0 * columns)
    assert torch.allclose((one * one).sum(-1), torch.ones(1, 2), atol=1e-5)
    assert torch.allclose((one * other).sum(-1), -torch.ones(1, 2), atol=1e-5)


def test_it_can_be_learned_all_the_way_down():
    network = UNet(2)
    maps = network(torch.rand(2, 3, 32, 32))
    (maps.logits.square().mean() + maps.scores.mean() + sum(m.mean() for m in maps.maps)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


# --- check points of others


@pytest.fixture(scope="module")
def random_network():
    torch.manual_seed(1)
    network = UNet(2).eval()
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
        assert "running" in name or "tracked" in name
    return network


def published(network, prefix=""):
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return {prefix + name: torch.from_numpy(tensor) for name, tensor in published_names(weights).items()}


def same(a, b):
    image = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        one, other = a(image), b(image)
    return torch.equal(one.logits, other.logits) and torch.equal(one.scores, other.scores)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("entry", [None, "state_dict", "model_state_dict"])
def test_a_published_check_point_is_imported(random_network, tmp_path, prefix, entry):
    weights = published(random_network, prefix)
    torch.save(weights if entry is None else {"epoch": 7, entry: weights}, tmp_path / "network_x_layer2.pth")
    found = import_unet(tmp_path / "network_x_layer2.pth")
    assert found.width == 2 and not found.training and same(found, random_network)


def test_the_published_names_are_these(random_network):
    names = published(random_network)
    assert {"inc.double_conv.0.weight", "down4.maxpool_conv.1.double_conv.4.running_var", "outc_score.conv.bias"} <= names.keys()
    assert names["up1_pts.conv.double_conv.0.weight"].shape == (16, 48, 3, 3)  # 24 m -> 8 m
    assert names["up4_score.conv.double_conv.3.weight"].shape == (2, 2, 3, 3)
    blocks = {name.split(".")[0] for name in names}
    assert blocks == {"inc", *(f"down{i}" for i in range(1, 5)), "outc_pts", "outc_score"} | {
        f"up{i}_{head}" for i in range(1, 5) for head in ("pts", "score")
    }
    assert len(names) == 13 * 14 + 2 * 2  # with the counters of the batch normalisations


def test_a_check_point_of_a_training_that_goes_on_is_imported(random_network, tmp_path, monkeypatch):
    module = types.ModuleType("src.utils.statistics")
    module.Statistics = type("Statistics", (), {"__module__": module.__name__})
    for name in ("src", "src.utils", "src.utils.statistics"):
        monkeypatch.setitem(sys.modules, name, module)
    kept = module.Statistics()
    kept.epoch_losses, kept.epoch_errors = {"total": [1.5]}, np.ones((2, 6))
    content = {"model_state_dict": published(random_network), "loss": np.float64(2.0), "epoch": 4, "train_stats": kept}
    torch.save(content, tmp_path / "a.pth")
    monkeypatch.undo()
    assert same(import_unet(tmp_path / "a.pth"), random_network)


def test_wrong_files_say_what_is_wrong(random_network, tmp_path):
    weights = published(random_network)
    cases = {
        "no weights of a U-Net of U: it has conv.weight": {"conv.weight": torch.ones(1)},
        "lacks 1 of 160 weights of a U-Net of width 2: scorer.head.bias": {
            k: v for k, v in weights.items() if k != "outc_score.conv.bias"
        },
        "holds 1 weights that .* does not have: up5_pts.x": weights | {"up5_pts.x": torch.ones(1)},
        r"'detector.head.weight' has the shape \(1, 3, 1, 1\) instead of \(1, 2, 1, 1\)": weights
        | {"outc_pts.conv.weight": torch.ones(1, 3, 1, 1)},
        r"instead of \(width, 3, 3, 3\)": weights | {"inc.double_conv.0.weight": torch.ones(2, 1, 3, 3)},
        "not finite": weights | {"outc_pts.conv.bias": torch.full((1,), torch.nan)},
    }
    for number, (text, content) in enumerate(cases.items()):
        torch.save(content, tmp_path / f"{number}.pth")
        with pytest.raises(WeightsError, match=text):
            import_unet(tmp_path / f"{number}.pth")
    with pytest.raises(WeightsError, match="no such file"):
        import_unet(tmp_path / "none.pth")


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    torch.save({"model_state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        import_unet(tmp_path / "evil.pth")
    assert not (tmp_path / "run").exists()
