"""Re-projection error of inliers: by hand, with its limits, and where its gradient goes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vloc_ros.networks.dhe import corners  # noqa: E402
from vloc_ros.training.homography_losses import mutual_matches, patch_centres, rei_loss  # noqa: E402

SIDE, SIZE = 4, 64


def _maps(seed: int, count: int = 1, channels: int = 32) -> torch.Tensor:
    return torch.randn(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def _identity(shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    source = corners(SIZE)
    return torch.cat([source, source + torch.tensor(shift)])[None]


def test_centres_are_those_published() -> None:
    centres = patch_centres(24)
    assert centres[0].tolist() == [8.0, 8.0] and centres[1].tolist() == [24.0, 8.0]
    assert centres[24].tolist() == [8.0, 24.0] and centres[-1].tolist() == [376.0, 376.0]


def test_matches_are_mutual_as_a_plain_loop_finds_them() -> None:
    a, b = _maps(1), _maps(2)
    flat = [(m[0] / m[0].norm(dim=0)).flatten(1).T.numpy() for m in (a, b)]
    alike = flat[0] @ flat[1].T
    expected = [(i, int(alike[i].argmax())) for i in range(SIDE**2) if alike[:, int(alike[i].argmax())].argmax() == i]
    assert [tuple(pair) for pair in mutual_matches(a, b)[0].tolist()] == expected
    assert 0 < len(expected) < SIDE**2


def test_equal_maps_under_the_identity_have_no_error_and_a_shift_is_its_length() -> None:
    local = _maps(3)
    error, learned = rei_loss(_identity(), local, local, SIZE)
    assert learned.tolist() == [True] and float(error) < 1e-4
    shifted, _ = rei_loss(_identity((3.0, -4.0)), local, local, SIZE)
    assert float(shifted) == pytest.approx(5.0, abs=1e-3)


def test_only_as_many_of_the_smallest_errors_as_ransac_has_inliers_count() -> None:
    a = _maps(4)
    b = a.clone()
    b[0, :, 0, 0], b[0, :, 3, 3] = a[0, :, 3, 3], a[0, :, 0, 0]  # two wrong matches across the image
    centres = patch_centres(SIDE).numpy()
    matches = mutual_matches(a, b)[0].numpy()
    assert len(matches) == SIDE**2
    source, target = centres[matches[:, 0]], centres[matches[:, 1]]
    inliers = int(cv2.findHomography(source, target, cv2.RANSAC, 6.0)[1].sum())
    assert inliers == SIDE**2 - 2
    missed = np.sort(np.linalg.norm(source + np.array([1.0, 0.0]) - target, axis=1))
    error, _ = rei_loss(_identity((1.0, 0.0)), a, b, SIZE, 6.0)
    assert float(error) == pytest.approx(missed[:inliers].mean(), abs=1e-3)


def test_there_is_no_error_where_there_are_too_few_matches_or_no_quadrilateral() -> None:
    a = _maps(5)
    alone = torch.zeros_like(a)
    alone[0, :, 1, 1] = a[0, :, 1, 1]  # one place that can be matched
    error, learned = rei_loss(_identity(), a, alone, SIZE)
    assert float(error) == 0.0 and learned.tolist() == [False]
    on_a_line = _identity()
    on_a_line[0, 2] = torch.tensor([SIZE / 2, 0.0])
    error, learned = rei_loss(on_a_line, a, a, SIZE)
    assert float(error) == 0.0 and learned.tolist() == [False]


def test_the_gradient_is_that_of_finite_differences_and_does_not_reach_the_maps() -> None:
    local = _maps(6).requires_grad_(True)
    points = _identity((2.0, 1.0)).requires_grad_(True)
    error, _ = rei_loss(points, local, local, SIZE)
    error.sum().backward()
    assert local.grad is None and points.grad is not None
    step = torch.zeros_like(points)
    step[0, 5, 0] = 0.05
    with torch.no_grad():
        ahead, behind = (rei_loss(points + sign * step, local, local, SIZE)[0] for sign in (1.0, -1.0))
    assert float(points.grad[0, 5, 0]) == pytest.approx(float(ahead - behind) / 0.1, rel=2e-2)
