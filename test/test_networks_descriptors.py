"""Networks as global descriptors, and the rest of the package without torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from network_samples import place

from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.networks import PREPROCESSING, Backbone, NetworkKind
from vloc_ros.networks.availability import require_torch
from vloc_ros.retrieval import View, create_descriptor, descriptors

ROOT = Path(__file__).resolve().parents[1]
NAMES = {
    "netvlad": 32_768,
    "netvlad_mobilenetv3": 16_384,
    "gem": 511,
    "gem_mobilenetv3": 255,
    "uncertainty": 511,
    "uncertainty_mobilenetv3": 255,
    "vit_small": 384,
}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")


def test_all_are_registered():
    assert set(NAMES) <= set(descriptors())


@pytest.mark.parametrize(("name", "dimension"), NAMES.items())
def test_a_descriptor_keeps_the_contract(torch, name, dimension):
    descriptor = create_descriptor(name)
    assert descriptor.name == name
    card = descriptor.card
    assert (card.name, card.dimension) == (name, dimension) and len(card.sha256) == 64
    assert card.preprocessing == f"{PREPROCESSING}; random weights of seed 0", "the card says that it was never trained"
    views = [View(image=image) for image in (place(0), place(1, colour=True), np.full((40, 60), 77, dtype=np.uint8))]
    together = descriptor.describe_many(views)
    assert together.shape == (3, dimension) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), [1.0, 1.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(descriptor.describe(views[1]), together[1], atol=1e-4)
    assert descriptor.describe_many([]).shape == (0, dimension)
    again, variance = descriptor.describe_with_variance(views)
    assert np.array_equal(again, together)
    if name.startswith("uncertainty"):
        assert variance.shape == (3,) and variance.dtype == np.float32
        assert (variance[:2] > 0.0).all() and np.isfinite(variance[:2]).all() and variance[2] == np.inf
        assert descriptor.describe_with_variance([])[1].shape == (0,)
    else:
        assert variance is None
    with pytest.raises(DataError, match=f"'{name}' needs the image"):
        descriptor.describe(View())


def test_equal_weights_have_equal_cards(torch):
    from vloc_ros.retrieval.gem import GemMobileNetV3

    one, same = GemMobileNetV3.random(), create_descriptor("gem_mobilenetv3")
    assert one.card == same.card
    view = View(image=place(0))
    assert np.array_equal(one.describe(view), same.describe(view))
    assert GemMobileNetV3.random(seed=1).card.sha256 != GemMobileNetV3.random().card.sha256


@pytest.mark.parametrize("kind", [NetworkKind.NETVLAD, NetworkKind.GEM, NetworkKind.UNCERTAINTY])
def test_a_file_of_weights_is_a_descriptor(torch, kind, tmp_path):
    from vloc_ros.networks.files import save_network
    from vloc_ros.networks.network import random_network
    from vloc_ros.retrieval.gem import GemVgg16

    path = tmp_path / "mine.safetensors"
    card = save_network(path, random_network(kind, Backbone.MOBILENETV3, seed=7), "nothing")
    descriptor = create_descriptor(str(path))
    assert descriptor.name == f"{kind.value}_mobilenetv3" and descriptor.card == card.model_card
    assert descriptor.card.name == "mine" and "random" not in descriptor.card.preprocessing
    with pytest.raises(WeightsError, match=f"{kind.value} on mobilenetv3, not of 'gem'"):
        GemVgg16.load(path)


def test_a_file_of_weights_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match="is not a file of weights"):
        create_descriptor(str(tmp_path / "none.safetensors"))
    with pytest.raises(ConfigError, match=r"unknown descriptor 'none'; known: .*gem, .*netvlad"):
        create_descriptor("none")


# --- without torch

WITHOUT_TORCH = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"torch was asked for: {name}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run_without_torch(code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITHOUT_TORCH + code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_the_blocker_blocks():
    result = run_without_torch("import vloc_ros.networks.network")
    assert result.returncode == 1 and "torch was asked for" in result.stderr


@pytest.mark.parametrize(
    "code",
    [
        "from vloc_ros.cli import main; main(['--help'])",
        "from vloc_ros.cli import main; main(['weights', 'init', '--help'])",
        "import vloc_ros.retrieval as r; assert {'netvlad', 'gem'} <= set(r.descriptors())",
        "import vloc_ros.networks, vloc_ros.data.weights",
        "from vloc_ros.cli import main; assert main(['weights', 'list', 'models']) == 0",
    ],
)
def test_nothing_else_needs_torch(code):
    result = run_without_torch(code)
    assert result.returncode == 0, result.stderr


def test_without_torch_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for ask in (lambda: require_torch("the descriptor 'netvlad'"), lambda: create_descriptor("netvlad")):
        with pytest.raises(ConfigError, match=r"the descriptor 'netvlad' needs torch, .* `make setup TORCH_INDEX=URL`"):
            ask()


def test_only_the_networks_their_training_and_their_engine_import_torch():
    files = {path: path.read_text(encoding="utf-8") for path in (ROOT / "vloc_ros").rglob("*.py")}
    importing = [path for path, text in files.items() if re.search(r"^\s*(import|from) torch\b", text, re.MULTILINE)]
    elsewhere = [path for path in importing if path.relative_to(ROOT).parts[1] not in {"networks", "training"}]
    assert elsewhere == [ROOT / "vloc_ros" / "features" / "engines" / "torch.py"]
