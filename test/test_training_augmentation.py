"""Augmentation and crops of training pairs: what must hold whatever is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from data_samples import texture

pytest.importorskip("torch", reason="training needs torch")

from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.training.augmentation import AugmentationSettings, augment
from vloc_ros.training.cropping import crop_pair
from vloc_ros.training.pairs import StereoTruth, TrainingPair

H = np.array([[1.02, 0.03, -6.0], [-0.02, 0.98, 4.0], [1e-5, 2e-5, 1.0]])
WIDTH, HEIGHT = 200, 150


def mapped(u, v):
    x, y, z = np.einsum("ij,j...->i...", H, np.stack([u, v, np.ones_like(u)]))
    return np.stack([x / z, y / z], -1)


def coded(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """An image that says where each of its pixels is: column in red, row in green."""
    v, u = np.mgrid[:height, :width]
    return np.stack([u, v, np.zeros_like(u)], -1).astype(np.uint8)


def homography_pair(stereo: StereoTruth | None = None) -> TrainingPair:
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    warp = mapped(u, v)
    outside = ((warp < 0) | (warp > [WIDTH - 1, HEIGHT - 1])).any(-1)
    warp[outside] = np.nan
    return TrainingPair(coded(), coded(), warp.astype(np.float32), stereo, "h")


def test_a_plain_crop_keeps_the_warp_exactly():
    """Without resizing the images say where each crop is from."""
    offsets = set()
    for seed in range(8):
        pair = homography_pair()
        # The crop fills the height, so that nothing is resized.
        crop = crop_pair(pair, (128, HEIGHT), np.random.default_rng(seed))
        left_a, left_b = int(crop.image_a[0, 0, 0]), int(crop.image_b[0, 0, 0])
        offsets.add((left_a - left_b) % 8)
        v, u = np.mgrid[:HEIGHT, :128].astype(np.float64)
        expected = mapped(u + left_a, v) - [left_b, 0.0]
        known = np.isfinite(crop.warp).all(-1)
        assert known.mean() > 0.6
        np.testing.assert_allclose(crop.warp[known], expected[known], atol=1e-3)
    assert len(offsets) > 3, "crops of both images must not share a grid"


def test_a_resized_crop_has_the_warp_of_the_resized_homography():
    for seed in range(6):
        pair = homography_pair()
        crop = crop_pair(pair, (96, 64), np.random.default_rng(seed), 1.5, 1.2)
        assert crop.image_a.shape == crop.image_b.shape == (64, 96, 3) and crop.warp.shape == (64, 96, 2)
        known = np.isfinite(crop.warp).all(-1)
        assert known.mean() > 0.5
        v, u = np.nonzero(known)
        # Fit a homography: a crop of both images of a homography is one.
        import cv2

        fitted, _ = cv2.findHomography(np.stack([u, v], 1).astype(np.float64), crop.warp[known].astype(np.float64))
        again = cv2.perspectiveTransform(np.stack([u, v], 1).astype(np.float64)[None], fitted)[0]
        assert np.abs(again - crop.warp[known]).max() < 1e-3
        # And it leads to where b shows what a shows: the images say from where their pixels are.
        at = np.rint(crop.warp[known]).astype(int)
        expected = mapped(*crop.image_a[known][:, :2].astype(np.float64).T)
        assert np.median(np.abs(crop.image_b[at[:, 1], at[:, 0]][:, :2] - expected)) < 1.5


def test_the_stereo_truth_of_a_crop_gives_the_same_points():
    camera = StereoCamera(WIDTH, HEIGHT, 150.0, 150.0, 99.5, 74.5, 0.2)
    disparity = np.full((HEIGHT, WIDTH), 6.0, dtype=np.float32)
    pair = homography_pair(StereoTruth(camera, disparity, disparity, np.eye(4), np.eye(4)))
    for seed in range(5):
        crop = crop_pair(pair, (96, 96), np.random.default_rng(seed), 1.4, 1.3)
        of = crop.stereo.camera
        depth = of.fx * of.baseline / crop.stereo.disparity_a[40, 50]
        assert depth == pytest.approx(150.0 * 0.2 / 6.0)
        u, v = crop.image_a[40, 50, :2].astype(float)
        assert (50 - of.cx) * depth / of.fx == pytest.approx((u - camera.cx) * depth / camera.fx, abs=0.05)
        assert (40 - of.cy) * depth / of.fy == pytest.approx((v - camera.cy) * depth / camera.fy, abs=0.05)
        assert (crop.image_a == crop.image_b).all(), "both images of a stereo pair are cropped alike"


def test_a_pair_without_known_warp_is_cropped_too():
    pair = homography_pair()
    pair.warp[:] = np.nan
    crop = crop_pair(pair, (64, 64), np.random.default_rng(1))
    assert crop.image_a.shape == (64, 64, 3) and np.isnan(crop.warp).all()


@pytest.mark.parametrize("colour", [False, True])
def test_augmentation_keeps_shape_and_depends_on_the_generator_alone(colour):
    image = texture(3, colour, (120, 90))
    settings = AugmentationSettings(1.0, 0.8)
    seen = [augment(image, np.random.default_rng(seed), settings) for seed in range(25)]
    assert all(made.shape == image.shape and made.dtype == np.uint8 for made in seen)
    again = [augment(image, np.random.default_rng(seed), settings) for seed in range(25)]
    assert all((a == b).all() for a, b in zip(seen, again, strict=True))
    assert len({made.tobytes() for made in seen}) > 20
    means = [float(made.mean()) for made in seen]
    assert min(means) < 0.5 * float(image.mean()), "some are dark"


def test_strength_zero_changes_nothing():
    image = texture(3, True, (64, 48))
    assert augment(image, np.random.default_rng(0), AugmentationSettings(0.0, 1.0)) is image
