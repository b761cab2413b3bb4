"""Short vectors for latents: what they keep of dot products, and networks that are given them."""

from __future__ import annotations

import json
import logging

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks need torch")

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.images import read_image  # noqa: E402
from vloc_ros.errors import ConfigError, DataError  # noqa: E402
from vloc_ros.networks.disam_files import load_disam, save_disam  # noqa: E402
from vloc_ros.networks.disam_form import DisamForm, Stage  # noqa: E402
from vloc_ros.networks.disam_preprocessing import disam_images  # noqa: E402
from vloc_ros.networks.domains import random_domains  # noqa: E402
from vloc_ros.networks.latent_basis import (  # noqa: E402
    Basis,
    Centring,
    automatic_cell,
    compressed,
    learn_basis,
    without_decoders,
)

FORM = DisamForm(2, 36, 32, Stage.COARSE, ("summer", "winter"))


def basis_of(given: np.ndarray, length: int, whitening: float = 0.0, centred: bool = False) -> Basis:
    """Of vectors of one condition."""
    centring = Centring.ALL if centred else Centring.NONE
    found = learn_basis(given, np.zeros(len(given), dtype=np.int64), 1, length, whitening, centring)
    return Basis(found.mean[0], found.basis)


def vectors(count: int, elements: int, seed: int = 0, directions: int = 6) -> np.ndarray:
    """Near a few directions, around a mean."""
    rng = np.random.default_rng(seed)
    scales = 2.0 ** -np.arange(directions)
    made = 1.0 + (rng.standard_normal((count, directions)) * scales) @ rng.standard_normal((directions, elements))
    made += 1e-3 * rng.standard_normal(made.shape)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (20, 9000)])
@pytest.mark.parametrize("centred", [False, True])
def test_a_basis_is_that_of_the_singular_vectors(shape, centred):
    given = vectors(*shape)
    found = basis_of(given, 5, centred=centred)
    mean = given.astype(np.float64).mean(axis=0) if centred else np.zeros(shape[1])
    _, _, expected = np.linalg.svd(given - mean, full_matrices=False)
    np.testing.assert_allclose(found.mean, mean, atol=1e-7)
    assert found.basis.shape == (5, shape[1]) and found.basis.dtype == np.float32
    np.testing.assert_allclose(np.abs((found.basis * expected[:5]).sum(axis=1)), 1.0, atol=1e-4)
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(5), atol=1e-5)


@pytest.mark.parametrize("shape", [(30, 12), (12, 200)])
def test_a_basis_of_all_directions_keeps_all_dot_products(shape):
    given = vectors(*shape, directions=12)
    found = basis_of(given, 2048)
    short = given @ found.basis.T
    assert short.shape[1] == 12
    np.testing.assert_allclose(short @ short.T, given @ given.T, atol=1e-5)


