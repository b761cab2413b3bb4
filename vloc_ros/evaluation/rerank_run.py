"""Re-ranking what descriptors found, side by side with what they found. The truth is used only after the last comparison."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.evaluation.activation_pictures import ActivationPainter, activation_painter
from vloc_ros.evaluation.conditions import Conditions, without_truth
from vloc_ros.evaluation.confidence_metrics import ConfidenceSummary, summarise_confidence
from vloc_ros.evaluation.rerank_metrics import Acceptance, Change, acceptance, change
from vloc_ros.evaluation.retrieval_metrics import Answers, RetrievalSummary, judge, pool, summarise
from vloc_ros.evaluation.retrieval_run import (
    DEEPEST,
    Progress,
    RetrievalResult,
    Searched,
    SequenceMethod,
    judged,
    percentile_ms,
    readable,
    search_datasets,
)
from vloc_ros.features import FeatureExtractor
from vloc_ros.retrieval import Reranked, Reranker, RerankSettings, View, create_reranker, rerank_homography
from vloc_ros.retrieval.coarse_to_fine import FineReranker
from vloc_ros.retrieval.rerank import Kept
from vloc_ros.retrieval.reranking import rerank

_log = logging.getLogger(__name__)


class RerankStage:
    """A re-ranker with its settings, and what it keeps of the pictures of databases: the bytes that a map would store.

    Each picture is prepared once, however many queries and descriptors ask for it. What is kept stays in memory, see
    :attr:`total_bytes`.
    """

    def __init__(
        self,
        reranker: Reranker,
        settings: RerankSettings,
        probability: Callable[..., Any] | None = None,
        after: RerankStage | None = None,
    ) -> None:
        """The settings say how many candidates are compared and which are accepted; ``settings.reranker`` names the stage.

        With ``after``, it orders what that stage made of the search.
        """
        self.reranker, self.settings, self.probability, self.after = reranker, settings, probability, after
        self._kept: dict[Picture, bytes | None] = {}

    @property
    def name(self) -> str:
        """What the user called the re-ranker, or those that work one after the other."""
        return self.settings.reranker if self.after is None else f"{self.after.name} > {self.settings.reranker}"

    @property
    def depth(self) -> int:
        """How many a search must find, so that neither it nor a stage before it has fewer than it may compare."""
        return max(self.settings.candidates, 0 if self.after is None else self.after.depth)

    @property
    def pictures(self) -> int:
        """Pictures of which something is kept."""
        return sum(content is not None for content in self._kept.values())

    @property
    def total_bytes(self) -> int:
        """Memory of what is kept, by the stages before it too."""
        own = sum(len(content) for content in self._kept.values() if content is not None)
        return own if self.after is None else own + self.after.total_bytes

    @property
    def bytes_per_picture(self) -> float | None:
        """Mean of what is kept of a picture, by the stages before it too; None where nothing is."""
        before = 0.0 if self.after is None else self.after.bytes_per_picture or 0.0
        own = sum(len(content) for content in self._kept.values() if content is not None)
        return before + own / self.pictures if self.pictures else None

    def prepare(self, picture: Picture) -> None:
        """Keep what is needed of a picture of the database; nothing of one that cannot be read, which is logged."""
        if picture in self._kept:
            return
        self._kept[picture] = None
        for _, image in readable([picture]):
            [kept] = self.reranker.prepare([View(image, condition=picture.condition)])
            self._kept[picture] = None if kept is None else self.reranker.to_bytes(kept)

    def kept(self, picture: Picture) -> Kept | None:
        """What was kept of a picture that was prepared, None where that is nothing."""
        content = self._kept[picture]
        return None if content is None else self.reranker.from_bytes(content)

    def of_query(self, view: View) -> list[Kept]:
        """What is kept of a query by the stage and, before it, by those whose work it takes."""
        return [*([] if self.after is None else self.after.of_query(view)), *self.reranker.prepare([view])]

    def rerank(
        self, query: Sequence[Kept], rows: Sequence[int], database: Sequence[Picture], scores: Mapping[int, float] | None = None
    ) -> Reranked[int]:
        """The new order of the rows of a database that a search found, by what :meth:`of_query` kept of the query.

        Args:
            query: what was kept.
            rows: best first.
            database: they are of.
            scores: similarities of the search.
        """
        if self.after is None:
            return self._alone(query[-1], rows, database, scores)
        before = self.after.rerank(query[:-1], rows, database, scores)
        after = self._alone(query[-1], before.ids, database, scores)
        return replace(after, compared_ms=before.compared_ms + after.compared_ms)

    def _alone(
        self, query: Kept | None, rows: Sequence[int], database: Sequence[Picture], scores: Mapping[int, float] | None
    ) -> Reranked[int]:
        for row in rows[: self.settings.candidates]:
            self.prepare(database[row])
        return rerank(self.reranker, query, rows, lambda row: self.kept(database[row]), self.settings, self.probability, scores)


@dataclass(slots=True)
class RerankedAnswers:
    """What one stage made of the answers of a search, by data set and query; None for a query without an answer.

    Attributes:
        answers: by data set.
        prepare_s: for each query the time to prepare it, after the descriptor has seen it: what both need is computed once.
    """

    answers: list[list[Reranked[int] | None]] = field(default_factory=list)
    prepare_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RerankResult:
    """How one re-ranker did on what one descriptor found.

    Attributes:
        before: without it.
        reranker: its name.
        settings: its settings.
        summary: the numbers with it; the score of a best answer is its probability, or where none was learned
            its similarity or its inliers.
        answers: what they are of, over all data sets.
        reranked: the answers by data set and query, None for a query without one.
        change: against ``before``, query by query.
        acceptance: what the thresholds of the settings do; None without any.
        confidence: how well the probability tells; None without one.
        prepare_ms, prepare_p95_ms: median and 95th percentile of the time to prepare a query [ms].
        compare_ms, compare_p95_ms: of the time to compare it with its candidates [ms].
        kept_bytes_per_image: mean of what is kept of a picture of the database.
        kept_bytes: memory of all that was kept for this evaluation, by all descriptors together.
        painter: draws what makes a fine stage choose an answer; None of geometry, and where it cannot be drawn.
    """

    before: RetrievalResult
    reranker: str
    settings: RerankSettings
    summary: RetrievalSummary
    answers: Answers
    reranked: list[list[Reranked[int] | None]]
    change: Change
    acceptance: Acceptance | None
    confidence: ConfidenceSummary | None
    prepare_ms: float | None
    prepare_p95_ms: float | None
    compare_ms: float | None
    compare_p95_ms: float | None
    kept_bytes_per_image: float | None
    kept_bytes: int
    painter: ActivationPainter | None = None

    @property
    def ranked(self) -> list[list[NDArray[np.int64]]]:
        """By data set and query, the rows of the database in their new order; none for a failed query."""
        return [_rows(answers) for answers in self.reranked]

    @property
    def name(self) -> str:
        """Of the descriptor, the method and the re-ranker."""
        return f"{self.before.name} > {self.reranker}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; keys that are there without re-ranking mean the same with it."""
        times = ("prepare_ms", "prepare_p95_ms", "compare_ms", "compare_p95_ms", "kept_bytes_per_image", "kept_bytes")
        values = self.before.to_dict() | self.summary.to_dict()
        values |= {"reranker": self.reranker, "candidates": self.settings.candidates}
        values |= {name: getattr(self, name) for name in times}
        values |= {"won": self.change.won, "lost": self.change.lost, "p_value": self.change.p_value}
        values["acceptance"] = None if self.acceptance is None else self.acceptance.to_dict()
        values["probability"] = None if self.confidence is None else self.confidence.to_dict()
        return values


