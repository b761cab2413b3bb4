"""The homography of four points: exact, with gradients, and refused where no camera sees such points."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

from vloc_ros.networks.dhe import corners  # noqa: E402
from vloc_ros.networks.homography import homography_of, is_sound, project  # noqa: E402

SQUARE = corners(384).double()


def moved(seed: int, count: int, pixels: float = 40.0) -> torch.Tensor:
    """(count, 4, 2) corners of the image, each moved by some pixels."""
    noise = np.random.default_rng(seed).normal(0.0, pixels, (count, 4, 2))
    return SQUARE + torch.from_numpy(noise)


def test_is_exact_at_its_points_and_recovers_what_made_them() -> None:
    source, target = moved(0, 50, 20.0), moved(1, 50, 20.0)
    made, good = homography_of(source, target)
    assert good.all()
    torch.testing.assert_close(project(made, source), target, atol=1e-8, rtol=0.0)
    known = torch.tensor([[[1.1, 0.05, -12.0], [-0.03, 0.9, 20.0], [1e-4, -2e-4, 1.0]]], dtype=torch.float64)
    again, good = homography_of(SQUARE[None], project(known, SQUARE[None]))
    assert good.all()
    torch.testing.assert_close(again / again[:, 2:, 2:], known, atol=1e-9, rtol=1e-9)


def test_the_corner_of_the_image_may_be_beyond_the_horizon() -> None:
    tilted = torch.tensor([[[100.0, 0.0, -20000.0], [0.0, 300.0, -30000.0], [0.0, 1.0, -50.0]]], dtype=torch.float64)
    source = torch.tensor([[[100.0, 100.0], [300.0, 100.0], [300.0, 300.0], [100.0, 300.0]]], dtype=torch.float64)
    target = project(tilted, source)
    made, good = homography_of(source, target)
    assert good.all()
    torch.testing.assert_close(project(made, source), target, atol=1e-8, rtol=0.0)
    assert project(made, torch.zeros(1, 2, dtype=torch.float64)).norm() > 1e5


def test_is_exact_in_single_precision_to_a_hundredth_of_a_pixel() -> None:
    source, target = moved(2, 50, 20.0).float(), moved(3, 50, 20.0).float()
    made, _ = homography_of(source, target)
    assert (project(made, source) - target).abs().max() < 1e-2


def test_its_gradient_is_right() -> None:
    source, target = moved(4, 2).requires_grad_(), moved(5, 2).requires_grad_()
    inside = torch.tensor([[100.0, 120.0], [300.0, 60.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: project(homography_of(a, b)[0], inside), (source, target), atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param([[0, 0], [384, 0], [192, 1], [0, 384]], id="three corners on a line"),
        pytest.param([[0, 0], [100, 100], [200, 200], [300, 300]], id="all on a line"),
        pytest.param([[50, 50]] * 4, id="one point"),
        pytest.param([[0, 0], [384, 384], [384, 0], [0, 384]], id="crossed"),
        pytest.param([[384, 0], [0, 0], [0, 384], [384, 384]], id="mirrored"),
        pytest.param([[0, 0], [384, 0], [100, 100], [0, 384]], id="one corner inside"),
        pytest.param([[0, 0], [384, 0], [float("nan"), 384], [0, 384]], id="not a number"),
        pytest.param([[0, 0], [384, 0], [float("inf"), 384], [0, 384]], id="infinite"),
    ],
)
def test_what_no_camera_sees_is_no_homography_and_spoils_no_gradient(wrong: list[list[float]]) -> None:
    bad = torch.tensor(wrong, dtype=torch.float64)
    target = torch.stack([bad, SQUARE + 5.0]).requires_grad_()
    source = torch.stack([SQUARE, SQUARE]).requires_grad_()
    made, good = homography_of(source, target)
    assert good.tolist() == [False, True]
    torch.testing.assert_close(made[0], torch.eye(3, dtype=torch.float64))
    made.sum().backward()
    assert not target.grad[0].any() and target.grad[1].isfinite().all() and target.grad[1].any()
    assert source.grad.isfinite().all()
    assert not homography_of(bad[None], SQUARE[None])[1].any(), "nor in the query"


def test_a_turned_image_is_sound() -> None:
    assert is_sound(SQUARE[None], SQUARE.roll(1, 0)[None]).all()
    assert is_sound(SQUARE.flip(0)[None], SQUARE.flip(0)[None]).all(), "both may be listed the other way round"


def test_what_is_behind_the_horizon_is_far_away() -> None:
    tilted = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -0.01, 1.0]]], dtype=torch.float64)
    points = torch.tensor([[10.0, 50.0], [10.0, 100.0], [10.0, 200.0]], dtype=torch.float64)
    mapped = project(tilted, points)[0]
    torch.testing.assert_close(mapped[0], torch.tensor([20.0, 100.0], dtype=torch.float64))
    assert (mapped[1:].norm(dim=1) > 1e6).all() and mapped.isfinite().all()
