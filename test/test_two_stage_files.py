"""Files of both stages of DHE-VPR: what computes them, what they are as descriptors, and what is said of damaged ones."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from loop_samples import new_map  # noqa: E402
from two_stage_samples import lively, pictures, saved  # noqa: E402

from vloc_ros.calibration.base import base_of  # noqa: E402
from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.models import shipped_places  # noqa: E402
from vloc_ros.data.weights import hash_of, load_card, load_weights, save_weights  # noqa: E402
from vloc_ros.errors import ConfigError, WeightsError  # noqa: E402
from vloc_ros.networks import Backbone, NetworkKind, preprocess  # noqa: E402
from vloc_ros.networks.files import load_network, save_network  # noqa: E402
from vloc_ros.networks.network import random_network  # noqa: E402
from vloc_ros.networks.two_stage_files import load_two_stage  # noqa: E402
from vloc_ros.retrieval import View, create_descriptor  # noqa: E402
from vloc_ros.retrieval.pair_engine import OnnxPairEngine, TorchPairEngine, pair_engine  # noqa: E402
from vloc_ros.retrieval.weights_file import descriptor_of  # noqa: E402

SMALL = Backbone.CCT_SMALL
WITHOUT_TORCH = """
import sys
import numpy as np
import importlib.util
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("torch", "onnx") else real(name, *rest)
from pathlib import Path
from vloc_ros.errors import ConfigError
from vloc_ros.retrieval import View, create_descriptor
from vloc_ros.retrieval.pair_engine import pair_engine
try:
    path, images = sys.argv[1], list(np.load(sys.argv[2]))
    described = create_descriptor(path).describe_many([View(image) for image in images])
    np.save(sys.argv[3], described)
    engine = pair_engine(Path(path))
    _, patches = engine.look(images)
    np.save(sys.argv[4], engine.points(patches[0], patches))
except ConfigError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with both ONNX files beside them."""
    path = saved(tmp_path_factory.mktemp("exported") / "two.safetensors")
    assert main(["export", str(path), "--to", "onnx"]) == 0
    return path


@pytest.fixture
def path(exported: Path, tmp_path: Path) -> Path:
    """A copy of the weights alone."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(exported.with_suffix(suffix), tmp_path)
    return tmp_path / exported.name


def with_card(path: Path, **changes: object) -> Path:
    tensors, card = load_weights(path)
    save_weights(path, tensors, dataclasses.replace(card, **changes))
    return path


