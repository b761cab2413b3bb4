"""The U-Net of U: its known numbers, what its outputs are, and how its weights are named elsewhere."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; the networks need it")

from vloc_ros.networks.local import sample_maps  # noqa: E402
from vloc_ros.networks.unet import UNet  # noqa: E402


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("width", "encoder", "decoder", "whole"), [(16, 1_180_752, 784_817, 2_750_386), (32, 4_716_192, 3_136_353, 10_988_898)]
)
def test_it_has_the_published_number_of_parameters(width, encoder, decoder, whole):
    network = UNet(width)
    assert count(network.encoder) == encoder
    assert count(network.detector) == count(network.scorer) == decoder
    assert count(network) == whole


@pytest.mark.parametrize(("width", "size"), [(16, 496), (32, 992)])
def test_descriptors_have_the_published_length(width, size):
    assert UNet(width).descriptor_size == size


@pytest.mark.parametrize("width", [2, 16])
def test_maps_have_the_sizes_that_the_contract_says(width):
    network = UNet(width).eval()
    with torch.inference_mode():
        maps = network(torch.rand(2, 3, 48, 64))
    assert maps.logits.shape == maps.scores.shape == (2, 1, 48, 64)
    assert tuple(m.shape[1] for m in maps.maps) == network.map_channels
    for one, stride in zip(maps.maps, network.strides, strict=True):
        assert one.shape[-2:] == (48 // stride, 64 // stride)
    assert maps.scores.min() > 0.0 and maps.scores.max() < 1.0


def test_scores_are_a_sigmoid_once():
    network = UNet(2).eval()
    with torch.no_grad():
        network.scorer.head.weight.zero_()
        network.scorer.head.bias.fill_(-6.0)
        scores = network(torch.rand(1, 3, 32, 32)).scores
    assert scores.max().item() == pytest.approx(1.0 / (1.0 + torch.e**6), rel=1e-3)  # twice would be 0.5006


def test_the_correlation_of_a_descriptor_with_itself_is_one_and_of_its_opposite_minus_one():
    network = UNet(4).eval()
    with torch.inference_mode():
        columns = sample_maps(network(torch.rand(1, 3, 32, 48)), network, torch.tensor([[[3.25, 7.5], [40.0, 20.75]]]))
        one, other = network.describe(columns), network.describe(5.0 - 2.0 * columns)
    assert torch.allclose((one * one).sum(-1), torch.ones(1, 2), atol=1e-5)
    assert torch.allclose((one * other).sum(-1), -torch.ones(1, 2), atol=1e-5)


def test_it_can_be_learned_all_the_way_down():
    network = UNet(2)
    maps = network(torch.rand(2, 3, 32, 32))
    (maps.logits.square().mean() + maps.scores.mean() + sum(m.mean() for m in maps.maps)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
