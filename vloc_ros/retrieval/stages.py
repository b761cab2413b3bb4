"""What comes after the search by a global descriptor, stage by stage: a fine descriptor, then geometry; one face for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.coarse_to_fine import CoarseToFineSettings, fine_stage
from vloc_ros.retrieval.conditions import known_conditions, require_known
from vloc_ros.retrieval.contract import View, create_descriptor
from vloc_ros.retrieval.of_map import depends_on_map
from vloc_ros.retrieval.rerank import Reranker, RerankSettings
from vloc_ros.retrieval.reranker_of_map import Judged, RerankerOfMap, Scores, chosen_reranker


class StageSettings(Protocol):
    """What settings of whoever searches (``loops``, ``localization``) say of the search and of the stages after it."""

    @property
    def descriptor(self) -> str:
        """Of the search."""

    @property
    def condition(self) -> str:
        """Of the images, empty where nobody says."""

    @property
    def coarse_to_fine(self) -> CoarseToFineSettings:
        """Of the first stage."""

    @property
    def rerank(self) -> RerankSettings:
        """Of the second one."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages that somebody asked for, each made once, and of no map yet.

    Attributes:
        fine: compares the first few by a finer descriptor; None without one.
        reranker: compares by geometry what the stage before it gives; None without one.
    """

    fine: Reranker | None = None
    reranker: Reranker | None = None

    @classmethod
    def chosen(cls, settings: StageSettings) -> Stages:
        """Those of some settings; whatever is wrong with them is said now, as far as it does not depend on a map.

        Raises:
            ConfigError: a name is unknown, or what it needs is not installed or not shipped; or nobody knows the condition.
            WeightsError: a file of weights, or its card, is missing, damaged or of another network.
        """
        stages = cls(fine_stage(settings.coarse_to_fine), chosen_reranker(settings.rerank))
        if settings.condition and not depends_on_map(settings.descriptor):
            known = create_descriptor(settings.descriptor).conditions
            require_known(settings.condition, known_conditions(known, stages.conditions), [settings.descriptor, *stages.titles])
        return stages

    @property
    def by_name(self) -> dict[str, Reranker]:
        """Those that there are, in their order: ``fine``, ``reranker``, both or none."""
        stages = {"fine": self.fine, "reranker": self.reranker}
        return {name: stage for name, stage in stages.items() if stage is not None}

    @property
    def titles(self) -> list[str]:
        """What people call them."""
        return [stage.title for stage in self.by_name.values()]

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of images that any of them knows."""
        return known_conditions(*(stage.conditions for stage in self.by_name.values()))

    def of_map(self, store: MapStore, settings: StageSettings) -> StagesOfMap | None:
        """These for the keyframes of a map, None where there is no stage; for the thread that opened the map."""
        if self.fine is None and self.reranker is None:
            return None
        return StagesOfMap(
            None if self.fine is None else RerankerOfMap(store, self.fine, settings.coarse_to_fine.ranking),
            None if self.reranker is None else RerankerOfMap(store, self.reranker, settings.rerank),
        )


class StagesOfMap:
    """The stages for the keyframes of a map, one after the other: each gets the order of the one before it."""

    def __init__(self, fine: RerankerOfMap | None = None, reranker: RerankerOfMap | None = None) -> None:
        """With a fine descriptor, with geometry, or with both."""
        self._fine, self._reranker = fine, reranker
        self._stages = [stage for stage in (fine, reranker) if stage is not None]

    @property
    def names(self) -> dict[str, str]:
        """Names of the stages with the first digits of the hash of their weights: of ``fine``, ``reranker``, or both."""
        stages = {"fine": self._fine, "reranker": self._reranker}
        return {what: stage.name for what, stage in stages.items() if stage is not None}

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of images that any of the stages knows."""
        return known_conditions(*(stage.conditions for stage in self._stages))

    @property
    def depth(self) -> int:
        """How many keyframes a search must find, so that no stage has fewer than it may compare."""
        return max((stage.candidates for stage in self._stages), default=0)

    @property
    def counts(self) -> Counter[str]:
        """What was made for the stages, and of which keyframes that was not possible, see :attr:`RerankerOfMap.counts`."""
        total: Counter[str] = Counter()
        for stage in self._stages:
            total |= stage.counts
        return total

    def take_problem(self) -> str:
        """What was wrong with the map since the last call, in a sentence; empty when nothing was. Comparing went on."""
        problems = [stage.take_problem() for stage in self._stages]
        return next((problem for problem in problems if problem), "")

    def tune(self, settings: StageSettings) -> None:
        """Take over other thresholds; the stages stay."""
        if self._fine is not None:
            self._fine.tune(settings.coarse_to_fine.ranking)
        if self._reranker is not None:
            self._reranker.tune(settings.rerank)

    def prepare(self, id: KeyframeId, condition: str = "") -> bool:
        """Make what the map lacks of a keyframe; False where that is not possible for one of the stages."""
        done = [stage.prepare(id, condition) for stage in self._stages]
        return all(done)

    def of_keyframe(
        self, query: KeyframeId, ids: Sequence[KeyframeId], condition: str = "", scores: Scores | None = None
    ) -> Judged:
        """Put what a search for a keyframe found, best first, in order.

        Args:
            query: the keyframe.
            ids: what was found.
            condition: in which somebody says that the query was taken; empty where nobody does.
            scores: similarities of the search.
        """
        return self._in_turn(ids, lambda stage, ordered: stage.of_keyframe(query, ordered, condition, scores))

    def of_view(self, query: View, ids: Sequence[KeyframeId], scores: Scores | None = None) -> Judged:
        """Put what a search for an image, with its features of the map's kind, found with such scores in order; best first.

        Raises:
            DataError: the view lacks the image.
        """
        return self._in_turn(ids, lambda stage, ordered: stage.of_view(query, ordered, scores))

    def _in_turn(self, ids: Sequence[KeyframeId], judge: Callable[[RerankerOfMap, Sequence[KeyframeId]], Judged]) -> Judged:
        result = Judged(list(ids), {}, {}, 0, 0.0)
        for stage, what in ((self._fine, "fine"), (self._reranker, "rerank")):
            if stage is None:
                continue
            found = judge(stage, result.ids)
            result = replace(
                found,
                doubts={**result.doubts, **found.doubts},
                compared=max(result.compared, found.compared),
                milliseconds=result.milliseconds + found.milliseconds,
                took={**result.took, what: found.milliseconds},
            )
        return result
