"""The networks of DHE-VPR against what is known of them: numbers of weights, identical images, and the published forward."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

import published_dhe as published  # noqa: E402
from two_stage_samples import identity, lively, pictures  # noqa: E402

from vloc_ros.networks import Backbone, LearnedPart, NetworkKind, preprocess  # noqa: E402
from vloc_ros.networks.cct import SHAPES  # noqa: E402
from vloc_ros.networks.dhe import corners, correlation, patch_centres  # noqa: E402
from vloc_ros.networks.freezing import freeze  # noqa: E402
from vloc_ros.networks.homography import homography_of  # noqa: E402
from vloc_ros.networks.network import random_network  # noqa: E402
from vloc_ros.networks.two_stage import TwoStageNetwork, random_two_stage  # noqa: E402

BOTH = [Backbone.CCT_SMALL, Backbone.CCT14]
ATTENTION_POOL = 385  # of the published count; nothing uses it


def count(part: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def seen_by(network: TwoStageNetwork, images: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prepared images, and what the network says of them."""
    prepared = torch.from_numpy(preprocess(images, network.backbone.size)).to(network.place.pool.p.dtype)
    with torch.inference_mode():
        seen = network(prepared)
    return prepared, seen.mean, seen.local


def test_the_published_network_has_as_many_weights_as_published() -> None:
    network = TwoStageNetwork(Backbone.CCT14)
    encoder = network.place.encoder
    assert count(network.place) == 13_260_098 - ATTENTION_POOL
    assert count(encoder.tokenizer) == 1_213_632
    assert [count(block) for block in encoder.classifier.blocks] == [1_478_016] * 8
    assert encoder.classifier.positional_emb.numel() == 221_184
    assert count(network.regression) == 27_802_000
    assert count(network.regression.first) == count(network.regression.second) == 11_080_896
    assert network.regression.positions.numel() == 331_776 and count(network.regression.points) == 5_308_432
    assert freeze(network.place, LearnedPart.PUBLISHED) == 2_956_033


def test_what_learns_as_published_are_the_last_two_layers_and_the_power() -> None:
    network = random_network(NetworkKind.PLAIN_GEM, Backbone.CCT14)
    freeze(network, LearnedPart.PUBLISHED)
    learned = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    parts = {".".join(name.split(".")[:4]) if name.startswith("encoder") else name for name in learned}
    assert parts == {"encoder.classifier.blocks.6", "encoder.classifier.blocks.7", "pool.p"}


@pytest.mark.parametrize("backbone", BOTH)
def test_maps_have_a_descriptor_for_each_16_pixels(backbone: Backbone) -> None:
    _, mean, local = seen_by(random_two_stage(backbone), pictures(1))
    assert local.shape == (1, backbone.channels, backbone.side, backbone.side) and mean.shape == (1, backbone.channels)
    assert local[0, 0].numel() == {Backbone.CCT14: 576, Backbone.CCT_SMALL: 256}[backbone] == SHAPES[backbone].tokens
    torch.testing.assert_close(local.norm(dim=1), torch.ones(1, backbone.side, backbone.side))
    torch.testing.assert_close(mean.norm(dim=1), torch.ones(1))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="384x384"):
        random_two_stage(Backbone.CCT14)(torch.zeros(1, 3, 256, 256))


def test_identical_images_match_in_all_patches_and_agree_with_the_identity() -> None:
    network = identity(Backbone.CCT14)
    _, _, local = seen_by(network, pictures(1))
    with torch.inference_mode():
        points = network.regression(local, local)
    torch.testing.assert_close(points[0], corners(384).repeat(2, 1))
    matrix, good = homography_of(points[:, :4].double(), points[:, 4:].double())
    assert good.all()
    torch.testing.assert_close(matrix[0], torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0.0)
    assert published.score(local[0], local[0], matrix[0]) == (576, 576)


def test_centres_of_patches_are_those_of_the_published_program() -> None:
    centres = patch_centres(24)
    np.testing.assert_array_equal(centres[:3], [[8, 8], [24, 8], [40, 8]])
    np.testing.assert_array_equal(centres[24], [8, 24])
    np.testing.assert_array_equal(centres[-1], [376, 376])


