"""Known answers of the network of GLVL, and its layers against their definitions in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from disam_numpy import convolved, padded

torch = pytest.importorskip("torch", reason="networks need torch")

from vloc_ros.errors import ConfigError  # noqa: E402
from vloc_ros.networks.glvl import Glvl  # noqa: E402
from vloc_ros.networks.glvl_files import superpoint_of  # noqa: E402
from vloc_ros.networks.glvl_form import GlvlForm, ResNetForm  # noqa: E402
from vloc_ros.networks.resnet import Bottleneck, ResNetStem, ResNetTop  # noqa: E402
from vloc_ros.networks.superpoint import SuperPointHead, log_probabilities  # noqa: E402

SMALL = GlvlForm(ResNetForm(2, (1, 2, 1, 1)), 8, 64)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def published() -> Glvl:
    with torch.device("meta"):
        return Glvl(GlvlForm())


def shuffled(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """With normalisations that do something, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for tensor, low in (
                (part.weight.data, 0.5),
                (part.bias.data, -0.5),
                (part.running_mean, -0.5),
                (part.running_var, 0.5),
            ):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)
    return module.eval()


# --- as published


def test_parameters_as_published(published):
    stem, local = published.stem, published.local
    assert count(stem) == 1_438_656
    assert (count(local.detector), count(local.descriptor)) == (1_197_251, 1_246_720)
    assert (count(published.top), count(published.gem)) == (22_063_104, 1)
    assert count(published) == 25_945_732


def test_shapes_as_published(published):
    images = torch.zeros(1, 1, 500, 500, device="meta")
    maps = published.stem(images)
    assert maps.shape == (1, 512, 63, 63)
    assert published.top(maps).shape == (1, 2048, 16, 16)
    made = published(torch.zeros(2, 1, 240, 320, device="meta"))
    assert made.vectors.shape == (2, 2048)
    assert made.bins.shape == (2, 65, 30, 40) and made.descriptors.shape == (2, 256, 30, 40)
    assert published.form.backbone == "resnet 64 3-4-6-3, descriptors 256, 500 px" and published.form.vector == 2048


def test_nothing_is_frozen_and_both_halves_teach_the_first_layer():
    """The published stem, with its first layer at random, never learned (BUG-G4)."""
    torch.manual_seed(0)
    for half in ("vectors", "bins", "descriptors"):
        network = Glvl(SMALL).train()
        assert all(parameter.requires_grad for parameter in network.parameters())
        made = getattr(network(torch.rand(2, 1, 64, 64)), half)
        (made * torch.randn(made.shape)).sum().backward()
        first = network.stem.first[0].weight.grad
        assert first is not None and float(first.abs().max()) > 0.0
        assert (network.gem.p.grad is not None) == (half == "vectors")


