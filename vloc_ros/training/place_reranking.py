"""What re-ranking adds on held-out places: the questions of the validation, answered by a descriptor and by each re-ranker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.places import Picture
from vloc_ros.evaluation.rerank_run import RerankStage, prepare_query
from vloc_ros.retrieval.rerank import Kept, Reranked
from vloc_ros.training.place_validation import Describe, Entry, PlaceValidation, Question, described
from vloc_ros.training.places import PlaceSource

Progress = Callable[[Sequence[int], str], Iterable[int]]
"""Wraps a walk over some numbers, with a word on what is done."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What geometry said of a candidate that has a homography, and the truth.

    Attributes:
        inliers: matches that agree with it.
        share: of them among the matches.
        right: whether it shows the place; one that shows a place near by is not among the candidates.
    """

    inliers: int
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class RerankedQuestion:
    """One question and whether the best answers to it are right.

    Attributes:
        group: kind of source and conditions.
        site: of the place: its name without its number.
        right: of the descriptor alone, then of each re-ranker.
        reachable: for each re-ranker, whether a right image was among the candidates that it was given to compare.
        milliseconds: for each re-ranker to prepare the query and to compare it [ms].
        spot: how far through its source the place is, from 0 to below 1: neighbours on a route have neighbouring numbers.
        compared: for each re-ranker the candidates that have a homography.
    """

    group: str
    site: str
    right: tuple[bool, ...]
    reachable: tuple[bool, ...]
    milliseconds: tuple[float, ...]
    spot: float
    compared: tuple[tuple[Compared, ...], ...]


def rerank_places(
    validation: PlaceValidation,
    describe: Describe,
    stages: Sequence[RerankStage],
    limit: int | None = None,
    progress: Progress = lambda numbers, label: numbers,
) -> list[RerankedQuestion]:
    """Answer what the validation asks.

    Args:
        validation: knows the places.
        describe: the descriptor.
        stages: what re-ranks; what they keep of the images stays with them.
        limit: so many images of each source are looked for, evenly chosen; None for all.
        progress: wraps the walks over the images of a source: to describe them, and to look for some of them.

    Raises:
        ConfigError: no source has two conditions in which one place was seen.
        DataError: an image is missing or damaged; the text names it.
    """
    found: list[RerankedQuestion] = []
    for source, entries, questions in validation.asked():
        if not questions:
            continue
        images = _Images(source, entries, described(entries, describe, lambda starts: progress(starts, "describing")))
        by_query: dict[int, list[Question]] = {}
        for question in questions:
            by_query.setdefault(question.query, []).append(question)
        for query in progress(_some(sorted(by_query), limit), "comparing"):
            image = entries[query].view.read()
            prepared = prepare_query(stages, image, lambda picture: describe([picture]))
            found += [_answered(question, images, stages, prepared) for question in by_query[query]]
    return found


class _Images:
    """The images of one source."""

    def __init__(self, source: PlaceSource, entries: Sequence[Entry], vectors: NDArray[np.float32]) -> None:
        self._source, self._entries, self.vectors = source, entries, vectors
        self.pictures = [Picture(source.place(entry.place).name, entry.view.read) for entry in entries]

    def same_place(self, a: int, b: int) -> bool:
        """Whether two of them show one place."""
        return self._entries[a].place == self._entries[b].place

    def spot(self, row: int) -> float:
        """How far through the source its place is."""
        return self._entries[row].place / len(self._source)

    def site(self, row: int) -> str:
        """``sim:lookalike_loop_3004`` of the place ``sim:lookalike_loop_3004:3``."""
        return ":".join(self.pictures[row].name.split(":")[:2])


def _answered(
    question: Question, images: _Images, stages: Sequence[RerankStage], prepared: Sequence[tuple[Kept, float]]
) -> RerankedQuestion:
    query = question.query
    scores = images.vectors[question.allowed] @ images.vectors[query]
    order = [question.allowed[k] for k in np.argsort(-scores, kind="stable").tolist()]
    answers = [stage.rerank(kept, order, images.pictures) for stage, (kept, _) in zip(stages, prepared, strict=True)]
    # Only now, after the last comparison, does anybody ask what is right.
    is_described = bool(images.vectors[query].any())
    bests = [order[0], *(answer.ids[0] for answer in answers)]
    tops = [order[: stage.settings.candidates] for stage in stages]
    return RerankedQuestion(
        group=question.group,
        site=images.site(query),
        right=tuple(is_described and images.same_place(best, query) for best in bests),
        reachable=tuple(any(images.same_place(row, query) for row in top) for top in tops),
        milliseconds=tuple(1e3 * spent + answer.compared_ms for (_, spent), answer in zip(prepared, answers, strict=True)),
        spot=images.spot(query),
        compared=tuple(tuple(_compared(query, images, answer)) for answer in answers),
    )


def _compared(query: int, images: _Images, answer: Reranked[int]) -> Iterator[Compared]:
    for row, one in zip(answer.ids, answer.verifications, strict=False):  # the last ids were not compared
        if one.homography is not None:
            yield Compared(one.inliers, one.share, images.same_place(row, query))


def _some(queries: list[int], limit: int | None) -> list[int]:
    count = len(queries) if limit is None else min(limit, len(queries))
    return [queries[k * len(queries) // count] for k in range(count)]
