"""Running extractors of local features over pairs of images, side by side. The truth is used only after matching."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vloc_ros.data.places import Picture
from vloc_ros.errors import ConfigError, DataError, VlocError
from vloc_ros.evaluation.feature_scores import FeatureSummary, PairScore, Size, judge, summarise
from vloc_ros.evaluation.judged_pairs import JudgedPair
from vloc_ros.features import FeatureExtractor, Features, MatchSettings, match

_log = logging.getLogger(__name__)
Progress = Callable[[Sequence[JudgedPair], str], Iterable[JudgedPair]]
ALL = "all"


@dataclass(slots=True)
class FeatureResult:
    """How one extractor did.

    Attributes:
        name: of the extractor.
        descriptor_bytes: of one key point.
        scores: one for each pair, in the order of the pairs.
        extract_s: time to extract each image, reading excluded [s].
        match_s: time to match each pair with the thresholds of localisation [s].
    """

    name: str
    descriptor_bytes: int
    scores: list[PairScore] = field(default_factory=list)
    extract_s: list[float] = field(default_factory=list)
    match_s: list[float] = field(default_factory=list)

    @property
    def extract_ms(self) -> float | None:
        """Median time to extract an image [ms]."""
        return _median_ms(self.extract_s)

    @property
    def match_ms(self) -> float | None:
        """Median time to match a pair [ms]."""
        return _median_ms(self.match_s)


@dataclass(frozen=True, slots=True)
class FeatureEvaluation:
    """Extractors on the same pairs.

    Attributes:
        pairs: in the order in which they were judged.
        results: in the order in which the extractors were named.
    """

    pairs: list[JudgedPair]
    results: list[FeatureResult]

    def summaries(self, by_group: bool = False) -> dict[tuple[str, str], list[FeatureSummary]]:
        """Means of each extractor by kind of data and condition (or group), ``all`` of a kind of data first."""
        names = [(pair.data, pair.group if by_group else pair.condition) for pair in self.pairs]
        kinds = list(dict.fromkeys(data for data, _ in names))
        found: dict[tuple[str, str], list[FeatureSummary]] = {}
        for kind in kinds:
            parts = sorted({part for data, part in names if data == kind})
            for part in [*([ALL] if len(parts) > 1 else []), *parts]:
                rows = [k for k, (data, own) in enumerate(names) if data == kind and part in (ALL, own)]
                found[kind, part] = [summarise([result.scores[k] for k in rows]) for result in self.results]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = {"pairs": len(self.pairs), "extractors": []}
        tables = {"conditions": self.summaries(), "groups": self.summaries(by_group=True)}
        for k, result in enumerate(self.results):
            own: dict[str, Any] = {
                "name": result.name,
                "extract_ms": result.extract_ms,
                "match_ms": result.match_ms,
                "descriptor_bytes": result.descriptor_bytes,
            }
            for title, table in tables.items():
                own[title] = [{"data": key[0], "part": key[1]} | summary[k].to_dict() for key, summary in table.items()]
            values["extractors"].append(own)
        return values


def evaluate_features(
    extractors: Mapping[str, FeatureExtractor],
    pairs: Sequence[JudgedPair],
    settings: MatchSettings | None = None,
    progress: Progress = lambda some, label: some,
) -> FeatureEvaluation:
    """Judge extractors on pairs, one after the other on each, so that all see the same load of the machine.

    Args:
        extractors: by the name they get in tables, the baseline first.
        pairs: what to judge on.
        settings: of matching, those of localisation when not given.
        progress: wraps the walk over the pairs, given a label.

    Raises:
        ConfigError: there is no extractor.
        DataError: there is no pair, or an image cannot be read. An extractor that refuses an image has failed on the pair.
    """
    if not extractors:
        raise ConfigError("there is no extractor to evaluate; name at least one")
    if not pairs:
        raise DataError("there is no pair of images to evaluate on")
    kinds = list(dict.fromkeys(pair.data for pair in pairs))
    # pairs that share images follow each other, so that few features are kept at a time
    ordered = sorted(pairs, key=lambda pair: (kinds.index(pair.data), pair.group))
    results = [FeatureResult(name, _bytes(extractor)) for name, extractor in extractors.items()]
    known: dict[Picture, tuple[Size, list[Features | None]]] = {}
    group = ""
    for pair in progress(ordered, "features"):
        if pair.group != group:
            known, group = {}, pair.group
        for picture in (pair.image_a, pair.image_b):
            if picture not in known:
                known[picture] = _extracted(picture, extractors, results)
        (size_a, all_a), (size_b, all_b) = known[pair.image_a], known[pair.image_b]
        for extractor, result, a, b in zip(extractors.values(), results, all_a, all_b, strict=True):
            result.scores.append(_judged(extractor, result, a, b, (size_a, size_b), pair, settings or MatchSettings()))
    return FeatureEvaluation(ordered, results)


def _extracted(
    picture: Picture, extractors: Mapping[str, FeatureExtractor], results: Sequence[FeatureResult]
) -> tuple[Size, list[Features | None]]:
    """Size of a picture and its features by each extractor, None of one that refuses it."""
    image = picture.read()
    found: list[Features | None] = []
    for (name, extractor), result in zip(extractors.items(), results, strict=True):
        begin = time.perf_counter()
        try:
            found.append(extractor.extract(image))
        except VlocError as error:
            _log.warning("%s failed on %s: %s", name, picture.name, error)
            found.append(None)
            continue
        result.extract_s.append(time.perf_counter() - begin)
    return (image.shape[1], image.shape[0]), found


def _judged(
    extractor: FeatureExtractor,
    result: FeatureResult,
    a: Features | None,
    b: Features | None,
    sizes: tuple[Size, Size],
    pair: JudgedPair,
    settings: MatchSettings,
) -> PairScore:
    if a is None or b is None:
        return PairScore.failure()
    begin = time.perf_counter()
    found = match(a, b, extractor.metric, settings)
    result.match_s.append(time.perf_counter() - begin)
    return judge(a, b, found, sizes, pair.truth, extractor.metric)


def _bytes(extractor: FeatureExtractor) -> int:
    descriptors = extractor.nothing().descriptors
    return int(descriptors.shape[1] * descriptors.itemsize)


def _median_ms(seconds: Sequence[float]) -> float | None:
    return float(np.median(seconds)) * 1e3 if seconds else None
