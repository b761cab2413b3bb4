"""Re-ranking of the keyframes of a map: what is kept of each comes from the map, and is made and kept there where it is missing."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vloc_ros.errors import DataError, MapError
from vloc_ros.mapping.images import has_image
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.patches import patches_of, put_patches
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.contract import Needs, View
from vloc_ros.retrieval.gates import GateReason
from vloc_ros.retrieval.rerank import (
    Doubt,
    Kept,
    MatchProbabilities,
    Reranked,
    Reranker,
    RerankSettings,
    Verification,
    create_reranker,
)
from vloc_ros.retrieval.reranking import rerank

Scores = Mapping[KeyframeId, float]
"""Similarities of a search."""
_log = logging.getLogger(__name__)
NONE = "none"
"""Name of no re-ranker."""
_CACHED = 256
"""So many keyframes stay prepared in memory: those around a robot, of 50 to 250 kB each."""


def chosen_reranker(settings: RerankSettings) -> Reranker | None:
    """The re-ranker that somebody asked for, None for ``none``.

    Raises:
        ConfigError: the name is unknown, or what it needs is not installed or not shipped.
        WeightsError: the file of weights, or its card, is missing, damaged or of another network.
    """
    return None if settings.reranker == NONE else create_reranker(settings.reranker, settings)


@dataclass(frozen=True, slots=True)
class Judged:
    """What re-ranking says of keyframes that a search found.

    Attributes:
        ids: all of them: those that were compared, by falling similarity or inliers; then the others in the order of the search.
        doubts: why some of those that were compared are not believed to show the place.
        probabilities: that those that were compared do, as far as that was learned.
        compared: how many were.
        milliseconds: that it took, preparation of the query and of keyframes included.
        took: of that the time of each stage, where several work one after the other.
    """

    ids: list[KeyframeId]
    doubts: dict[KeyframeId, GateReason]
    probabilities: dict[KeyframeId, float]
    compared: int
    milliseconds: float
    took: dict[str, float] = field(default_factory=dict)

    @property
    def believed(self) -> list[KeyframeId]:
        """Those that nothing speaks against, in their order."""
        return [id for id in self.ids if id not in self.doubts]


class RerankerOfMap:
    """A re-ranker with what it keeps of the keyframes of a map.

    What the map has not is made from the image or the features of the keyframe, and stored where the map can be written. What is
    damaged there is made anew. A keyframe of which neither is possible is not compared, and stays where the search had it.
    """

    def __init__(
        self,
        store: MapStore,
        reranker: Reranker,
        settings: RerankSettings,
        probability: MatchProbabilities | None = None,
        cached: int = _CACHED,
    ) -> None:
        """For one map, from the thread that opened it.

        Args:
            store: the map; where it can be written, what is missing is stored.
            reranker: compares.
            settings: how many candidates, how long, and what is believed.
            probability: that a candidate shows the place; by default what was learned about the re-ranker, if anything was.
            cached: so many keyframes are held in memory.
        """
        self._store, self._reranker, self._settings, self._probability = store, reranker, settings, probability
        self._of_features = reranker.needs is Needs.FEATURES and reranker.takes_features(store.feature_fingerprint)
        self._cached = cached
        self._kept: OrderedDict[KeyframeId, Kept] = OrderedDict()
        self._left_out: set[KeyframeId] = set()
        self.counts: Counter[str] = Counter()
        """``patches_made``, of these ``patches_made_again`` (named after what the re-ranker keeps); ``keyframes_without_image`` and
        ``keyframes_unreadable``."""
        self._problem = ""
        self._made_key = f"{reranker.keeps.replace(' ', '_')}_made"

    @property
    def candidates(self) -> int:
        """How many of those that a search found may be compared."""
        return self._settings.candidates

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of images that the re-ranker knows."""
        return self._reranker.conditions

    @property
    def name(self) -> str:
        """Name of the re-ranker and the first digits of the hash of its weights."""
        return self._reranker.title

    def take_problem(self) -> str:
        """What was wrong with the map since the last call, in a sentence; empty when nothing was. Comparing went on."""
        problem, self._problem = self._problem, ""
        return problem

    def tune(self, settings: RerankSettings) -> None:
        """Take over other thresholds; the re-ranker stays."""
        self._settings = settings

    def of_keyframe(
        self, query: KeyframeId, ids: Sequence[KeyframeId], condition: str = "", scores: Scores | None = None
    ) -> Judged:
        """Re-rank what a search for a keyframe found, best first; one that cannot be compared leaves the order as it is.

        Args:
            query: the keyframe.
            ids: what was found.
            condition: in which somebody says that the query was taken; empty where nobody does.
            scores: similarities of the search.
        """
        began = time.perf_counter()
        return self._judged(self._of(query), ids, began, scores) if self.prepare(query, condition) else _unchanged(ids, began)

    def of_view(self, query: View, ids: Sequence[KeyframeId], scores: Scores | None = None) -> Judged:
        """Re-rank what a search for an image, with its features of the map's kind, found with such scores; best first.

        Raises:
            DataError: the view lacks the image.
        """
        began = time.perf_counter()
        camera = self._store.camera
        usable = replace(query, size=(camera.width, camera.height)) if self._of_features else replace(query, features=None)
        return self._judged(self._reranker.prepare([usable])[0], ids, began, scores)

    def prepare(self, id: KeyframeId, condition: str = "") -> bool:
        """Make what the map lacks of a keyframe, which somebody says was taken in a condition; False where that is not possible."""
        if not self._has_source(id):
            return False
        self._of(id, condition)
        return id not in self._left_out

    def _judged(self, query: Kept, ids: Sequence[KeyframeId], began: float, scores: Scores | None) -> Judged:
        comparable = [id for id in ids[: self._settings.candidates] if self._has_source(id)]
        reranked = rerank(self._reranker, query, comparable, self._of, self._settings, self._probability, scores)
        doubts = _doubts(reranked, self._settings)
        # Some may have turned out to be unreadable just now.
        compared = [id for id in reranked.ids[: len(reranked.verifications)] if id not in self._left_out]
        chances = dict(zip(reranked.ids, reranked.probabilities or (), strict=False))
        first = set(compared)
        return Judged(
            ids=[*compared, *(id for id in ids if id not in first)],
            doubts={id: doubts[id] for id in compared if id in doubts},
            probabilities={id: chances[id] for id in compared if id in chances},
            compared=len(compared),
            milliseconds=_ms_since(began),
        )

    def _of(self, id: KeyframeId, condition: str = "") -> Kept:
        """What is kept of a comparable keyframe."""
        if id in self._kept:
            self._kept.move_to_end(id)
            return self._kept[id]
        known, kept = self._from_map(id)
        if not known:
            kept = self._made(id, condition)
        self._kept[id] = kept
        if len(self._kept) > self._cached:
            self._kept.popitem(last=False)
        return kept

    def _from_map(self, id: KeyframeId) -> tuple[bool, Kept]:
        """Whether the map has it, and what it has."""
        try:
            content = patches_of(self._store, self._reranker.card, id)
            if content is None:
                return False, None
            return True, self._reranker.from_bytes(content) if content else None
        except (MapError, DataError):
            self._say(f"the {self._reranker.keeps} of keyframe {id} in the map {self._store.path} are damaged; they are made again")
            self.counts[f"{self._made_key}_again"] += 1
            return False, None

    def _made(self, id: KeyframeId, condition: str) -> Kept:
        """What the re-ranker makes of a keyframe; None, too, where it cannot be read, which leaves it out from now on."""
        try:
            kept = self._reranker.prepare([self._view(id, condition)])[0]
        except (MapError, DataError) as error:
            self._leave_out(id, "keyframes_unreadable", f"keyframe {id} is not compared: {error}")
            return None
        content = b"" if kept is None else self._reranker.to_bytes(kept)
        self.counts[self._made_key] += 1
        if not self._store.database.read_only:
            try:
                put_patches(self._store, self._reranker.card, {id: content})
            except MapError as error:  # they can be made again
                self._say(f"the {self._reranker.keeps} of keyframe {id} are not kept: {error}")
        # As the map would give it: the order must not depend on who was here before.
        return self._reranker.from_bytes(content) if content else None

    def _view(self, id: KeyframeId, condition: str) -> View:
        if self._of_features:
            camera = self._store.camera
            return View(features=self._store.features(id), size=(camera.width, camera.height), condition=condition)
        return View(image=self._store.image(id), condition=condition)

    def _has_source(self, id: KeyframeId) -> bool:
        """Whether the map has what this is made from."""
        if id in self._left_out:
            return False
        if self._of_features or id in self._kept or has_image(self._store, id):
            return True
        self._leave_out(
            id, "keyframes_without_image", f"{self._store.path}: keyframe {id} has no image, so that {self.name} cannot compare it"
        )
        return False

    def _leave_out(self, id: KeyframeId, reason: str, text: str) -> None:
        self._left_out.add(id)
        self.counts[reason] += 1
        if self.counts[reason] == 1 or reason == "keyframes_unreadable":
            _log.warning("%s", text)
        if reason == "keyframes_unreadable":
            self._problem = text

    def _say(self, text: str) -> None:
        if text != self._problem:
            _log.warning("%s", text)
        self._problem = text


def _unchanged(ids: Sequence[KeyframeId], began: float) -> Judged:
    return Judged(list(ids), {}, {}, 0, _ms_since(began))


def _ms_since(began: float) -> float:
    return 1e3 * (time.perf_counter() - began)


def _doubts(reranked: Reranked[KeyframeId], settings: RerankSettings) -> dict[KeyframeId, GateReason]:
    chances: Sequence[float | None] = reranked.probabilities or [None] * len(reranked.verifications)
    judged = zip(reranked.ids, reranked.verifications, chances, reranked.accepted, strict=False)
    return {id: _doubt(found, chance, settings) for id, found, chance, accepted in judged if not accepted}


def _doubt(found: Verification, chance: float | None, settings: RerankSettings) -> GateReason:
    if found.doubt is Doubt.NOTHING_TO_COMPARE:
        return GateReason.RERANK_NOTHING
    if found.homography is None or found.inliers < settings.min_inliers:
        return GateReason.RERANK_INLIERS
    if found.share < settings.min_share:
        return GateReason.RERANK_SHARE
    assert chance is not None
    return GateReason.RERANK_PROBABILITY
