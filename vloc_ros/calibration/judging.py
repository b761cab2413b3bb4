"""Two models answer the same held-out queries: similarities, variances, confidences, and the outcome of the promotion test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.calibration.cross_fitting import CrossFitted, cross_fit
from vloc_ros.calibration.held_out import HeldOutPlaces, HeldOutSettings
from vloc_ros.calibration.probability import CandidateVerdicts, ProbabilitySettings, pair_variance
from vloc_ros.calibration.promotion import Decision, HeldOutScores, PromotionSettings, decide
from vloc_ros.evaluation.model_evidence import ModelEvidence
from vloc_ros.evaluation.place_queries import PlaceQueries
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.contract import GlobalDescriptor
from vloc_ros.retrieval.of_map import view_of

Array = NDArray[np.float64]
_AT_ONCE = 8
SIMILARITY, LEARNED = "similarity", "learned from other stretches"


@dataclass(frozen=True, slots=True)
class Answered:
    """What one model makes of the held-out places.

    Attributes:
        vectors: (D, dimension) its descriptors of the database.
        queries: similarities, with what they are judged by.
        best: (Q,) similarity of the best match.
        fitted: the probability that it is right.
    """

    vectors: NDArray[np.float32]
    queries: PlaceQueries
    best: Array
    fitted: CrossFitted

    @property
    def similarity(self) -> Array:
        """(Q,) the baseline: the similarity itself as a probability."""
        return np.clip(np.nan_to_num(self.best, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome of a promotion test and what it is based on."""

    before: ModelEvidence
    after: ModelEvidence
    decision: Decision
    fitted: CrossFitted


@dataclass(frozen=True, slots=True)
class JudgingSettings:
    """What is asked of models."""

    held_out: HeldOutSettings
    probability: ProbabilitySettings
    promotion: PromotionSettings
    seed: int


def describe_keyframes(
    store: MapStore, descriptor: GlobalDescriptor, ids: Sequence[KeyframeId], told: Callable[[int], None] = lambda count: None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """(N, D) descriptors of keyframes and (N,) their variances, None from a model that has none; made now, nothing is stored.

    Args:
        store: the map.
        descriptor: of the model.
        ids: at least one keyframe.
        told: called with how many are done.

    Raises:
        MapError: a keyframe has no image and the descriptor needs one, or the map is damaged.
    """
    vectors, variances = [], []
    for start in range(0, len(ids), _AT_ONCE):
        chosen = ids[start : start + _AT_ONCE]
        made, uncertain = descriptor.describe_with_variance([view_of(store, id, descriptor) for id in chosen])
        vectors.append(made)
        variances += [] if uncertain is None else [uncertain]
        told(start + len(chosen))
    return np.concatenate(vectors), np.concatenate(variances) if variances else None


def answer(
    places: HeldOutPlaces, vectors: NDArray[np.float32], variances: NDArray[np.float32] | None, settings: JudgingSettings
) -> Answered:
    """What a model makes of the held-out places, from its descriptors of the database (in its order)."""
    row = {id: number for number, id in enumerate(places.database)}
    asked = np.array([row[id] for id in places.queries], dtype=np.int64)
    similarity = (vectors[asked] @ vectors.T).astype(np.float64)
    queries = PlaceQueries(similarity, places.relevant, places.allowed)
    answers = queries.answers()
    usable = np.where(places.allowed & ~np.isnan(similarity), similarity, -np.inf)
    matched = usable.argmax(axis=1)
    variance = None
    if variances is not None:
        wide = variances.astype(np.float64)
        variance = pair_variance(wide[asked], wide[matched])
    verdicts = CandidateVerdicts.of(answers.best_score, answers.first_right == 0, variance)
    fitted = cross_fit(verdicts, places.blocks, settings.probability, settings.held_out.folds, settings.seed)
    return Answered(vectors, queries, answers.best_score, fitted)


def judge_models(
    places: HeldOutPlaces, before: tuple[str, Answered], after: tuple[str, Answered], settings: JudgingSettings, attempt: int = 1
) -> Judgement:
    """The promotion test of two models that have answered.

    Where the probability cannot be learned for one of them, the similarity stands for the confidence of both.
    """
    both = all(answered.fitted.confidence is not None for _, answered in (before, after))
    evidence, scores = [], []
    for name, answered in (before, after):
        ways = {SIMILARITY: answered.similarity}
        if answered.fitted.confidence is not None:
            ways[LEARNED] = answered.fitted.confidence
        evidence.append(ModelEvidence.of(name, answered.queries, ways))
        confidence = ways[LEARNED] if both else ways[SIMILARITY]
        scores.append(HeldOutScores.judged(name, places.queries, answered.queries, confidence, answered.vectors))
    decision = decide(scores[0], scores[1], settings.promotion, stretches=places.blocks, attempt=attempt, seed=settings.seed)
    return Judgement(evidence[0], evidence[1], decision, after[1].fitted)
