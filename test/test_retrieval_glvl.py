"""The global half of GLVL as a descriptor like any other, computed by ONNX Runtime or torch, with or without torch installed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from glvl_samples import glvl_weights, random_glvl
from local_samples import texture
from retrieval_samples import place

torch = pytest.importorskip("torch", reason="networks need torch")

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data import models  # noqa: E402
from vloc_ros.data.weights import load_card, load_weights, save_weights  # noqa: E402
from vloc_ros.errors import ConfigError, DataError, WeightsError  # noqa: E402
from vloc_ros.features.engines.choice import is_installed  # noqa: E402
from vloc_ros.networks.glvl_preprocessing import glvl_images  # noqa: E402
from vloc_ros.retrieval import Glvl, View, create_descriptor, descriptors  # noqa: E402
from vloc_ros.retrieval.engines import OnnxRuntimeEngine  # noqa: E402
from vloc_ros.retrieval.glvl import TorchVectors  # noqa: E402
from vloc_ros.retrieval.weights_file import descriptor_of  # noqa: E402

needs_onnx = pytest.mark.skipif(
    not (is_installed("onnx") and is_installed("onnxruntime")), reason="onnx or onnxruntime is not installed (engines.txt)"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return glvl_weights(tmp_path_factory.mktemp("weights") / "glvl.safetensors")


@pytest.fixture(scope="module")
def descriptor(weights: Path) -> Glvl:
    made = create_descriptor(str(weights))
    assert isinstance(made, Glvl)
    return made


# --- the contract


def test_describes_by_a_unit_vector_of_the_dimension_on_its_card(descriptor, weights):
    vector = descriptor.describe(View(place(1)))
    assert vector.dtype == np.float32 and vector.shape == (descriptor.card.dimension,) == (256,)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert descriptor.card == load_card(weights).model_card and descriptor.name == descriptor.card.name == "glvl"


def test_says_the_same_every_time(descriptor, weights):
    view = View(place(1))
    before, first = view.image.copy(), descriptor.describe(view)
    descriptor.describe(View(place(2)))
    assert np.array_equal(descriptor.describe(view), first) and np.array_equal(view.image, before)
    assert np.array_equal(create_descriptor(str(weights)).describe(view), first)


def test_many_at_once_are_as_one_by_one(descriptor):
    """More than go through together, some of them blank."""
    views = [View(place(number)) for number in range(10)]
    views[3] = views[9] = View(np.full((50, 60), 7, np.uint8))
    rows = descriptor.describe_many(views)
    np.testing.assert_allclose(rows, [descriptor.describe(view) for view in views], atol=1e-5)
    assert not rows[3].any() and not rows[9].any() and rows[8].any()
    assert descriptor.describe_many([]).shape == (0, 256)
    assert descriptor.describe_with_variance(views)[1] is None


def test_colour_without_colour_is_grey(descriptor):
    grey = place(3)[:, :, 0].copy()
    assert np.abs(descriptor.describe(View(grey)) - descriptor.describe(View(np.dstack([grey] * 3)))).max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_survives_the_smallest_images(descriptor, size):
    vector = descriptor.describe(View(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)))
    assert np.isfinite(vector).all() and np.linalg.norm(vector) <= 1.0 + 1e-5


def test_says_what_is_missing_from_a_view(descriptor):
    with pytest.raises(DataError, match="'glvl' needs the image"):
        descriptor.describe(View())


# --- how images enter


def test_both_halves_see_the_same_grey(descriptor):
    """The published halves saw images of different normalisation through one stem (BUG-G4)."""
    from vloc_ros.features.learned import prepare

    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    local, _ = prepare(image, 1, 10**6)
    assert np.array_equal(glvl_images([image], 96), local)


def test_the_whole_image_is_averaged_to_the_size_of_the_card():
    image = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 16, np.ones((30, 60), np.uint8))
    made = glvl_images([image, image[:, :, None].repeat(3, axis=2)], 4)
    assert made.shape == (2, 1, 4, 4) and made.dtype == np.float32
    assert np.allclose(made[0, 0] * 255.0, np.arange(16).reshape(4, 4) * 16, atol=1e-3) and np.array_equal(made[0], made[1])
    chequered = np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * 200
    assert np.allclose(glvl_images([chequered], 32), 100 / 255.0), "nothing aliases"


# --- engines and files


@needs_onnx
def test_onnx_runtime_does_what_torch_does(weights):
    tensors, card = load_weights(weights)
    descriptor, network = Glvl.of(tensors, card, "here"), random_glvl()
    images = [texture(number, (80, 120)) for number in range(10)]
    made = descriptor.describe_many([View(image) for image in images])
    assert isinstance(descriptor.engine, OnnxRuntimeEngine)
    assert np.abs(made - TorchVectors(network)(images)[0]).max() < 1e-5
    with torch.no_grad():
        whole = network(torch.from_numpy(glvl_images(images, 96))).vectors.numpy()
    assert np.abs(made - whole).max() < 1e-5


def test_torch_where_nothing_else_is_installed(weights, monkeypatch):
    from vloc_ros.retrieval import glvl

    expected = create_descriptor(str(weights)).describe(View(texture()))
    monkeypatch.setattr(glvl, "is_installed", lambda name: name == "torch")
    tensors, card = load_weights(weights)
    alone = Glvl.of(tensors, card, "here")
    assert isinstance(alone.engine, TorchVectors) and np.abs(alone.describe(View(texture())) - expected).max() < 1e-5


@pytest.fixture
def copied(weights, tmp_path) -> Path:
    for suffix in (".safetensors", ".json"):
        shutil.copy(weights.with_suffix(suffix), tmp_path)
    return tmp_path / weights.name


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
from vloc_ros.errors import VlocError
from vloc_ros.retrieval import View, create_descriptor
try:
    found = create_descriptor(sys.argv[1]).describe(View(cv2.imread(sys.argv[2], cv2.IMREAD_GRAYSCALE)))
    print(" ".join(str(value) for value in found[:5]))
except VlocError as error:
    print(error)
"""


