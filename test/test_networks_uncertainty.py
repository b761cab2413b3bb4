"""Networks with a mean and a variance, the ViT, and what of a network learns."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from network_samples import place

torch = pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

from vloc_ros.data.weights import card_path  # noqa: E402
from vloc_ros.errors import ConfigError, DataError, WeightsError  # noqa: E402
from vloc_ros.networks import Backbone, NetworkKind, preprocess  # noqa: E402
from vloc_ros.networks.files import load_network, save_network  # noqa: E402
from vloc_ros.networks.freezing import LearnedPart, freeze  # noqa: E402
from vloc_ros.networks.network import (  # noqa: E402
    UncertaintyNetwork,
    describe_images,
    describe_with_variance,
    make_network,
    random_network,
    tensors_of,
)
from vloc_ros.networks.uncertainty import VarianceHead  # noqa: E402
from vloc_ros.networks.variance import with_variance  # noqa: E402
from vloc_ros.networks.vit import Attention, Block, VisionTransformer  # noqa: E402
from vloc_ros.networks.whitening import learn_whitening  # noqa: E402
from vloc_ros.retrieval import View, create_descriptor  # noqa: E402

IMAGES = [place(number) for number in range(3)]


def weights(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def mobilenet() -> UncertaintyNetwork:
    return random_network(NetworkKind.UNCERTAINTY, Backbone.MOBILENETV3, seed=4)


@pytest.fixture(scope="module")
def opinionated() -> UncertaintyNetwork:
    """One whose variances differ from image to image."""
    network = random_network(NetworkKind.UNCERTAINTY, Backbone.MOBILENETV3, seed=4)
    torch.nn.init.normal_(network.variance.fc[1].weight, std=0.01, generator=torch.Generator().manual_seed(0))
    torch.nn.init.zeros_(network.variance.fc[1].bias)
    return network


# --- heads


@pytest.mark.parametrize(
    ("backbone", "mean", "variance", "total"),
    [(Backbone.VGG16, 262_144, 263_170, 15_240_002), (Backbone.MOBILENETV3, 65_536, 66_050, 3_349_554)],
)
def test_published_numbers_of_weights(backbone, mean, variance, total):
    with torch.device("meta"):
        network = make_network(NetworkKind.UNCERTAINTY, backbone)
    assert (weights(network.pool), weights(network.variance), weights(network)) == (mean, variance, total)
    assert network.dimension == backbone.channels - 1


def test_the_variance_is_what_it_is_defined_as():
    torch.manual_seed(0)
    head = VarianceHead(4)
    x = torch.randn(2, 4, 3, 5)
    pooled = x.clamp(min=1e-6).pow(3.0).mean((2, 3)).pow(1.0 / 3.0).double()
    first, last = (layer.double() for layer in head.fc)
    linear = (pooled @ first.weight.T + first.bias) @ last.weight.T + last.bias
    assert head.float()(x).tolist() == pytest.approx(torch.log1p(linear.exp()).flatten().tolist(), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_says_what_each_image_says_alone(opinionated, count):
    """Defect M9: normalised over the batch, several images would share one unit length."""
    images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = opinionated(images)
        alone = [opinionated(image[None]) for image in images]
    assert together.mean.shape == (count, 255) and together.variance.shape == (count,)
    assert count == 1 or together.variance.std() > 1e-5, "the images must differ"
    torch.testing.assert_close(together.mean, torch.cat([one.mean for one in alone]), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(together.variance, torch.cat([one.variance for one in alone]), atol=0.0, rtol=1e-4)
    torch.testing.assert_close(together.mean.norm(dim=1), torch.ones(count), atol=1e-5, rtol=0.0)


def test_a_random_network_starts_at_its_prior_with_the_descriptors_of_gem(mobilenet):
    means, variances = describe_with_variance(mobilenet, IMAGES)
    np.testing.assert_allclose(variances, 1.0 / 256, rtol=1e-5)
    gem = random_network(NetworkKind.GEM, Backbone.MOBILENETV3, seed=4)
    assert np.array_equal(describe_images(gem, IMAGES), means)
    assert describe_with_variance(gem, IMAGES)[1] is None


@pytest.mark.parametrize("backbone", [Backbone.MOBILENETV3, pytest.param(Backbone.VGG16, marks=pytest.mark.slow)])
def test_a_gem_network_gets_a_variance_head_and_keeps_its_descriptors(backbone):
    """Whatever the size of what comes in, the head sees numbers around 1."""
    gem = random_network(NetworkKind.GEM, backbone, seed=4)
    torch.nn.init.normal_(gem.pool.fc.bias, generator=torch.Generator().manual_seed(0))
    before = tensors_of(gem)
    made = with_variance(gem, IMAGES)
    means, variances = describe_with_variance(made, IMAGES)
    np.testing.assert_allclose(means, describe_images(gem, IMAGES), atol=1e-5)
    np.testing.assert_allclose(variances, 1.0 / backbone.channels, rtol=1e-5)
    with torch.inference_mode():
        pooled = made.variance.gem(made.encoder(torch.from_numpy(preprocess(IMAGES))))
        hidden = made.variance.fc[0](pooled)
    assert pooled.square().mean().item() == pytest.approx(1.0, rel=1e-3)
    assert hidden.mean(0).abs().max() < 1e-3 < hidden.std(0).mean(), "what all images share is gone, what parts them is not"
    assert all(np.array_equal(before[name], tensor) for name, tensor in tensors_of(gem).items())


def test_a_variance_head_needs_the_right_network_and_images(mobilenet):
    gem = random_network(NetworkKind.GEM, Backbone.MOBILENETV3)
    with pytest.raises(ConfigError, match="needs a network of gem without whitening below it, not of uncertainty"):
        with_variance(mobilenet, IMAGES)
    with pytest.raises(ConfigError, match="not of gem with a whitening"):
        with_variance(make_network(NetworkKind.GEM, Backbone.MOBILENETV3, 8), IMAGES)
    with pytest.raises(DataError, match="sees nothing in 0 images"):
        with_variance(gem, [])


def test_there_are_only_the_networks_that_make_sense(mobilenet):
    with pytest.raises(ConfigError, match="no netvlad on vit_small: take vgg16 or compact_unet or mobilenetv3"):
        make_network(NetworkKind.NETVLAD, Backbone.VIT_SMALL)
    with pytest.raises(ConfigError, match="no barebone on vgg16: take vit_small"):
        make_network(NetworkKind.BAREBONE, Backbone.VGG16)
    with pytest.raises(ConfigError, match="cannot be whitened"):
        learn_whitening(mobilenet, IMAGES, 2)


# --- files


def test_it_survives_its_file_and_is_a_descriptor(opinionated, tmp_path):
    path = tmp_path / "site.safetensors"
    card = save_network(path, opinionated, "nothing")
    assert (card.network, card.backbone, card.dimension) == ("uncertainty", "mobilenetv3", 255)
    loaded, _ = load_network(path)
    assert isinstance(loaded, UncertaintyNetwork) and not loaded.training
    expected = describe_with_variance(opinionated, IMAGES)
    found = create_descriptor(str(path)).describe_with_variance([View(image=image) for image in IMAGES])
    assert all(np.allclose(a, b, rtol=1e-3, atol=2e-5) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "gem"}, "holds 5 weights that gem on mobilenetv3 does not have: variance[.]"),
        ({"network": "barebone"}, r"site.safetensors cannot be used: there is no barebone on mobilenetv3: take vit_small"),
        ({"network": "netvlad"}, "lacks 2 of .* weights of netvlad on mobilenetv3: pool.centroids, pool.conv.weight"),
    ],
)
def test_a_card_of_another_network_is_refused(mobilenet, tmp_path, change, words):
    path = tmp_path / "site.safetensors"
    card = save_network(path, mobilenet, "nothing")
    card_path(path).write_text(json.dumps(dataclasses.asdict(card) | change), encoding="utf-8")
    with pytest.raises(WeightsError, match=words):
        load_network(path)


# --- the ViT


def test_vit_has_as_many_weights_as_its_table_says():
    """Patches, class token, positions, twelve blocks, normalisation; published as 22 million with a classifier."""
    with torch.device("meta"):
        network = VisionTransformer()
    width = 384
    norm = 2 * width
    block = 2 * norm + (width * 3 * width + 3 * width) + (width * width + width) + 2 * 4 * width * width + 4 * width + width
    expected = (3 * 16 * 16 * width + width) + width + (1 + 14 * 14) * width + 12 * block + norm
    assert weights(network) == expected == 21_665_664
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["cls_token"] == (1, 1, 384) and shapes["pos_embed"] == (1, 197, 384)
    assert shapes["blocks.11.attn.qkv.weight"] == (1152, 384) and shapes["blocks.0.mlp.fc1.bias"] == (1536,)
    assert shapes["patch_embed.proj.weight"] == (384, 3, 16, 16) and shapes["norm.weight"] == (384,)


def attention_by_its_definition(layer: Attention, x: np.ndarray) -> np.ndarray:
    """One image (T, 384), head by head (equation 1 of Vaswani et al. 2017)."""
    w = {name: tensor.detach().double().numpy() for name, tensor in layer.state_dict().items()}
    queries, keys, values = np.split(x @ w["qkv.weight"].T + w["qkv.bias"], 3, axis=1)
    heads = []
    for head in range(6):
        part = slice(64 * head, 64 * head + 64)
        scores = np.exp(queries[:, part] @ keys[:, part].T / 8.0)
        heads.append(scores / scores.sum(axis=1, keepdims=True) @ values[:, part])
    return np.concatenate(heads, axis=1) @ w["proj.weight"].T + w["proj.bias"]


def test_attention_is_what_its_paper_defines():
    torch.manual_seed(0)
    layer = Attention()
    x = torch.randn(2, 7, 384)
    found = layer(x).detach().numpy()
    for image, tokens in zip(x.double().numpy(), found, strict=True):
        np.testing.assert_allclose(tokens, attention_by_its_definition(layer, image), atol=1e-5)


def test_a_block_adds_to_what_came_in():
    torch.manual_seed(0)
    block = Block()
    for layer in (block.attn.proj, block.mlp.fc2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.randn(1, 5, 384)
    assert torch.equal(block(x), x)
    torch.nn.init.constant_(block.mlp.fc2.bias, 0.25)
    assert torch.equal(block(x), x + 0.25)


def test_patches_are_read_row_by_row_and_positions_matter():
    torch.manual_seed(0)
    network = VisionTransformer(size=64)
    network.initialise(torch.Generator().manual_seed(0))
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, 16:32, 48:64] = 1.0  # the patch in row 1, column 3 of 4
    changed = (network.patch_embed(image) - network.patch_embed(torch.zeros_like(image))).abs().sum(2)[0]
    assert torch.nonzero(changed).flatten().tolist() == [7]
    elsewhere = image.roll(16, dims=2)
    with torch.inference_mode():
        assert not torch.allclose(network(image)[:, 0], network(elsewhere)[:, 0], atol=1e-4)
    assert network(image).shape == (1, 17, 384)
    with pytest.raises(ValueError, match=r"of 64x64 px, not of \(48, 64\)"):
        network(torch.zeros(1, 3, 48, 64))


# --- what learns


def learning(network) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("kind", "part", "backbone_weights"),
    [
        (NetworkKind.NETVLAD, LearnedPart.PUBLISHED, 7_079_424),
        (NetworkKind.NETVLAD, LearnedPart.CONV5_2, 4_719_616),
        (NetworkKind.UNCERTAINTY, LearnedPart.PUBLISHED, 7_079_424),
        (NetworkKind.UNCERTAINTY, LearnedPart.CONV5_2, 4_719_616),
        (NetworkKind.UNCERTAINTY, LearnedPart.HEADS, 0),
        (NetworkKind.GEM, LearnedPart.ALL, 14_714_688),
    ],
)
def test_of_vgg_as_much_learns_as_was_published(kind, part, backbone_weights):
    with torch.device("meta"):
        network = make_network(kind, Backbone.VGG16, 0)
    heads = weights(network) - weights(network.encoder)
    assert freeze(network, part) == heads + backbone_weights
    first = {LearnedPart.PUBLISHED: 24, LearnedPart.CONV5_2: 26, LearnedPart.ALL: 0, LearnedPart.HEADS: 99}[part]
    layers = {int(name.split(".")[2]) for name in learning(network) if name.startswith("encoder.")}
    assert layers == {index for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28) if index >= first}


def test_batch_normalisations_of_mobilenet_never_learn():
    with torch.device("meta"):
        network = make_network(NetworkKind.UNCERTAINTY, Backbone.MOBILENETV3)
    for part in (LearnedPart.PUBLISHED, LearnedPart.ALL):
        count = freeze(network, part)
        frozen = {name for name, _ in network.named_parameters()} - learning(network)
        assert count == weights(network) - sum(network.get_parameter(name).numel() for name in frozen)
        statistics = {name.removesuffix("running_var") for name, _ in network.named_buffers() if name.endswith("running_var")}
        assert len(statistics) == 46 and frozen == {f"{name}{end}" for name in statistics for end in ("weight", "bias")}


def test_the_variance_alone_learns_and_the_descriptors_stay(mobilenet):
    network = random_network(NetworkKind.UNCERTAINTY, Backbone.MOBILENETV3, seed=4)
    assert freeze(network, LearnedPart.VARIANCE) == 66_050
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    before = network(images)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    before.variance.sum().backward()
    optimizer.step()
    after = network(images)
    assert torch.equal(after.mean, before.mean) and not torch.equal(after.variance, before.variance)


def test_what_cannot_learn_is_said():
    with torch.device("meta"):
        gem, vit = make_network(NetworkKind.GEM, Backbone.MOBILENETV3), make_network(NetworkKind.BAREBONE, Backbone.VIT_SMALL)
        whitened = make_network(NetworkKind.NETVLAD, Backbone.MOBILENETV3, 8)
    with pytest.raises(ConfigError, match="a network of gem has no variance head"):
        freeze(gem, LearnedPart.VARIANCE)
    with pytest.raises(ConfigError, match="'conv5_2' is a layer of vgg16, and this is mobilenetv3"):
        freeze(gem, LearnedPart.CONV5_2)
    with pytest.raises(ConfigError, match="nothing in barebone on vit_small learns with 'heads'"):
        freeze(vit, LearnedPart.HEADS)
    freeze(vit, LearnedPart.PUBLISHED)
    assert {name.split(".")[2] for name in learning(vit) if ".blocks." in name} == {"10", "11"}
    freeze(whitened, LearnedPart.ALL)
    assert not any(name.startswith("whitening.") for name in learning(whitened))