def without_torch(path: Path, folder: Path) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Descriptors and points that a process has which has neither torch nor onnx, and its complaint."""
    images, described, points = (folder / f"{name}.npy" for name in ("images", "described", "points"))
    np.save(images, np.array(pictures(3)))
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, (path, images, described, points))]
    result = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120, check=False)
    return *(np.load(file) if file.is_file() else None for file in (described, points)), result.stderr


def test_what_is_saved_is_loaded(path: Path) -> None:
    network, card = load_two_stage(path)
    assert (card.name, card.network, card.backbone, card.dimension) == ("two", "dhe", "cct_small", 192)
    assert "256x256" in card.preprocessing and not network.training
    expected = lively(SMALL).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def test_onnx_does_what_torch_does_for_any_number_of_images(exported: Path) -> None:
    onnx, images = pair_engine(exported), pictures(9)
    network, card = load_two_stage(exported)
    floats = TorchPairEngine(card, network)
    assert isinstance(onnx, OnnxPairEngine) and (onnx.size, onnx.side, onnx.channels) == (256, 16, 192)
    means, patches = onnx.look(images)
    expected_means, expected_patches = floats.look(images)
    np.testing.assert_allclose(means, expected_means, atol=1e-5)
    np.testing.assert_allclose(patches, expected_patches, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(patches, axis=2), 1.0, atol=1e-5)
    made, expected = onnx.points(patches[0], patches), floats.points(patches[0], patches)
    assert made.shape == (9, 8, 2) and made.dtype == np.float32
    assert np.ptp(expected, axis=0).max() > 1e-3 * np.abs(expected).max(), "the candidates must differ for this to say anything"
    np.testing.assert_allclose(made, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(onnx.points(patches[0], patches[4:5].astype(np.float16)), made[4:5], rtol=1e-2, atol=1.0)
    assert onnx.points(patches[0], patches[:0]).shape == (0, 8, 2)


def test_a_descriptor_and_a_re_ranker_share_the_engine_and_the_work(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, descriptor = pair_engine(exported), create_descriptor(str(exported))
    looks: list[int] = []
    real = engine._look
    monkeypatch.setattr(engine, "_look", lambda images: (looks.append(len(images)), real(images))[1])
    images = pictures(3, seed=77)
    described = descriptor.describe_many([View(image) for image in images])
    means, patches = engine.look([image.copy() for image in images])
    assert looks == [3], "the same images are looked at once"
    np.testing.assert_array_equal(described, means)
    changed = images[1].copy()
    changed[3, 4, 2] ^= 255
    engine.look([images[0], changed, changed])
    assert looks == [3, 1], "and others, but for what is remembered"
    np.testing.assert_array_equal(engine.look(images[:1])[1], patches[:1])
    descriptor.describe_many([View(image) for image in pictures(8, seed=78)])
    engine.look(images[:1])
    assert looks == [3, 1, 8, 1], "what was seen long ago is forgotten"


def test_what_the_caller_changes_is_not_remembered(exported: Path) -> None:
    engine, image = pair_engine(exported), pictures(1, seed=90)
    first = engine.look(image)[1]
    kept = first.copy()
    first[:] = 0.0
    np.testing.assert_array_equal(engine.look(image)[1], kept)


def test_another_file_under_the_name_is_another_engine(path: Path) -> None:
    before = pair_engine(path)
    assert pair_engine(path) is before and pair_engine(path.parent / "." / path.name) is before
    saved(path, lively(SMALL, seed=4))
    assert pair_engine(path) is not before and pair_engine(path).card.sha256 != before.card.sha256


def test_a_file_of_both_stages_is_a_descriptor(exported: Path) -> None:
    descriptor, images = create_descriptor(str(exported)), pictures(2)
    assert descriptor.card == load_card(exported).model_card and descriptor.card.dimension == 192
    vectors = descriptor.describe_many([View(images[0]), View(np.full((50, 60), 90, dtype=np.uint8)), View(images[1])])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1.0, 0.0, 1.0], atol=1e-5)
    in_a_map = descriptor_of(exported.read_bytes(), load_card(exported))
    np.testing.assert_allclose(in_a_map.describe_many([View(images[1])])[0], vectors[2], atol=1e-5)


@pytest.mark.parametrize("backbone", [SMALL, pytest.param(Backbone.CCT14, marks=pytest.mark.slow)])
def test_a_file_of_the_first_stage_is_one_too(backbone: Backbone, tmp_path: Path) -> None:
    network = random_network(NetworkKind.PLAIN_GEM, backbone, 3)
    save_network(tmp_path / "first.safetensors", network, "nothing")
    view = View(pictures(1)[0])
    before = create_descriptor(str(tmp_path / "first.safetensors")).describe(view)
    assert main(["export", str(tmp_path / "first.safetensors"), "--to", "onnx"]) == 0
    after = create_descriptor(str(tmp_path / "first.safetensors")).describe(view)
    np.testing.assert_allclose(before, after, atol=1e-5)
    with torch.inference_mode():
        expected = network(torch.from_numpy(preprocess([view.image], backbone.size)))[0].numpy()
    np.testing.assert_allclose(before, expected, atol=1e-5)


def test_torch_is_not_needed_beside_both_onnx_files(exported: Path, path: Path, tmp_path: Path) -> None:
    engine, images = pair_engine(exported), pictures(3)
    means, patches = engine.look(images)
    described, points, complaint = without_torch(exported, tmp_path)
    assert complaint == ""
    np.testing.assert_allclose(described, means, atol=1e-5)
    np.testing.assert_allclose(points, engine.points(patches[0], patches), rtol=1e-4, atol=1e-2)
    for file in tmp_path.glob("*.npy"):
        file.unlink()
    described, points, complaint = without_torch(path, tmp_path)
    assert described is None and "two.onnx" in complaint and "vloc export two.safetensors --to onnx" in complaint
    shutil.copy(exported.with_suffix(".onnx"), tmp_path)
    described, points, complaint = without_torch(path, tmp_path)
    assert described is not None and points is None and "two_pairs.onnx" in complaint, "it finds, but cannot compare"


def test_onnx_files_of_other_weights_are_not_used(exported: Path, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(path, lively(SMALL, seed=9))
    for ending in (".onnx", "_pairs.onnx"):
        shutil.copy(exported.with_name(exported.stem + ending), path.with_name(path.stem + ending))
    engine = pair_engine(path)
    assert "two.onnx" in caplog.text and "two_pairs.onnx" in caplog.text and "export it again" in caplog.text
    means, _ = engine.look(pictures(1))
    assert np.abs(means - pair_engine(exported).look(pictures(1))[0]).max() > 1e-3


def test_export_writes_two_files_and_says_how_well(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(path), "--to", "onnx", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    files = [path.with_suffix(".onnx"), path.with_name("two_pairs.onnx")]
    assert said["bytes"] == sum(file.stat().st_size for file in files) and 0.0 <= said["difference"] < 1e-4
    assert main(["export", str(path), "--to", "openvino"]) == 1 and "--to onnx alone" in capsys.readouterr().err


def test_list_and_info_know_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "info", str(path)]) == 0
    assert "dhe" in capsys.readouterr().out
    assert main(["weights", "list", str(path.parent)]) == 0
    assert "dhe on cct_small, 192 elements" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"network": "gem"}, "a homography needs some of dhe"),
        ({"backbone": "vgg16"}, "cct14, cct_small"),
        ({"backbone": "cct14"}, "384x384"),
        ({"dimension": 64}, "192 elements and its card says 64"),
        ({"preprocessing": "a crop"}, "prepared in another way"),
    ],
)
def test_a_card_of_something_else_is_refused(path: Path, change: dict[str, object], match: str) -> None:
    with_card(path, **change)
    with pytest.raises(WeightsError, match=match):
        load_two_stage(path)
    with pytest.raises(WeightsError, match=match):
        pair_engine(path)


def test_damaged_weights_are_refused(path: Path) -> None:
    tensors, card = load_weights(path)
    for wrong, match in (
        ({name: tensor for name, tensor in tensors.items() if name != "regression.positions"}, "lacks 1 of .*regression.positions"),
        (tensors | {"regression.more": np.zeros(2, np.float32)}, "1 weights that dhe on cct_small does not have"),
        (tensors | {"place.pool.p": np.zeros(2, np.float32)}, "'place.pool.p' has the shape"),
        (tensors | {"place.pool.p": np.full(1, np.nan, np.float32)}, "not finite"),
    ):
        save_weights(path, wrong, dataclasses.replace(card, sha256=hash_of(wrong)))
        for load in (load_two_stage, pair_engine):
            with pytest.raises(WeightsError, match=match):
                load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="copy it again"):
        pair_engine(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match="model card"):
        create_descriptor(str(path))


def test_what_needs_a_single_network_says_so(path: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="vloc train vpr"):
        load_network(path)
    with new_map(tmp_path / "map.vloc") as store, pytest.raises(WeightsError, match="vloc train vpr"):
        base_of(store, path, tmp_path)


def test_a_calibration_begins_with_place_and_not_with_the_first_by_the_alphabet(path: Path, tmp_path: Path, monkeypatch) -> None:
    shipped = {"cct": path, **shipped_places()}
    monkeypatch.setattr("vloc_ros.calibration.base.shipped_places", lambda: shipped)
    with new_map(tmp_path / "map.vloc") as store:
        assert base_of(store, None, tmp_path).path == shipped["place"]


def test_shipped_weights_of_both_stages_are_a_descriptor_by_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vloc_ros.retrieval.contract.shipped_places", lambda: {"cct": path})
    assert create_descriptor("cct").card.name == "two"


def test_without_weights_there_is_no_cct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vloc_ros.retrieval.contract.shipped_places", dict)
    with pytest.raises(ConfigError, match="unknown descriptor 'cct'"):
        create_descriptor("cct")
