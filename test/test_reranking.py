"""The new order of what a search found: ties, candidates that are left alone, and what is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError
from vloc_ros.retrieval.contract import View
from vloc_ros.retrieval.rerank import Doubt, Kept, Reranker, RerankSettings, Verification, create_reranker
from vloc_ros.retrieval.reranking import rerank


def verification(inliers: int, matches: int = 100) -> Verification:
    points = np.zeros((inliers, 2), dtype=np.float32)
    return Verification(inliers, matches, np.eye(3), points, points)


class Counting(Reranker):
    """Whose candidates are pairs of numbers: the most inliers there could be, and how many there are; None: no homography."""

    name: ClassVar[str] = "counting"

    def __init__(self, bounded: bool = False) -> None:
        self.bounded = bounded
        self.compared: list[Kept] = []

    @property
    def card(self) -> ModelCard:
        return ModelCard(self.name, 1)

    def prepare(self, views: Sequence[View]) -> list[Kept]:
        return [None for _ in views]

    def verify(self, query: Kept, candidates: Sequence[Kept]) -> list[Verification]:
        self.compared += candidates
        return [
            Verification.without(Doubt.DEGENERATE, bound) if inliers is None else verification(inliers, bound)
            for bound, inliers in candidates
        ]

    def bounds(self, query: Kept, candidates: Sequence[Kept]) -> list[int] | None:
        return [bound for bound, _ in candidates] if self.bounded else None

    def to_bytes(self, kept: Kept) -> bytes:
        return b""

    def from_bytes(self, content: bytes) -> Kept:
        return None


def run(inliers: Sequence[int | None], settings: RerankSettings | None = None, **how: object):
    kept = [(100, count) for count in inliers]
    return rerank(Counting(), None, range(len(kept)), kept.__getitem__, settings or RerankSettings(), **how)


def test_equal_counts_keep_the_order_of_the_search() -> None:
    assert run([5, 9, 5, 9, 5]).ids == [1, 3, 0, 2, 4]


def test_a_candidate_without_a_homography_counts_zero_and_is_never_accepted() -> None:
    found = run([None, 0, 3, None])
    assert found.ids == [2, 0, 1, 3]
    assert found.accepted == [True, False, True, False]


def test_candidates_beyond_those_compared_stay_behind_in_their_order() -> None:
    found = run([1, 2, 50, 40], RerankSettings(candidates=2))
    assert found.ids == [1, 0, 2, 3]
    assert len(found.verifications) == len(found.accepted) == 2


def test_an_empty_list_has_an_empty_answer() -> None:
    found = run([])
    assert found.ids == [] and found.verifications == [] and found.accepted == [] and found.probabilities is None


@pytest.mark.parametrize(
    "settings", [RerankSettings(min_inliers=30), RerankSettings(min_share=0.3), RerankSettings(min_probability=0.3)]
)
def test_what_is_below_a_limit_is_not_accepted(settings: RerankSettings) -> None:
    found = run([29, 30, 10], settings, probability=lambda inliers, share: share)
    assert found.ids == [1, 0, 2]
    assert found.accepted == [True, False, False]


def test_none_of_them_is_an_answer() -> None:
    assert not any(run([3, 2, 1], RerankSettings(min_inliers=4)).accepted)


def test_without_what_was_learned_the_least_probability_refuses_nothing() -> None:
    found = run([3], RerankSettings(min_probability=0.9))
    assert found.accepted == [True] and found.probabilities is None


def test_probabilities_come_in_the_new_order_and_are_zero_without_a_homography() -> None:
    found = run([10, None, 80], probability=lambda inliers, share: inliers / 100.0 + 0.1)
    assert found.ids == [2, 0, 1]
    assert found.probabilities == pytest.approx([0.9, 0.2, 0.0])


def test_once_enough_are_accepted_the_others_are_not_compared() -> None:
    reranker = Counting()
    kept = [(100, 10), (100, 50)] + [(100, 90)] * 20
    settings = RerankSettings(settle=1, min_inliers=40)
    found = rerank(reranker, None, range(len(kept)), kept.__getitem__, settings)
    assert 2 <= len(reranker.compared) < len(kept)
    compared = len(found.verifications)
    assert compared == len(reranker.compared)
    assert found.ids[compared:] == list(range(compared, len(kept)))
    assert found.ids[0] == 2


def test_where_too_few_are_accepted_all_are_compared() -> None:
    assert len(run([10] * 20, RerankSettings(settle=1, min_inliers=40)).verifications) == 20


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)).map(lambda pair: (max(pair), min(pair))), max_size=20),
    st.integers(1, 6),
)
def test_the_certain_ones_are_those_that_comparing_all_would_find(kept: list[tuple[int, int]], certain: int) -> None:
    whole = rerank(Counting(), None, range(len(kept)), kept.__getitem__, RerankSettings())
    early = rerank(Counting(bounded=True), None, range(len(kept)), kept.__getitem__, RerankSettings(certain=certain))
    assert early.ids[:certain] == whole.ids[:certain]
    assert sorted(early.ids) == sorted(whole.ids)


def test_what_cannot_be_among_the_certain_ones_is_not_compared() -> None:
    reranker = Counting(bounded=True)
    kept = [(20, 5)] * 8 + [(90, 80)] + [(30, 30)] * 8
    found = rerank(reranker, None, range(len(kept)), kept.__getitem__, RerankSettings(certain=1))
    assert found.ids[0] == 8 and len(reranker.compared) <= 4


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="ransac"):
        create_reranker("nothing_of_this_name")
