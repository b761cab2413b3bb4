"""Mining as published: each keyframe with the first neighbour that may be its loop, and those that fail registration.

Follows the published system (source_systems 2.3, 2.4; Lajoie and Beltrame, RA-L 2023), except for defect M1, which is put right
unless ``retry`` is off: the published code tries one neighbour only, and writes a tuple even when that one fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vloc_ros.calibration.exclusion import PUBLISHED_EXCLUSION, Exclusion, ExclusionSettings
from vloc_ros.calibration.layout import Layout
from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.config import param, section
from vloc_ros.loop_closure.verifier import Candidate, LoopVerifier, Rejection, VerificationSettings
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.registration import Registrar
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.of_map import MapDescriptor

Pair = tuple[KeyframeId, KeyframeId]


@dataclass(frozen=True)
class PublishedMiningSettings:
    """Candidates and negatives of a keyframe. The search is among the keyframes before it, as when it drove by."""

    between: int = param(100, "fewest frames between a keyframe and its loop; negatives are further from both", min=0)
    neighbours: int = param(0, "nearest keyframes that are looked at; 0: twice as many as the frames between", min=0)
    max_distance: float = param(1.5, "Euclidean distance of the descriptors of a loop, at most", min=0.0, max=2.0)
    retry: bool = param(True, "when a candidate fails, the next best is tried, and a keyframe without a loop gives no tuple (M1)")
    verification: VerificationSettings = section(VerificationSettings)


PUBLISHED_CANDIDATES: dict[str, Any] = {
    "between": 100,
    "neighbours": 0,
    "max_distance": 1.5,
    "retry": False,
    "verification": {"min_inliers": 6, "min_ratio": 0.0},
}
"""The published values for KITTI, in place of our defaults."""


@dataclass(frozen=True)
class FilterSettings:
    """Which negatives of the mined triplets are kept, once the pose graph has judged the loops."""

    negatives: int = param(10, "negatives of a tuple, at most", min=1, max=1000)
    drop_outliers: bool = param(
        True, "a triplet whose positive the pose graph calls an outlier is dropped; not said to be published"
    )
    exclusion: ExclusionSettings = section(ExclusionSettings)


PUBLISHED_FILTER: dict[str, Any] = {"negatives": 10, "drop_outliers": False, "exclusion": PUBLISHED_EXCLUSION}
"""The published values, in place of our defaults."""


@dataclass(frozen=True, slots=True)
class Triplet:
    """A mined line: anchor, positive, and the negatives in order of their similarity; there may be none."""

    anchor: KeyframeId
    positive: KeyframeId
    negatives: tuple[KeyframeId, ...]


@dataclass(frozen=True, slots=True)
class PublishedMined:
    """What was mined.

    Attributes:
        triplets: of each keyframe that has one, in the order of the map.
        candidates: the verified loops, to be judged by the pose graph.
        counts: keyframes, candidates that failed and were verified, negatives.
    """

    triplets: tuple[Triplet, ...]
    candidates: tuple[Candidate, ...]
    counts: Counter[str]


def mine_published(
    store: MapStore,
    describer: MapDescriptor,
    registrar: Registrar,
    settings: PublishedMiningSettings,
    keyframes: Iterable[KeyframeId] | None = None,
) -> PublishedMined:
    """Mine the triplets of a map; it is not changed.

    The first neighbour with at least ``between`` frames between and a distance of at most ``max_distance`` is the candidate.
    The others, more than ``between`` frames from both, are negatives where registration with the keyframe fails.

    Args:
        store: the map.
        describer: the descriptor that finds neighbours.
        registrar: matches and solves; of the map's camera and features.
        settings: thresholds.
        keyframes: only these are searched for; None: all.

    Raises:
        MapError: the map is damaged, or has no images and the descriptor needs them.
    """
    every = [keyframe.id for keyframe in store.keyframes()]
    search = _Search(LoopVerifier(store, registrar, settings.verification), settings)
    index = describer.index(store, every)
    triplets: list[Triplet] = []
    candidates: list[Candidate] = []
    counts: Counter[str] = Counter(keyframes=0, verified=0, failed=0, negatives=0)
    for anchor in every if keyframes is None else keyframes:
        counts["keyframes"] += 1
        wanted = settings.neighbours or max(1, 2 * settings.between)
        found = list(index.search(index.vector(anchor), wanted, lambda other, anchor=anchor: other < anchor))  # type: ignore[misc]
        candidate, positive = search.positive(anchor, found)
        if candidate is not None:
            candidates.append(candidate)
        counts["verified"] += candidate is not None
        counts["failed"] += search.failed
        if positive is not None:
            triplets.append(Triplet(anchor, positive, search.negatives(anchor, positive, found)))
            counts["negatives"] += len(triplets[-1].negatives)
    return PublishedMined(tuple(triplets), tuple(candidates), counts)


def filter_triplets(
    triplets: Sequence[Triplet],
    inliers: Iterable[Pair],
    outliers: Iterable[Pair],
    settings: FilterSettings,
    revision: int,
    layout: Layout | None = None,
) -> TupleSet:
    """Training tuples and pairs of mined triplets and the labels of their loops (``filtered_triplets.txt``).

    Negatives too near to the anchor, to the positive, or to an inlier's partner of what is near either, are left out; so is a
    tuple that has none left, and a second one of the same anchor and positive.

    Args:
        triplets: as mined.
        inliers: pairs so labelled, whichever way round.
        outliers: pairs so labelled, whichever way round.
        settings: distances.
        revision: of the pose graph that labelled them.
        layout: of the map, when metres are asked.

    Raises:
        DataError: metres are asked without a layout.
    """
    exclusion = Exclusion(settings.exclusion, inliers, layout)
    false = list(dict.fromkeys(outliers))
    known_false = {frozenset(pair) for pair in false}
    tuples: dict[Pair, TrainingTuple] = {}
    for triplet in triplets:
        pair = (triplet.anchor, triplet.positive)
        if pair in tuples or (settings.drop_outliers and frozenset(pair) in known_false):
            continue
        around = exclusion.around(*pair)
        negatives = (id for id in dict.fromkeys(triplet.negatives) if not exclusion.excludes(around, id))
        kept = tuple(id for id, _ in zip(negatives, range(settings.negatives), strict=False))
        if kept:
            tuples[pair] = TrainingTuple(*pair, kept, 1.0, revision)
    pairs = sorted({(max(pair), min(pair)) for pair in false})
    return TupleSet(
        tuple(tuples[pair] for pair in sorted(tuples)),
        tuple(OutlierPair(query, negative, 1.0, revision) for query, negative in pairs),
    )


class _Search:
    """Verifies the neighbours of one keyframe after the other, each pair once."""

    def __init__(self, verifier: LoopVerifier, settings: PublishedMiningSettings) -> None:
        self._verifier = verifier
        self._settings = settings
        self._known: dict[KeyframeId, Candidate | Rejection] = {}
        self.failed = 0

    def positive(self, anchor: KeyframeId, found: Sequence[tuple[KeyframeId, float]]) -> tuple[Candidate | None, KeyframeId | None]:
        """The verified loop, if any, and the positive of the triplet, which need not be verified where M1 is kept."""
        self._known, self.failed = {}, 0
        # Of unit vectors: |a - b|^2 = 2 - 2 a.b
        least = 1.0 - 0.5 * self._settings.max_distance**2
        between = self._settings.between
        loops = [(id, score) for id, score in found if score >= least and not _closer(anchor, id, between)]
        tries = self._settings.verification.attempts if self._settings.retry else 1
        for other, score in loops[:tries]:
            outcome = self._verify(other, anchor, score)
            if isinstance(outcome, Candidate):
                return outcome, other
            self.failed += 1
        return None, loops[0][0] if loops and not self._settings.retry else None

    def negatives(
        self, anchor: KeyframeId, positive: KeyframeId, found: Sequence[tuple[KeyframeId, float]]
    ) -> tuple[KeyframeId, ...]:
        """Neighbours that are far from both and fail registration."""
        beyond = self._settings.between + 1
        far = ((id, score) for id, score in found if not (_closer(id, anchor, beyond) or _closer(id, positive, beyond)))
        return tuple(id for id, score in far if id != positive and isinstance(self._verify(id, anchor, score), Rejection))

    def _verify(self, other: KeyframeId, anchor: KeyframeId, score: float) -> Candidate | Rejection:
        if other not in self._known:
            self._known[other] = self._verifier.verify(other, anchor, score)
        return self._known[other]


def _closer(a: KeyframeId, b: KeyframeId, frames: int) -> bool:
    """Whether two keyframes are of one session and fewer than so many frames apart."""
    return a.session == b.session and abs(a.keyframe - b.keyframe) < frames
