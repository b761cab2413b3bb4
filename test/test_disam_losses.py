"""Losses of DISAM: known answers, and values by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

import disam_numpy as published  # noqa: E402

from vloc_ros.networks.disam_form import DisamForm, Stage  # noqa: E402
from vloc_ros.networks.similarity import activation_map  # noqa: E402
from vloc_ros.networks.translation import random_translation  # noqa: E402
from vloc_ros.training.disam_losses import (  # noqa: E402
    activation_consistency,
    adversarial,
    consistency,
    cycle,
    latent_distances,
    map_distances,
    triplet,
)
from vloc_ros.training.disam_objective import (  # noqa: E402
    DisamObjective,
    DisamObjectiveSettings,
    Margin,
    TranslationBatch,
)


def latents(seed: int = 0, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 4, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def test_scales_weigh_1_2_3_and_5_over_44():
    sides = (65, 33, 17, 19)
    blank = [torch.ones(2, 2, side, side) for side in sides]
    assert float(adversarial(blank, real=True)) == 0.0
    assert float(adversarial(blank, real=False)) == pytest.approx(11 / 44)
    for scale, weight in enumerate((1, 2, 3, 5)):
        wrong = [one.clone() for one in blank]
        wrong[scale] -= 2.0  # two off, whose square is four
        assert float(adversarial(wrong, real=True)) == pytest.approx(4 * weight / 44)


def test_a_cycle_is_judged_by_smooth_l1():
    image = torch.zeros(1, 3, 2, 2)
    assert float(cycle(image, image)) == 0.0
    assert float(cycle(image + 0.5, image)) == pytest.approx(0.5 * 0.5**2)
    assert float(cycle(image + 1.5, image)) == pytest.approx(1.5 - 0.5)


def test_features_are_consistent_where_an_encoder_inverts_a_decoder():
    """No weights do so exactly; an encoder that repeats its latent stands for them."""
    one = latents()
    assert float(consistency(one, one, cosine=1.0)) == pytest.approx(0.0, abs=1e-12)


def test_feature_consistency_is_a_mean_square_and_a_cosine():
    one, other = latents(), latents(1)
    square = float(((one - other) ** 2).mean())
    score = np.mean([published.similarity(a.numpy(), b.numpy()) for a, b in zip(one, other, strict=True)])
    assert float(consistency(one, other, cosine=0.0)) == pytest.approx(square)
    assert float(consistency(one, other, cosine=0.3)) == pytest.approx(square + 0.3 * (1.0 - score))
    # scaled, it is as like by the cosine, and not by the square
    assert float(consistency(3.0 * one, one, 1.0) - consistency(3.0 * one, one, 0.0)) == pytest.approx(0.0, abs=1e-12)


def test_nothing_goes_back_through_the_latent_of_the_image():
    again, latent = latents().requires_grad_(), latents(1).requires_grad_()
    consistency(again, latent, cosine=1.0).backward()
    assert again.grad is not None and again.grad.any() and latent.grad is None


def test_consistency_of_maps_is_that_of_the_definition():
    again, latent = latents(count=1), latents(1, count=1)
    maps = [published.activation(a[0].numpy(), b[0].numpy()) for a, b in ((latent, again), (again, latent))]
    assert float(activation_consistency(again, latent)) == pytest.approx(float(((maps[0] - maps[1]) ** 2).mean()), abs=1e-12)
    assert float(activation_consistency(latent, latent)) == pytest.approx(0.0, abs=1e-15)


def test_a_loss_of_maps_stops_at_the_map_of_the_translated():
    """What stands still is the map L(z'|z) as a whole, so that the gradient is that of the other alone."""
    again, latent = latents().requires_grad_(), latents(1)
    activation_consistency(again, latent).backward()
    fixed = again.detach()
    target = activation_map(fixed, latent)

    def loss(value: torch.Tensor) -> torch.Tensor:
        found = activation_map(latent, value)
        return ((found - target) ** 2).mean()

    step, place = 1e-6, (0, 1, 2, 3)
    more, less = fixed.clone(), fixed.clone()
    more[place] += step
    less[place] -= step
    assert float(again.grad[place]) == pytest.approx(float(loss(more) - loss(less)) / (2 * step), rel=1e-5)


@pytest.mark.parametrize(("margin", "adapt"), [(5.0, 2.0), (0.1, 1000.0), (5.0, 0.0)])
def test_a_triplet_is_satisfied_where_the_negative_is_beyond_the_margin(margin, adapt):
    positive = torch.tensor([0.0, 0.01, 0.5, 3.0], dtype=torch.float64)
    edge = positive + margin * torch.exp(-adapt * positive)
    assert float(triplet(positive, edge, margin, adapt)) == pytest.approx(0.0, abs=1e-12)
    assert float(triplet(positive, 2.0 * edge, margin, adapt)) == 0.0
    assert float(triplet(positive, 0.75 * edge, margin, adapt)) == pytest.approx(0.25)
    assert float(triplet(positive, 0.0 * edge, margin, adapt)) == 1.0


def test_a_margin_adapts_or_is_constant():
    positive, negative = torch.tensor([0.5]), torch.tensor([1.2])
    assert float(triplet(positive, negative, 5.0, 0.0)) == pytest.approx(1.0 - 1.2 / 5.5)
    assert float(triplet(positive, negative, 5.0, 2.0)) == pytest.approx(1.0 - 1.2 / (0.5 + 5.0 * math.exp(-1.0)))


def test_a_triplet_is_a_mean_over_pairs():
    positive, negative = torch.tensor([0.0, 0.0]), torch.tensor([0.0, 10.0])
    assert float(triplet(positive, negative, 5.0, 2.0)) == pytest.approx(0.5)


def test_distances_are_mean_squares_of_latents_and_of_maps():
    again, latent, negative = latents(), latents(1), latents(2)
    for found, other in zip(latent_distances(again, latent, negative), (latent, negative), strict=True):
        np.testing.assert_allclose(found.numpy(), ((again - other) ** 2).mean(dim=(1, 2, 3)).numpy())
    for found, other in zip(map_distances(again, latent, negative), (latent, negative), strict=True):
        one, two = again[0].numpy(), other[0].numpy()
        expected = ((published.activation(one, two) - published.activation(two, one)) ** 2).mean()
        assert float(found[0]) == pytest.approx(float(expected), abs=1e-12)


FINE = DisamObjectiveSettings(cosine=1.0, sam=1000.0, sam_triplet=Margin.ADAPTIVE)
ALL = {"deceive", "cycle", "latent", "discriminate", "triplet", "sam", "sam_triplet", "condition"}


def learned(settings: DisamObjectiveSettings, candidates: int = 0, epoch: int = 0) -> tuple[torch.Tensor, dict[str, float]]:
    network = random_translation(DisamForm(2, 32, 32, Stage.FINE, ("summer", "winter")), 2, 0, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    shapes = ((2, 3, 32, 32), (2, 3, 32, 32), (2, candidates, 3, 32, 32))
    images = [2.0 * torch.rand(shape, generator=generator) - 1.0 for shape in shapes]
    return DisamObjective(settings, epochs=4)(network, TranslationBatch(*images, (0, 1)), epoch)


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ({"sam": 0.0}, "sam"),
        ({"triplet": Margin.NONE}, "triplet"),
        ({"sam_triplet": Margin.NONE}, "sam_triplet"),
        ({"condition": 0.0}, "condition"),
        ({}, None),
    ],
)
@pytest.mark.parametrize("candidates", [0, 2])
def test_each_loss_can_be_left_out(off, gone, candidates):
    whole, all_terms = learned(FINE, candidates)
    part, terms = learned(dataclasses.replace(FINE, **off), candidates)
    assert set(all_terms) == ALL and set(terms) == ALL - {gone}
    assert all(terms[name] == pytest.approx(all_terms[name]) for name in terms)
    assert (part.item() == pytest.approx(whole.item())) == (gone is None)


@pytest.mark.parametrize("epoch", [0, 3])
def test_weights_of_latents_maps_and_triplets_grow_and_those_of_images_do_not(epoch):
    loss, terms = learned(FINE, epoch=epoch)
    grown = (epoch + 1) / 4
    growing = 0.1 * terms["latent"] + 1000.0 * terms["sam"] + terms["triplet"] + terms["sam_triplet"]
    constant = terms["deceive"] + 10.0 * terms["cycle"] + 0.5 * terms["discriminate"] + terms["condition"]
    assert float(loss) == pytest.approx(constant + grown * growing, rel=1e-5)
    full, _ = learned(dataclasses.replace(FINE, grow=False), epoch=epoch)
    assert float(full) == pytest.approx(constant + growing, rel=1e-5)
