"""Loop detection, keyframe by keyframe: describe, search, order, gate, verify; every refusal has a reason and is counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vloc_ros.config import param, section
from vloc_ros.data.model_card import ModelCard
from vloc_ros.loop_closure.proposer import Proposal, Proposer, SearchModel
from vloc_ros.loop_closure.verifier import Candidate, LoopVerifier, Rejection, VerificationSettings, Verified
from vloc_ros.mapping import Keyframe, KeyframeId, MapStore
from vloc_ros.mapping.registration import Registrar
from vloc_ros.mapping.searches import Search, put_search
from vloc_ros.retrieval import Background, Gates, GateSettings, Moment, Refusal
from vloc_ros.retrieval.coarse_to_fine import CoarseToFineSettings
from vloc_ros.retrieval.conditions import known_conditions
from vloc_ros.retrieval.gates import BudgetSettings
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.rerank import RerankSettings
from vloc_ros.retrieval.stages import StagesOfMap

NOTHING_FOUND = "nothing_found"
"""Reason of a search that found no keyframe that may close a loop."""
_NO_LIMIT = BudgetSettings(per_second=1e9, burst=10**9)


@dataclass(frozen=True)
class LoopSettings:
    """How loops are found."""

    descriptor: str = param(
        "auto",
        "global descriptor that proposes; auto: the map's own model in use, else place (hog where that cannot run, or describes "
        "the map already), or vlad for a map without images",
    )
    condition: str = param(
        "",
        "in which keyframes of the newest session are taken, for descriptors that know conditions; empty: inferred from each image",
        live=True,
    )
    coarse_to_fine: CoarseToFineSettings = section(CoarseToFineSettings)
    rerank: RerankSettings = section(RerankSettings)
    gates: GateSettings = section(GateSettings)
    verification: VerificationSettings = section(VerificationSettings)


@dataclass(frozen=True, slots=True)
class Detection:
    """What came of one keyframe.

    Attributes:
        keyframe: it.
        candidate: the loop that was found, if any.
        rejections: keyframes that geometry rejected, the most similar first.
        refusals: keyframes that a stage after the search, or a gate, refused.
        fine_ms: time that the fine stage took [ms], None without it.
        rerank_ms: time that re-ranking took [ms], None without it.
    """

    keyframe: KeyframeId
    candidate: Candidate | None
    rejections: tuple[Rejection, ...] = ()
    refusals: tuple[Refusal[KeyframeId], ...] = ()
    fine_ms: float | None = None
    rerank_ms: float | None = None


class LoopDetector:
    """Finds the loops that each new keyframe closes with the keyframes before it.

    Descriptors of keyframes are taken from the map, and new ones are stored in it: no image is read twice, and a detector that is
    made anew goes on where the last one stopped. Keyframes are compared with those of smaller name only (earlier sessions, and
    earlier in the same session), so that no pair is found twice.
    """

    def __init__(
        self,
        store: MapStore,
        describer: MapDescriptor,
        registrar: Registrar,
        settings: LoopSettings,
        *,
        live: bool = True,
        stages: StagesOfMap | None = None,
    ) -> None:
        """Take over what the map has.

        Args:
            store: the map, open for writing.
            describer: what describes its keyframes.
            registrar: matches and solves; of the map's camera and features.
            settings: thresholds.
            live: whether the budget per second holds, by the stamps of the keyframes; a finished recording needs none.
            stages: order what the search finds, None for the order of the search.

        Raises:
            MapError: the map is damaged, or holds descriptors of another model of that name.
        """
        self._store = store
        self._settings, self._live = settings, live
        self._gates = Gates(self._of_gates(settings))
        self._moments = {keyframe.id: Moment(keyframe.id, keyframe.stamp_ns) for keyframe in store.keyframes()}
        self._proposer = Proposer(store, describer)
        self.stages = stages
        """Order what the search finds, None where the search alone does."""
        self._newest = max((id.session for id in self._moments), default=0)
        self._searched: set[KeyframeId] = set()
        self.verifier = LoopVerifier(store, registrar, settings.verification)
        self.counts: Counter[str] = Counter()
        """How many keyframes were searched for, candidates found, and pairs refused or rejected, by reason."""

    def tune(self, registrar: Registrar, settings: LoopSettings) -> None:
        """Take over other thresholds from the next keyframe on; descriptor and stages stay those of the beginning."""
        self._settings = settings
        if self.stages is not None:
            self.stages.tune(settings)
        self._gates.tune(self._of_gates(settings))
        self.verifier.tune(registrar, settings.verification)

    def _of_gates(self, settings: LoopSettings) -> GateSettings:
        return settings.gates if self._live else replace(settings.gates, budget=_NO_LIMIT)

    @property
    def proposer(self) -> Proposer:
        """What proposes: all keyframes, as one model sees them."""
        return self._proposer

    @property
    def descriptor_name(self) -> str:
        """Name of the model whose global descriptors propose."""
        return self._proposer.name

    @property
    def card(self) -> ModelCard:
        """What makes the global descriptors."""
        return self._proposer.card

    @property
    def model(self) -> SearchModel:
        """The version of the model that proposes, and its probability of a match."""
        return self._proposer.model

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of images that the model that proposes, or a stage after it, knows."""
        return known_conditions(self._proposer.conditions, () if self.stages is None else self.stages.conditions)

    @property
    def models(self) -> list[str]:
        """Names of the model that proposes and of the stages after it."""
        return [self.descriptor_name, *({} if self.stages is None else self.stages.names).values()]

    @property
    def described(self) -> list[KeyframeId]:
        """The keyframes of the map that have their global descriptor."""
        return self._proposer.described

    def propose_with(self, proposer: Proposer) -> None:
        """From the next keyframe on, let another model propose. What was searched for is not searched for again."""
        self._proposer = proposer

    def process(self, keyframe: Keyframe) -> Detection:
        """Find the loop that a keyframe of the map closes, if any. Asked again for the same keyframe, it finds nothing new.

        What came of it is kept in the map (:mod:`vloc_ros.mapping.searches`).

        Raises:
            MapError: the map does not hold it, is damaged, or cannot be written.
        """
        id = keyframe.id
        if id in self._searched:
            return Detection(id, None)
        query = self._moments[id] = Moment(id, keyframe.stamp_ns)
        self._newest = max(self._newest, id.session)
        self._proposer.learn_of(id, self._condition(id))
        ranked = self._ranked(query.id, self._proposals(query))
        passed, refused = self._gated(query, ranked.believed[: self._settings.verification.attempts])
        verified = self.verifier.first_verified(id, passed)
        proposals = ranked.proposals
        detection = _detection(id, verified, refused, {proposal.id: proposal.probability for proposal in proposals})
        detection = replace(
            detection,
            refusals=(*ranked.refused, *detection.refusals),
            fine_ms=ranked.took.get("fine"),
            rerank_ms=ranked.took.get("rerank"),
        )
        put_search(self._store, _search(detection, proposals, self.card, self.model))
        self._searched.add(id)
        self._count(detection)
        return detection

    def _proposals(self, query: Moment) -> list[Proposal]:
        def may_close(other: KeyframeId) -> bool:
            return other < query.id and not self._gates.is_near_in_time(query, self._moment(other))

        depth = 0 if self.stages is None else self.stages.depth
        return self._proposer.similar(query.id, max(self._settings.verification.attempts, depth), may_close)

    def _condition(self, id: KeyframeId) -> str:
        """What the operator says of a keyframe: the word is on the present, and older sessions have seen other light."""
        return self._settings.condition if id.session == self._newest else ""

    def _ranked(self, query: KeyframeId, proposals: Sequence[Proposal]) -> _Ranked:
        """The proposals as the stages order them. Their scores stay those of the search, which the gates are made for."""
        if self.stages is None:
            return _Ranked(proposals, proposals)
        scores = {proposal.id: proposal.score for proposal in proposals}
        judged = self.stages.of_keyframe(query, list(scores), self._condition(query), scores)
        by_id = {proposal.id: proposal for proposal in proposals}
        return _Ranked(
            [by_id[id] for id in judged.ids],
            [by_id[id] for id in judged.believed],
            tuple(Refusal(id, by_id[id].score, doubt) for id, doubt in judged.doubts.items()),
            judged.took,
        )

    def _gated(
        self, query: Moment, proposals: Sequence[Proposal]
    ) -> tuple[list[tuple[KeyframeId, float]], list[Refusal[KeyframeId]]]:
        ranked = [(self._moment(proposal.id), proposal.score) for proposal in proposals]
        probabilities = {proposal.id: proposal.probability for proposal in proposals if proposal.probability is not None}
        return self._gates.check(query, ranked, query.stamp_ns, self._background(query), probabilities)

    def _background(self, query: Moment) -> Background | None:
        """What else the query resembles; only worked out where a gate asks for it."""
        if self._settings.gates.similarity.min_deviations <= 0.0:
            return None
        return Background.of(self._proposer.scores(query.id, lambda other: other < query.id))

    def _moment(self, id: KeyframeId) -> Moment:
        if id not in self._moments:  # described without having been searched for
            self._moments[id] = Moment(id, self._store.keyframe(id).stamp_ns)
        return self._moments[id]

    def _count(self, detection: Detection) -> None:
        self.counts["keyframes"] += 1
        self.counts["candidates"] += detection.candidate is not None
        self.counts.update(rejection.reason.name.lower() for rejection in detection.rejections)
        self.counts.update(refusal.reason.value for refusal in detection.refusals)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Proposals in the order in which they are believed, all of them and those that nothing speaks against yet."""

    proposals: Sequence[Proposal]
    believed: Sequence[Proposal]
    refused: tuple[Refusal[KeyframeId], ...] = ()
    took: Mapping[str, float] = field(default_factory=dict)


def _detection(
    id: KeyframeId, verified: Verified, refused: Sequence[Refusal[KeyframeId]], probabilities: Mapping[KeyframeId, float | None]
) -> Detection:
    found = verified.candidate
    return Detection(
        id,
        None if found is None else replace(found, probability=probabilities[found.a]),
        tuple(replace(rejection, probability=probabilities[rejection.a]) for rejection in verified.rejections),
        tuple(refused),
    )


def _search(detection: Detection, proposals: Sequence[Proposal], card: ModelCard, model: SearchModel) -> Search:
    """What is kept of a detection: the verified partner, else the best one with the reason why it is none."""
    found, now_ns = detection.candidate, time.time_ns()
    wanted = None if found is None else found.a
    best = next((proposal for proposal in proposals if wanted is None or proposal.id == wanted), None)
    if best is None:
        return Search(detection.keyframe, model.version, card.name, None, None, None, None, False, NOTHING_FOUND, now_ns)
    reasons = {refusal.id: refusal.reason.value for refusal in detection.refusals}
    reasons |= {rejection.a: rejection.reason.name.lower() for rejection in detection.rejections}
    return Search(
        keyframe=detection.keyframe,
        version=model.version,
        model=card.name,
        score=best.score,
        variance=best.variance,
        probability=best.probability,
        partner=best.id,
        verified=found is not None,
        reason="" if found is not None else reasons[best.id],
        searched_ns=now_ns,
    )
