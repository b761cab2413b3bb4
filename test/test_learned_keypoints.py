"""Key points and descriptors from the maps of a network, in numpy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vloc_ros.features.keypoints import MARGIN_PX, local_maxima, one_per_window, softmax_of_centre
from vloc_ros.features.sampling import bilinear, descriptors_of, sample_columns

SIZE = (96, 128)


def bumps(centres: list[tuple[float, float]], height: float = 8.0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W) logits with a round top at each (u, v)."""
    v, u = np.mgrid[: size[0], : size[1]].astype(np.float64)
    tops = [height * np.exp(-((u - cu) ** 2 + (v - cv) ** 2) / (2 * 2.0**2)) for cu, cv in centres]
    return np.sum(tops, axis=0).astype(np.float32)


def noise(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(seed).normal(size=size).astype(np.float32), (0, 0), 1.5) * 15


ONES = np.ones(SIZE, np.float32)


# --- one in each window


def test_flat_windows_give_their_centres_row_by_row():
    """Known answer of the published code: (7.5, 7.5) + 16 k."""
    found = one_per_window(np.zeros((384, 512), np.float32), np.full((384, 512), 0.25, np.float32), 16)
    assert found.pixels.shape == (768, 2) and np.allclose(found.scores, 0.25)
    assert np.allclose(found.pixels[:2], [[7.5, 7.5], [23.5, 7.5]]) and np.allclose(found.pixels[32], [7.5, 23.5])


def test_the_window_softmax_is_an_expectation():
    logits, scores = noise(3), np.random.default_rng(1).random(SIZE, dtype=np.float32)
    found = one_per_window(logits, scores, 8)
    block = np.exp(logits[16:24, 40:48].astype(np.float64))
    u, v = (block.sum(axis=axis) @ np.arange(8) / block.sum() + start for axis, start in ((0, 40), (1, 16)))
    index = 2 * (SIZE[1] // 8) + 5
    assert np.allclose(found.pixels[index], [u, v], atol=1e-4)
    assert np.allclose(found.scores[index], bilinear(scores[None], found.pixels[index : index + 1])[0, 0])


def test_windows_that_do_not_fit_are_left_out():
    assert len(one_per_window(np.zeros((33, 47), np.float32), np.zeros((33, 47), np.float32), 16).pixels) == 2 * 2
    assert len(one_per_window(np.zeros((15, 47), np.float32), np.zeros((15, 47), np.float32), 16).pixels) == 0


# --- local maxima


def test_local_maxima_are_found_to_a_tenth_of_a_pixel():
    centres = [(30.3, 40.7), (64.0, 20.5), (100.75, 70.2)]
    found = local_maxima(bumps(centres), ONES, 9, 3)
    distance = np.linalg.norm(found.pixels[:, None] - np.array(centres)[None], axis=2)
    assert len(found.pixels) == 3 and distance.min(axis=0).max() < 0.1


def test_the_score_decides_what_a_maximum_is_worth():
    scores = ONES.copy()
    scores[:, 64:] = 0.1
    found = local_maxima(bumps([(30.0, 40.0), (90.0, 40.0)]), scores, 9, 3)
    left, right = found.scores[np.argsort(found.pixels[:, 0])]
    assert left == pytest.approx(10 * right, rel=1e-3)
    assert len(local_maxima(bumps([(30.0, 40.0)]), 0 * ONES, 9, 3).pixels) == 0


@pytest.mark.parametrize("shift", [(1, 0), (3, 5), (8, 8), (0, 7)])
def test_no_grid(shift):
    """Moved by any number of pixels, odd or even, the logits have the same maxima, moved."""
    big = noise(5, (140, 180))
    du, dv = shift
    a = local_maxima(np.ascontiguousarray(big[20:116, 20:148]), ONES, 9, 3)
    b = local_maxima(np.ascontiguousarray(big[20 - dv : 116 - dv, 20 - du : 148 - du]), ONES, 9, 3)
    inside = ((a.pixels > 20) & (a.pixels < [107, 75])).all(axis=1)
    distance = np.linalg.norm(a.pixels[inside][:, None] + np.array(shift) - b.pixels[None], axis=2)
    assert np.count_nonzero(inside) > 20 and distance.min(axis=1).max() < 1e-3


def test_maxima_keep_their_distance():
    pixels = np.rint(local_maxima(noise(2), ONES, 9, 5).pixels)
    apart = np.abs(pixels[:, None] - pixels[None]).max(axis=2) + 100 * np.eye(len(pixels))
    assert len(pixels) > 20 and apart.min() > 5
    assert (pixels >= MARGIN_PX - 1).all() and (pixels <= [SIZE[1] - MARGIN_PX, SIZE[0] - MARGIN_PX]).all()


def exact_softmax(logits: np.ndarray, side: int) -> np.ndarray:
    """By the book, in double precision."""
    half, result = side // 2, np.zeros(logits.shape)
    for v in range(logits.shape[0]):
        for u in range(logits.shape[1]):
            around = logits[max(0, v - half) : v + half + 1, max(0, u - half) : u + half + 1].astype(np.float64)
            result[v, u] = 1.0 / np.exp(around - logits[v, u]).sum()
    return result


@pytest.mark.parametrize("gain", [0.01, 1.0, 40.0])
@pytest.mark.parametrize("step", [0.0, 300.0, 2000.0])
def test_the_softmax_is_exact_for_logits_of_any_magnitude(gain, step):
    logits = noise(7, (40, 48)) * np.float32(gain)
    logits[:, 24:] -= np.float32(step)
    with np.errstate(over="ignore"):
        assert np.allclose(softmax_of_centre(logits, 9), exact_softmax(logits, 9), atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1e30, -1e30])
