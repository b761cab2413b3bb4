"""What re-ranking says of a candidate, in words."""

from __future__ import annotations

from typing import Any

from vloc_ros.retrieval import Doubt, Reranked, RerankSettings, Verification

_DOUBTS = {
    Doubt.NOTHING_TO_COMPARE: "nothing to compare",
    Doubt.TOO_FEW_MATCHES: "fewer than four matches",
    Doubt.DEGENERATE: "the homography is degenerate",
    Doubt.NO_MODEL: "no homography found",
}


def why_not(verification: Verification, probability: float | None, settings: RerankSettings) -> str:
    """Why a candidate is not accepted; an empty text for one that is."""
    if verification.similarity is not None:
        return ""
    if verification.doubt is not None:
        return _DOUBTS[verification.doubt]
    if verification.homography is None:
        return _DOUBTS[Doubt.NO_MODEL]
    if verification.inliers < settings.min_inliers:
        return f"fewer than {settings.min_inliers} inliers"
    if verification.share < settings.min_share:
        return f"less than {settings.min_share:.0%} of the matches are inliers"
    if probability is not None and probability < settings.min_probability:
        return f"less probable than {settings.min_probability:g}"
    return ""


def verdict(answer: Reranked[Any], place: int, settings: RerankSettings) -> str:
    """``40 of 52 matches, probability 0.93, accepted`` of the candidate at a place in the new order, from 0."""
    if place >= len(answer.verifications):
        return "not compared"
    one = answer.verifications[place]
    probability = None if answer.probabilities is None else answer.probabilities[place]
    words = [f"{one.inliers} of {one.matches} matches agree" if one.similarity is None else f"similarity {one.similarity:.3f}"]
    words += [] if probability is None else [f"probability {probability:.2f}"]
    words.append("accepted" if answer.accepted[place] else f"not accepted: {why_not(one, probability, settings)}")
    return ", ".join(words)
