"""The losses of system M against what is known of them: values by hand, definitions, Monte Carlo, gradients."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from torch.nn.functional import normalize  # noqa: E402

from vloc_ros.networks.uncertainty import Described  # noqa: E402
from vloc_ros.training.tuple_losses import (  # noqa: E402
    BAYESIAN_MARGIN,
    TRIPLET_MARGIN,
    bayesian_triplet,
    distance_gap,
    kl_to_prior,
    kl_to_widened,
    outlier_hinge,
    outlier_mean_square,
    triplet_margin,
)

ONE = torch.ones(1, 1, dtype=torch.bool)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def apart(size: int, angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two (1, D) unit vectors at an angle [rad]."""
    a, b = torch.zeros(1, size, dtype=torch.float64), torch.zeros(1, size, dtype=torch.float64)
    a[0, 0], b[0, 0], b[0, 1] = 1.0, math.cos(angle), math.sin(angle)
    return a, b


# --- triplet margin


def test_triplet_margin_by_hand():
    """Distances 0.5 to the positive, 0.6 and 2 to the negatives: only the first is too near, by 0.5 + 0.316 - 0.6."""
    anchor, positive = torch.zeros(1, 2), torch.tensor([[0.5, 0.0]])
    negatives = torch.tensor([[[0.0, 0.6], [2.0, 0.0], [0.1, 0.0]]])
    assert math.sqrt(0.1) == TRIPLET_MARGIN
    loss, too_near = triplet_margin(anchor, positive, negatives, torch.tensor([[True, True, False]]))
    assert loss.tolist() == pytest.approx([(0.5 + 0.31622777 - 0.6) / 2])
    assert too_near.tolist() == [0.5]


def test_triplet_margin_is_a_mean_over_negatives_of_each_tuple():
    anchor, positive, negatives = unit(2, 8), unit(2, 8, seed=1), unit(2, 3, 8, seed=2)
    one, _ = triplet_margin(anchor, positive, negatives, torch.ones(2, 3, dtype=torch.bool))
    repeated, _ = triplet_margin(anchor, positive, negatives.repeat(1, 4, 1), torch.ones(2, 12, dtype=torch.bool))
    torch.testing.assert_close(one, repeated)
    each = [triplet_margin(anchor, positive, negatives[:, n : n + 1], torch.ones(2, 1, dtype=torch.bool))[0] for n in range(3)]
    torch.testing.assert_close(one, torch.stack(each).mean(0))


def test_an_image_that_equals_another_has_a_gradient_that_is_a_number():
    anchor = unit(1, 4).requires_grad_()
    loss, _ = triplet_margin(anchor, anchor.detach(), anchor.detach()[None], ONE)
    (loss + outlier_hinge(anchor, anchor.detach())).sum().backward()
    assert torch.isfinite(anchor.grad).all()


# --- outlier pairs


@pytest.mark.parametrize("size", [255, 511, 16_384, 32_768])
def test_the_published_loss_of_outliers_is_nearly_inert_and_ours_is_not(size):
    """Defect M15: of length K its gradient is 2 d / K; a negative of a triplet pulls with 1, and so does the bounded one."""
    query, negative = apart(size, math.pi / 3)  # distance 1
    query.requires_grad_()
    pulls = []
    for loss in (
        triplet_margin(query, query.detach(), negative[None], ONE, margin=1.5)[0],
        outlier_mean_square(query, negative),
        outlier_hinge(query, negative),
    ):
        pulls.append(float(torch.autograd.grad(loss.sum(), query)[0].norm()))
    assert pulls == pytest.approx([1.0, 2.0 / size, 1.0], rel=1e-9)


def test_losses_of_outliers_have_their_bounds():
    opposite = apart(32_768, math.pi)
    assert outlier_mean_square(*opposite).item() == pytest.approx(-4.0 / 32_768) and outlier_hinge(*opposite).item() == 0.0
    assert outlier_mean_square(*apart(8, 0.0)).item() == 0.0
    assert outlier_hinge(*apart(8, 0.0)).item() == pytest.approx(math.sqrt(2.0), abs=1e-5)
    assert outlier_hinge(*apart(8, math.pi / 2)).item() == pytest.approx(0.0, abs=1e-12)


def test_the_published_loss_of_outliers_is_minus_torch_mse():
    query, negative = unit(5, 16), unit(5, 16, seed=1)
    expected = -torch.nn.functional.mse_loss(query, negative)
    torch.testing.assert_close(outlier_mean_square(query, negative).mean(), expected)


