"""Learned features as the rest of the program sees them: from a file to features, whatever computes the network."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from local_samples import random_network, random_weights, texture

from vloc_ros.data.local_model import LocalModel
from vloc_ros.data.onnx_file import metadata_of, with_metadata
from vloc_ros.data.weights import card_path, load_card
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.features import Detection, LearnedSettings, Metric, create_extractor, extractors, match, require_known
from vloc_ros.features.contract import register_file
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.learned_settings import EngineKind
from vloc_ros.features.matching import MatchSettings

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed (requirements/torch.txt)")
needs_onnx = pytest.mark.skipif(
    not (HAS_TORCH and is_installed("onnx") and is_installed("onnxruntime")),
    reason="torch, onnx or onnxruntime is not installed (requirements/torch.txt, engines.txt)",
)
ENGINES = [kind for kind in EngineKind if kind is not EngineKind.AUTO]
TORCH = LearnedSettings(engine=EngineKind.TORCH, threads=1)  # more of them only wait for each other in small networks
pytestmark = needs_torch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test leaves anything in the cache of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vloc_ros"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


def engine_settings(kind: EngineKind, **changes: object) -> LearnedSettings:
    if not is_installed(kind.value) or (kind is not EngineKind.TORCH and not is_installed("onnx")):
        pytest.skip(f"{kind.value}, or onnx, is not installed")
    return LearnedSettings(engine=kind, threads=1, **changes)


# --- extraction


def test_contract(weights):
    extractor = create_extractor(str(weights), 300, TORCH)
    image = texture()
    features = extractor.extract(image)
    count = len(features)
    assert extractor.name == "small" and extractor.metric is Metric.COSINE and 100 < count <= 300
    assert features.descriptors.shape == (count, extractor.descriptor_size) == (count, 32)
    assert all(array.dtype == np.float32 for array in (features.keypoints, features.scores, features.sizes, features.descriptors))
    assert np.allclose(np.linalg.norm(features.descriptors, axis=1), 1.0, atol=1e-4)
    assert np.isnan(features.disparity).all() and (np.diff(features.scores) <= 0).all()
    assert (features.keypoints >= 0).all() and (features.keypoints <= [223, 159]).all()
    again = create_extractor(str(weights), 300, TORCH).extract(np.repeat(image[..., None], 3, axis=2))
    assert np.array_equal(again.keypoints, features.keypoints), "deterministic, and the same for grey and RGB"


def test_a_shift_of_the_image_shifts_the_key_points(weights):
    """Pixel centres: no hidden half-pixel offset. By 32 px, after which even a random network sees the same."""
    extractor = create_extractor(str(weights), 300, TORCH)
    image = texture(1, (256, 320))
    a, b = extractor.extract(image[64:224, 64:288].copy()), extractor.extract(image[32:192, 32:256].copy())
    matches = match(a, b, extractor.metric, MatchSettings())
    shift = np.median(b.keypoints[matches.indices[:, 1]] - a.keypoints[matches.indices[:, 0]], axis=0)
    assert len(matches) > 50 and np.allclose(shift, [32.0, 32.0], atol=0.1)


@pytest.mark.parametrize("size", [(37, 41), (100, 203), (33, 500)])
def test_images_of_any_size(weights, size):
    features = create_extractor(str(weights), 300, TORCH).extract(texture(2, size))
    assert len(features) > 0 and (features.keypoints <= [size[1] - 1, size[0] - 1]).all()


@pytest.mark.parametrize(
    "image", [np.zeros((240, 320), np.uint8), np.full((64, 64, 3), 255, np.uint8), texture()[:4, :4], texture()[:31]]
)
def test_images_with_nothing_in_them(weights, image):
    features = create_extractor(str(weights), 300, TORCH).extract(image)
    assert len(features) == 0 and features.descriptors.shape == (0, 32)


def test_a_large_image_is_scaled_down(weights):
    image = texture()
    large = cv2.resize(image, (672, 480), interpolation=cv2.INTER_CUBIC)
    small = create_extractor(str(weights), 300, LearnedSettings(engine=EngineKind.TORCH, threads=1, max_pixels=160 * 224))
    a, b = small.extract(image), small.extract(large)
    matches = match(a, b, Metric.COSINE, MatchSettings())
    difference = b.keypoints[matches.indices[:, 1]] - (3.0 * a.keypoints[matches.indices[:, 0]] + 1.0)
    assert len(matches) > 100 and np.abs(np.median(difference, axis=0)).max() < 0.2
    assert b.sizes[0] == pytest.approx(3 * a.sizes[0])


def test_window_detection(weights):
    settings = LearnedSettings(engine=EngineKind.TORCH, threads=1, detection=Detection.WINDOW, window=16)
    features = create_extractor(str(weights), 1000, settings).extract(texture())
    assert len(features) == (160 // 16) * (224 // 16)


def test_descriptors_are_those_of_torch(weights):
    """The whole way, against the network's own sampling."""
    import torch

    from vloc_ros.networks.local import sample_maps

    network, image = random_network(), texture()
    features = create_extractor(str(weights), 300, TORCH).extract(image)
    padded = np.pad(image, ((0, -160 % network.multiple), (0, -224 % network.multiple)), mode="edge")
    with torch.inference_mode():
        maps = network(torch.from_numpy(padded)[None, None].float() / 255.0)
        sampled = sample_maps(maps, network, torch.from_numpy(features.keypoints)[None])
        expected = network.describe(sampled)[0].numpy()
    assert np.abs(features.descriptors - expected).max() < 1e-4


