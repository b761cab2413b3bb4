"""Loop detection, keyframe by keyframe: describe, search, gate, verify; every refusal has a reason and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param, section
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError
from vloc_ros.loop_closure.verifier import Candidate, LoopVerifier, Rejection, VerificationSettings
from vloc_ros.mapping import Keyframe, KeyframeId, MapStore
from vloc_ros.mapping.registration import Registrar
from vloc_ros.retrieval import Background, Gates, GateSettings, Moment, Refusal
from vloc_ros.retrieval.gates import BudgetSettings
from vloc_ros.retrieval.of_map import MapDescriptor

_NO_LIMIT = BudgetSettings(per_second=1e9, burst=10**9)


@dataclass(frozen=True)
class LoopSettings:
    """How loops are found."""

    descriptor: str = param("auto", "global descriptor that proposes; auto: hog, or vlad for a map without images")
    gates: GateSettings = section(GateSettings)
    verification: VerificationSettings = section(VerificationSettings)


@dataclass(frozen=True, slots=True)
class Detection:
    """What came of one keyframe.

    Attributes:
        keyframe: it.
        candidate: the loop that was found, if any.
        rejections: keyframes that geometry rejected, the most similar first.
        refusals: keyframes that a gate refused.
    """

    keyframe: KeyframeId
    candidate: Candidate | None
    rejections: tuple[Rejection, ...] = ()
    refusals: tuple[Refusal[KeyframeId], ...] = ()


class LoopDetector:
    """Finds the loops that each new keyframe closes with the keyframes before it.

    Descriptors of keyframes are taken from the map, and new ones are stored in it: no image is read twice, and a detector that is
    made anew goes on where the last one stopped. Keyframes are compared with those of smaller name only (earlier sessions, and
    earlier in the same session), so that no pair is found twice.
    """

    def __init__(
        self, store: MapStore, describer: MapDescriptor, registrar: Registrar, settings: LoopSettings, *, live: bool = True
    ) -> None:
        """Take over what the map has.

        Args:
            store: the map, open for writing.
            describer: what describes its keyframes.
            registrar: matches and solves; of the map's camera and features.
            settings: thresholds.
            live: whether the budget per second holds, by the stamps of the keyframes; a finished recording needs none.

        Raises:
            MapError: the map is damaged, or holds descriptors of another model of that name.
        """
        self._store = store
        self._describer = describer
        self._settings = settings
        self._gates = Gates(settings.gates if live else replace(settings.gates, budget=_NO_LIMIT))
        self._moments = {keyframe.id: Moment(keyframe.id, keyframe.stamp_ns) for keyframe in store.keyframes()}
        known = describer.stored(store)[0]
        self._index = describer.index(store, known)
        self._searched: set[KeyframeId] = set()
        self.verifier = LoopVerifier(store, registrar, settings.verification)
        self.counts: Counter[str] = Counter()
        """How many keyframes were searched for, candidates found, and pairs refused or rejected, by reason."""

    @property
    def descriptor_name(self) -> str:
        """Name of the global descriptor that proposes."""
        return self._describer.descriptor.name

    @property
    def card(self) -> ModelCard:
        """What makes the global descriptors."""
        return self._describer.descriptor.card

    @property
    def described(self) -> list[KeyframeId]:
        """The keyframes of the map that have their global descriptor."""
        return list(self._index.ids)

    def process(self, keyframe: Keyframe) -> Detection:
        """Find the loop that a keyframe of the map closes, if any. Asked again for the same keyframe, it finds nothing new.

        Raises:
            MapError: the map does not hold it, is damaged, or cannot be written.
        """
        id = keyframe.id
        if id in self._searched:
            return Detection(id, None)
        query = self._moments[id] = Moment(id, keyframe.stamp_ns)
        vector = self._vector(id)
        self._searched.add(id)
        self.counts["keyframes"] += 1
        passed, refused = self._propose(query, vector)
        verified = self.verifier.first_verified(id, passed)
        self._count(verified.candidate, verified.rejections, refused)
        return Detection(id, verified.candidate, verified.rejections, tuple(refused))

    def _vector(self, id: KeyframeId) -> NDArray[np.float32]:
        if id in self._index:
            return self._index.vector(id)
        vector = self._describer.vector(self._store, id)
        self._describer.keep(self._store, id, vector)
        self._index.add(id, vector)
        return vector

    def _propose(
        self, query: Moment, vector: NDArray[np.float32]
    ) -> tuple[list[tuple[KeyframeId, float]], list[Refusal[KeyframeId]]]:
        def may_close(other: KeyframeId) -> bool:
            return other < query.id and not self._gates.is_near_in_time(query, self._moment(other))

        found = self._index.search(vector, self._settings.verification.attempts, may_close)
        ranked = [(self._moment(other), score) for other, score in found]
        return self._gates.check(query, ranked, query.stamp_ns, self._background(query, vector))

    def _background(self, query: Moment, vector: NDArray[np.float32]) -> Background | None:
        """What else the query resembles; only worked out where a gate asks for it."""
        if self._settings.gates.similarity.min_deviations <= 0.0:
            return None
        return Background.of([score for other, score in self._index.search(vector, len(self._index)) if other < query.id])

    def _moment(self, id: KeyframeId) -> Moment:
        if id not in self._moments:
            raise MapError(f"the map {self._store.path} has a descriptor of keyframe {id} but not the keyframe; check the map")
        return self._moments[id]

    def _count(self, candidate: Candidate | None, rejections: Sequence[Rejection], refused: Sequence[Refusal[KeyframeId]]) -> None:
        self.counts["candidates"] += candidate is not None
        self.counts.update(rejection.reason.name.lower() for rejection in rejections)
        self.counts.update(refusal.reason.value for refusal in refused)
