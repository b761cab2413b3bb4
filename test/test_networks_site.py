"""Cluster centres and whitening from images without labels."""

from __future__ import annotations

import json
import math

import map_samples
import numpy as np
import pytest
from network_samples import place, write_places

torch = pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.errors import DataError, WeightsError  # noqa: E402
from vloc_ros.mapping import SessionKind  # noqa: E402
from vloc_ros.networks import INPUT_SIZE, Backbone, NetworkKind  # noqa: E402
from vloc_ros.networks.centroids import cluster, initialise_netvlad, local_descriptors  # noqa: E402
from vloc_ros.networks.files import load_network  # noqa: E402
from vloc_ros.networks.network import describe_images, random_network, tensors_of  # noqa: E402
from vloc_ros.networks.site import images_of, initialise  # noqa: E402
from vloc_ros.networks.whitening import learn_whitening, principal_components  # noqa: E402

PLACES = [place(number) for number in range(12)]


def mobilenet(kind=NetworkKind.NETVLAD):
    return random_network(kind, Backbone.MOBILENETV3)


# --- cluster centres


def test_clusters_of_known_directions_are_found():
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(16, 16)))[0][:4].astype(np.float32)
    samples = np.repeat(centres, 50, axis=0) + rng.normal(size=(200, 16)).astype(np.float32) * 0.01
    samples /= np.linalg.norm(samples, axis=1, keepdims=True)
    found, alpha = cluster(samples, 4, seed=0)
    assert sorted(np.argmax(found @ centres.T, axis=1)) == [0, 1, 2, 3]
    assert np.max(found @ centres.T, axis=1) == pytest.approx(1.0, abs=0.01)
    # The best cosine is about 1 and the second about 0, so alpha makes weights of 100 to 1 over a gap of 1.
    assert alpha == pytest.approx(-math.log(0.01), rel=0.05)


def test_local_descriptors_are_of_unit_length_over_channels():
    network = mobilenet()
    found = local_descriptors(network, PLACES[:2], seed=0)
    assert found.shape == (2 * 49, 256)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_few_images_give_all_their_descriptors_and_many_a_part(monkeypatch):
    monkeypatch.setattr("vloc_ros.networks.centroids.MAX_DESCRIPTORS", 60)
    assert len(local_descriptors(mobilenet(), PLACES, seed=0)) == 60
    assert len(local_descriptors(mobilenet(), PLACES[:1], seed=0)) == 49


def test_assignment_becomes_decided_and_the_descriptor_better():
    """The best centre has a hundred times the weight of the second, in the mean of the logarithms; all centres are used."""
    network = mobilenet()
    before = describe_images(network, PLACES)
    alpha = initialise_netvlad(network, PLACES, seed=0)
    local = torch.from_numpy(local_descriptors(network, PLACES, seed=0))
    scores = np.sort((local @ network.pool.conv.weight.detach().flatten(1).T).numpy(), axis=1)
    assert np.mean(scores[:, -1] - scores[:, -2]) == pytest.approx(-math.log(0.01), rel=0.05) and alpha > 0
    directions = torch.nn.functional.normalize(network.pool.centroids.detach(), dim=1)
    np.testing.assert_allclose(
        network.pool.conv.weight.detach().flatten(1).numpy(), alpha * directions.numpy(), rtol=1e-4, atol=1e-4
    )
    after = describe_images(network, PLACES)
    spread = [float(np.mean((vectors @ vectors.T)[np.triu_indices(12, 1)])) for vectors in (before, after)]
    assert spread[1] < spread[0], "different places must be less alike than with random centres"


def test_a_seed_decides_the_centres():
    one, same, other = mobilenet(), mobilenet(), mobilenet()
    for network, seed in ((one, 1), (same, 1), (other, 2)):
        initialise_netvlad(network, PLACES, seed)
    assert torch.equal(one.pool.centroids, same.pool.centroids)
    assert not torch.equal(one.pool.centroids, other.pool.centroids)


def test_too_few_images_are_counted():
    with pytest.raises(DataError, match="2 images give 98 local descriptors and 64 centres need 256"):
        initialise_netvlad(mobilenet(), PLACES[:2])
    with pytest.raises(DataError, match="0 images give 0"):
        initialise_netvlad(mobilenet(), [])


# --- whitening


