"""The second stage of place recognition: what a search found, in the order in which a closer look believes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vloc_ros.retrieval.rerank import Id, Kept, MatchProbabilities, Reranked, Reranker, RerankSettings, Verification

_BATCH = 4
"""Candidates between two looks at whether it is enough: fewer would waste what a batch saves."""


def rerank(
    reranker: Reranker,
    query: Kept,
    ids: Sequence[Id],
    kept_of: Callable[[Id], Kept],
    settings: RerankSettings,
    probability: MatchProbabilities | None = None,
    scores: Mapping[Id, float] | None = None,
) -> Reranked[Id]:
    """Compare a query with the best that a search found.

    Deterministic: the order is by falling similarity where a re-ranker gives one, that of the search having its share in it,
    else by falling inliers (0 without a homography), and equal ones keep the order of the search.
    With ``settle``, candidates are compared in the order of the search until so many are accepted, unless whatever has a homography
    is accepted: nothing is settled by that. With ``max_ms`` the comparison ends after so long. With ``certain``, those
    that can have most inliers are compared first, until so many at the top can no longer change.

    Args:
        reranker: compares.
        query: what it keeps of the query.
        ids: what the search found, best first.
        kept_of: what the re-ranker keeps of one of them; asked only for those that are compared.
        settings: how many, and what is accepted. A candidate with neither a similarity nor a homography never is; inliers, share
            and probability are asked of homographies alone.
        probability: how probable candidates are; by default what was learned about the re-ranker, if anything was.
        scores: similarities of the search; without them they have no share in the order.
    """
    began = time.perf_counter()
    probability = probability or reranker.probability
    considered = list(ids[: settings.candidates])
    found: dict[int, Verification] = {}
    chances: dict[int, float] = {}
    accepted: dict[int, bool] = {}
    kept = {} if settings.certain == 0 else {index: kept_of(id) for index, id in enumerate(considered)}
    bounds = reranker.bounds(query, list(kept.values())) if kept else None
    order = _order(len(considered), bounds)
    early = settings.settle > 0 or settings.max_ms > 0.0 or bounds is not None
    while order and not (_too_long(began, settings) or _enough(found, accepted, bounds, order, settings)):
        batch, order = (order[:_BATCH], order[_BATCH:]) if early else (order, [])
        compared = reranker.verify(query, [kept[i] if i in kept else kept_of(considered[i]) for i in batch])
        for index, verification in zip(batch, compared, strict=True):
            found[index] = verification
        if probability is not None:
            chances |= zip(batch, _chances(compared, probability), strict=True)
        for index in batch:
            accepted[index] = _is_accepted(found[index], chances.get(index), settings)
    share = 0.0 if scores is None else reranker.search_share
    searched = scores or {}
    ranked = sorted(found, key=lambda index: (*_rank(found[index], searched.get(considered[index], 0.0), share), index))
    rest = [index for index in range(len(considered)) if index not in found]
    return Reranked(
        ids=[*(considered[index] for index in ranked), *(considered[index] for index in rest), *ids[settings.candidates :]],
        verifications=[found[index] for index in ranked],
        accepted=[accepted[index] for index in ranked],
        probabilities=None if probability is None else [chances[index] for index in ranked],
        compared_ms=1e3 * (time.perf_counter() - began),
    )


def _rank(one: Verification, searched: float, share: float) -> tuple[bool, float]:
    """Less for what comes first; what should have a similarity and has none comes last. The search's similarity has a share."""
    if one.similarity is None:
        return True, -float(one.inliers)
    return False, -((1.0 - share) * one.similarity + share * searched)


def _order(count: int, bounds: list[int] | None) -> list[int]:
    """In which order candidates are compared: that of the search, or those first that can have most inliers."""
    return list(range(count)) if bounds is None else sorted(range(count), key=lambda index: (-bounds[index], index))


def _too_long(began: float, settings: RerankSettings) -> bool:
    return 0.0 < settings.max_ms <= 1e3 * (time.perf_counter() - began)


def _enough(
    found: dict[int, Verification],
    accepted: dict[int, bool],
    bounds: list[int] | None,
    order: list[int],
    settings: RerankSettings,
) -> bool:
    """Whether those that are left need no comparison."""
    by_geometry = sum(accepted[index] for index in accepted if found[index].similarity is None)
    if settings.asks and 0 < settings.settle <= by_geometry:
        return True
    if bounds is None or len(found) < settings.certain:
        return False
    last = sorted((-found[index].inliers, index) for index in found)[settings.certain - 1]
    # A candidate with as many inliers as the last certain one comes before it where the search had it before.
    return all((-bounds[index], index) > last for index in order)


def _chances(compared: Sequence[Verification], probability: MatchProbabilities) -> list[float]:
    inliers = np.array([one.inliers for one in compared], dtype=np.float64)
    share = np.array([one.share for one in compared], dtype=np.float64)
    learned = probability(inliers, share)
    return [float(p) if one.homography is not None else 0.0 for p, one in zip(learned, compared, strict=True)]


def _is_accepted(one: Verification, chance: float | None, settings: RerankSettings) -> bool:
    if one.similarity is not None:
        return True
    enough = one.homography is not None and one.inliers >= settings.min_inliers and one.share >= settings.min_share
    return enough and (chance is None or chance >= settings.min_probability)