def stage_of(settings: RerankSettings, after: RerankStage | None = None) -> RerankStage:
    """The stage that settings name, after another one; ``patches:FILE`` compares the patches of a file of weights.

    Raises:
        ConfigError: the name is unknown, or what it needs is not installed or not shipped.
        DataError: what lies beside the weights is damaged or of other weights.
        WeightsError: the file of weights, or its card, is missing, damaged or of another network.
    """
    kind, separator, file = settings.reranker.partition(":")
    if separator and kind == rerank_homography.PatchRansacReranker.name:
        return RerankStage(rerank_homography.load_patches(Path(file), settings), settings, after=after)
    return RerankStage(create_reranker(settings.reranker, settings), settings, after=after)


def prepare_query(
    stages: Sequence[RerankStage], image: Image, describe: Callable[[Image], Any], condition: str = ""
) -> list[tuple[list[Kept], float]]:
    """What each re-ranker keeps of a query, and the time that it takes [s] where it is the only one.

    A descriptor and a re-ranker of one network share the work on an image, as they do on a robot; two re-rankers do not.
    """
    found = []
    for number, stage in enumerate(stages):
        # Networks remember images: what an earlier re-ranker computed must not make a later one faster, so that its time is that
        # of an image moved by some pixels.
        moved = np.ascontiguousarray(np.roll(image, number, axis=1))
        describe(moved)
        begin = time.perf_counter()
        kept = stage.of_query(View(moved, condition=condition))
        taken = time.perf_counter() - begin
        found.append((kept if number == 0 else stage.of_query(View(image, condition=condition)), taken))
    return found