@needs_onnx
def test_a_drone_without_torch(copied, tmp_path, capsys):
    assert cv2.imwrite(str(tmp_path / "image.png"), texture())
    expected = create_descriptor(str(copied)).describe(View(texture()))

    def asked() -> str:
        command = [sys.executable, "-c", WITHOUT_TORCH, str(copied), str(tmp_path / "image.png")]
        result = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "has no glvl.onnx of its weights beside it" in asked()
    assert main(["export", str(copied), "--to", "onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] < 1e-3
    assert np.abs(np.array([float(value) for value in asked().split()]) - expected[:5]).max() < 1e-5


@needs_onnx
def test_an_onnx_file_of_other_weights_is_not_used(copied, weights, caplog):
    expected = create_descriptor(str(weights)).describe(View(texture()))
    other = glvl_weights(copied.with_name("other.safetensors"), seed=1)
    assert main(["export", str(other), "--to", "onnx", "--out", str(copied.with_suffix(".onnx"))]) == 0
    assert np.array_equal(create_descriptor(str(copied)).describe(View(texture())), expected)
    assert "is not of the weights" in caplog.text


@pytest.mark.parametrize(
    ("more", "complaint"),
    [(["--to", "openvino"], "describes whole images"), (["--to", "onnx", "--out", "a.bin"], "must end in .onnx")],
)
def test_export_of_what_cannot_be(weights, tmp_path, monkeypatch, capsys, more, complaint):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(weights), *more]) == 1
    assert complaint in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_shipped_weights_go_by_their_name(weights, monkeypatch):
    monkeypatch.setattr(models, "models_folders", lambda: [weights.parent])
    assert "glvl" in descriptors() and isinstance(create_descriptor("glvl"), Glvl)


def test_weights_from_a_map(weights):
    card = load_card(weights)
    made = descriptor_of(weights.read_bytes(), card)
    assert isinstance(made, Glvl) and made.card == card.model_card
    with pytest.raises(WeightsError, match="other weights than its card says"):
        descriptor_of(weights.read_bytes(), dataclasses.replace(card, sha256="0" * 64))


def test_weights_of_another_network(copied):
    tensors, card = load_weights(copied)
    save_weights(copied, tensors, dataclasses.replace(card, network="gem", backbone="vgg19"))
    with pytest.raises(WeightsError, match=r"gem on vgg19, which is not one of: .*disam, glvl"):
        create_descriptor(str(copied))
    with pytest.raises(WeightsError, match="here some of glvl are needed"):
        Glvl.load(copied)


def test_weights_list_and_info(weights, capsys):
    assert main(["weights", "list", str(weights.parent)]) == 0
    assert "glvl on resnet 8 1-2-1-1, descriptors 32, 96 px, 256 elements" in capsys.readouterr().out
    assert main(["weights", "info", str(weights)]) == 0
    assert "whole image to 96x96" in capsys.readouterr().out


def test_it_is_not_taken_for_local_features(weights):
    from vloc_ros.features import create_extractor

    with pytest.raises((WeightsError, ConfigError), match=r"describes whole images and has no local features.*superpoint"):
        create_extractor(str(weights), 10)