@pytest.mark.parametrize("shape", [(40, 12), (40, 200)])
def test_principal_components_are_white(shape):
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=shape) * np.linspace(5.0, 0.5, shape[1]) + 3.0).astype(np.float32)
    weight, bias = principal_components(vectors, 5)
    whitened = vectors @ weight.T + bias
    np.testing.assert_allclose(whitened.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(5), atol=1e-3)
    _, _, directions = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    cosines = np.abs(np.sum(weight / np.linalg.norm(weight, axis=1, keepdims=True) * directions[:5], axis=1))
    np.testing.assert_allclose(cosines, 1.0, atol=1e-3)


def test_a_whitened_network_is_shorter_and_the_first_stays_as_it_was():
    network = mobilenet(NetworkKind.GEM)
    before = tensors_of(network)
    whitened = learn_whitening(network, PLACES, 6)
    assert whitened.dimension == 6 and network.dimension == 255
    found = describe_images(whitened, PLACES)
    assert found.shape == (12, 6) and np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert all(np.array_equal(tensor, before[name]) for name, tensor in tensors_of(network).items())
    again = learn_whitening(whitened, PLACES, 4)  # replaces the first one
    assert again.dimension == 4 and np.isfinite(describe_images(again, PLACES)).all()


def test_a_whitening_needs_images_that_differ():
    network = mobilenet(NetworkKind.GEM)
    with pytest.raises(DataError, match="12 principal components need at least 13 images and there are 12"):
        learn_whitening(network, PLACES, 12)
    with pytest.raises(DataError, match="255 elements cannot be whitened to 256"):
        learn_whitening(network, PLACES, 256)
    with pytest.raises(DataError, match=r"vary in \d directions only, not in 4"):
        learn_whitening(network, [PLACES[0]] * 6 + [PLACES[1]] * 6, 4)


# --- from images to a file


def test_images_of_a_folder_are_chosen_evenly(tmp_path):
    folder = write_places(tmp_path / "photos", 9)
    images = images_of(folder, 3)
    assert [image.shape for image in images] == [(INPUT_SIZE, INPUT_SIZE)] * 3
    for number, image in zip((0, 4, 8), images, strict=True):
        assert np.array_equal(describe_images(mobilenet(), [image]), describe_images(mobilenet(), [place(number)]))


def test_images_of_a_map(tmp_path):
    with map_samples.create(tmp_path / "site.vloc") as store:
        session = store.begin_session(SessionKind.TEACH, "test")
        for with_image in (True, False, True):
            map_samples.add_keyframe(store, session, with_image=with_image)
    assert len(images_of(tmp_path / "site.vloc", 10)) == 2


def test_a_source_without_images_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no images"):
        images_of(tmp_path / "empty", 10)


def test_the_command_fits_a_network_to_a_site(tmp_path, capsys):
    folder = write_places(tmp_path / "photos", 8)
    out = tmp_path / "site.safetensors"
    arguments = ["weights", "init", "netvlad", "--images", str(folder), "--out", str(out), "--json"]
    assert main([*arguments, "--backbone", "mobilenetv3"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["trained_on"] == "nothing (random, seed 0); centres from 8 images of photos" and first["parent"] == ""
    arguments[6] = str(tmp_path / "short.safetensors")
    assert main([*arguments, "--from", str(out), "--pca", "5"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["parent"] == first["sha256"] and second["dimension"] == 5 and "centres and whitening" in second["trained_on"]
    network, card = load_network(tmp_path / "short.safetensors")
    assert card.name == "short" and describe_images(network, [place(0)]).shape == (1, 5)


def test_what_cannot_be_fitted_is_refused(tmp_path):
    folder = write_places(tmp_path / "photos", 8)
    short, gem = tmp_path / "short.safetensors", tmp_path / "gem.safetensors"
    with pytest.raises(DataError, match="gem has no cluster centres"):
        initialise(gem, folder, NetworkKind.GEM, Backbone.MOBILENETV3)
    initialise(short, folder, NetworkKind.NETVLAD, Backbone.MOBILENETV3, whitened=4)
    with pytest.raises(WeightsError, match="ends in a whitening of other centres"):
        initialise(gem, folder, NetworkKind.NETVLAD, Backbone.MOBILENETV3, start=short)
    with pytest.raises(WeightsError, match="holds weights of netvlad, not of gem"):
        initialise(gem, folder, NetworkKind.GEM, Backbone.MOBILENETV3, start=short, whitened=4)
    assert not gem.exists()