def test_flat_logits_have_no_maxima(value):
    assert len(local_maxima(np.full(SIZE, value, np.float32), ONES, 9, 3).pixels) == 0


def test_what_is_not_a_number_is_not_a_maximum():
    logits, scores = bumps([(30.0, 40.0), (90.0, 40.0)]), ONES.copy()
    logits[60:80, 60:80], logits[38:42, 88:92], scores[10:20] = np.nan, np.inf, np.nan
    found = local_maxima(logits, scores, 9, 3)
    assert np.isfinite(found.pixels).all() and np.isfinite(found.scores).all()
    assert np.linalg.norm(found.pixels - [30, 40], axis=1).min() < 0.1
    nothing = np.full(SIZE, np.nan, np.float32)
    assert len(local_maxima(nothing, ONES, 9, 3).pixels) == 0
    assert np.isfinite(one_per_window(nothing, scores, 16).pixels).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (16, 16), (17, 17)])
def test_tiny_maps(size):
    found = local_maxima(noise(1, size), np.ones(size, np.float32), 9, 3)
    assert len(found.pixels) == len(found.scores) <= 1


# --- descriptors


@pytest.mark.parametrize("through_pixels", [False, True])
def test_sampling_is_that_of_torch(through_pixels):
    torch = pytest.importorskip("torch")
    from vloc_ros.networks.local import LocalMaps, sample_maps

    class Convention:
        strides = (1, 2, 4, 8)

    Convention.through_pixels = through_pixels
    rng = np.random.default_rng(0)
    maps = [rng.random((3 + s, SIZE[0] // s, SIZE[1] // s), dtype=np.float32) for s in Convention.strides]
    points = (rng.random((200, 2)) * (np.array(SIZE[::-1]) + 6) - 3).astype(np.float32)
    points[:4] = [[0, 0], [127, 95], [63.5, 40.0], [-0.5, 95.5]]
    given = LocalMaps(torch.zeros(1, 1, *SIZE), torch.zeros(1, 1, *SIZE), tuple(torch.from_numpy(m)[None] for m in maps))
    expected = sample_maps(given, Convention, torch.from_numpy(points)[None])[0].numpy()
    found = sample_columns(maps, Convention.strides, points, SIZE[::-1], through_pixels)
    assert found.shape == (27, 200) and np.abs(found.T - expected).max() < 1e-5


@pytest.mark.parametrize(("projected", "centred"), [(False, True), (True, True), (False, False), (True, False)])
def test_descriptors_are_those_of_torch(projected, centred):
    torch = pytest.importorskip("torch")
    from vloc_ros.networks.local import LocalNetwork

    rng = np.random.default_rng(0)
    columns, matrix = rng.normal(size=(40, 60)).astype(np.float32), rng.normal(size=(16, 40)).astype(np.float32)

    class Described:
        projection = torch.from_numpy(matrix) if projected else None

    Described.centred = centred
    before = columns.copy()
    expected = LocalNetwork.describe(Described(), torch.from_numpy(columns.T.copy())).numpy()
    found = descriptors_of(columns, matrix if projected else None, centred)
    assert np.abs(found - expected).max() < 1e-5 and np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert np.allclose(found.mean(axis=1), 0.0, atol=1e-6) == (centred and not projected)
    assert descriptors_of(columns[:, :0], None).shape == (0, 40) and np.array_equal(columns, before)