def test_the_longest_directions_lose_the_least():
    given = vectors(60, 300)
    whole = given @ given.T
    errors = []
    for length in (1, 2, 4, 7):
        short = given @ basis_of(given, length).basis.T
        errors.append(float(np.abs(short @ short.T - whole).mean()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-4
    rng = np.random.default_rng(3)
    other, _ = np.linalg.qr(rng.standard_normal((300, 7)))
    assert np.abs((given @ other) @ (given @ other).T - whole).mean() > 100 * errors[-1]


def test_each_condition_loses_its_own_mean():
    given = vectors(40, 25)
    conditions = np.repeat([0, 2], 20)
    given[20:] += 0.3
    found = learn_basis(given, conditions, 3, 30, centring=Centring.CONDITION)
    np.testing.assert_allclose(found.mean[[0, 2]], [given[:20].mean(axis=0), given[20:].mean(axis=0)], atol=1e-6)
    np.testing.assert_allclose(found.mean[1], given.mean(axis=0), atol=1e-6)
    short = (given - found.mean[conditions]) @ found.basis.T
    np.testing.assert_allclose(short[:20].mean(axis=0), short[20:].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(("power", "expected"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_whitening_makes_directions_equally_long(power, expected):
    given = vectors(200, 40)
    made = basis_of(given, 5, whitening=power, centred=True)
    plain = basis_of(given, 5, centred=True)
    spread = ((given - made.mean) @ made.basis.T).std(axis=0)
    before = ((given - plain.mean) @ plain.basis.T).std(axis=0)
    slope = np.polyfit(np.log(before / before[0]), np.log(spread / spread[0]), 1)[0]
    assert slope == pytest.approx(expected, abs=1e-3)


def test_a_basis_follows_from_the_vectors():
    given = vectors(20, 100)
    one, again = basis_of(given, 8), basis_of(given, 8)
    np.testing.assert_array_equal(one.basis, again.basis)


@pytest.mark.parametrize(
    "given", [np.ones((1, 4)), np.ones((3, 4)), np.zeros((3, 4)), np.full((200, 4), 0.3), np.full((3, 90), 0.3)]
)
def test_images_that_are_one_teach_nothing(given):
    with pytest.raises(DataError, match="no projection can be learned"):
        basis_of(given.astype(np.float32), 2, centred=True)


@pytest.mark.parametrize(
    ("form", "cell"), [(DisamForm(), 8), (DisamForm(16, 128, 96), 2), (DisamForm(16, 64, 32), 1), (DisamForm(128, 32, 32), 2),
                       (DisamForm(2, 32, 32), 1), (DisamForm(4096, 32, 32), 8)]
)  # fmt: skip
def test_cells_are_chosen_so_that_16384_elements_are_left(form, cell):
    assert automatic_cell(form) == cell


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Twelve places in each of two conditions."""
    root = tmp_path_factory.mktemp("conditions")
    found = {}
    for condition, name in enumerate(FORM.conditions):
        (root / name).mkdir()
        for number in range(12):
            place = np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)
            image = cv2.resize(place, (72, 64), interpolation=cv2.INTER_CUBIC) // (1 + condition)
            cv2.imwrite(str(root / name / f"{number:02}.png"), image)
        found[name] = tuple(sorted((root / name).iterdir()))
    return found


def described(network, paths, condition):
    images = torch.from_numpy(disam_images([read_image(path) for path in paths], FORM))
    with torch.inference_mode():
        latents = network.encode(images, condition)
        return network.compression(latents, condition).numpy(), network.compression.whole(latents).numpy()


def distinct():
    """A network whose conditions have encoders of their own."""
    network = random_domains(FORM)
    with torch.no_grad():
        for parameter in network.encoders[1].parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return network


def test_a_network_gets_vectors_that_keep_its_metric(files):
    network = distinct()
    made = compressed(network, files, cell=2, length=24, whitening=0.0, centring=Centring.NONE)
    assert (made.compression.side, made.compression.length) == (2, 24) and not made.training
    short, whole = (np.concatenate(rows) for rows in zip(*(described(made, files[n], k) for k, n in enumerate(files)), strict=True))
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(short @ short.T, whole @ whole.T, atol=1e-4)  # all directions of 24 images
    # the old one is as it was, and nothing else changes
    assert network.compression.length != 24 and made.form == network.form
    for part in ("encoders", "decoders", "classifier"):
        assert getattr(made, part) is getattr(network, part)


def test_each_condition_goes_through_its_own_encoder(files):
    network = distinct()
    made = compressed(network, files, cell=2, length=4)
    for number, name in enumerate(files):
        own, other = (described(made, files[name], k)[1].mean(axis=0) for k in (number, 1 - number))
        np.testing.assert_allclose(made.compression.mean[number].numpy(), own, atol=1e-6)
        assert np.abs(own - other).max() > 1e-3


def test_fewer_images_make_shorter_vectors_and_say_so(files, caplog):
    with caplog.at_level(logging.WARNING):
        made = compressed(random_domains(FORM), files, cell=2, length=500, images=6, centring=Centring.NONE)
    assert made.compression.length == 6 and "6 elements" in caplog.text


def test_images_are_chosen_evenly_of_all_conditions(files):
    seen = []

    def watched(paths):
        for path in paths:
            seen.append((path.parent.name, path.stem))
            yield path

    compressed(random_domains(FORM), files, length=3, images=5, progress=watched)
    assert seen == [("summer", "00"), ("summer", "06"), ("summer", "11"), ("winter", "00"), ("winter", "11")]


def test_latents_may_be_pooled_alone(files):
    made = compressed(random_domains(FORM), {}, cell=4, length=0)
    short, whole = described(made, files["winter"], 1)
    assert short.shape == (12, 8 * 2 * 3)
    np.testing.assert_allclose(short, whole, atol=1e-6)


def test_decoders_can_be_left_out(files):
    network = compressed(random_domains(FORM), files, length=3)
    made = without_decoders(network)
    assert len(made.decoders) == 0 and len(network.decoders) == 2 and made.classifier is network.classifier
    np.testing.assert_array_equal(described(made, files["winter"], 1)[0], described(network, files["winter"], 1)[0])


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"cell": 9}, ConfigError, "cells of 9"),
        ({"length": 2049}, ConfigError, "2049 elements"),
        ({"whitening": 1.5}, ConfigError, "whitened by 1.5"),
        ({"images": 1}, DataError, "fewer than two images"),
    ],
)
def test_what_cannot_be_is_refused(files, changes, error, said):
    with pytest.raises(error, match=said):
        compressed(random_domains(FORM), files, **changes)


def test_conditions_must_be_known(files):
    with pytest.raises(DataError, match="does not know the condition night, but summer, winter"):
        compressed(random_domains(FORM), {"night": files["winter"]})


def test_what_does_not_fit_memory_is_refused(files):
    many = {"summer": files["summer"] * 100_000}
    with pytest.raises(ConfigError, match="larger cells"):
        compressed(random_domains(FORM), many, cell=1, images=1_000_000)


def test_the_command_makes_weights_for_a_site(tmp_path, files, capsys):
    save_disam(tmp_path / "old.safetensors", random_domains(FORM), "nothing", licence="ours", notes="long ago")
    site = f"conditions:{files['summer'][0].parents[1]}"
    command = ["train", "compress", str(tmp_path / "old.safetensors"), "--data", site, "--length", "10", "--cell", "2"]
    assert main([*command, "--out", str(tmp_path / "new.safetensors"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["cell"], values["elements"], values["bytes_per_image"]) == (2, 10, 40)
    made, card = load_disam(tmp_path / "new.safetensors")
    _, old = load_disam(tmp_path / "old.safetensors")
    assert (card.dimension, card.parent, card.licence, card.trained_on) == (10, old.sha256, "ours", "nothing")
    name = files["summer"][0].parents[1].name  # of the folder, not where it lies on this machine
    assert card.notes == f"long ago; compressed for conditions:{name}, centring condition, whitening 0.5"
    assert len(made.decoders) == 2
    expected = compressed(random_domains(FORM), files, cell=2, length=10)
    np.testing.assert_allclose(made.compression.basis.numpy(), expected.compression.basis.numpy(), atol=1e-6)
    assert main([*command, "--out", str(tmp_path / "small.safetensors"), "--without-decoders"]) == 0
    assert len(load_disam(tmp_path / "small.safetensors")[0].decoders) == 0
    assert main([*command, "--out", str(tmp_path / "old.safetensors")]) != 0
    assert "is the file that is read" in capsys.readouterr().err


def test_the_command_takes_the_conditions_that_the_network_knows(tmp_path, files, capsys):
    save_disam(tmp_path / "old.safetensors", random_domains(FORM), "nothing")
    root = files["summer"][0].parents[1]
    (root / "winter").rename(root / "night")
    command = ["train", "compress", str(tmp_path / "old.safetensors"), "--length", "3", "--out", str(tmp_path / "new.safetensors")]
    assert main([*command, "--data", f"conditions:{root}"]) == 0
    (root / "summer").rename(root / "dusk")
    assert main([*command, "--data", f"conditions:{root}"]) != 0
    assert "knows summer, winter, and the folders are called dusk, night" in capsys.readouterr().err
