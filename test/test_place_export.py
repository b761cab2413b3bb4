"""Networks of place recognition as ONNX files, which make torch unnecessary on the robot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.models import shipped_places  # noqa: E402
from vloc_ros.data.onnx_file import PLACE_WEIGHTS, metadata_of  # noqa: E402
from vloc_ros.errors import WeightsError  # noqa: E402
from vloc_ros.networks import Backbone, NetworkKind  # noqa: E402
from vloc_ros.networks.files import load_network, save_network  # noqa: E402
from vloc_ros.networks.network import describe_with_variance, random_network  # noqa: E402
from vloc_ros.retrieval import View, create_descriptor  # noqa: E402
from vloc_ros.retrieval.engines import can_compute  # noqa: E402

IMAGES = list(np.random.default_rng(5).integers(0, 256, (3, 120, 160, 3), dtype=np.uint8))
WITHOUT_TORCH = """
import sys
import numpy as np
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("torch", "onnx") else real(name, *rest)
from vloc_ros.errors import ConfigError
from vloc_ros.retrieval import View, create_descriptor
try:
    np.save(sys.argv[3], create_descriptor(sys.argv[1]).describe(View(np.load(sys.argv[2]))))
except ConfigError as error:
    sys.exit(str(error))
"""


def written(path: Path, kind: NetworkKind = NetworkKind.GEM, seed: int = 2) -> Path:
    save_network(path, random_network(kind, Backbone.COMPACT_UNET, seed), "nothing")
    return path


def described_without_torch(name: str, folder: Path) -> tuple[np.ndarray | None, str]:
    """What a process that has neither torch nor onnx makes of an image, and its complaint."""
    image, out = folder / "image.npy", folder / "out.npy"
    np.save(image, IMAGES[0])
    command = [sys.executable, "-c", WITHOUT_TORCH, name, str(image), str(out)]
    result = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120, check=False)
    return np.load(out) if out.is_file() else None, result.stderr


@pytest.mark.parametrize("kind", [NetworkKind.GEM, NetworkKind.UNCERTAINTY])
def test_what_is_exported_describes_as_torch_does(tmp_path, capsys, kind):
    pytest.importorskip("onnx")
    path, beside = written(tmp_path / "yard.safetensors", kind), tmp_path / "yard.onnx"
    assert main(["export", str(path), "--to", "onnx", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["difference"] < 1e-3 and values["file"] == str(beside) and values["bytes"] == beside.stat().st_size
    network, card = load_network(path)
    assert metadata_of(beside.read_bytes(), "it") == {PLACE_WEIGHTS: card.sha256}
    found = create_descriptor(str(path)).describe_with_variance([View(image=image) for image in IMAGES])
    for ours, theirs in zip(found, describe_with_variance(network, IMAGES), strict=True):
        assert ours is theirs is None or np.allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "torchscript"], "exported with --to onnx alone, in floats"),
        (["--to", "openvino"], "exported with --to onnx alone, in floats"),
        (["--to", "onnx", "--int8", "--calibrate", "x"], "exported with --to onnx alone, in floats"),
        (["--to", "onnx", "--out", "a.pt"], "must end in .onnx"),
    ],
)
def test_exports_that_they_do_not_have(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "yard.safetensors")
    assert main(["export", "yard.safetensors", *arguments]) == 1
    assert complaint in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 2


def test_the_shipped_network_describes_on_a_robot_without_torch(tmp_path):
    found, complaint = described_without_torch("place", tmp_path)
    assert complaint == "" and found is not None
    network, _ = load_network(shipped_places()["place"])
    assert np.allclose(found, describe_with_variance(network, IMAGES[:1])[0][0], atol=2e-5)


def test_a_stale_file_is_not_used_on_a_robot_without_torch(tmp_path):
    path = written(tmp_path / "yard.safetensors")
    shutil.copy(shipped_places()["place"].with_suffix(".onnx"), path.with_suffix(".onnx"))
    found, complaint = described_without_torch(str(path), tmp_path)
    assert found is None and "yard.onnx is not of the weights" in complaint
    assert "vloc export yard.safetensors --to onnx" in complaint, "how to make one is said"


def test_what_can_be_computed_is_known_beforehand(tmp_path, monkeypatch):
    path, shipped = written(tmp_path / "yard.safetensors"), shipped_places()["place"]
    sha256, shipped_sha256 = load_network(path)[1].sha256, load_network(shipped)[1].sha256
    assert can_compute(path, sha256), "torch does"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert can_compute(shipped, shipped_sha256) and not can_compute(path, sha256)
    shutil.copy(shipped.with_suffix(".onnx"), path.with_suffix(".onnx"))
    assert not can_compute(path, sha256), "it is of other weights"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not can_compute(shipped, shipped_sha256)


@pytest.mark.parametrize(
    ("change", "complaint"), [({"preprocessing": "another"}, "prepared in another way"), ({"dimension": 7}, "its card says 7")]
)
def test_a_card_that_does_not_fit_is_noticed_without_torch_too(tmp_path, monkeypatch, change, complaint):
    path = tmp_path / "yard.safetensors"
    for suffix in (".safetensors", ".onnx", ".json"):
        shutil.copy(shipped_places()["place"].with_suffix(suffix), path.with_suffix(suffix))
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    path.with_suffix(".json").write_text(json.dumps(card | change), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WeightsError, match=complaint):
        create_descriptor(str(path)).describe(View(image=IMAGES[0]))
