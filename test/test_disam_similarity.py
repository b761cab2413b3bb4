"""Similarity score and Grad-SAM map: known answers, and gradients against finite differences in double precision."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks need torch")

import disam_numpy as published  # noqa: E402

from vloc_ros.networks.disam_form import DisamForm, Stage  # noqa: E402
from vloc_ros.networks.domains import LatentCompression  # noqa: E402
from vloc_ros.networks.similarity import activation_map, activation_weights, flat_similarity, similarity  # noqa: E402
from vloc_ros.retrieval import activation  # noqa: E402


def latents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.2


def test_equal_latents_are_wholly_alike():
    one = latents(3, 5, 4, 6)
    for score in (similarity, flat_similarity):
        torch.testing.assert_close(score(one, one), torch.ones(3, dtype=torch.float64))
        torch.testing.assert_close(score(one, -2.0 * one), -torch.ones(3, dtype=torch.float64))


def test_a_score_is_the_mean_of_the_cosines_of_channels():
    one, other = latents(1, 4, 3, 5), latents(1, 4, 3, 5, seed=1)
    assert float(similarity(one, other)) == pytest.approx(published.similarity(one[0].numpy(), other[0].numpy()), abs=1e-12)
    assert float(flat_similarity(one, other)) == pytest.approx(published.cosine(one.numpy(), other.numpy()), abs=1e-12)
    # how large a channel is says nothing in the one, and counts in the other
    scaled = one * torch.tensor([100.0, 1.0, 1.0, 1.0])[:, None, None]
    torch.testing.assert_close(similarity(scaled, other), similarity(one, other))
    assert abs(float(flat_similarity(scaled, other) - flat_similarity(one, other))) > 1e-3


def test_weights_are_the_gradient_of_the_score():
    one, other = latents(2, 5, 4, 6).requires_grad_(), latents(2, 5, 4, 6, seed=1)
    (gradient,) = torch.autograd.grad(similarity(one, other).sum(), one)
    torch.testing.assert_close(activation_weights(one, other), gradient.sum(dim=(2, 3)), atol=1e-12, rtol=1e-9)


def test_weights_and_map_are_those_of_finite_differences():
    one, other = latents(1, 5, 4, 6), latents(1, 5, 4, 6, seed=1)
    arrays = one[0].numpy(), other[0].numpy()
    weights = published.weights_by_differences(*arrays)
    assert np.abs(weights).min() > 1e-4
    np.testing.assert_allclose(activation_weights(one, other)[0].numpy(), weights, atol=1e-9)
    expected = published.activation(*arrays)
    assert 0 < np.count_nonzero(expected) < expected.size  # the rectifier has something to do
    np.testing.assert_allclose(activation_map(one, other)[0].numpy(), expected, atol=1e-8)


def test_the_map_of_a_latent_on_itself_is_empty():
    """Y has its maximum there, so that its gradient, and with it all weights, are zero."""
    one = latents(2, 5, 4, 6)
    assert float(activation_map(one, one).abs().max()) < 1e-12


def test_a_loss_of_maps_has_the_right_gradient():
    """Of both latents, as MSE(L(z|z'), L(z'|z)) without the stop, against finite differences."""
    one, other = latents(2, 3, 3, 4).requires_grad_(), latents(2, 3, 3, 4, seed=1).requires_grad_()

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (activation_map(a, b) - activation_map(b, a)).square().mean()

    assert torch.autograd.gradcheck(loss, (one, other), eps=1e-6, atol=1e-9, rtol=1e-6)
    assert torch.autograd.gradcheck(activation_map, (one, other), eps=1e-6, atol=1e-7, rtol=1e-6)


def test_maps_without_torch_are_the_same():
    for seed in range(3):
        one, other = latents(1, 5, 4, 6, seed=seed), latents(1, 5, 4, 6, seed=seed + 10)
        other[0, 2] = 0.0
        arrays = one[0].numpy().astype(np.float32), other[0].numpy().astype(np.float32)
        weights = activation_weights(one, other)[0].numpy()
        np.testing.assert_allclose(activation.activation_weights(*arrays), weights, atol=1e-7)
        found = activation.activation_map(*arrays)
        assert found.shape == (4, 6) and found.dtype == np.float32 and found.max() > 0.0
        np.testing.assert_allclose(found, activation_map(one, other)[0].numpy(), atol=1e-7)


@pytest.mark.parametrize("empty", ["one", "other", "both"])
def test_empty_channels_harm_nothing(empty):
    one, other = latents(1, 3, 4, 4), latents(1, 3, 4, 4, seed=1)
    for name, latent in (("one", one), ("other", other)):
        if empty in (name, "both"):
            latent[:, 1] = 0.0
    one.requires_grad_()
    activation_map(one, other).sum().backward()
    assert torch.isfinite(activation_map(one, other)).all() and torch.isfinite(one.grad).all()


@pytest.mark.parametrize(("stage", "score"), [(Stage.COARSE, similarity), (Stage.FINE, flat_similarity)])
def test_dot_products_of_whole_latents_are_the_metric(stage, score):
    compression = LatentCompression(DisamForm(1, 36, 32, stage), 1, 0)
    one, other = latents(2, 4, 8, 9).float(), latents(2, 4, 8, 9, seed=1).float()
    vectors = [compression(side, 0) for side in (one, other)]
    assert vectors[0].shape == (2, compression.length) == (2, 4 * 8 * 9)
    torch.testing.assert_close((vectors[0] * vectors[1]).sum(1), score(one, other), atol=1e-6, rtol=0.0)


def test_cells_are_means_and_those_at_the_border_of_what_is_there():
    form = DisamForm(1, 36, 32, Stage.FINE)
    compression, one = LatentCompression(form, 4, 0), latents(1, 4, 8, 9).float()
    cells = [
        [one[0, k, y : y + 4, x : x + 4].mean() for y in (0, 4) for x in (0, 4, 8)]
        for k in range(4)
    ]  # fmt: skip
    expected = torch.nn.functional.normalize(torch.tensor(cells).flatten(), dim=0)
    assert compression.length == 4 * 2 * 3
    torch.testing.assert_close(compression(one, 0)[0], expected, atol=1e-6, rtol=0.0)


def test_a_projection_is_affine():
    compression = LatentCompression(DisamForm(1, 32, 32, Stage.COARSE), 4, 3)
    with torch.no_grad():
        compression.mean.copy_(latents(16).float() / 10.0)
        compression.basis.copy_(latents(3, 16).float())
    one = latents(2, 4, 8, 8).float()
    made = (compression.whole(one) - compression.mean) @ compression.basis.T
    torch.testing.assert_close(compression(one, 0), made / made.norm(dim=1, keepdim=True))
