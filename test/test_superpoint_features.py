"""SuperPoint as local features like any other: from a file to key points and descriptors, whatever computes it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import ros_samples as samples
from glvl_samples import random_glvl, superpoint_weights
from local_samples import texture

from vloc_ros.cli import main
from vloc_ros.data.local_model import LocalModel
from vloc_ros.data.models import models_folders, shipped_features
from vloc_ros.data.onnx_file import METADATA, metadata_of
from vloc_ros.features import Detection, LearnedSettings, Metric, create_extractor, match
from vloc_ros.features.engines import Engine
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.learned import LearnedFeatures
from vloc_ros.features.learned_settings import EngineKind
from vloc_ros.features.matching import MatchSettings

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed (requirements/torch.txt)")
TORCH = LearnedSettings(engine=EngineKind.TORCH, threads=1)
ENGINES = [kind for kind in EngineKind if kind is not EngineKind.AUTO]
SIZE = (96, 128)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not HAS_TORCH:
        pytest.skip("torch is not installed (requirements/torch.txt)")
    return superpoint_weights(tmp_path_factory.mktemp("weights") / "superpoint.safetensors")


def settings_of(kind: EngineKind) -> LearnedSettings:
    if not is_installed(kind.value) or (kind is not EngineKind.TORCH and not is_installed("onnx")):
        pytest.skip(f"{kind.value}, or onnx, is not installed")
    return LearnedSettings(engine=kind, threads=1)


# --- the contract


def test_contract(weights):
    extractor = create_extractor(str(weights), 200, TORCH)
    image = texture()
    features = extractor.extract(image)
    count = len(features)
    assert extractor.name == "superpoint" and extractor.metric is Metric.COSINE and 100 < count <= 200
    assert features.descriptors.shape == (count, extractor.descriptor_size) == (count, 32)
    assert all(array.dtype == np.float32 for array in (features.keypoints, features.scores, features.sizes, features.descriptors))
    assert np.allclose(np.linalg.norm(features.descriptors, axis=1), 1.0, atol=1e-4)
    assert np.isnan(features.disparity).all() and (np.diff(features.scores) <= 0).all()
    assert (features.keypoints > 2).all() and (features.keypoints < [221, 157]).all(), "four pixels of border, less the half patch"
    assert (features.scores >= 0.015).all() and (features.scores <= 1.0).all()
    again = create_extractor(str(weights), 200, TORCH).extract(np.repeat(image[..., None], 3, axis=2))
    assert np.array_equal(again.keypoints, features.keypoints), "deterministic, and the same for grey and RGB"


@pytest.mark.parametrize("size", [(37, 41), (100, 203), (33, 500)])
def test_images_of_any_size(weights, size):
    features = create_extractor(str(weights), 300, TORCH).extract(texture(2, size))
    assert len(features) > 0 and (features.keypoints <= [size[1] - 1, size[0] - 1]).all()


@pytest.mark.parametrize("image", [np.zeros((240, 320), np.uint8), np.full((64, 64, 3), 255, np.uint8), texture()[:31]])
def test_images_with_nothing_in_them(weights, image):
    features = create_extractor(str(weights), 300, TORCH).extract(image)
    assert len(features) == 0 and features.descriptors.shape == (0, 32)


def test_a_shift_of_the_image_shifts_the_key_points(weights):
    """By whole cells, after which the network sees the same: what lies far from the border has the same descriptor, too."""
    extractor = create_extractor(str(weights), 2000, TORCH)
    image = texture(1, (320, 384))
    a, b = extractor.extract(image[64:288, 64:352].copy()), extractor.extract(image[32:256, 32:320].copy())
    matches = match(a, b, extractor.metric, MatchSettings())
    shift = np.median(b.keypoints[matches.indices[:, 1]] - a.keypoints[matches.indices[:, 0]], axis=0)
    assert len(matches) > 50 and np.allclose(shift, [32.0, 32.0], atol=1e-3)
    same = np.abs(a.keypoints[:, None] + 32.0 - b.keypoints[None]).max(axis=2) < 0.01
    inner = np.flatnonzero(same.any(axis=1) & (np.abs(a.keypoints - [144, 112]) < [60, 30]).all(axis=1))
    assert len(inner) > 20
    assert (np.abs(a.descriptors[inner] - b.descriptors[same[inner].argmax(axis=1)]).max(axis=1) < 0.01).mean() > 0.9


def test_a_large_image_is_scaled_down(weights):
    image = texture()
    large = cv2.resize(image, (672, 480), interpolation=cv2.INTER_CUBIC)
    small = create_extractor(str(weights), 300, LearnedSettings(engine=EngineKind.TORCH, threads=1, max_pixels=160 * 224))
    a, b = small.extract(image), small.extract(large)
    matches = match(a, b, Metric.COSINE, MatchSettings())
    difference = b.keypoints[matches.indices[:, 1]] - (3.0 * a.keypoints[matches.indices[:, 0]] + 1.0)
    assert len(matches) > 100 and np.abs(np.median(difference, axis=0)).max() < 0.2


# --- what is said in its maps


class Fixed(Engine):
    """A network that sees the same in every image."""

    name = "fixed"

    def __init__(self, model: LocalModel, scores: np.ndarray, one: np.ndarray) -> None:
        super().__init__(model)
        self._made = [scores[None, None], scores[None, None], one[None]]

    def _compute(self, image: np.ndarray) -> list[np.ndarray]:
        return self._made


def seeing(scores: np.ndarray, one: np.ndarray, settings: LearnedSettings | None = None, count: int = 10) -> LearnedFeatures:
    model = LocalModel("f" * 64, 1, 8, (8,), False, "", centred=False, probable=True)
    return LearnedFeatures(
        "fixed",
        "superpoint",
        Fixed(model, scores, one),
        None,
        len(one),
        count,
        settings or LearnedSettings(detection=Detection.WINDOW),
    )


def cells() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, SIZE[0] // 8, SIZE[1] // 8)).astype(np.float32)


def test_what_is_probable_is_found_whatever_the_detection():
    """A blob between pixels, a weaker one beside it, one at the border, and one below the threshold."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    scores = np.zeros(SIZE, np.float32)
    for u, v, peak in ((40.3, 50.6, 0.9), (43.0, 50.6, 0.05), (2.0, 30.0, 0.9), (100.0, 20.0, 0.012), (90.25, 80.0, 0.2)):
        scores += (peak * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * 0.6**2))).astype(np.float32)
    image = texture(0, SIZE)
    for detection in Detection:
        found = seeing(scores, cells(), LearnedSettings(detection=detection)).extract(image)
        assert np.abs(found.keypoints - [[40.3, 50.6], [90.25, 80.0]]).max() < 0.1
    few = seeing(scores, cells(), LearnedSettings(threshold=0.01, suppression=2)).extract(image)
    assert len(few) == 4, "a lower threshold and a smaller neighbourhood find the others"
    assert len(seeing(scores, cells(), count=1).extract(image)) == 1