def evaluate_reranking(
    datasets: Sequence[PlaceDataset],
    name: str,
    extractor: FeatureExtractor,
    stages: Sequence[RerankStage],
    assets: bytes | None = None,
    methods: Sequence[SequenceMethod] = (SequenceMethod.NONE,),
    speed: float = 1.0,
    progress: Progress = lambda pictures, label: pictures,
    of_map: Path | None = None,
    conditions: Conditions = Conditions.INFERRED,
) -> list[tuple[RetrievalResult, list[RerankResult]]]:
    """As :func:`vloc_ros.evaluation.retrieval_run.evaluate_retrieval`, each result with those of all re-rankers.

    A query that could not be read has no answer. One in which a re-ranker finds nothing to describe keeps the order of the search,
    with no inliers.

    Raises:
        ConfigError: the descriptor is unknown or cannot be made.
        MapError: the map cannot be read, or has no such model.
        DataError: there is no data set, or no vocabulary can be learned.
    """
    depth = max([DEEPEST, *(stage.depth for stage in stages)])
    asked = without_truth(datasets, conditions)
    searched = search_datasets(asked, name, extractor, assets, methods, speed, progress, of_map, depth)
    made = [[RerankedAnswers() for _ in stages] for _ in searched]
    for number, data in enumerate(asked if stages else ()):
        _rerank_dataset(number, data, searched, stages, made, progress)
    results = []
    for one, reranked in zip(searched, made, strict=True):
        before = judged(one, datasets)
        results.append((before, [_judged(before, s, r, datasets, conditions) for s, r in zip(stages, reranked, strict=True)]))
    return results


def _rerank_dataset(
    number: int,
    data: PlaceDataset,
    searched: Sequence[Searched],
    stages: Sequence[RerankStage],
    made: Sequence[Sequence[RerankedAnswers]],
    progress: Progress,
) -> None:
    """Add the answers of all stages to the queries of one data set; one query is in memory at a time."""
    for fresh in (one for row in made for one in row):
        fresh.answers.append([None] * len(data.queries))
    place = {id(picture): query for query, picture in enumerate(data.queries)}
    describe = searched[0].describer.describe
    for picture, image in readable(progress(data.queries, "re-ranking")):
        query = place[id(picture)]
        prepared = prepare_query(stages, image, partial(describe, condition=picture.condition), picture.condition)
        for k, (stage, (kept, taken)) in enumerate(zip(stages, prepared, strict=True)):
            for one, reranked in zip(searched, made, strict=True):
                rows = one.found[number].rows[query].tolist()
                scores = dict(zip(rows, one.found[number].scores[query].tolist(), strict=True))
                reranked[k].prepare_s.append(taken)
                if rows:
                    reranked[k].answers[-1][query] = stage.rerank(kept, rows, data.database, scores)


def _judged(
    before: RetrievalResult,
    stage: RerankStage,
    reranked: RerankedAnswers,
    datasets: Sequence[PlaceDataset],
    conditions: Conditions,
) -> RerankResult:
    parts: list[Answers] = []
    judged_ones: list[Reranked[int] | None] = []
    truth: list[NDArray[np.int64]] = []
    for answers, data in zip(reranked.answers, datasets, strict=True):
        parts.append(judge(_rows(answers), [_scores(answer) for answer in answers], data.positives, data.hidden))
        known = np.flatnonzero(~data.hidden).tolist()
        judged_ones += [answers[query] for query in known]
        truth += [data.positives[query] for query in known]
    after = pool(parts)
    given = [answer for answers in reranked.answers for answer in answers if answer is not None]
    preparing, comparing = np.array(reranked.prepare_s), np.array([answer.compared_ms for answer in given]) / 1e3
    return RerankResult(
        before=before,
        reranker=stage.name,
        settings=stage.settings,
        summary=summarise(after),
        answers=after,
        reranked=reranked.answers,
        change=change(before.answers, after),
        acceptance=acceptance(judged_ones, truth) if stage.settings.asks else None,
        confidence=_confidence(judged_ones, after.of(after.judged)),
        prepare_ms=percentile_ms(preparing, 50),
        prepare_p95_ms=percentile_ms(preparing, 95),
        compare_ms=percentile_ms(comparing, 50),
        compare_p95_ms=percentile_ms(comparing, 95),
        kept_bytes_per_image=stage.bytes_per_picture,
        kept_bytes=stage.total_bytes,
        painter=_painter(stage.reranker, conditions),
    )


def _painter(reranker: Reranker, conditions: Conditions) -> ActivationPainter | None:
    if not isinstance(reranker, FineReranker):
        return None
    return activation_painter(reranker.descriptor, told=conditions is Conditions.GIVEN)


def best_score(answer: Reranked[Any]) -> float:
    """How sure the best answer is: its probability, or where none was learned its similarity or its inliers."""
    if answer.probabilities:
        return float(answer.probabilities[0])
    if not answer.verifications:
        return 0.0
    best = answer.verifications[0]
    return float(best.inliers) if best.similarity is None else best.similarity


def _rows(answers: Sequence[Reranked[int] | None]) -> list[NDArray[np.int64]]:
    return [np.array([] if answer is None else answer.ids, dtype=np.int64) for answer in answers]


def _scores(answer: Reranked[int] | None) -> NDArray[np.float64]:
    return np.zeros(0) if answer is None else np.array([best_score(answer)])


def _confidence(chosen: Sequence[Reranked[int] | None], after: Answers) -> ConfidenceSummary | None:
    """Of the probability that the best answer is right."""
    rows = [(k, float(answer.probabilities[0])) for k, answer in enumerate(chosen) if answer and answer.probabilities]
    if not rows:
        return None
    places = [k for k, _ in rows]
    return summarise_confidence(np.array([share for _, share in rows]), after.first_right[places] == 0)
