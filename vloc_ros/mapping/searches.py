"""What place recognition found for each keyframe, and with which model: how a model does is judged by it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vloc_ros.errors import MapError
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore

_ORDER = "ORDER BY session, keyframe, searched_ns"


@dataclass(frozen=True, slots=True)
class Search:
    """What a search for earlier views of a keyframe came to.

    Attributes:
        keyframe: that was searched for.
        version: number of the model version that searched, 0 for one that is no version of the map (``hog``).
        model: name of the descriptors that were searched.
        score: similarity of the partner; None where nothing was found.
        variance: of the pair, None where the model knows none.
        probability: that the two are one place, None where it is unknown.
        partner: the keyframe that was verified, else the most similar one that may close a loop; None where nothing was found.
        verified: geometry says that the two show one place.
        reason: why it was not verified, empty where it was: of a gate (``too_dissimilar``), of geometry (``too_few_inliers``), or
            ``nothing_found``.
        searched_ns: when, by the clock of the computer [ns since 1970].
    """

    keyframe: KeyframeId
    version: int
    model: str
    score: float | None
    variance: float | None
    probability: float | None
    partner: KeyframeId | None
    verified: bool
    reason: str
    searched_ns: int


def put_search(store: MapStore, row: Search) -> None:
    """Keep what a search came to; one of the same keyframe by the same model is replaced.

    Raises:
        MapError: the keyframe is unknown, a number is none, or the map cannot be written.
    """
    problem = _problem(row)
    if problem is not None:
        raise MapError(f"the search of keyframe {row.keyframe} cannot be kept: {problem}")
    partner = (None, None) if row.partner is None else tuple(row.partner)
    numbers = tuple(None if value is None else float(value) for value in (row.score, row.variance, row.probability))
    values = (*row.keyframe, row.model, int(row.version), *numbers, *partner, int(row.verified), row.reason, int(row.searched_ns))
    with store.database.transaction():
        store.database.insert("search", values, replace=True)


def searches_of(store: MapStore, version: int | None = None) -> list[Search]:
    """What was searched for, by keyframe, and of one keyframe in the order of time; of all models, or of one version.

    Raises:
        MapError: one is damaged.
    """
    where, values = ("", ()) if version is None else ("WHERE version = ? ", (int(version),))
    return [_search(row) for row in store.database.rows("search", where + _ORDER, values)]


def searched_keyframes(store: MapStore) -> set[KeyframeId]:
    """The keyframes that were searched for, by whatever model; none in a map of an older schema that is only read."""
    if "search" not in store.database.tables:
        return set()
    return {KeyframeId(*row) for row in store.database.execute("SELECT DISTINCT session, keyframe FROM search")}


def damaged_searches(store: MapStore) -> Iterator[str]:
    """One sentence for each search that makes no sense."""
    for row in store.database.rows("search", _ORDER):
        try:
            problem = _problem(_search(row))
        except MapError as error:
            yield str(error)
            continue
        if problem is not None:
            yield f"the search of keyframe {KeyframeId(row[0], row[1])} by '{row[2]}' is damaged: {problem}"


def _problem(row: Search) -> str | None:
    if row.score is not None and not math.isfinite(row.score):
        return f"its score is {row.score}"
    if row.variance is not None and not row.variance > 0.0:
        return f"its variance is {row.variance}"
    if row.probability is not None and not 0.0 <= row.probability <= 1.0:
        return f"its probability is {row.probability}"
    if row.version < 0 or row.searched_ns < 0:
        return f"version {row.version} or time {row.searched_ns} is negative"
    if (row.partner is None) != (row.score is None) or (row.verified and row.partner is None):
        return "it names a partner without a score, or the other way round"
    return None


def _search(row: Sequence[Any]) -> Search:
    session, keyframe, model, version, score, variance, probability, *partner, verified, reason, searched_ns = row
    id = KeyframeId(session, keyframe)
    if (partner[0] is None) != (partner[1] is None) or verified not in (0, 1):
        raise MapError(f"the search of keyframe {id} by '{model}' is damaged: its partner or verdict is not one")
    other = None if partner[0] is None else KeyframeId(*partner)
    return Search(id, int(version), str(model), score, variance, probability, other, bool(verified), str(reason), int(searched_ns))