# --- Bayesian triplet

VARIANCES = (0.02, 0.05, 0.01)


def normals(size: int = 6) -> list[Described]:
    """Anchor, positive and negative, the last a little farther than the second."""
    means = torch.zeros(3, 1, size, dtype=torch.float64)
    for number, angle in enumerate((0.0, 0.9, 1.1)):
        means[number, 0, 0], means[number, 0, number + 1] = math.cos(angle), math.sin(angle)
    return [Described(mean, torch.full((1,), v, dtype=torch.float64)) for mean, v in zip(means, VARIANCES, strict=True)]


def loss_of(anchor: Described, positive: Described, negative: Described, **options) -> torch.Tensor:
    negatives = Described(negative.mean[:, None], negative.variance[:, None])
    return bayesian_triplet(anchor, positive, negatives, ONE, **options)


def by_the_specification(a, p, n, va, vp, vn) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of tau, element by element, as written in source_systems 2.3."""
    t1 = vp**2 + 2 * p**2 * vp + 2 * (va + a**2) * (vp + p**2) - 2 * a**2 * p**2 - 4 * a * p * vp
    t2 = vn**2 + 2 * n**2 * vn + 2 * (va + a**2) * (vn + n**2) - 2 * a**2 * n**2 - 4 * a * n * vn
    t3 = 4 * p * n * va
    return (p**2 + vp - n**2 - vn - 2 * a * (p - n)).sum(-1), (2 * t1 + 2 * t2 - 2 * t3).sum(-1)


def test_the_gap_is_that_of_the_specification():
    anchor, positive, negative = normals(511)
    expected = by_the_specification(anchor.mean, positive.mean, negative.mean, *VARIANCES)
    for found, wanted in zip(distance_gap(anchor, positive, negative), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0.0)


@pytest.fixture(scope="module")
def drawn() -> torch.Tensor:
    """Samples of tau."""
    generator = torch.Generator().manual_seed(0)
    a, p, n = (
        part.mean + part.variance.sqrt() * torch.randn(200_000, 6, generator=generator, dtype=torch.float64) for part in normals()
    )
    return (a - p).square().sum(1) - (a - n).square().sum(1)


def test_the_gap_has_the_moments_of_samples(drawn):
    mean, variance = distance_gap(*normals())
    error = math.sqrt(variance.item() / len(drawn))
    assert mean.item() == pytest.approx(float(drawn.mean()), abs=4.0 * error)
    assert variance.item() == pytest.approx(float(drawn.var()), rel=0.02)


@pytest.mark.parametrize(("published", "limit"), [(False, -BAYESIAN_MARGIN), (True, BAYESIAN_MARGIN)])
def test_the_loss_is_the_probability_of_samples(drawn, published, limit):
    """The one approximation is that tau is normal, which it is not quite: some percent."""
    found = math.exp(-loss_of(*normals(), published_sign=published).item())
    assert found == pytest.approx(float((drawn < limit).double().mean()), abs=0.03)
    other = math.exp(-loss_of(*normals(), published_sign=not published).item())
    assert abs(found - other) > 0.1, "the samples must tell the two signs apart"


def test_the_margin_is_asked_for_and_not_forgiven():
    """Defect M14: both alike far, the published sign is content; ours wants the negative to be farther."""
    size = 32
    anchor, positive = (Described(v, torch.full((1,), 1e-5, dtype=torch.float64)) for v in apart(size, 0.5))
    negative = Described(positive.mean.clone(), positive.variance)
    negative.mean[0, 1] *= -1.0
    published, ours = (loss_of(anchor, positive, negative, published_sign=sign).item() for sign in (True, False))
    assert published < 0.01 and ours > 3.0


def test_the_loss_falls_as_the_negative_moves_away():
    anchor, positive = (Described(v, torch.full((1,), 0.001, dtype=torch.float64)) for v in apart(64, 0.2))
    negatives = [
        Described(apart(64, angle)[1], torch.full((1,), 0.001, dtype=torch.float64)) for angle in (0.1, 0.4, 0.8, 1.6, 3.0)
    ]
    losses = [loss_of(anchor, positive, negative).item() for negative in negatives]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.05 < 1.0 < losses[0]


def test_it_agrees_with_the_published_formula_where_that_has_digits():
    mean, variance = distance_gap(*normals())
    score = (BAYESIAN_MARGIN - mean) / (variance.sqrt() + 1e-8)
    published = -torch.log(torch.special.ndtr(score) + 1e-8)
    torch.testing.assert_close(loss_of(*normals(), published_sign=True), published, rtol=1e-6, atol=1e-7)


def test_certain_and_wrong_has_a_finite_loss_and_gradient():
    """The published logarithm of a probability below 1e-8 has no gradient left; ln Phi computed as such has."""
    anchor, negative = apart(511, 0.05)
    positive = apart(511, 2.5)[1]
    variance = torch.full((1,), 1e-7).requires_grad_()
    moving = positive.float().requires_grad_()
    loss = loss_of(Described(anchor.float(), variance), Described(moving, variance), Described(negative.float(), variance))
    loss.sum().backward()
    assert math.isfinite(loss.item()) and loss.item() > 100.0
    assert torch.isfinite(moving.grad).all() and moving.grad.norm() > 1.0
    assert variance.grad < 0.0, "less certain would be less wrong"


def test_gradients_are_those_of_finite_differences():
    means = [unit(2, 5, seed=i).requires_grad_() for i in range(2)]
    negatives = unit(2, 3, 5, seed=7).requires_grad_()
    variances = [torch.full(shape, 0.03, dtype=torch.float64).requires_grad_() for shape in ((2,), (2,), (2, 3))]
    present = torch.tensor([[True, True, True], [True, False, True]])

    def bayesian(a, p, n, va, vp, vn):
        return bayesian_triplet(Described(a, va), Described(p, vp), Described(n, vn), present)

    assert torch.autograd.gradcheck(bayesian, (*means, negatives, *variances))
    assert torch.autograd.gradcheck(lambda a, p, n: triplet_margin(a, p, n, present)[0], (*means, negatives))
    assert torch.autograd.gradcheck(lambda a, p: outlier_hinge(a, p, 2.0) + outlier_mean_square(a, p), tuple(means))
    assert torch.autograd.gradcheck(lambda m, v: kl_to_prior(Described(m, v), 0.2), (means[0], variances[0]))
    assert torch.autograd.gradcheck(lambda v: kl_to_widened(v, 0.2), (variances[2],))


# --- divergences


@pytest.mark.parametrize("size", [255, 511])
def test_the_divergence_from_the_prior_is_that_of_torch(size):
    mean, variance, prior = unit(3, size), torch.tensor([0.001, 0.002, 0.5], dtype=torch.float64), 1.0 / (size + 1)
    normal = torch.distributions.Normal(mean, variance.sqrt()[:, None].expand_as(mean))
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(torch.zeros_like(mean), math.sqrt(prior))).sum(
        1
    )
    torch.testing.assert_close(kl_to_prior(Described(mean, variance), prior), expected)


def test_the_divergence_from_the_prior_is_zero_at_the_prior_alone():
    prior = 1.0 / 256
    at = Described(torch.zeros(1, 255), torch.tensor([prior]))
    assert kl_to_prior(at, prior).item() == 0.0
    assert kl_to_prior(at._replace(variance=torch.tensor([0.9 * prior])), prior).item() > 0.0


def test_the_divergence_from_the_widened_prior_is_zero_at_ten_priors_alone():
    prior = 1.0 / 512
    values = torch.tensor([0.1, 1.0, 9.0, 10.0, 11.0, 100.0], dtype=torch.float64) * prior
    found = kl_to_widened(values, prior)
    assert found[3].item() == pytest.approx(0.0, abs=1e-15) and (found[[0, 1, 2, 4, 5]] > 1e-4).all()
    assert found[1].item() == pytest.approx(0.5 * (0.1 - 1.0 + math.log(10.0)))
    normal = torch.distributions.Normal(torch.zeros(6, dtype=torch.float64), values.sqrt())
    expected = torch.distributions.kl_divergence(
        normal, torch.distributions.Normal(torch.zeros(6, dtype=torch.float64), math.sqrt(10.0 * prior))
    )
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


def test_a_variance_of_zero_does_not_make_what_is_no_number():
    zero = torch.zeros(1, requires_grad=True)
    (kl_to_prior(Described(torch.zeros(1, 4), zero), 0.25) + kl_to_widened(zero, 0.25)).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_descriptors_without_a_variance_are_refused():
    with pytest.raises(TypeError, match="come without a variance"):
        kl_to_prior(Described(unit(1, 4), None), 0.25)
