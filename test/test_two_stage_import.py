"""Published check points of DHE-VPR, made up here in the layouts of their programs, become one file of both stages."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

import published_dhe as published  # noqa: E402
from two_stage_samples import lively, saved  # noqa: E402

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.weights import load_card  # noqa: E402
from vloc_ros.errors import WeightsError  # noqa: E402
from vloc_ros.networks import Backbone  # noqa: E402
from vloc_ros.networks.files import load_network, save_network  # noqa: E402
from vloc_ros.networks.two_stage import TwoStageNetwork  # noqa: E402
from vloc_ros.networks.two_stage_files import load_two_stage  # noqa: E402
from vloc_ros.networks.two_stage_import import import_first_stage, import_regression  # noqa: E402

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def network() -> TwoStageNetwork:
    return lively(Backbone.CCT14)


@pytest.fixture(scope="module")
def files(network: TwoStageNetwork, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The published files: of the benchmark, of the converted extractor, of the homography network."""
    folder = tmp_path_factory.mktemp("published")
    contents = {
        "benchmark.pth": {
            "epoch_num": 12,
            "model_state_dict": OrderedDict(published.benchmark_state(network.place, 14)),
            "recalls": np.array([80.0, 90.0]),
            "best_r5": np.float64(90.0),
            "not_improved_num": 0,
        },
        "features_extractor_001.torch": OrderedDict(published.extractor_state(network.place)),
        "homography_regression_001.torch": OrderedDict(published.regression_state(network.regression)),
    }
    for name, content in contents.items():
        torch.save(content, folder / name)
    return {name.partition("_")[0].partition(".")[0]: folder / name for name in contents}


def assert_equal(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def damaged(path: Path, folder: Path, change: dict[str, torch.Tensor | None]) -> Path:
    """A copy of a check point with other tensors, or without some."""
    state = torch.load(path, weights_only=True) | change
    torch.save({name: tensor for name, tensor in state.items() if tensor is not None}, folder / "damaged.torch")
    return folder / "damaged.torch"


def test_the_backbone_of_the_benchmark_is_cut_off(network: TwoStageNetwork, files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "first.safetensors"
    assert main(["weights", "import", str(files["benchmark"]), "--as", "plain_gem", "--backbone", "cct14", "--out", str(out)]) == 0
    made, card = load_network(out)
    assert_equal(made, network.place)
    assert (card.network, card.backbone, card.dimension) == ("plain_gem", "cct14", 384) and "384x384" in card.preprocessing
    assert card.trained_on == "unknown, imported from benchmark.pth"


def test_the_converted_extractor_is_the_same_network(network: TwoStageNetwork, files: dict[str, Path]) -> None:
    imported = import_first_stage(files["features"])
    assert imported.random == ()
    assert_equal(imported.network, network.place)


def test_a_classifier_has_no_pooling_which_begins_at_three(network: TwoStageNetwork, tmp_path: Path) -> None:
    state = published.benchmark_state(network.place, 14)
    state = {name.removeprefix("module.backbone."): tensor for name, tensor in state.items() if "aggregation" not in name}
    torch.save(state | {"classifier.fc.weight": torch.ones(1000, 384), "classifier.fc.bias": torch.ones(1000)}, tmp_path / "c.pth")
    imported = import_first_stage(tmp_path / "c.pth")
    assert imported.random == ("pool",) and imported.network.pool.p.item() == 3.0
    assert_equal(imported.network.encoder, network.place.encoder)


@pytest.mark.parametrize("first", ["benchmark", "features"])
def test_both_halves_become_one_file(network: TwoStageNetwork, files: dict[str, Path], first: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "both.safetensors"
    command = ["weights", "import", str(files["homography"]), "--as", "dhe", "--with", str(files[first]), "--out", str(out)]
    assert main([*command, "--trained-on", "MSLS", "--licence", "MIT", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == 13_259_713 + 27_802_000
    made, card = load_two_stage(out)
    assert_equal(made, network)
    assert (card.trained_on, card.licence, card.parent) == ("MSLS", "MIT", "")


def test_the_descriptors_may_be_a_file_of_ours(network: TwoStageNetwork, files: dict[str, Path], tmp_path: Path) -> None:
    first, both, again = (tmp_path / f"{name}.safetensors" for name in ("first", "both", "again"))
    card = save_network(first, network.place, "MSLS")
    command = ["weights", "import", str(files["homography"]), "--as", "dhe", "--with"]
    assert main([*command, str(first), "--out", str(both)]) == 0
    assert load_card(both).parent == card.sha256
    assert main([*command, str(both), "--out", str(again)]) == 0
    assert_equal(load_two_stage(again)[0], network)


def test_what_does_not_go_together_is_refused(files: dict[str, Path], tmp_path: Path, capsys) -> None:
    homography, out = str(files["homography"]), ["--out", str(tmp_path / "x.safetensors")]
    small = str(saved(tmp_path / "small.safetensors"))
    for more, match in (
        (["--as", "dhe"], "name the weights of the descriptors it was trained with, too, with --with FILE"),
        (["--as", "dhe", "--with", small], "small.safetensors holds weights on cct_small"),
        (["--as", "dhe", "--with", homography], "holds no weights of cct14"),
        (["--as", "gem", "--with", small], "--with FILE belongs to --as dhe alone"),
        (["--as", "plain_gem", "--backbone", "vgg16"], "there is no plain_gem on vgg16"),
        (["--as", "plain_gem", "--backbone", "cct14"], "holds no weights of cct14: it has encoder.layers.0."),
    ):
        assert main(["weights", "import", homography, *more, *out]) == 1
        said = capsys.readouterr().err
        assert match in said
    assert not (tmp_path / "x.safetensors").exists()


def test_damaged_halves_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    for change, match in (
        ({"pe": None}, "lacks 1 of .* of the homography network of dhe: positions"),
        ({"pe": torch.zeros(1, 256, 256)}, r"'positions' has the shape \(1, 256, 256\) instead of \(1, 576, 576\)"),
        ({"linear.weight": torch.zeros(8, 331776)}, r"'points.weight' has the shape \(8, 331776\)"),
        ({"encoder3.more": torch.zeros(3)}, "1 weights that the homography network of dhe does not have: encoder3.more"),
        ({"linear.bias": torch.full((16,), float("inf"))}, "'points.bias' holds values that are not finite"),
    ):
        with pytest.raises(WeightsError, match=match):
            import_regression(damaged(files["homography"], tmp_path, change))
    prefix = "encoder.classifier."
    for change, match in (
        ({prefix + "norm.weight": None}, "lacks 1 of .* of plain_gem on cct14: encoder.classifier.norm.weight"),
        ({prefix + "positional_emb": torch.zeros(1, 196, 384)}, r"has the shape \(1, 196, 384\) instead of \(1, 576, 384\)"),
        ({"pool.2.weight": torch.zeros(3)}, "1 weights that plain_gem on cct14 does not have: pool.2.weight"),
    ):
        with pytest.raises(WeightsError, match=match):
            import_first_stage(damaged(files["features"], tmp_path, change))


def test_cut_off_files_and_code_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    short = tmp_path / "short.torch"
    short.write_bytes(files["homography"].read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="damaged, cut off"):
        import_regression(short)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "code.torch")
    with pytest.raises(WeightsError, match="would run code"):
        import_first_stage(tmp_path / "code.torch")
    with pytest.raises(WeightsError, match="no such file"):
        import_first_stage(tmp_path / "none.torch")
