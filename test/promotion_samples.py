"""Two passes along one route, described by models of known quality: what the promotion test and its report are tried on."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from vloc_ros.calibration.promotion import HeldOutScores
from vloc_ros.evaluation.model_evidence import ModelEvidence
from vloc_ros.evaluation.place_queries import PlaceQueries
from vloc_ros.mapping.keyframe import KeyframeId

PLACES, DIMENSION, STRETCH = 120, 32, 10
IDS = [KeyframeId(2, k) for k in range(PLACES)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def passes(noise: float, seed: int, common: float = 0.0, places: int = PLACES, world: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors (places, D) of a first and of a second pass; noise that stretches of the route share makes a model bad.

    The places are those of the world (one for all models that are compared), and neighbours share half of what they look like;
    the noise is the model's own.
    """
    where, rng = np.random.default_rng(world), np.random.default_rng((seed, 1))
    looks = where.normal(size=(places + 1, DIMENSION))
    place = (looks[1:] + looks[:-1]) / np.sqrt(2.0) + common
    shared = np.repeat(rng.normal(size=(-(-places // STRETCH), DIMENSION)), STRETCH, axis=0)[:places]
    first, second = (place + noise * (rng.normal(size=place.shape) + 0.5 * shared) for _ in range(2))
    return unit(first), unit(second)


def queries_of(first: np.ndarray, second: np.ndarray) -> PlaceQueries:
    """The second pass against the first; one place is the same keyframe or the next."""
    rows = np.arange(len(first))
    apart = np.abs(rows[:, None] - rows[None, :])
    return PlaceQueries(second @ first.T, apart <= 1, np.ones_like(apart, dtype=bool))


def held_out(
    name: str, noise: float, seed: int, *, common: float = 0.0, confidence: np.ndarray | None = None, world: int = 0
) -> HeldOutScores:
    """What a model of that noise scores; by default its confidence is the share of its matches that are right."""
    first, second = passes(noise, seed, common, world=world)
    queries = queries_of(first, second)
    share = float(np.mean(queries.answers().first_right == 0))
    told = np.full(PLACES, share) if confidence is None else confidence
    return HeldOutScores.judged(name, IDS, queries, told, np.concatenate([first, second]))


def evidence(name: str, noise: float, seed: int, common: float = 0.0) -> ModelEvidence:
    """The same for the report, with the similarity and a smooth function of it as confidences."""
    queries = queries_of(*passes(noise, seed, common))
    best = queries.answers().best_score
    return ModelEvidence.of(name, queries, {"similarity": np.clip(best, 0.0, 1.0), "calibrated": expit(12.0 * (best - 0.45))})
