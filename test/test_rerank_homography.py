"""Re-ranking by an estimated homography: counts of inliers by known points, what has no homography, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from retrieval_samples import again, place

from vloc_ros.data.frame import Image
from vloc_ros.data.models import shipped_places
from vloc_ros.data.weights import WeightsCard
from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.retrieval import Doubt, RerankSettings, Storage, View, create_reranker
from vloc_ros.retrieval.pair_engine import PairEngine
from vloc_ros.retrieval.patch_codes import PatchMap
from vloc_ros.retrieval.rerank_homography import HomographyReranker, PatchRansacReranker
from vloc_ros.retrieval.reranking import rerank

SIDE, SIZE, CHANNELS = 8, 128, 32
CORNERS = np.array([[0.0, 0.0], [SIZE, 0.0], [SIZE, SIZE], [0.0, SIZE]])


class Pixels(PairEngine):
    """The pixels of a patch describe it; the test tells the homography."""

    def __init__(self, target: NDArray[np.float64] = CORNERS, source: NDArray[np.float64] = CORNERS) -> None:
        super().__init__(WeightsCard("pixels", "dhe", "cct_small", CHANNELS, "ef" * 32, "none", "nothing"))
        self.source, self.target = source, target
        self.batches: list[int] = []

    @property
    def side(self) -> int:
        return SIDE

    @property
    def size(self) -> int:
        return SIZE

    @property
    def channels(self) -> int:
        return CHANNELS

    def _look(self, images: Sequence[Image]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mixing = np.random.default_rng(0).normal(size=(16 * 16 * 3, CHANNELS))
        rows = []
        for image in images:
            small = cv2.resize(image, (SIZE, SIZE)).astype(np.float64)
            cut = small.reshape(SIDE, 16, SIDE, 16, 3).swapaxes(1, 2).reshape(SIDE * SIDE, -1)
            mixed = (cut - cut.mean()) @ mixing
            rows.append(mixed / np.linalg.norm(mixed, axis=1, keepdims=True))
        made = np.array(rows, dtype=np.float32)
        return made.mean(axis=1), made

    def _points(self, query: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        self.batches.append(len(candidates))
        return np.broadcast_to(np.concatenate([self.source, self.target]), (len(candidates), 8, 2)).astype(np.float32)


def noise(seed: int) -> Image:
    """All patches of which are unlike."""
    small = np.random.default_rng(seed).integers(0, 256, (SIDE * 4, SIDE * 4, 3)).astype(np.uint8)
    return cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)


def shifted(image: Image, patches: int) -> Image:
    return np.roll(image, 16 * patches, axis=1)


def test_an_image_and_itself_have_all_patches_as_inliers() -> None:
    reranker = HomographyReranker(Pixels())
    (kept,) = reranker.prepare([View(noise(1))])
    (found,) = reranker.verify(kept, [kept])
    assert (found.inliers, found.matches, found.share, found.doubt) == (64, 64, 1.0, None)
    np.testing.assert_allclose(found.homography, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.query_points, found.candidate_points)
    np.testing.assert_allclose(found.query_points[0], [0.5 / SIDE, 0.5 / SIDE])


@pytest.mark.parametrize(("patches", "tolerance", "inliers"), [(2, 3.0, 48), (3, 3.0, 0), (3, 3.1, 40), (1, 0.5, 0)])
def test_an_inlier_is_nearer_than_the_tolerance(patches: int, tolerance: float, inliers: int) -> None:
    reranker = HomographyReranker(Pixels(), RerankSettings(inlier_patches=tolerance))
    query, candidate = reranker.prepare([View(noise(1)), View(shifted(noise(1), patches))])
    (found,) = reranker.verify(query, [candidate])
    # what is shifted out comes in on the other side, far from where the identity maps it
    assert (found.matches, found.inliers) == (64, inliers)


def test_the_homography_that_was_seen_makes_inliers_of_what_it_moved() -> None:
    reranker = HomographyReranker(Pixels(CORNERS + np.array([48.0, 0.0])), RerankSettings(inlier_patches=0.5))
    query, candidate = reranker.prepare([View(noise(1)), View(shifted(noise(1), 3))])
    (found,) = reranker.verify(query, [candidate])
    assert found.inliers == 40
    np.testing.assert_allclose(found.candidate_points - found.query_points, [[3 / SIDE, 0.0]] * 40, atol=1e-6)


@pytest.mark.parametrize(
    "target", [np.zeros((4, 2)), CORNERS[[1, 0, 3, 2]], CORNERS[[0, 2, 1, 3]], np.full((4, 2), np.nan)], ids=str
)
def test_points_that_no_camera_sees_are_no_homography(target: NDArray[np.float64]) -> None:
    reranker = HomographyReranker(Pixels(target))
    (kept,) = reranker.prepare([View(noise(1))])
    (found,) = reranker.verify(kept, [kept])
    assert (found.doubt, found.inliers, found.matches, found.homography) == (Doubt.DEGENERATE, 0, 64, None)


def test_patches_beyond_the_horizon_are_no_inliers() -> None:
    # depth is 0.75 - x: what is right of x = 0.75 in the query is behind the camera
    source = CORNERS * np.array([0.5, 1.0])
    target = source / (0.75 - source[:, :1] / SIZE)
    reranker = HomographyReranker(Pixels(target, source), RerankSettings(inlier_patches=1000.0))
    (kept,) = reranker.prepare([View(noise(1))])
    (found,) = reranker.verify(kept, [kept])
    # so large a tolerance takes all that is in front of it
    assert found.inliers == 48 and found.query_points[:, 0].max() < 0.75


def test_fewer_than_four_matches_are_too_few_and_cost_no_network() -> None:
    engine = Pixels()
    reranker = HomographyReranker(engine)
    (kept,) = reranker.prepare([View(noise(1))])
    alike = PatchMap(Storage.INT8, np.repeat(kept.codes[:1], SIDE * SIDE, axis=0))
    (found,) = reranker.verify(kept, [alike])
    assert found.doubt is Doubt.TOO_FEW_MATCHES and found.matches == 1 and engine.batches == []
    assert reranker.bounds(kept, [alike, kept, None]) == [0, 64, 0]


@pytest.mark.parametrize("kind", [HomographyReranker, PatchRansacReranker])
def test_what_has_nothing_to_compare_says_so(kind: type[HomographyReranker]) -> None:
    reranker = kind(Pixels())
    empty, full = reranker.prepare([View(np.full((90, 120, 3), 7, dtype=np.uint8)), View(noise(2))])
    assert empty is None and reranker.from_bytes(reranker.to_bytes(empty)) is None
    assert [one.doubt for one in reranker.verify(full, [empty, full])] == [Doubt.NOTHING_TO_COMPARE, None]
    assert [one.doubt for one in reranker.verify(empty, [full])] == [Doubt.NOTHING_TO_COMPARE]
    assert reranker.verify(full, []) == [] and reranker.bounds(empty, [full]) == [0]


@pytest.mark.parametrize("kind", [HomographyReranker, PatchRansacReranker])
def test_many_candidates_get_what_each_gets_alone(kind: type[HomographyReranker]) -> None:
    reranker = kind(Pixels(CORNERS + np.array([16.0, 0.0])))
    query, *candidates = reranker.prepare([View(noise(0)), *(View(shifted(noise(n % 3), n)) for n in range(19))])
    candidates[4] = None
    together = reranker.verify(query, candidates)
    assert sum(one.inliers > 20 for one in together) >= 3
    for candidate, one in zip(candidates, together, strict=True):
        (alone,) = reranker.verify(query, [candidate])
        assert (alone.inliers, alone.matches, alone.doubt) == (one.inliers, one.matches, one.doubt)
        np.testing.assert_array_equal(alone.query_points, one.query_points)


@pytest.mark.parametrize("kind", [HomographyReranker, PatchRansacReranker])
def test_a_bound_is_never_below_the_inliers(kind: type[HomographyReranker]) -> None:
    reranker = kind(Pixels())
    query, *candidates = reranker.prepare([View(again(place(1))), *(View(place(n)) for n in range(6))])
    found = reranker.verify(query, candidates)
    assert all(one.inliers <= bound for one, bound in zip(found, reranker.bounds(query, candidates), strict=True))


def test_ransac_on_patches_finds_a_shift() -> None:
    reranker = PatchRansacReranker(Pixels(), RerankSettings(inlier_patches=0.5))
    query, candidate = reranker.prepare([View(noise(1)), View(shifted(noise(1), 2))])
    (found,) = reranker.verify(query, [candidate])
    assert found.inliers == 48
    np.testing.assert_allclose(found.homography / found.homography[2, 2], [[1, 0, 0.25], [0, 1, 0], [0, 0, 1]], atol=1e-3)


def test_the_place_seen_again_comes_first() -> None:
    reranker = HomographyReranker(Pixels())
    query, *kept = reranker.prepare([View(again(place(4))), *(View(place(n)) for n in range(8))])
    found = rerank(reranker, query, range(8), kept.__getitem__, RerankSettings(certain=1))
    assert found.ids[0] == 4


@pytest.mark.parametrize("storage", [Storage.FLOAT16, Storage.INT8])
def test_what_is_kept_survives_its_bytes(storage: Storage) -> None:
    reranker = HomographyReranker(Pixels(), RerankSettings(storage=storage))
    (kept,) = reranker.prepare([View(noise(3))])
    read = reranker.from_bytes(reranker.to_bytes(kept))
    assert reranker.verify(kept, [read])[0].inliers == 64
    assert reranker.card.sha256 == "ef" * 32 and reranker.card.dimension == CHANNELS


def test_a_view_without_an_image_is_an_error() -> None:
    with pytest.raises(DataError, match="homography"):
        HomographyReranker(Pixels()).prepare([View(noise(1)), View()])


@pytest.mark.skipif("cct" in shipped_places(), reason="the weights are shipped")
@pytest.mark.parametrize("name", ["homography", "patches"])
def test_without_shipped_weights_the_error_says_what_to_do(name: str) -> None:
    with pytest.raises(ConfigError, match="file of weights"):
        create_reranker(name)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        create_reranker(str(tmp_path / "none.safetensors"))