def test_descriptors_are_what_is_sampled_at_the_key_point():
    scores, one = np.zeros(SIZE, np.float32), cells()
    scores[50, 40], scores[51, 70] = 0.9, 0.8
    found = seeing(scores, one).extract(texture(0, SIZE))
    for row, (u, v) in zip(found.descriptors, [(40, 50), (70, 51)], strict=True):
        x, y = (u + 0.5) / 8 - 0.5, (v + 0.5) / 8 - 0.5
        left, top = int(x), int(y)
        dx, dy = x - left, y - top
        value = (1 - dy) * ((1 - dx) * one[:, top, left] + dx * one[:, top, left + 1])
        value = value + dy * ((1 - dx) * one[:, top + 1, left] + dx * one[:, top + 1, left + 1])
        assert np.abs(row - value / np.linalg.norm(value)).max() < 1e-5
    assert abs(float(found.descriptors[0].mean())) > 1e-3, "their mean is not taken away"


def test_the_fingerprint_says_how_it_is_found(weights):
    def fingerprint(**settings: object) -> str:
        return create_extractor(str(weights), 10, LearnedSettings(engine=EngineKind.TORCH, threads=1, **settings)).fingerprint

    usual = fingerprint()
    assert usual.startswith("superpoint-") and "-probable4-" in usual
    assert usual == fingerprint(detection=Detection.WINDOW) == fingerprint(neighbourhood=17), "it has no use for either"
    assert usual == fingerprint(threshold=0.1), "that says how many there are"
    assert usual not in {fingerprint(suppression=8), fingerprint(max_pixels=50_000)}


# --- engines and files


@pytest.mark.parametrize("kind", ENGINES)
def test_engines_agree(weights, kind):
    expected = create_extractor(str(weights), 100, TORCH)
    extractor = create_extractor(str(weights), 100, settings_of(kind))
    assert extractor.fingerprint == expected.fingerprint and extractor.engine.name == kind.value
    assert extractor.engine.model == expected.engine.model
    for size in ((96, 128), (50, 65), (96, 128)):
        image = texture(3, size)
        prepared = image.astype(np.float32)[None, None] / 255.0
        made, wanted = extractor.engine.run(prepared), expected.engine.run(prepared)
        assert made.logits.shape == made.scores.shape == size
        for one, other in zip((made.logits, made.scores, *made.maps), (wanted.logits, wanted.scores, *wanted.maps), strict=True):
            assert np.abs(one - other).max() < 1e-3 * max(1.0, np.abs(other).max())
        a, b = extractor.extract(image), expected.extract(image)
        assert len(a) == len(b) and np.abs(a.keypoints - b.keypoints).max() < 0.01