def test_vectors_and_descriptors_are_of_unit_length():
    torch.manual_seed(0)
    with torch.no_grad():
        made = shuffled(Glvl(SMALL))(torch.rand(3, 1, 96, 64))
    assert torch.allclose(made.vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(made.descriptors.norm(dim=1), torch.ones(3, 12, 8), atol=1e-5)


def test_the_local_half_alone_does_the_same():
    torch.manual_seed(0)
    network = shuffled(Glvl(SMALL))
    half = superpoint_of(network)
    image = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        whole, alone = network(image), half(image)
        assert torch.equal(alone.maps[0], whole.descriptors)
        bins = whole.bins.softmax(dim=1)[0].numpy()
    for v, u in ((0, 0), (13, 70), (63, 95), (8, 7)):  # pixel (u, v) is bin 8 (v mod 8) + (u mod 8) of its cell
        expected = bins[8 * (v % 8) + u % 8, v // 8, u // 8]
        assert float(alone.scores[0, 0, v, u]) == pytest.approx(float(expected), rel=1e-5)
        assert float(alone.logits[0, 0, v, u]) == pytest.approx(float(np.log(expected)), abs=1e-4)
    before = network.stem.first[0].weight.clone()
    with torch.no_grad():
        half.stem.first[0].weight.zero_()
    assert torch.equal(network.stem.first[0].weight, before), "its weights are its own"


def test_the_bin_of_none_takes_from_all_pixels():
    """65 equal logits: 1/65 for each pixel, and as much for none of them."""
    probabilities = log_probabilities(torch.zeros(1, 65, 2, 3)).exp()
    assert probabilities.shape == (1, 1, 16, 24) and torch.allclose(probabilities, torch.full((1, 1, 16, 24), 1 / 65))
    bins = torch.zeros(1, 65, 1, 1)
    bins[0, 64] = 20.0
    assert float(log_probabilities(bins).exp().sum()) < 1e-6


# --- layers against their definitions


def normalised(maps: np.ndarray, norm: torch.nn.BatchNorm2d) -> np.ndarray:
    weight, bias, mean, variance = (
        tensor.detach().numpy().astype(np.float64)[:, None, None]
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    return (maps - mean) / np.sqrt(variance + norm.eps) * weight + bias


def through(maps: np.ndarray, convolution: torch.nn.Conv2d, border: int, stride: int = 1) -> np.ndarray:
    weight = convolution.weight.detach().numpy().astype(np.float64)
    bias = np.zeros(len(weight)) if convolution.bias is None else convolution.bias.detach().numpy().astype(np.float64)
    return convolved(padded(maps, border), weight, bias, stride)


@pytest.mark.parametrize(("channels", "narrow", "stride"), [(8, 2, 1), (4, 2, 1), (4, 2, 2)])
def test_a_block_by_hand(channels, narrow, stride):
    torch.manual_seed(1)
    block = shuffled(Bottleneck(channels, narrow, stride))
    maps = torch.randn(1, channels, 6, 5)
    one, first, _, three, second, _, two, third = block.layers
    expected = np.maximum(normalised(through(maps[0].numpy(), one, 0), first), 0.0)
    expected = np.maximum(normalised(through(expected, three, 1, stride), second), 0.0)
    expected = normalised(through(expected, two, 0), third)
    if channels == 4 * narrow and stride == 1:
        assert isinstance(block.shortcut, torch.nn.Identity)
        expected = expected + maps[0].numpy()
    else:
        expected = expected + normalised(through(maps[0].numpy(), block.shortcut[0], 0, stride), block.shortcut[1])
    with torch.no_grad():
        assert np.abs(block(maps)[0].numpy() - np.maximum(expected, 0.0)).max() < 1e-4


def test_the_first_layers_by_hand():
    torch.manual_seed(2)
    stem = shuffled(ResNetStem(SMALL.resnet))
    image = torch.rand(1, 1, 20, 24)
    maps = np.maximum(normalised(through(image[0].numpy(), stem.first[0], 3, 2), stem.first[1]), 0.0)
    wide = padded(maps, 1)  # maps are not negative, so that zeros never are the largest
    pooled = np.array(
        [[wide[:, 2 * v : 2 * v + 3, 2 * u : 2 * u + 3].max(axis=(1, 2)) for u in range(6)] for v in range(5)]
    ).transpose(2, 0, 1)
    with torch.no_grad():
        assert np.abs(stem.first(image)[0].numpy() - pooled).max() < 1e-4


def test_the_head_by_hand():
    torch.manual_seed(3)
    head = shuffled(SuperPointHead(4, 6, 5))
    maps = torch.randn(1, 4, 5, 4)
    with torch.no_grad():
        bins, descriptors = head(maps)
    for branch, made in ((head.detector, bins), (head.descriptor, descriptors)):
        expected = np.maximum(normalised(through(maps[0].numpy(), branch[0], 1), branch[1]), 0.0)
        expected = normalised(through(expected, branch[3], 0), branch[4])
        if made is descriptors:
            expected = expected / np.linalg.norm(expected, axis=0)
        assert np.abs(made[0].numpy() - expected).max() < 1e-4


def test_the_vector_by_hand():
    """Local descriptors of unit length, the mean of their cubes, its cube root, and unit length again."""
    torch.manual_seed(4)
    network = shuffled(Glvl(SMALL))
    with torch.no_grad():
        maps = network.stem(torch.rand(1, 1, 96, 64))
        local = network.top(maps)[0].flatten(1).numpy().astype(np.float64)
        made = network.global_of(maps)[0].numpy()
    local = local / np.linalg.norm(local, axis=0)
    pooled = np.cbrt((np.maximum(local, 1e-6) ** 3).mean(axis=1))
    assert np.abs(made - pooled / np.linalg.norm(pooled)).max() < 1e-5


@pytest.mark.parametrize("size", [(64, 64), (65, 71), (8, 8)])
def test_sides_are_rounded_up(size):
    stem, top = ResNetStem(SMALL.resnet).eval(), ResNetTop(SMALL.resnet).eval()
    maps = stem(torch.zeros(1, 1, *size))
    assert maps.shape == (1, SMALL.resnet.stem_channels, -(-size[0] // 8), -(-size[1] // 8))
    assert top(maps).shape == (1, SMALL.vector, -(-size[0] // 32), -(-size[1] // 32))


# --- sizes that cannot be


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ResNetForm(0), "width 0"),
        (lambda: ResNetForm(64, (3, 4, 6)), "3-4-6 cannot be"),
        (lambda: ResNetForm(64, (3, 4, 6, 0)), "3-4-6-0 cannot be"),
        (lambda: GlvlForm(ResNetForm().stem), "four stages"),
        (lambda: GlvlForm(descriptor=0), "of 0 elements"),
        (lambda: GlvlForm(size=16), "16 px do not fit"),
    ],
)
def test_sizes_that_cannot_be(make, complaint):
    with pytest.raises(ConfigError, match=complaint):
        make()