@pytest.mark.parametrize("kind", ENGINES)
def test_engines_agree(weights, kind):
    expected = create_extractor(str(weights), 300, TORCH)
    extractor = create_extractor(str(weights), 300, engine_settings(kind))
    assert extractor.fingerprint == expected.fingerprint and extractor.engine.name == kind.value
    for size in ((96, 128), (50, 65), (96, 128)):
        image = texture(3, size).astype(np.float32)[None, None] / 255.0
        made, wanted = extractor.engine.run(image), expected.engine.run(image)
        assert made.logits.shape == made.scores.shape == size
        for one, other in zip((made.logits, made.scores, *made.maps), (wanted.logits, wanted.scores, *wanted.maps), strict=True):
            assert np.abs(one - other).max() < 1e-3 * max(1.0, np.abs(other).max())


@pytest.mark.parametrize("kind", ENGINES)
def test_what_an_engine_gave_stays(weights, kind):
    engine = create_extractor(str(weights), 300, engine_settings(kind)).engine
    first = engine.run(texture(1).astype(np.float32)[None, None] / 255.0)
    kept = first.logits.copy(), first.maps[0].copy()
    engine.run(texture(2).astype(np.float32)[None, None] / 255.0)
    assert np.array_equal(first.logits, kept[0]) and np.array_equal(first.maps[0], kept[1])


def test_fingerprints(weights, tmp_path):
    def fingerprint(path: Path, **settings: object) -> str:
        return create_extractor(str(path), 10, LearnedSettings(engine=EngineKind.TORCH, threads=1, **settings)).fingerprint

    other = random_weights(tmp_path / "small.safetensors", seed=1)
    copied = tmp_path / "copy.safetensors"
    copied.write_bytes(weights.read_bytes())
    card_path(copied).write_text(card_path(weights).read_text(encoding="utf-8"), encoding="utf-8")
    assert fingerprint(copied) == fingerprint(weights, radius=5) == fingerprint(weights)
    different = [fingerprint(weights), fingerprint(other), fingerprint(weights, detection=Detection.WINDOW)]
    different += [fingerprint(weights, max_pixels=50_000), fingerprint(weights, neighbourhood=17)]
    assert len(set(different)) == 5


# --- names


def test_a_file_is_a_name(weights):
    require_known(str(weights))
    for wrong in ("surf", "surf.bin", "../models"):
        with pytest.raises(ConfigError, match=r"unknown features.*sift.*\.safetensors"):
            require_known(wrong)


def test_shipped_weights_go_by_their_name(weights, tmp_path, monkeypatch):
    from vloc_ros.data import models

    monkeypatch.setattr(models, "models_folders", lambda: [weights.parent])
    assert "small" in extractors()
    extractor = create_extractor("small", 100, TORCH)
    assert extractor.name == "small" and len(extractor.extract(texture())) == 100
    (tmp_path / "bad.safetensors").write_bytes(b"")
    monkeypatch.setattr(models, "models_folders", lambda: [tmp_path])
    assert "bad" not in extractors() and "sift" in extractors()


def test_the_longest_ending_wins(tmp_path, monkeypatch):
    from vloc_ros.features import contract

    monkeypatch.setattr(contract, "_FILE_MAKERS", dict(contract._FILE_MAKERS))
    register_file(".bin")(lambda path, count, learned: ("any", path.name, count, learned.threads))
    register_file("peer.bin")(lambda path, count, learned: ("peer", path.name, count, learned.threads))
    peer, other = tmp_path / "peer.bin", tmp_path / "other.bin"
    peer.touch()
    other.touch()
    assert create_extractor(str(peer), 7, LearnedSettings(threads=3)) == ("peer", "peer.bin", 7, 3)
    assert create_extractor(str(other), 7) == ("any", "other.bin", 7, 2)


# --- what can be wrong


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.safetensors': there is no such file"):
        create_extractor(str(tmp_path / "none.safetensors"), 100)
    path = random_weights(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(WeightsError, match=r"a\.safetensors is not a whole safetensors file"):
        create_extractor(str(path), 100)
    path = random_weights(tmp_path / "b.safetensors")
    card_path(path).unlink()
    with pytest.raises(WeightsError, match="no model card"):
        create_extractor(str(path), 100)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"network": "netvlad", "backbone": "vgg16"}, "describes whole images"),
        ({"backbone": "wide"}, "how large the network is"),
        ({"backbone": "width 24"}, "shape"),
        ({"backbone": "width 9999"}, "cannot be"),
        ({"dimension": 33}, "shape"),
        ({"preprocessing": "RGB, BGR"}, "prepared in another way"),
    ],
)
def test_cards_that_do_not_fit(tmp_path, change, complaint):
    path = random_weights(tmp_path / "a.safetensors")
    card = json.loads(card_path(path).read_text(encoding="utf-8"))
    card_path(path).write_text(json.dumps(card | change), encoding="utf-8")
    with pytest.raises(WeightsError, match=complaint):
        create_extractor(str(path), 100, TORCH)