@pytest.mark.parametrize("backbone", BOTH)
def test_does_what_the_published_forward_does(backbone: Backbone) -> None:
    network = lively(backbone).double()  # so that rounding hides nothing
    shape = network.regression.shape
    images, mean, local = seen_by(network, pictures(2))
    with torch.inference_mode():
        first = published.extractor_state(network.place)
        # The tokenizer of the small one was not published.
        tokens = published.tokens(first, images) if backbone is Backbone.CCT14 else network.place.encoder.tokenizer(images)
        described, expected_local = published.look(first, tokens, SHAPES[backbone].heads)
        correlated = published.similarity(expected_local[:1].expand(2, -1, -1, -1), expected_local)
        state = published.regression_state(network.regression)
        expected = published.points(state, correlated, shape.heads, shape.hidden, shape.layers)
        ours = network.regression(local[:1], local)
    torch.testing.assert_close(local, expected_local, atol=1e-8, rtol=0.0)
    torch.testing.assert_close(mean, torch.nn.functional.normalize(described, dim=1), atol=1e-8, rtol=0.0)
    assert expected.std(0).mean() > 1e-4 * expected.abs().max(), "the pairs must differ for this to say anything"
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0.0)
    of_query = correlation(local[:1], local).transpose(1, 2)
    torch.testing.assert_close(of_query, correlated.flatten(2), atol=1e-8, rtol=0.0)


@pytest.mark.parametrize("backbone", [Backbone.CCT_SMALL, pytest.param(Backbone.CCT14, marks=pytest.mark.slow)])
def test_its_homographies_and_counts_are_those_of_the_published_forward(backbone: Backbone) -> None:
    network, size = lively(backbone, seed=3), backbone.size
    _, _, local = seen_by(network, pictures(4))
    with torch.no_grad():  # points that are four corners each, moved by a tenth of the image at most
        network.regression.points.bias.zero_()
        network.regression.points.weight *= 0.1 * size / network.regression(local[:1], local).abs().max()
        network.regression.points.bias.copy_(corners(size).repeat(2, 1).flatten())
        points = network.regression(local[:1], local)
    expected = published.homography(points[:, :4], points[:, 4:])
    ours, good = homography_of(points[:, :4], points[:, 4:])
    ours = ours / ours[:, 2:, 2:]
    assert good.all() and (expected - torch.eye(3)).abs().amax() > 1.0
    at = patch_centres(backbone.side)
    ours_at = torch.cat([at, torch.ones(len(at), 1)], 1) @ ours.transpose(1, 2)
    expected_at = torch.cat([at, torch.ones(len(at), 1)], 1).double() @ expected.transpose(1, 2)
    difference = ours_at[..., :2] / ours_at[..., 2:] - expected_at[..., :2] / expected_at[..., 2:]
    assert difference.abs().max() < 1e-4 * size
    counts = [published.score(local[0], one, matrix) for one, matrix in zip(local, expected, strict=True)]
    assert counts == [published.score(local[0], one, matrix) for one, matrix in zip(local, ours.double(), strict=True)]
    assert counts[0][0] == backbone.side**2 and counts[0][1] > 0


def test_the_generalised_mean_is_that_of_numpy() -> None:
    pool = random_network(NetworkKind.PLAIN_GEM, Backbone.CCT_SMALL).pool
    torch.nn.init.constant_(pool.p, 2.3)
    maps = np.random.default_rng(0).normal(0.0, 2.0, (2, 5, 3, 4)).astype(np.float32)
    unit = maps / np.sqrt((maps.astype(np.float64) ** 2).sum(1, keepdims=True))
    gem = (np.maximum(unit, 1e-6) ** 2.3).mean((2, 3)) ** (1 / 2.3)
    with torch.inference_mode():
        made = pool(torch.from_numpy(maps)).numpy()
    np.testing.assert_allclose(made, gem / np.linalg.norm(gem, axis=1, keepdims=True), atol=1e-5)


def test_stochastic_depth_rises_as_published_and_is_off_when_it_is_used() -> None:
    network = random_network(NetworkKind.PLAIN_GEM, Backbone.CCT14)
    rates = [block.dropped for block in network.encoder.classifier.blocks]
    np.testing.assert_allclose(rates, np.linspace(0.0, 0.1, 14)[:8])
    network = random_network(NetworkKind.PLAIN_GEM, Backbone.CCT_SMALL)
    images = torch.from_numpy(preprocess(pictures(1), 256))
    with torch.inference_mode():
        assert torch.equal(network(images), network(images))
        network.train()
        assert not torch.equal(network(images), network(images))
