"""Local features in 8-bit integers: exported, used like any other features, and never taken for those in floats."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import ros_samples as samples
from local_samples import random_weights, texture

from vloc_ros.cli import main
from vloc_ros.data.onnx_file import CALIBRATED, metadata_of
from vloc_ros.data.samples import evenly, sample_images
from vloc_ros.data.weights import card_path
from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.features import LearnedSettings, create_extractor, extractors
from vloc_ros.features.learned_settings import EngineKind

NEEDED = ("torch", "onnx", "onnxruntime")
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason=f"{', '.join(NEEDED)} are not all installed (requirements/torch.txt, engines.txt)",
)
ONE = LearnedSettings(threads=1)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_images(folder: Path, seeds: range) -> Path:
    folder.mkdir()
    for seed in seeds:
        assert cv2.imwrite(str(folder / f"{seed}.png"), texture(seed))
    return folder


def export(weights: Path, *sources: Path, more: tuple[str, ...] = ()) -> int:
    return main(["export", str(weights), "--to", "onnx", "--int8", "--calibrate", *map(str, sources), "--json", *more])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("garden") / "garden", range(3))


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_recording(tmp_path_factory.mktemp("corridor") / "corridor", samples.walk(6))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, images: Path, corridor: Path) -> Path:
    """A file in integers, its weights beside it, calibrated on a folder and a recording."""
    weights = random_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")
    assert export(weights, images, corridor, more=("--images", "5")) == 0
    return weights.with_name("small_int8.onnx")


def weights_of(exported: Path) -> Path:
    return exported.with_name("small.safetensors")


def copied(exported: Path, folder: Path) -> Path:
    """The file with its weights and their card in another folder."""
    for file in (exported, weights_of(exported), card_path(weights_of(exported))):
        shutil.copy(file, folder)
    return folder / exported.name


# --- the file


def test_what_is_in_integers(exported):
    """The first two convolutions and the head take floats; all others take what was quantised, with 7 bits of weights."""
    import onnx

    graph = onnx.load(exported).graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    kinds = []
    for node in graph.node:
        if node.op_type == "Conv":
            sources = {makers[name].op_type for name in node.input[:2] if name in makers}
            kinds.append("DequantizeLinear" in sources)
            if kinds[-1]:
                weights = constants[makers[node.input[1]].input[0]]
                assert weights.dtype == np.int8 and np.abs(weights.astype(int)).max() <= 64
    assert kinds == [False, False, *[True] * 11, False]


def test_the_file_says_what_it_was_calibrated_on(exported, images, corridor):
    said = metadata_of(exported.read_bytes(), "it")[CALIBRATED]
    assert said == f"5 images of {images.name}, {corridor.name}"


def test_the_same_images_make_the_same_file(exported, images, corridor, tmp_path, capsys):
    again = copied(exported, tmp_path)
    before = again.read_bytes()
    again.unlink()
    assert export(weights_of(again), images, corridor, more=("--images", "5")) == 0
    values = json.loads(capsys.readouterr().out)
    assert again.read_bytes() == before and values["bytes"] == len(before)
    assert values["similarity"] > 0.99 and values["repeated"] > 0.7, values


# --- as features


def test_features_are_much_like_those_in_floats(exported):
    image = texture(7)  # not one of those it was calibrated on
    a = create_extractor(str(weights_of(exported)), 300, LearnedSettings(engine=EngineKind.TORCH, threads=1)).extract(image)
    extractor = create_extractor(str(exported), 300, ONE)
    b = extractor.extract(image)
    assert extractor.name == "small_int8" and len(b) == len(a) == 300
    distance = np.linalg.norm(a.keypoints[:, None] - b.keypoints, axis=2)
    same = distance.min(axis=1) < 1.0
    similarity = (a.descriptors * b.descriptors[distance.argmin(axis=1)]).sum(axis=1)[same]
    assert same.mean() > 0.7 and similarity.mean() > 0.99


def test_it_needs_nothing_but_onnxruntime(exported, monkeypatch):
    from vloc_ros.features.engines import choice

    monkeypatch.setattr(choice, "is_installed", lambda name: name == "onnxruntime")
    assert create_extractor(str(exported), 100, ONE).engine.name == "onnxruntime"
    monkeypatch.setattr(choice, "is_installed", lambda name: name == "torch")
    with pytest.raises(ConfigError, match=r"small_int8\.onnx needs onnxruntime"):
        create_extractor(str(exported), 100, ONE)
    with pytest.raises(ConfigError, match=r"computed by onnxruntime only, not by torch"):
        create_extractor(str(exported), 100, LearnedSettings(engine=EngineKind.TORCH))


def test_each_calibration_has_its_fingerprint(exported, images, tmp_path):
    other = copied(exported, tmp_path)
    prints = [create_extractor(str(path), 100, ONE).fingerprint for path in (weights_of(exported), exported, other)]
    assert prints[1] == prints[2] != prints[0]
    assert export(weights_of(other), images) == 0
    assert create_extractor(str(other), 100, ONE).fingerprint not in prints


def test_a_map_of_integers_takes_no_floats(exported, corridor, tmp_path, capsys):
    quick = ["--set", "features.learned.threads=1", "--set", "stereo.min_depth=0.8", "--rectification", "off"]
    site = str(tmp_path / "site.vloc")
    assert main(["teach", str(corridor), "--map", site, "--features", str(exported), *quick]) == 0
    capsys.readouterr()
    assert main(["repeat", str(corridor), "--map", site, "--features", str(exported), "--json", *quick]) == 0
    assert json.loads(capsys.readouterr().out)["localised"] >= 5
    assert main(["repeat", str(corridor), "--map", site, "--features", str(weights_of(exported)), *quick]) == 1
    assert "was made with other features (map: 'small_int8'" in capsys.readouterr().err


def test_beside_shipped_weights_it_goes_by_its_name(exported, monkeypatch):
    from vloc_ros.data import models

    monkeypatch.setattr(models, "models_folders", lambda: [exported.parent])
    assert {"small", "small_int8"} <= set(extractors())
    assert create_extractor("small_int8", 100, ONE).fingerprint == create_extractor(str(exported), 100, ONE).fingerprint


def test_it_is_not_taken_for_the_file_in_floats(exported, tmp_path, caplog):
    moved = copied(exported, tmp_path).rename(tmp_path / "small.onnx")
    floats = create_extractor(str(tmp_path / "small.safetensors"), 300, LearnedSettings(engine=EngineKind.ONNXRUNTIME, threads=1))
    assert f"{moved} is in 8-bit integers and not used in place of" in caplog.text
    expected = create_extractor(str(weights_of(exported)), 300, LearnedSettings(engine=EngineKind.TORCH, threads=1))
    image = texture(7).astype(np.float32)[None, None] / 255.0
    assert np.abs(floats.engine.run(image).logits - expected.engine.run(image).logits).max() < 1e-2


# --- what can be wrong


def test_files_that_do_not_fit(exported, tmp_path):
    path = copied(exported, tmp_path)
    path.write_bytes(exported.read_bytes()[:-5])
    with pytest.raises(WeightsError, match=r"small_int8\.onnx is not a whole ONNX file"):
        create_extractor(str(path), 100, ONE)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"was not written by `vloc export --int8`"):
        create_extractor(str(path), 100, ONE)
    assert main(["export", str(weights_of(path)), "--to", "onnx", "--out", str(tmp_path / "float.onnx"), "--size", "64x64"]) == 0
    (tmp_path / "float.onnx").replace(path)
    with pytest.raises(WeightsError, match=r"was not written by `vloc export --int8`"):
        create_extractor(str(path), 100, ONE)
    shutil.copy(exported, path)
    random_weights(weights_of(path), seed=1)
    with pytest.raises(WeightsError, match=r"made from other weights than those beside it"):
        create_extractor(str(path), 100, ONE)
    weights_of(path).unlink()
    with pytest.raises(WeightsError, match=r"copy small\.safetensors and its card there"):
        create_extractor(str(path), 100, ONE)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "onnx", "--int8"], "belong together"),
        (["--to", "onnx", "--calibrate", "garden"], "belong together"),
        (["--to", "openvino", "--int8", "--calibrate", "garden"], "with --to onnx"),
        (["--to", "onnx", "--int8", "--calibrate", "garden", "--images", "0"], "--images 0"),
        (["--to", "onnx", "--int8", "--calibrate", "garden", "--out", "small.onnx"], "must be called small_int8.onnx"),
        (["--to", "onnx", "--int8", "--calibrate", "nowhere"], "there is no recording at nowhere"),
        (["--to", "onnx", "--int8", "--calibrate", "garden", "empty"], "the folder empty is empty"),
        (["--to", "onnx", "--int8", "--calibrate", "blank"], "shows anything"),
        (["--to", "onnx", "--int8", "--calibrate", "damaged"], "0.png"),
    ],
)
def test_export_of_what_cannot_be(exported, images, tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garden").symlink_to(images)
    for name in ("empty", "blank", "damaged"):
        (tmp_path / name).mkdir()
    assert cv2.imwrite("blank/0.png", np.full((64, 64), 90, np.uint8))
    Path("damaged/0.png").write_bytes((images / "0.png").read_bytes()[:500])
    weights = weights_of(copied(exported, tmp_path))
    (tmp_path / exported.name).unlink()
    assert main(["export", str(weights), *arguments]) == 1
    assert complaint in capsys.readouterr().err and list(tmp_path.glob("*.onnx")) == []


def test_what_is_too_unlike_is_not_written(exported, images, tmp_path, monkeypatch, capsys):
    from vloc_ros.networks import export_int8

    monkeypatch.setattr(export_int8, "_LEAST_SIMILARITY", 0.99999)
    path = copied(exported, tmp_path)
    path.unlink()
    assert export(weights_of(path), images) == 1
    assert "too unlike itself in floats" in capsys.readouterr().err and not path.exists()


# --- images to calibrate on


def test_images_are_spread_over_the_sources(images, corridor, tmp_path):
    many = write_images(tmp_path / "many", range(9))
    assert [picture.name for picture in sample_images([many, corridor], 5)] == [
        "0.png",
        "4.png",
        "8.png",
        "frame 0 of corridor",
        "frame 5 of corridor",
    ]
    assert len(sample_images([many, images], 1)) == 2, "one of each at least"
    left = cv2.imread(str(corridor / "image_0" / "000005.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(sample_images([corridor], 2)[1].read(), left)
    assert evenly([1, 2], 5) == [1, 2] and evenly(range(101), 3) == [0, 50, 100]
    with pytest.raises(DataError, match="ask for one or more"):
        sample_images([many], 0)