def test_a_card_keeps_what_it_is_told(tmp_path):
    from vloc_ros.networks.local_files import load_local_network, save_local_network

    network = random_network()
    card = save_local_network(tmp_path / "a.safetensors", network, "a garden", "f" * 64, "CC0", "all of it", "one hour")
    assert card == load_card(tmp_path / "a.safetensors")
    assert (card.network, card.backbone, card.dimension, card.results) == ("compact_unet", "width 8", 32, "all of it")
    loaded, _ = load_local_network(tmp_path / "a.safetensors")
    image = __import__("torch").rand(1, 1, 64, 64)
    assert __import__("torch").equal(loaded(image).logits, network(image).logits)


def test_a_missing_engine_is_named(weights, monkeypatch):
    from vloc_ros.features.engines import choice

    monkeypatch.setattr(choice, "is_installed", lambda name: False)
    with pytest.raises(ConfigError, match=r"needs onnxruntime, openvino or torch, and none is installed"):
        create_extractor(str(weights), 100)
    with pytest.raises(ConfigError, match=r"the engine openvino is not installed"):
        create_extractor(str(weights), 100, LearnedSettings(engine=EngineKind.OPENVINO))
    monkeypatch.setattr(choice, "is_installed", lambda name: name == "onnxruntime")
    with pytest.raises(ConfigError, match=r"has no small\.onnx of its weights beside it.*needs torch and onnx.*vloc export"):
        create_extractor(str(weights), 100)


# --- ONNX


def test_metadata_of_an_onnx_file():
    model = bytes([0x08, 0x08]) + bytes([0x12, 2]) + b"me"  # IR version 8, producer "me"
    long = "v" * 300
    whole = with_metadata(with_metadata(model, {"a": "1", "b": ""}), {"c": long})
    assert metadata_of(model, "x") == {} and metadata_of(whole, "x") == {"a": "1", "b": "", "c": long}
    for damaged in (whole[:-1], whole + b"\xff", b"\x0f", b"\xff" * 12, with_metadata(model, {})[:-1]):
        with pytest.raises(WeightsError, match="the file is not a whole ONNX file"):
            metadata_of(damaged, "the file")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 1}', "not JSON"])
def test_a_model_of_another_release(text):
    with pytest.raises(WeightsError, match="export it again"):
        LocalModel.from_json(text, "x.onnx")


def write_onnx(path: Path) -> Path:
    from vloc_ros.networks.export import onnx_of
    from vloc_ros.networks.local_files import load_local_network, model_of

    network, card = load_local_network(path)
    path.with_suffix(".onnx").write_bytes(onnx_of(network, model_of(network, card)))
    return path.with_suffix(".onnx")


WITHOUT_TORCH = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("torch", "onnx") else real(name, *rest)
import cv2
from vloc_ros.features import create_extractor
found = create_extractor(sys.argv[1], 200).extract(cv2.imread(sys.argv[2], cv2.IMREAD_GRAYSCALE))
print(len(found), float(found.scores.sum()))
"""


@needs_onnx
def test_a_robot_without_torch(tmp_path):
    path = random_weights(tmp_path / "small.safetensors")
    write_onnx(path)
    assert cv2.imwrite(str(tmp_path / "image.png"), texture())
    command = [sys.executable, "-c", WITHOUT_TORCH, str(path), str(tmp_path / "image.png")]
    result = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    expected = create_extractor(str(path), 200, TORCH).extract(texture())
    count, total = result.stdout.split()
    assert int(count) == len(expected) and float(total) == pytest.approx(float(expected.scores.sum()), rel=1e-3)


@needs_onnx
def test_the_onnx_file_is_of_these_weights_or_not_used(tmp_path, cache, caplog):
    path, other = random_weights(tmp_path / "a.safetensors"), random_weights(tmp_path / "b.safetensors", seed=1)
    wanted = create_extractor(str(path), 10, TORCH).engine
    wrong = write_onnx(other).rename(tmp_path / "a.onnx")
    image = texture().astype(np.float32)[None, None] / 255.0
    for content, complaint in ((wrong.read_bytes(), "not of the weights"), (b"\xff\xff", "not a whole ONNX file")):
        wrong.write_bytes(content)
        engine = create_extractor(str(path), 10, LearnedSettings(engine=EngineKind.ONNXRUNTIME, threads=1)).engine
        assert complaint in caplog.text and np.abs(engine.run(image).logits - wanted.run(image).logits).max() < 1e-2
    assert [file.suffix for file in cache.iterdir()] == [".onnx"], "what torch made is kept"


@needs_onnx
def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, weights):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert (
        create_extractor(str(weights), 10, LearnedSettings(engine=EngineKind.ONNXRUNTIME, threads=1)).engine.name == "onnxruntime"
    )
