"""Files of weights: written, read, refused; check points of others imported."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vloc_ros.cli import main
from vloc_ros.data.weights import WeightsCard, card_path, hash_of, load_card, load_weights, save_weights
from vloc_ros.errors import WeightsError
from vloc_ros.networks import PREPROCESSING, Backbone, NetworkKind

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(1, dtype=np.float32)}
CARD = WeightsCard("small", "netvlad", "vgg16", 4, hash_of(TENSORS), PREPROCESSING, "nothing")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "small.safetensors"
    save_weights(path, TENSORS, CARD)
    return path


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")


# --- files, without torch


def test_weights_come_back_with_their_card(small):
    tensors, card = load_weights(small)
    assert card == CARD == load_card(small)
    assert tensors.keys() == TENSORS.keys() and all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert card.model_card.sha256 == CARD.sha256 and card.model_card.name == "small"


def test_values_that_half_precision_has_take_half_the_bytes(tmp_path):
    exact = (np.arange(-2000, 2000, dtype=np.float32) / 64.0).reshape(40, 100)
    tensors = {"exact": exact, "fine": exact + np.float32(1e-5), "large": np.full(3, 1e6, np.float32)}
    path = tmp_path / "small.safetensors"
    save_weights(path, tensors, dataclasses.replace(CARD, sha256=hash_of(tensors)))
    found, _ = load_weights(path)
    assert all(found[name].dtype == np.float32 and np.array_equal(found[name], tensors[name]) for name in tensors)
    assert 6 * exact.size < path.stat().st_size < 6.5 * exact.size


def test_the_hash_is_of_names_shapes_and_values():
    swapped = dict(reversed(TENSORS.items()))
    assert hash_of(swapped) == hash_of(TENSORS)
    others = (
        TENSORS | {"b": np.zeros(1, dtype=np.float32)},
        TENSORS | {"a.weight": TENSORS["a.weight"].reshape(3, 2)},
        {"a.weight": TENSORS["a.weight"], "c": TENSORS["b"]},
    )
    assert len({hash_of(TENSORS), *map(hash_of, others)}) == 4


def test_exchanged_weights_are_seen(small):
    save_file(TENSORS | {"b": np.zeros(1, dtype=np.float32)}, small)
    with pytest.raises(WeightsError, match=r"small\.safetensors are not those of the model card"):
        load_weights(small)


def test_a_card_of_other_weights_is_not_written(tmp_path):
    with pytest.raises(WeightsError, match="of other weights"):
        save_weights(tmp_path / "a.safetensors", TENSORS, dataclasses.replace(CARD, sha256="0" * 64))
    with pytest.raises(WeightsError, match=r"must end in \.safetensors"):
        save_weights(tmp_path / "a.pth", TENSORS, CARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "not one of this release: look at backbone, dimension"),
        ("{}", "not one of this release"),
        (json.dumps(dataclasses.asdict(CARD) | {"extra": 1}), "look at extra"),
        (json.dumps(dataclasses.asdict(CARD) | {"dimension": "many"}), "'dimension' must be of type int"),
        (json.dumps(dataclasses.asdict(CARD) | {"dimension": True}), "'dimension' must be of type int"),
        (json.dumps(dataclasses.asdict(CARD) | {"name": None}), "'name' must be of type str"),
    ],
)
def test_a_damaged_card_is_named(small, text, words):
    card_path(small).write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=words) as caught:
        load_card(small)
    assert "small.json" in str(caught.value)


def test_missing_and_damaged_files_are_named(small):
    with pytest.raises(WeightsError, match=r"other\.safetensors is not a file of weights"):
        load_card(small.with_name("other.safetensors"))
    whole = small.read_bytes()
    for damaged in (b"", whole[:-3], b"\xff" * 64, b"\x80\x02."):
        small.write_bytes(damaged)
        with pytest.raises(WeightsError, match="not a whole safetensors file"):
            load_weights(small)
    save_file({"a": np.zeros(3, dtype=np.int64)}, small)
    with pytest.raises(WeightsError, match="'a' holds int64 instead of floats"):
        load_weights(small)
    card_path(small).unlink()
    with pytest.raises(WeightsError, match=r"no model card beside it \(small\.json\)"):
        load_weights(small)


def test_list_and_info(small, capsys):
    (small.parent / "alone.safetensors").write_bytes(small.read_bytes())
    assert main(["weights", "list", str(small.parent), "--json"]) == 0
    alone, listed = json.loads(capsys.readouterr().out)["weights"]
    assert listed["name"] == "small" and "no model card" in alone["problem"]
    assert main(["weights", "info", str(small)]) == 0
    shown = capsys.readouterr().out
    assert CARD.sha256 in shown and PREPROCESSING in shown and "\n" in shown
    assert main(["weights", "list", str(small.parent / "nowhere")]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert main(["weights", "info", str(small.parent / "alone.safetensors")]) == 1


# --- networks in files


@pytest.fixture(scope="module")
def mobilenet(torch):
    from vloc_ros.networks.network import random_network

    return random_network(NetworkKind.NETVLAD, Backbone.MOBILENETV3, seed=5)


def test_a_network_survives_its_file(mobilenet, tmp_path):
    from network_samples import place

    from vloc_ros.networks.files import load_network, save_network
    from vloc_ros.networks.network import describe_images

    card = save_network(tmp_path / "site.safetensors", mobilenet, "nothing", licence="CC0")
    assert (card.name, card.dimension, card.licence) == ("site", 16_384, "CC0")
    loaded, again = load_network(tmp_path / "site.safetensors")
    assert again == card and not loaded.training
    images = [place(0), place(1, colour=True)]
    assert np.array_equal(describe_images(loaded, images), describe_images(mobilenet, images))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "cct"}, "weights of 'cct', which is not one of: netvlad, gem"),
        ({"backbone": "vgg16"}, "lacks .* weights of netvlad on vgg16: encoder.features.0.weight"),
        ({"network": "gem"}, r"lacks 3 of \d+ weights of gem on mobilenetv3: pool.gem.p, pool.fc.weight, pool.fc.bias$"),
        ({"dimension": 5}, "16384 elements and its card says 5"),
        ({"preprocessing": "centre crop"}, "images prepared in another way"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(mobilenet, tmp_path, change, words):
    from vloc_ros.networks.files import load_network, save_network

    path = tmp_path / "site.safetensors"
    card = save_network(path, mobilenet, "nothing")
    card_path(path).write_text(json.dumps(dataclasses.asdict(card) | change), encoding="utf-8")
    with pytest.raises(WeightsError, match=words):
        load_network(path)


def test_weights_that_are_not_finite_are_refused(mobilenet, tmp_path):
    from vloc_ros.networks.files import load_network
    from vloc_ros.networks.network import tensors_of

    tensors = tensors_of(mobilenet)
    tensors["pool.centroids"][3, 4] = np.nan
    card = WeightsCard("site", "netvlad", "mobilenetv3", 16_384, hash_of(tensors), PREPROCESSING, "nothing")
    save_weights(tmp_path / "site.safetensors", tensors, card)
    with pytest.raises(WeightsError, match=r"'pool\.centroids' holds values that are not finite"):
        load_network(tmp_path / "site.safetensors")


# --- check points of others


@pytest.fixture(scope="module")
def published(torch, mobilenet):
    """State dicts as others publish them, made from a known network by renaming."""
    from vloc_ros.networks.network import random_network

    ours = random_network(NetworkKind.NETVLAD, Backbone.VGG16, seed=3).state_dict()
    vgg = {name.replace("encoder.features.", "encoder."): tensor for name, tensor in ours.items()}
    names = {"encoder.features.": "encoder.0.", "encoder.project.": "encoder.1."}
    small = {}
    for name, tensor in mobilenet.state_dict().items():
        for new, old in names.items():
            name = name.replace(new, old)
        small[name] = tensor
    return {"vgg": vgg, "mobilenet": small, "ours": ours}


def imported(path: Path, kind: NetworkKind, backbone: Backbone):
    from vloc_ros.networks.checkpoint import import_checkpoint
    from vloc_ros.networks.network import tensors_of

    result = import_checkpoint(path, kind, backbone)
    return tensors_of(result.network), result.random


def test_a_netvlad_check_point_with_scores_of_numpy(torch, published, tmp_path):
    """As NetVLAD-pytorch writes them: beside the weights there are an optimiser, an epoch and recalls of numpy."""
    content = {
        "epoch": 30,
        "state_dict": {name.replace("encoder.", "encoder.module."): tensor for name, tensor in published["vgg"].items()},
        "recalls": {1: np.float64(0.81), 5: np.float32(0.9)},
        "best_score": np.float64(0.9),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "parallel": True,
    }
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    tensors, random = imported(tmp_path / "checkpoint.pth.tar", NetworkKind.NETVLAD, Backbone.VGG16)
    assert random == () and tensors.keys() == published["ours"].keys()
    assert all(np.array_equal(tensors[name], published["ours"][name].numpy()) for name in tensors)


def test_a_mobilenet_check_point_of_parallel_training(torch, published, tmp_path, mobilenet):
    counted = published["mobilenet"] | {"encoder.0.0.1.num_batches_tracked": torch.tensor(7)}
    torch.save({f"module.{name}": tensor for name, tensor in counted.items()}, tmp_path / "m.pth")
    tensors, random = imported(tmp_path / "m.pth", NetworkKind.NETVLAD, Backbone.MOBILENETV3)
    assert random == ()
    assert all(np.array_equal(tensors[name], tensor.numpy()) for name, tensor in mobilenet.state_dict().items())


def test_a_classifier_gives_the_backbone_and_the_rest_is_random(torch, tmp_path, mobilenet):
    features = {f"features.{name}": tensor for name, tensor in mobilenet.encoder.features.state_dict().items()}
    torch.save(features | {"classifier.3.weight": torch.zeros(1000, 1280)}, tmp_path / "imagenet.pth")
    tensors, random = imported(tmp_path / "imagenet.pth", NetworkKind.GEM, Backbone.MOBILENETV3)
    assert random == ("encoder.project", "pool")
    assert all(np.array_equal(tensors[f"encoder.{name}"], tensor.numpy()) for name, tensor in features.items())
    weight = tensors["pool.fc.weight"]
    np.testing.assert_allclose(weight @ weight.T, np.eye(255), atol=1e-5)


def test_a_published_whitening_is_taken_along(torch, published, tmp_path):
    content = published["mobilenet"] | {"WPCA.0.weight": torch.full((2, 16_384, 1, 1), 0.5), "WPCA.0.bias": torch.ones(2)}
    torch.save(content, tmp_path / "w.pth")
    tensors, _ = imported(tmp_path / "w.pth", NetworkKind.NETVLAD, Backbone.MOBILENETV3)
    assert tensors["whitening.weight"].shape == (2, 16_384) and tensors["whitening.bias"].tolist() == [1.0, 1.0]
    content["WPCA.0.weight"] = torch.zeros(2, 100, 1, 1)
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="does not fit 16384 elements"):
        imported(tmp_path / "w.pth", NetworkKind.NETVLAD, Backbone.MOBILENETV3)


class Malicious:
    """What a pickle can hold: a call, made while it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_pickle_with_code_is_refused_and_not_run(torch, tmp_path):
    torch.save({"state_dict": {"encoder.0.weight": torch.zeros(1)}, "more": Malicious(tmp_path / "made")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth holds a pickle that would run code \(\w+\.mkdir\) and is refused") as caught:
        imported(tmp_path / "evil.pth", NetworkKind.NETVLAD, Backbone.VGG16)
    assert "\n" not in str(caught.value) and not (tmp_path / "made").exists()


def test_what_is_no_check_point_is_named(torch, tmp_path):
    (tmp_path / "text.pth").write_text("hello", encoding="utf-8")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"state_dict": {"a": torch.zeros(2, dtype=torch.int64)}}, tmp_path / "integers.pth")
    torch.save({"layer1.0.conv.weight": torch.zeros(2), "fc.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    whole = (tmp_path / "resnet.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    for name, words in {
        "nowhere.pth": "there is no such file",
        "text.pth": "cannot be read as a check point of torch",
        "half.pth": "cannot be read as a check point of torch",
        "list.pth": "holds no tensors by name",
        "integers.pth": "holds no tensors by name",
        "resnet.pth": "holds no weights of vgg16: it has layer1.0.conv.weight, fc.weight$",
    }.items():
        with pytest.raises(WeightsError, match=words) as caught:
            imported(tmp_path / name, NetworkKind.NETVLAD, Backbone.VGG16)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_check_point_that_almost_fits_is_told_where_it_does_not(torch, published, tmp_path):
    vgg = published["vgg"]
    cases = {
        "'encoder.features.0.weight' has the shape": vgg | {"encoder.0.weight": torch.zeros(64, 1, 3, 3)},
        "'pool.centroids' has the shape": vgg | {"pool.centroids": torch.zeros(32, 512)},
        r"lacks 2 of 28 weights of netvlad on vgg16: encoder.features.0.weight, encoder.features.0.bias$": {
            name: tensor for name, tensor in vgg.items() if not name.startswith("encoder.0.")
        },
        r"lacks 1 of 28 weights .*: pool.centroids$": {name: tensor for name, tensor in vgg.items() if name != "pool.centroids"},
        r"holds 1 weights that netvlad on vgg16 does not have: attention.weight$": vgg | {"attention.weight": torch.zeros(1)},
    }
    for words, content in cases.items():
        torch.save(content, tmp_path / "c.pth")
        with pytest.raises(WeightsError, match=words):
            imported(tmp_path / "c.pth", NetworkKind.NETVLAD, Backbone.VGG16)


def test_the_command_imports_and_says_what_is_random(torch, tmp_path, capsys, mobilenet):
    torch.save({f"features.{k}": v for k, v in mobilenet.encoder.features.state_dict().items()}, tmp_path / "imagenet.pth")
    out = tmp_path / "models" / "imagenet.safetensors"
    arguments = ["weights", "import", str(tmp_path / "imagenet.pth"), "--as", "gem", "--backbone", "mobilenetv3", "--out", str(out)]
    assert main([*arguments, "--trained-on", "ImageNet", "--licence", "BSD-3-Clause", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["trained_on"] == "ImageNet; random: encoder.project, pool" and card["licence"] == "BSD-3-Clause"
    assert card["dimension"] == 255 and card["weights"] > 3_000_000
    assert load_card(out).sha256 == card["sha256"]
    assert main(["weights", "import", str(tmp_path / "imagenet.pth"), "--as", "netvlad", "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("vloc weights: ")
