"""What weights of both stages learn from places whose truth is known: the probability of a match, and a code book of patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.calibration.match_fit import JudgedMatches, fit_match_model, held_out_summary
from vloc_ros.calibration.probability import FitRefusal
from vloc_ros.data.frame import Image
from vloc_ros.evaluation.confidence_metrics import ConfidenceSummary
from vloc_ros.evaluation.rerank_run import RerankStage
from vloc_ros.retrieval import RerankSettings, View, create_descriptor
from vloc_ros.retrieval.match_model import MatchModel
from vloc_ros.retrieval.pair_engine import pair_engine
from vloc_ros.retrieval.patch_codebook import PatchCodebook
from vloc_ros.retrieval.rerank_homography import HomographyReranker
from vloc_ros.training.place_reranking import Progress, RerankedQuestion, rerank_places
from vloc_ros.training.place_validation import PlaceValidation, PlaceValidationSettings
from vloc_ros.training.places import PlaceSource

_IMAGES = 300
"""Enough for a code book: 50 000 patches and more."""


@dataclass(frozen=True, slots=True)
class LearnedMatches:
    """What came of learning the probability of a match.

    Attributes:
        judged: what taught it.
        searches: how many searches proposed these candidates.
        model: of all of them; a refusal says why there is none.
        held_out: how well such a probability holds on places that it was not learned from.
    """

    judged: JudgedMatches
    searches: int
    model: MatchModel | FitRefusal
    held_out: ConfidenceSummary | FitRefusal

    @property
    def refusal(self) -> FitRefusal | None:
        """Why nothing can be used, None where it can: a probability that nobody has judged is none."""
        return next((one for one in (self.model, self.held_out) if isinstance(one, FitRefusal)), None)


def learn_matches(
    weights: Path,
    sources: Sequence[PlaceSource],
    learned_from: str,
    places: PlaceValidationSettings | None = None,
    candidates: int = RerankSettings().candidates,
    limit: int | None = None,
    progress: Progress = lambda numbers, label: numbers,
) -> LearnedMatches:
    """Search and re-rank by a file of weights, and learn from what geometry says of right and wrong candidates.

    What lies beside the weights is not looked at: it may be of others, and this makes it anew.

    Args:
        weights: of both stages.
        sources: of places that the weights did not learn from.
        learned_from: the sources, in words.
        places: which of their places.
        candidates: of each search that are compared.
        limit: so many images of each source are looked for, evenly chosen; None for all.
        progress: wraps the walks over images.

    Raises:
        ConfigError: no source has two conditions in which one place was seen, or what computes the network is not installed.
        DataError: an image is missing or damaged; the text names it.
        WeightsError: the file or its card is missing or damaged, or of another network.
    """
    engine, settings = pair_engine(weights), RerankSettings(reranker=str(weights), candidates=candidates)
    descriptor = create_descriptor(str(weights))

    def describe(images: Sequence[Image]) -> NDArray[np.float32]:
        return descriptor.describe_many([View(image) for image in images])

    stage = RerankStage(HomographyReranker(engine, settings), settings)
    answers = rerank_places(PlaceValidation(sources, places), describe, [stage], limit, progress)
    judged = judged_matches(answers)
    words = f"{len(judged.right)} candidates of {len(answers)} searches on {learned_from}"
    model = fit_match_model(judged, HomographyReranker.name, engine.card.sha256, words)
    return LearnedMatches(judged, len(answers), model, held_out_summary(judged))


def judged_matches(answers: Sequence[RerankedQuestion], stage: int = 0) -> JudgedMatches:
    """The candidates of a stage.

    A group is a place, in the order of the route, and sources go along together: each half of the groups has a half of each source,
    so that one kind of source is not judged by what another one taught.
    """
    rows = [(one, answer.spot) for answer in answers for one in answer.compared[stage]]
    _, group = np.unique(np.array([spot for _, spot in rows]), return_inverse=True)
    return JudgedMatches(
        np.array([one.inliers for one, _ in rows], dtype=np.float64),
        np.array([one.share for one, _ in rows], dtype=np.float64),
        np.array([one.right for one, _ in rows], dtype=bool),
        group.astype(np.int64),
    )


def learn_codebook(
    weights: Path, sources: Sequence[PlaceSource], progress: Progress = lambda numbers, label: numbers
) -> PatchCodebook:
    """A code book from images spread over all sources.

    Raises:
        ConfigError: what computes the network is not installed.
        DataError: an image is missing or damaged, or there are too few patches.
        WeightsError: the file or its card is missing or damaged, or of another network.
    """
    engine = pair_engine(weights)
    views = [view for source in sources for index in range(len(source)) for view in source.place(index).views]
    chosen: list[int] = np.unique(np.linspace(0, len(views) - 1, min(_IMAGES, len(views))).astype(int)).tolist()
    rows = [engine.look([views[row].read()])[1][0] for row in progress(chosen, "code book")]
    return PatchCodebook.learn(np.concatenate(rows), engine.card.sha256)
