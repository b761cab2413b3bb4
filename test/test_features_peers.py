"""XFeat and ALIKE: what is written here of them, by itself and with their published weights."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import development_data

from vloc_ros.errors import WeightsError
from vloc_ros.evaluation.feature_scores import FeatureSummary, judge, summarise
from vloc_ros.evaluation.judged_pairs import HomographyTruth, ShiftTruth, Truth
from vloc_ros.features import FeatureExtractor, MatchSettings, create_extractor, match
from vloc_ros.features.xfeat import _cubic, _linear, key_point_heat, sampled, tiles

HOMOGRAPHY = np.array([[0.95, 0.08, 12.0], [-0.06, 0.98, 20.0], [3e-5, -2e-5, 1.0]])
needs_onnxruntime = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def real_image() -> np.ndarray:
    path = development_data("static_cams/tilde_chamonix/20130502_071500.jpg")
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))


def judged(extractor: FeatureExtractor, a: np.ndarray, b: np.ndarray, truth: Truth) -> FeatureSummary:
    in_a, in_b = extractor.extract(a), extractor.extract(b)
    sizes = ((a.shape[1], a.shape[0]), (b.shape[1], b.shape[0]))
    return summarise([judge(in_a, in_b, match(in_a, in_b, extractor.metric, MatchSettings()), sizes, truth, extractor.metric)])


# --- parts of XFeat


@pytest.mark.parametrize(("length", "count"), [(1, 1), (480, 1), (640, 1), (641, 2), (704, 2), (1024, 2), (1280, 3), (4001, 7)])
def test_tiles_cover_all_cells_once_and_away_from_their_borders(length: int, count: int) -> None:
    found = tiles(length, 640)
    assert len(found) == count and found[0].first == 0 and found[-1].stop == -(-length // 8)
    assert all(tile.start % 8 == 0 for tile in found) and found[-1].start + 640 >= length
    for before, after in pairwise(found):
        assert before.stop == after.first
        assert before.start + 640 - 8 * before.stop >= 24 and 8 * after.first - after.start >= 24


def test_heat_is_where_the_logits_say() -> None:
    logits = np.zeros((3, 4, 65), dtype=np.float32)
    logits[:, :, 64] = 9.0
    logits[1, 2, 5 * 8 + 3] = 20.0  # row 5, column 3 of the cell in row 1 and column 2
    heat = key_point_heat(logits)
    assert heat.shape == (24, 32)
    assert np.unravel_index(heat.argmax(), heat.shape) == (8 + 5, 16 + 3)
    assert heat.max() > 0.99 and np.median(heat) < 1e-3


@pytest.mark.parametrize(("kernel", "method"), [(_linear, cv2.INTER_LINEAR), (_cubic, cv2.INTER_CUBIC)])
def test_sampling_is_that_of_opencv(kernel, method: int) -> None:
    # OpenCV has the same cubic kernel, and rounds positions to 1/32
    field = np.random.default_rng(2).normal(size=(9, 12, 3)).astype(np.float32)
    points = np.array([[3.0, 4.0], [5.25, 2.5], [7.875, 6.125], [0.25, 0.75], [-5.0, 4.0], [11.5, 8.5]], dtype=np.float32)
    expected = cv2.remap(field, points[None], None, method, borderMode=cv2.BORDER_REPLICATE)[0]
    assert np.abs(sampled(field, points, kernel) - expected).max() < 1e-4
    assert sampled(field, points, kernel)[0] == pytest.approx(field[4, 3], abs=1e-5)


# --- with their weights


@needs_onnxruntime
@pytest.mark.data
def test_xfeat_finds_an_easy_pair() -> None:
    extractor = create_extractor(str(development_data("weights/xfeat.onnx")), 1000)
    image = real_image()  # 704 px wide: two tiles
    # its detector looks at cells of 8 px by themselves, so that it repeats best when moved by whole cells
    moved = judged(extractor, image, np.ascontiguousarray(image[16:, 24:]), ShiftTruth((-24.0, -16.0)))
    assert moved.right_share > 98.0 and moved.matching_score > 85.0
    warped = cv2.warpPerspective(image, HOMOGRAPHY, (image.shape[1], image.shape[0]))
    turned = judged(extractor, image, warped, HomographyTruth(HOMOGRAPHY))
    assert turned.right_share > 75.0 and turned.matching_score > 38.0
    features = extractor.extract(image[:, :, 1])
    assert len(features) == 1000 and (np.diff(features.scores) <= 0).all()
    assert np.abs(np.linalg.norm(features.descriptors, axis=1) - 1.0).max() < 1e-5
    assert features.descriptors.shape == (1000, extractor.descriptor_size)
    assert len(extractor.extract(np.full((100, 60), 7, dtype=np.uint8))) == 0


@needs_torch
@pytest.mark.data
@pytest.mark.parametrize("name", ["alike-t", pytest.param("alike-n", marks=pytest.mark.slow)])
def test_alike_finds_an_easy_pair(name: str) -> None:
    extractor = create_extractor(str(development_data(f"weights/{name}.pth")), 1000)
    image = np.ascontiguousarray(real_image()[100:421, 200:611])
    warped = cv2.warpPerspective(image, HOMOGRAPHY, (image.shape[1], image.shape[0]))
    turned = judged(extractor, image, warped, HomographyTruth(HOMOGRAPHY))
    assert turned.right_share > 97.0 and turned.matching_score > 70.0
    features = extractor.extract(image[:, :, 1])
    assert len(features) == 1000 and (np.diff(features.scores) <= 0).all()
    assert features.descriptors.shape == (1000, extractor.descriptor_size)
    assert len(extractor.extract(np.zeros((9, 60), dtype=np.uint8))) == 0


@needs_torch
def test_alike_has_the_published_number_of_weights() -> None:
    from vloc_ros.networks.alike import AlikeNetwork

    def count(*channels: int) -> int:
        return sum(parameter.numel() for parameter in AlikeNetwork(channels[:4], channels[4]).parameters())  # type: ignore[arg-type]

    # table I of the paper: 80 thousand and 318 thousand
    assert round(count(8, 16, 32, 64, 64), -4) == 80_000
    assert abs(count(16, 32, 64, 128, 128) - 318_000) < 12_000


# --- files that are not theirs


@needs_onnxruntime
def test_what_is_not_xfeat(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged_xfeat.onnx"
    damaged.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="damaged"):
        create_extractor(str(damaged), 10)
    with pytest.raises(WeightsError, match="no such file"):
        create_extractor(str(tmp_path / "absent_xfeat.onnx"), 10)


@needs_torch
def test_what_is_not_alike(tmp_path: Path) -> None:
    import torch

    from vloc_ros.networks.alike import AlikeNetwork

    good = AlikeNetwork((8, 16, 32, 64), 64).state_dict()
    without = {name: tensor for name, tensor in good.items() if name != "block2.bn1.bias"}
    shape = good | {"block3.conv2.weight": torch.zeros(3, 3, 3, 3)}
    more = good | {"block9.weight": torch.zeros(3)}
    path = tmp_path / "other_alike-t.pth"
    for state, text in (({"weight": torch.zeros(3)}, "one head"), (without, "block2.bn1.bias"), (shape, "shape"), (more, "block9")):
        torch.save(state, path)
        with pytest.raises(WeightsError, match=text):
            create_extractor(str(path), 10)
    torch.save(good, path)
    assert create_extractor(str(path), 10).descriptor_size == 64
