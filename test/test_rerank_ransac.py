"""The baseline of re-ranking by RANSAC: known homographies, what has none, and what is kept of an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retrieval_samples import again, place

from vloc_ros.errors import DataError
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import Doubt, View, create_reranker
from vloc_ros.retrieval.ransac import verify_by_ransac
from vloc_ros.retrieval.rerank_ransac import FeatureSet, RansacReranker

WARP = np.array([[0.9, 0.08, 0.02], [-0.05, 0.95, 0.05], [0.1, -0.1, 1.0]])


def warped(points: np.ndarray) -> np.ndarray:
    mapped = np.column_stack([points, np.ones(len(points))]) @ WARP.T
    return mapped[:, :2] / mapped[:, 2:]


def test_a_known_homography_is_found_among_outliers() -> None:
    generator = np.random.default_rng(1)
    source = generator.random((60, 2)).astype(np.float32)
    target = warped(source).astype(np.float32)
    target[40:] = generator.random((20, 2))
    found = verify_by_ransac(source, target, 0.005)
    assert found.doubt is None and 40 <= found.inliers <= 42 and found.matches == 60
    np.testing.assert_allclose(found.homography / found.homography[2, 2], WARP, atol=1e-4)
    assert found.query_points.shape == found.candidate_points.shape == (found.inliers, 2)


def test_positions_are_shares_in_images_that_are_not_square() -> None:
    source = np.random.default_rng(2).random((30, 2)).astype(np.float32)
    found = verify_by_ransac(source, source * 0.5, 0.005, (np.array([640, 480]), np.array([200, 400])))
    np.testing.assert_allclose(found.homography / found.homography[2, 2], np.diag([0.5, 0.5, 1.0]), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_than_four_matches_are_too_few(count: int) -> None:
    points = np.random.default_rng(3).random((count, 2)).astype(np.float32)
    assert verify_by_ransac(points, points, 0.01).doubt is Doubt.TOO_FEW_MATCHES


@pytest.mark.parametrize("case", ["line", "spot", "mirror"])
def test_what_no_camera_sees_of_a_plane_is_refused(case: str) -> None:
    source = np.random.default_rng(4).random((30, 2)).astype(np.float32)
    if case == "mirror":
        target = np.column_stack([1.0 - source[:, 0], source[:, 1]]).astype(np.float32)
    else:
        source = np.column_stack([source[:, 0], source[:, 0]]).astype(np.float32) if case == "line" else source * 0 + 0.5
        target = source
    found = verify_by_ransac(source, target, 0.01)
    assert found.doubt in (Doubt.DEGENERATE, Doubt.NO_MODEL)
    assert found.inliers == 0 and found.homography is None and found.matches == 30


def test_the_place_seen_again_has_most_inliers_and_the_homography_of_its_shift() -> None:
    reranker = create_reranker("ransac")
    query, *candidates = reranker.prepare([View(again(place(3))), *(View(place(number)) for number in range(6))])
    found = reranker.verify(query, candidates)
    inliers = [one.inliers for one in found]
    assert int(np.argmax(inliers)) == 3 and inliers[3] > 2 * max(inliers[:3] + inliers[4:])
    centre = found[3].homography @ [0.5, 0.5, 1.0]
    np.testing.assert_allclose(centre[:2] / centre[2], [0.5 - 2 / 240, 0.5], atol=2e-3)


def test_many_candidates_get_what_each_gets_alone() -> None:
    reranker = create_reranker("ransac")
    query, *candidates = reranker.prepare([View(again(place(1))), *(View(place(number)) for number in range(3))])
    together = [(one.inliers, one.matches) for one in reranker.verify(query, candidates)]
    assert together == [(one.inliers, one.matches) for c in candidates for one in reranker.verify(query, [c])]


def test_an_image_without_features_has_nothing_to_compare() -> None:
    reranker = create_reranker("ransac")
    empty, full = reranker.prepare([View(np.full((120, 160), 90, dtype=np.uint8)), View(place(1))])
    assert empty is None and reranker.from_bytes(reranker.to_bytes(empty)) is None
    assert [one.doubt for one in reranker.verify(empty, [full])] == [Doubt.NOTHING_TO_COMPARE]
    assert [one.doubt for one in reranker.verify(full, [empty])] == [Doubt.NOTHING_TO_COMPARE]


def test_features_that_a_view_brings_are_taken_with_the_size_of_its_image() -> None:
    reranker, image = create_reranker("ransac"), place(2)
    features = create_extractor("sift", 1000).extract(image)
    (alone,) = reranker.prepare([View(image)])
    (brought,) = reranker.prepare([View(features=features, size=(240, 160))])
    np.testing.assert_array_equal(alone.positions, brought.positions)
    np.testing.assert_array_equal(alone.codes, brought.codes)


@pytest.mark.parametrize("wrong", ["nothing", "no size", "other features"])
def test_a_view_that_lacks_something_is_an_error(wrong: str) -> None:
    orb, sift = (create_extractor(name, 50).extract(place(1)) for name in ("orb", "sift"))
    view = {"nothing": View(), "no size": View(features=sift), "other features": View(place(1), orb)}[wrong]
    with pytest.raises(DataError, match="ransac"):
        create_reranker("ransac").prepare([view])


@pytest.mark.parametrize("name", ["sift", "orb"])
def test_what_is_kept_survives_its_bytes(name: str) -> None:
    reranker = RansacReranker(create_extractor(name, 200))
    (kept,) = reranker.prepare([View(place(5))])
    read = reranker.from_bytes(reranker.to_bytes(kept))
    assert isinstance(read, FeatureSet) and read.size == kept.size == (240, 160)
    np.testing.assert_array_equal(read.positions, kept.positions)
    np.testing.assert_array_equal(read.codes, kept.codes)
    assert reranker.verify(kept, [read])[0].inliers > 0.9 * len(kept.codes)


def test_bytes_of_other_features_are_refused() -> None:
    orb = RansacReranker(create_extractor("orb", 50))
    (kept,) = orb.prepare([View(place(5))])
    with pytest.raises(DataError, match="prepare the images anew"):
        create_reranker("ransac").from_bytes(orb.to_bytes(kept))


@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_damaged_bytes_are_refused(where: int, value: int, cut: bool) -> None:
    content = bytearray(_CONTENT)
    where %= len(content)
    damaged = bytes(content[:where]) if cut else bytes(content[:where]) + bytes([value]) + bytes(content[where + 1 :])
    if damaged in (_CONTENT, b""):
        return
    with pytest.raises(DataError):
        _RERANKER.from_bytes(damaged)


_RERANKER = RansacReranker()
_CONTENT = _RERANKER.to_bytes(
    FeatureSet(
        np.random.default_rng(6).random((4, 2)).astype(np.float32),
        np.random.default_rng(7).integers(-127, 128, (4, 128)).astype(np.int8),
        (320, 240),
    )
)
