"""The small U-Net as a backbone of place recognition, and the engines that compute place networks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from vloc_ros.data.frame import to_grey  # noqa: E402
from vloc_ros.errors import ConfigError, WeightsError  # noqa: E402
from vloc_ros.networks import Backbone, NetworkKind, preprocess  # noqa: E402
from vloc_ros.networks.compact import CompactUNet  # noqa: E402
from vloc_ros.networks.files import load_network, save_network  # noqa: E402
from vloc_ros.networks.local_files import save_local_network  # noqa: E402
from vloc_ros.networks.network import describe_with_variance, random_network  # noqa: E402
from vloc_ros.networks.preprocessing import INPUT_SIZE, resized  # noqa: E402
from vloc_ros.networks.unet_encoder import UNetEncoder, grey_of_prepared  # noqa: E402
from vloc_ros.retrieval import View, create_descriptor  # noqa: E402
from vloc_ros.retrieval.engines import OnnxRuntimeEngine, TorchEngine, engine_of  # noqa: E402
from vloc_ros.training.place_networks import begin_with_features, fresh_network  # noqa: E402

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "unet.safetensors"
IMAGES = list(np.random.default_rng(5).integers(0, 256, (3, 120, 160, 3), dtype=np.uint8))


def prepared() -> torch.Tensor:
    return torch.from_numpy(preprocess(IMAGES))


def test_the_backbone_sees_the_grey_image_that_the_local_features_see():
    grey = grey_of_prepared(prepared())
    for row, image in zip(grey.numpy(), IMAGES, strict=True):
        expected = to_grey(resized(image)).astype(np.float32) / 255.0  # OpenCV rounds to whole grey levels
        assert np.abs(row[0] - expected).max() <= 0.51 / 255.0


def test_the_backbone_begins_with_the_maps_of_the_local_features():
    torch.manual_seed(3)
    local = CompactUNet().eval()
    for module in local.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics that are not those of the start
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    encoder = UNetEncoder(last_relu=False).eval()
    encoder.begin_with(local)
    with torch.no_grad():
        found = encoder(prepared())
        maps = local(grey_of_prepared(prepared())).maps
        side = INPUT_SIZE // 8
        same = [functional.adaptive_avg_pool2d(m, side) if m.shape[2] > side else m for m in maps]
        same = [functional.interpolate(m, size=(side, side), mode="bilinear", align_corners=False) for m in same]
        expected = torch.einsum("nchw,dc->ndhw", torch.cat(same, 1), local.project.weight)
    assert found.shape == (3, 256, side, side)
    assert torch.allclose(found[:, :128], expected, atol=1e-4) and torch.equal(found[:, 128:], -found[:, :128])


def test_other_local_features_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"width 16 and 128 elements.*width 8 with 64"):
        UNetEncoder().begin_with(CompactUNet(8, 64))
    save_local_network(tmp_path / "local.safetensors", CompactUNet(), "nothing")
    with pytest.raises(ConfigError, match="from which mobilenetv3 cannot begin: take --network compact_unet"):
        begin_with_features(fresh_network(NetworkKind.GEM, Backbone.MOBILENETV3, 1), tmp_path / "local.safetensors")


@pytest.mark.parametrize("kind", [NetworkKind.GEM, NetworkKind.NETVLAD, NetworkKind.UNCERTAINTY])
def test_a_file_gives_the_same_network_again(tmp_path, kind):
    network = random_network(kind, Backbone.COMPACT_UNET, 4)
    save_network(tmp_path / "place.safetensors", network, "nothing")
    again, card = load_network(tmp_path / "place.safetensors")
    assert (card.network, card.backbone) == (kind.value, "compact_unet")
    for ours, theirs in zip(describe_with_variance(network, IMAGES), describe_with_variance(again, IMAGES), strict=True):
        assert ours is theirs is None or np.array_equal(ours, theirs)


def test_a_fresh_network_of_the_shipped_features_tells_images_apart():
    network = fresh_network(NetworkKind.NETVLAD, Backbone.COMPACT_UNET, 1)
    card = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    assert begin_with_features(network, SHIPPED) == card["sha256"]
    with torch.no_grad():
        local = functional.normalize(network.eval().encoder(prepared()), dim=1)
    assert float(local.std(dim=(0, 2, 3)).mean()) > 0.01


@pytest.mark.parametrize("backbone", [Backbone.COMPACT_UNET, Backbone.MOBILENETV3])
def test_onnx_runtime_computes_what_torch_computes(tmp_path, backbone):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    network = random_network(NetworkKind.UNCERTAINTY, backbone, 2)
    card = save_network(tmp_path / "place.safetensors", network, "nothing")
    engine = engine_of(network, card.sha256)
    assert isinstance(engine, OnnxRuntimeEngine)
    images = IMAGES * 4  # more than go through at once
    for ours, theirs in zip(engine(images), TorchEngine(network)(images), strict=True):
        assert np.allclose(ours, theirs, atol=2e-5)


def test_an_onnx_file_beside_the_weights_needs_no_torch(tmp_path, monkeypatch, caplog):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from vloc_ros.networks.place_export import onnx_of_place

    path, views = tmp_path / "place.safetensors", [View(image=image) for image in IMAGES]
    network = random_network(NetworkKind.UNCERTAINTY, Backbone.COMPACT_UNET, 2)
    card = save_network(path, network, "nothing")
    expected = create_descriptor(str(path)).describe_with_variance(views)
    path.with_suffix(".onnx").write_bytes(onnx_of_place(network, card.sha256))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)  # importing it fails from now on
        found = create_descriptor(str(path)).describe_with_variance(views)
    assert all(np.allclose(one, other, atol=2e-5) for one, other in zip(found, expected, strict=True))
    path.with_suffix(".onnx").write_bytes(onnx_of_place(network, "0" * 64))
    assert isinstance(create_descriptor(str(path)).engine, OnnxRuntimeEngine) and "is not of the weights" in caplog.text
    path.with_suffix(".onnx").write_bytes(b"\xff\xff")
    assert isinstance(create_descriptor(str(path)).engine, OnnxRuntimeEngine) and "not a whole ONNX file" in caplog.text
