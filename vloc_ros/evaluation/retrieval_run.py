"""Running a descriptor over data sets of places. The truth is used only after the last search."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.evaluation.activation_pictures import ActivationPainter, activation_painter
from vloc_ros.evaluation.conditions import Conditions, Inferred, InfersConditions, confusion, without_truth
from vloc_ros.evaluation.retrieval_metrics import RANKS, Answers, RetrievalSummary, judge, pool, summarise
from vloc_ros.features import FeatureExtractor
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval import (
    VOCABULARY_IMAGES,
    BayesFilter,
    BayesSettings,
    Describer,
    DescriptorIndex,
    TrajectorySearch,
    TrajectorySettings,
    describer_for,
)
from vloc_ros.retrieval.of_map import MapDescriptor, is_of_site

_log = logging.getLogger(__name__)
DEEPEST = max(RANKS)
Progress = Callable[[Sequence[Picture], str], Iterable[Picture]]


@unique
class SequenceMethod(Enum):
    """What is made of the scores of consecutive queries."""

    NONE = "none"
    TRAJECTORY = "trajectory"
    BAYES = "bayes"


@dataclass(frozen=True, slots=True)
class Described:
    """Descriptors of some pictures.

    Attributes:
        vectors: (N, D) float32, all zeros for a picture that could not be read or described.
        seconds: (N,) time to describe each, features included, reading excluded; NaN for one that could not be read.
        inferred: the condition that the descriptor took each for, empty where it was told, or could not be read; empty texts from
            a descriptor that infers none.
    """

    vectors: NDArray[np.float32]
    seconds: NDArray[np.float64]
    inferred: list[str]


@dataclass(frozen=True, slots=True)
class Found:
    """Answers to the queries of a data set: rows of the database and their scores, best first; none for a failed query."""

    rows: list[NDArray[np.int64]]
    scores: list[NDArray[np.float32]]
    seconds: list[float]


@dataclass(frozen=True, slots=True)
class Searched:
    """What one descriptor with one use of sequences answered, by data set; nobody has judged it yet.

    ``inferred`` has the condition that it took each query of all data sets for.
    """

    describer: Describer
    descriptor: str
    method: SequenceMethod
    found: list[Found]
    described: Described
    inferred: list[str]


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """How one descriptor with one use of sequences did.

    Attributes:
        descriptor: its name.
        method: what was made of sequences.
        summary: the numbers.
        answers: what they are of, over all data sets.
        found: the answers by data set.
        describe_ms: median time to describe an image [ms].
        search_ms: median time to search for one [ms].
        bytes_per_image: of the descriptor.
        describe_p95_ms: 95 of 100 images are described in this time or less [ms].
        search_p95_ms: and searched for in this [ms].
        inferred: what it took the conditions of the queries for; None where it infers none, or nobody knows them.
        painter: draws what made it find an answer; None where that cannot be drawn.
    """

    descriptor: str
    method: SequenceMethod
    summary: RetrievalSummary
    answers: Answers
    found: list[Found]
    describe_ms: float | None
    search_ms: float | None
    bytes_per_image: int
    describe_p95_ms: float | None = None
    search_p95_ms: float | None = None
    inferred: Inferred | None = None
    painter: ActivationPainter | None = None

    @property
    def ranked(self) -> list[list[NDArray[np.int64]]]:
        """By data set and query, the rows of the database that were answered, best first; none for a failed query."""
        return [found.rows for found in self.found]

    @property
    def name(self) -> str:
        """Of the descriptor and, if any, of the method."""
        return self.descriptor if self.method is SequenceMethod.NONE else f"{self.descriptor} + {self.method.value}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("descriptor", "describe_ms", "describe_p95_ms", "search_ms", "search_p95_ms", "bytes_per_image")
        values = {name: getattr(self, name) for name in names} | {"sequence": self.method.value} | self.summary.to_dict()
        return values if self.inferred is None else values | {"inferred": self.inferred.to_dict()}


def evaluate_retrieval(
    datasets: Sequence[PlaceDataset],
    name: str,
    extractor: FeatureExtractor,
    assets: bytes | None = None,
    methods: Sequence[SequenceMethod] = (SequenceMethod.NONE,),
    speed: float = 1.0,
    progress: Progress = lambda pictures, label: pictures,
    of_map: Path | None = None,
    conditions: Conditions = Conditions.INFERRED,
) -> list[RetrievalResult]:
    """Describe and search data sets with one descriptor; several sets are judged as one.

    Args:
        datasets: one or more.
        name: of the descriptor.
        extractor: of local features, for a descriptor that needs them.
        assets: weights or vocabulary; a vocabulary that is not given is learned from the first database.
        methods: one result for each.
        speed: motion along the route that the methods expect [rows of the database per query].
        progress: wraps a walk over pictures, given a label.
        of_map: the map that has the model, when the descriptor is one of a map (``site``, ``site-3``).
        conditions: whether the descriptor is told those of the pictures.

    Raises:
        ConfigError: the descriptor is unknown or cannot be made.
        MapError: the map cannot be read, or has no such model.
        DataError: there is no data set, or no vocabulary can be learned.
    """
    searched = search_datasets(without_truth(datasets, conditions), name, extractor, assets, methods, speed, progress, of_map)
    return [judged(one, datasets) for one in searched]


def search_datasets(
    datasets: Sequence[PlaceDataset],
    name: str,
    extractor: FeatureExtractor,
    assets: bytes | None = None,
    methods: Sequence[SequenceMethod] = (SequenceMethod.NONE,),
    speed: float = 1.0,
    progress: Progress = lambda pictures, label: pictures,
    of_map: Path | None = None,
    depth: int = DEEPEST,
) -> list[Searched]:
    """What :func:`evaluate_retrieval`, which has the same arguments, judges; the truth of the data sets is not looked at.

    A descriptor is told the condition of each picture, where the picture has any, see
    :func:`~vloc_ros.evaluation.conditions.without_truth`. So many answers are asked for as ``depth`` says.

    Raises:
        ConfigError: as there.
        MapError: as there.
        DataError: as there.
    """
    if not datasets:
        raise DataError("there is no data set to evaluate on")
    describer = taught_describer(name, extractor, assets, datasets[0].database, of_map)
    # a picture that is in several data sets, or in both parts of one, is described once
    pictures = list(dict.fromkeys(picture for data in datasets for side in (data.queries, data.database) for picture in side))
    described = describe_all(describer, pictures, progress)
    row = {picture: k for k, picture in enumerate(pictures)}
    sides = [tuple(described.vectors[[row[p] for p in side]] for side in (data.queries, data.database)) for data in datasets]
    inferred = [described.inferred[row[picture]] for data in datasets for picture in data.queries]
    return [
        Searched(
            describer,
            name,
            method,
            [search_all(asked, based, method, speed, depth) for asked, based in sides],
            described,
            inferred,
        )
        for method in methods
    ]


def judged(searched: Searched, datasets: Sequence[PlaceDataset]) -> RetrievalResult:
    """The numbers of some answers, by the truth of their data sets."""
    answers = pool([judge(f.rows, f.scores, data.positives, data.hidden) for f, data in zip(searched.found, datasets, strict=True)])
    describing = searched.described.seconds[np.isfinite(searched.described.seconds)]
    searching = np.array([taken for part in searched.found for taken in part.seconds])
    return RetrievalResult(
        descriptor=searched.descriptor,
        method=searched.method,
        summary=summarise(answers),
        answers=answers,
        found=searched.found,
        describe_ms=percentile_ms(describing, 50),
        search_ms=percentile_ms(searching, 50),
        bytes_per_image=searched.described.vectors.shape[1] * 4,
        describe_p95_ms=percentile_ms(describing, 95),
        search_p95_ms=percentile_ms(searching, 95),
        inferred=_inferred(searched, datasets),
        painter=activation_painter(searched.describer.descriptor, told=not any(searched.inferred)),
    )


def _inferred(searched: Searched, datasets: Sequence[PlaceDataset]) -> Inferred | None:
    descriptor = searched.describer.descriptor
    if not isinstance(descriptor, InfersConditions):
        return None
    labels = [query.condition for data in datasets for query in data.queries]
    return confusion(labels, searched.inferred, descriptor.form.conditions)


def taught_describer(
    name: str, extractor: FeatureExtractor, assets: bytes | None, database: Sequence[Picture], of_map: Path | None = None
) -> Describer:
    """A describer by name, its vocabulary, when it needs one and none is given, learned from some pictures of the database.

    Raises:
        ConfigError: the descriptor is unknown or cannot be made, or it is one of a map and no map is given.
        MapError: the map cannot be read, or has no such model.
        DataError: no vocabulary can be learned.
    """
    if is_of_site(name):
        if of_map is None:
            raise ConfigError(f"the descriptor '{name}' is a map's own: say which with --map")
        with MapStore.open(of_map, read_only=True) as store:
            return Describer(MapDescriptor.of(store, name, assets).descriptor, extractor)
    some = database[:: max(1, len(database) // VOCABULARY_IMAGES)]
    return describer_for(name, extractor, assets, (image for _, image in readable(some)))


def describe_all(describer: Describer, pictures: Sequence[Picture], progress: Progress = lambda some, label: some) -> Described:
    """Descriptors of pictures one by one; those that cannot be read are logged and get zeros."""
    dimension = describer.descriptor.card.dimension
    vectors = np.zeros((len(pictures), dimension), dtype=np.float32)
    seconds = np.full(len(pictures), np.nan)
    inferred = [""] * len(pictures)
    infers = describer.descriptor if isinstance(describer.descriptor, InfersConditions) else None
    rows = {picture: row for row, picture in enumerate(pictures)}
    for picture, image in readable(progress(pictures, describer.descriptor.name)):
        begin = time.perf_counter()
        vectors[rows[picture]] = describer.describe(image, picture.condition)
        seconds[rows[picture]] = time.perf_counter() - begin
        if infers is not None and not picture.condition:
            [inferred[rows[picture]]] = infers.infer([image])
    return Described(vectors, seconds, inferred)


def search_all(
    queries: NDArray[np.float32],
    database: NDArray[np.float32],
    method: SequenceMethod,
    speed: float = 1.0,
    depth: int = DEEPEST,
) -> Found:
    """The best ``depth`` of (N, D) rows for (Q, D) queries, in their order; ``speed`` is in rows of the database per query."""
    index: DescriptorIndex[int] = DescriptorIndex(database.shape[1])
    index.add_many(range(len(database)), database)
    index.build()
    sequence = _sequence(method, len(database), speed)
    found = Found([], [], [])
    for query in queries:
        begin = time.perf_counter()
        if sequence is None:
            neighbours = index.search(query, depth)
            rows, scores = np.array(neighbours.ids, dtype=np.int64), neighbours.scores
        else:
            combined = sequence.update(index.scores(query))
            rows = np.argsort(-combined, kind="stable")[:depth]
            scores = combined[rows]
        found.seconds.append(time.perf_counter() - begin)
        answered = bool(query.any())
        found.rows.append(rows if answered else np.zeros(0, dtype=np.int64))
        found.scores.append(scores if answered else np.zeros(0, dtype=np.float32))
    return found


def _sequence(method: SequenceMethod, rows: int, speed: float) -> TrajectorySearch | BayesFilter | None:
    one_session = np.zeros(rows, dtype=np.int64)
    if method is SequenceMethod.TRAJECTORY:
        slow, fast = sorted((0.8 * speed, 1.25 * speed))
        return TrajectorySearch(one_session, TrajectorySettings(min_speed=slow, max_speed=fast))
    return BayesFilter(one_session, BayesSettings(speed=speed)) if method is SequenceMethod.BAYES else None


def readable(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, Image]]:
    """Pictures with their images; those that cannot be read are logged and left out."""
    for picture in pictures:
        try:
            image = picture.read()
        except DataError as error:
            _log.warning("left out: %s", error)
            continue
        yield picture, image


def percentile_ms(seconds: NDArray[np.float64], percent: float) -> float | None:
    """That many of 100 times [s] are at most so long [ms]; None without any."""
    return float(np.percentile(seconds, percent)) * 1e3 if len(seconds) else None