@needs_torch
def test_descriptors_are_those_of_torch(weights):
    import torch

    from vloc_ros.networks.glvl_files import superpoint_of
    from vloc_ros.networks.local import sample_maps

    network, image = superpoint_of(random_glvl()), texture()
    features = create_extractor(str(weights), 300, TORCH).extract(image)
    with torch.inference_mode():
        maps = network(torch.from_numpy(image)[None, None].float() / 255.0)
        expected = network.describe(sample_maps(maps, network, torch.from_numpy(features.keypoints)[None]))[0].numpy()
    assert np.abs(features.descriptors - expected).max() < 1e-4


def test_files_of_earlier_releases_are_of_networks_like_those_of_u():
    old = {"sha256": "f", "colours": 3, "multiple": 32, "strides": [1], "through_pixels": True, "projection": ""}
    model = LocalModel.from_json(json.dumps(old), "x.onnx")
    assert model.centred and not model.probable
    new = LocalModel("f", 1, 8, (8,), False, "", centred=False, probable=True)
    assert LocalModel.from_json(new.to_json(), "x.onnx") == new


def test_shipped_onnx_files_can_be_read():
    found = [path for path in shipped_features().values() if path.with_suffix(".onnx").is_file()]
    if not found:
        pytest.skip(f"no ONNX files of local features in {models_folders()}")
    for path in found:
        text = metadata_of(path.with_suffix(".onnx").read_bytes(), path.name)[METADATA]
        model = LocalModel.from_json(text, path.name)
        assert model.probable == (path.stem == "superpoint")


# --- commands


@pytest.mark.parametrize("kind", ["onnx", "openvino", "torchscript"])
def test_export(weights, tmp_path, capsys, kind):
    needed = {"onnx": ["onnx", "onnxruntime"], "openvino": ["onnx", "openvino"], "torchscript": []}[kind]
    if not all(is_installed(name) for name in needed):
        pytest.skip(f"{' or '.join(needed)} is not installed")
    from vloc_ros.networks.export_files import ExportKind

    out = tmp_path / f"a{ExportKind(kind).suffix}"
    assert main(["export", str(weights), "--to", kind, "--out", str(out), "--size", "96x64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] < 1e-3


def test_export_in_integers_works_or_is_refused(weights, tmp_path, capsys):
    if not (is_installed("onnx") and is_installed("onnxruntime")):
        pytest.skip("onnx or onnxruntime is not installed")
    pictures = tmp_path / "garden"
    pictures.mkdir()
    for seed in range(3):
        assert cv2.imwrite(str(pictures / f"{seed}.png"), texture(seed))
    here = tmp_path / weights.name
    here.write_bytes(weights.read_bytes())
    here.with_suffix(".json").write_text(weights.with_suffix(".json").read_text(encoding="utf-8"), encoding="utf-8")
    code = main(["export", str(here), "--to", "onnx", "--int8", "--calibrate", str(pictures), "--json"])
    small = tmp_path / "superpoint_int8.onnx"
    said = capsys.readouterr()
    assert (code == 0) == small.is_file()
    if code == 0:
        extractor = create_extractor(str(small), 100)
        assert len(extractor.extract(texture())) == 100 and "-probable4-" in extractor.fingerprint
    else:
        assert "in 8-bit integers is too unlike itself in floats" in said.err and len(said.err.strip().splitlines()) == 1


def test_weights_list_and_info(weights, capsys):
    assert main(["weights", "list", str(weights.parent)]) == 0
    assert "superpoint of width 8, blocks 1-2, 32 elements, trained on nothing" in capsys.readouterr().out
    assert main(["weights", "info", str(weights)]) == 0
    assert "grey, values from 0 to 1" in capsys.readouterr().out


def test_taught_and_repeated(weights, tmp_path, capsys):
    route = samples.write_recording(tmp_path / "corridor", samples.walk(5))
    quick = ["--features", str(weights), "--set", "features.learned.threads=1", "--set", "stereo.min_depth=0.8"]
    quick += ["--rectification", "off", "--map", str(tmp_path / "site.vloc")]
    assert main(["teach", str(route), *quick]) == 0
    capsys.readouterr()
    assert main(["repeat", str(route), "--json", *quick]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["frames"] == 5 and values["localised"] >= 1 and values["false_fixes"] == 0, values  # with random weights
    assert main(["map", "info", str(tmp_path / "site.vloc")]) == 0
    assert "superpoint" in capsys.readouterr().out
