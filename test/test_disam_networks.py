"""Known answers of the networks of DISAM: what was published, and each network against its definition in numpy."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks need torch")

import disam_numpy as published  # noqa: E402

from vloc_ros.networks.disam import Decoder, Encoder, initialise  # noqa: E402
from vloc_ros.networks.disam_form import DisamForm, Stage  # noqa: E402
from vloc_ros.networks.discriminator import Discriminator  # noqa: E402
from vloc_ros.networks.domains import DomainNetwork, random_domains  # noqa: E402

SMALL = DisamForm(2, 32, 36, Stage.COARSE, ("summer", "winter", "night"))


def drawn(network: torch.nn.Module, seed: int = 5) -> torch.nn.Module:
    """With weights large enough that everything matters, biases and slopes too, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    network.double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-0.4, 0.4, generator=generator)
    return network


def picture(*shape: int, seed: int = 1) -> torch.Tensor:
    return 2.0 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1.0


def arrays(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in network.named_parameters()}


@pytest.mark.parametrize(("network", "count"), [(Encoder, 5_099_143), (Decoder, 6_565_770), (Discriminator, 13_931_410)])
def test_networks_have_as_many_parameters_as_published(network, count):
    assert sum(parameter.numel() for parameter in network().parameters()) == count


def test_twelve_conditions_have_as_many_parameters_as_published():
    form = DisamForm(conditions=tuple(f"condition {k}" for k in range(12)))
    with torch.device("meta"):
        network = DomainNetwork(form, classifier=False)
    assert sum(parameter.numel() for parameter in network.parameters()) == 139_978_956
    assert 12 * 13_931_410 == 167_176_920  # of the discriminators


def test_a_latent_is_256_by_64_by_64():
    encoder, decoder, image = Encoder(), Decoder(), torch.zeros(1, 3, 256, 256)
    with torch.inference_mode():
        latent = encoder(image)
        assert latent.shape == (1, 256, 64, 64) == (1, *DisamForm().latent)
        assert decoder(latent).shape == image.shape


def test_a_discriminator_predicts_at_four_scales():
    with torch.inference_mode():
        found = Discriminator()(torch.zeros(1, 3, 256, 256))
    assert [tuple(scale.shape) for scale in found] == [(1, 2, side, side) for side in (65, 33, 17, 19)]


def test_an_encoder_is_its_definition():
    encoder, image = drawn(Encoder(2)), picture(1, 3, 24, 20)
    take = published.Taken(arrays(encoder))
    expected = published.encoded(image[0].numpy(), take)
    assert len(take) == 0
    np.testing.assert_allclose(encoder(image)[0].detach().numpy(), expected, atol=1e-6)


def test_a_decoder_is_its_definition():
    decoder, latent = drawn(Decoder(2)), picture(1, 8, 6, 5)
    take = published.Taken(arrays(decoder))
    expected = published.decoded(latent[0].numpy(), take)
    assert len(take) == 0 and expected.shape == (3, 24, 20)
    np.testing.assert_allclose(decoder(latent)[0].detach().numpy(), expected, atol=1e-6)


def test_a_discriminator_is_its_definition():
    judge, image = drawn(Discriminator(2)), picture(1, 3, 36, 28)
    colours, weights = image[0].numpy(), arrays(judge)
    streams = [
        published.judged(published.luminance(colours), weights, "luminance"),
        published.judged(published.blurred(colours), weights, "colour"),
    ]
    for found, *expected in zip(judge(image), *streams, strict=True):
        np.testing.assert_allclose(found[0].detach().numpy(), np.concatenate(expected), atol=1e-6)


def test_weights_begin_small_and_follow_from_the_seed():
    encoder = Encoder(16)
    initialise(encoder, torch.Generator().manual_seed(0))
    convolutions = [part for part in encoder.modules() if isinstance(part, torch.nn.Conv2d)]
    values = torch.cat([part.weight.detach().flatten() for part in convolutions])
    assert float(values.std()) == pytest.approx(0.02, rel=0.01) and abs(float(values.mean())) < 1e-3
    assert not any(part.bias.any() for part in convolutions)


def test_random_networks_follow_from_the_seed_alone():
    torch.manual_seed(1)
    one = random_domains(SMALL, seed=3).state_dict()
    torch.manual_seed(2)
    again, other = random_domains(SMALL, seed=3).state_dict(), random_domains(SMALL, seed=4).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["encoders.0.first.1.weight"], other["encoders.0.first.1.weight"])
    # all conditions begin alike
    assert torch.equal(one["encoders.0.first.1.weight"], one["encoders.2.first.1.weight"])
    assert torch.equal(one["decoders.0.layers.0.layers.1.weight"], one["decoders.1.layers.0.layers.1.weight"])


def test_a_state_dict_is_the_whole_network():
    """Published as one file for each condition, outside of any module; here it is one that holds all."""
    network, other = random_domains(SMALL, seed=1), random_domains(SMALL, seed=2)
    images = picture(2, 3, SMALL.height, SMALL.width).float()
    with torch.inference_mode():
        assert not torch.allclose(network.encode(images, 1), other.encode(images, 1))
        other.load_state_dict(network.state_dict())
        for condition in range(3):
            latents = network.encode(images, condition)
            assert torch.equal(other.encode(images, condition), latents)
            assert torch.equal(other.decode(latents, condition), network.decode(latents, condition))
        assert torch.equal(other.logits(images), network.logits(images))
        assert torch.equal(other.compression(latents, 0), network.compression(latents, 0))


@pytest.mark.parametrize("place", [torch.float64, torch.bfloat16, pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU"))])  # fmt: skip
def test_a_network_moves_as_a_whole(place):
    network = random_domains(SMALL)
    images = picture(2, 3, SMALL.height, SMALL.width).float()
    with torch.inference_mode():
        expected = network.compression(network.encode(images, 1), 1)
        moved = network.to(place)
        images = images.to(place)
        found = moved.compression(moved.encode(images, 1), 1)
        assert moved.misfit(images).shape == moved.logits(images).shape == (2, 3)
    assert found.dtype == images.dtype and found.device == images.device
    torch.testing.assert_close(found.cpu().float(), expected, atol=2e-2 if place == torch.bfloat16 else 1e-4, rtol=0.0)


def test_the_classifier_teaches_the_encoder_nothing():
    network = random_domains(SMALL)
    network.logits(picture(2, 3, SMALL.height, SMALL.width).float()).sum().backward()
    assert all(parameter.grad is None for parameter in network.encoders.parameters())
    assert all(parameter.grad is not None for parameter in network.classifier.layers[0].parameters())


def test_the_misfit_is_of_each_condition_alone():
    network = random_domains(SMALL)
    images = picture(2, 3, SMALL.height, SMALL.width).float()
    with torch.no_grad():
        initialise(network.decoders[1], torch.Generator().manual_seed(9))
        misfit = network.misfit(images)
        expected = (network.decode(network.encode(images, 1), 1) - images).abs().flatten(1).mean(1)
    torch.testing.assert_close(misfit[:, 1], expected)
    assert torch.equal(misfit[:, 0], misfit[:, 2]) and not torch.equal(misfit[:, 0], misfit[:, 1])
