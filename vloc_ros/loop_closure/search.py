"""The loops of a whole map: found, verified, judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.loop_closure.claims import Claim, JudgedClaims, labels_of
from vloc_ros.loop_closure.detector import Detection, LoopDetector
from vloc_ros.loop_closure.judgement import Judgement, judge, next_revision
from vloc_ros.loop_closure.map_graph import graph_of_map
from vloc_ros.loop_closure.settings import LoopClosureSettings
from vloc_ros.loop_closure.verifier import Candidate, LoopVerifier, Rejection
from vloc_ros.mapping import Keyframe, KeyframeId, MapStore
from vloc_ros.mapping.closures import Closure
from vloc_ros.mapping.registration import Registrar
from vloc_ros.pose_graph.anchors import odometry_poses
from vloc_ros.retrieval.conditions import require_known
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.stages import Stages

Array = NDArray[np.float64]
Progress = Callable[[Sequence[Keyframe]], Iterable[Keyframe]]


@dataclass(frozen=True, slots=True)
class LoopRun:
    """What was found in a map.

    Attributes:
        descriptor: name of the global descriptor that proposed.
        stages: names of what ordered its proposals: of ``fine``, ``reranker``, both or none.
        fine_ms: median time of the fine stage for a keyframe [ms], None without it.
        rerank_ms: that of re-ranking.
        keyframes: all keyframes of the map, as they were.
        odometry: (N, 4, 4) map_T_base by odometry alone; sessions that closures join stand where those say.
        judgement: the verdicts and optimised poses.
        candidates: the verified candidate of each closure that was found now, by its pair (a, b).
        rejections: pairs that geometry rejected.
        claims: what the model said of the best match of each keyframe.
        counts: keyframes, candidates, and pairs refused or rejected by reason.
        verifier: draws the matches of a pair, as long as the map is open.
    """

    descriptor: str
    stages: dict[str, str]
    fine_ms: float | None
    rerank_ms: float | None
    keyframes: tuple[Keyframe, ...]
    odometry: Array
    judgement: Judgement
    candidates: dict[tuple[KeyframeId, KeyframeId], Candidate]
    rejections: tuple[Rejection, ...]
    claims: tuple[Claim, ...]
    counts: Counter[str]
    verifier: LoopVerifier

    @property
    def rejected(self) -> dict[str, int]:
        """How many pairs were not verified, by reason."""
        others = ("keyframes", "candidates")
        return {reason: count for reason, count in self.counts.most_common() if reason not in others and count}

    @property
    def labels(self) -> dict[str, int]:
        """How many closures have each label."""
        return dict(Counter(closure.verdict.label.value for closure in self.judgement.closures))

    @property
    def judged_claims(self) -> JudgedClaims:
        """The claims of known probability and what became of them."""
        return JudgedClaims.of(self.claims, labels_of(self.judgement.closures))

    def candidate_of(self, closure: Closure) -> Candidate | None:
        """What was found of a closure now; None when only the map knew it."""
        return self.candidates.get((closure.a, closure.b))


def detector_for(
    store: MapStore,
    settings: LoopClosureSettings,
    assets: bytes | None = None,
    *,
    live: bool = True,
    stages: Stages | None = None,
) -> LoopDetector:
    """A detector for the camera and the features of a map; its stages are those given, else made as the settings say.

    Raises:
        ConfigError: the descriptor or a stage is unknown, or has no weights, or cannot be computed here; or none of them knows the
            condition of the settings.
        WeightsError: the file of weights of a stage is missing, damaged or of another network.
        MapError: the map is damaged, or holds descriptors of another model of that name.
    """
    # What made the features is not needed, nor need it be installed here: their type says how they are compared.
    registrar = Registrar(store.camera, None, settings.matching, settings.pnp)
    describer = MapDescriptor.of(store, settings.loops.descriptor, assets)
    of_map = (stages or Stages.chosen(settings.loops)).of_map(store, settings.loops)
    detector = LoopDetector(store, describer, registrar, settings.loops, live=live, stages=of_map)
    require_known(settings.loops.condition, detector.conditions, detector.models)
    return detector


def find_loops(
    store: MapStore,
    settings: LoopClosureSettings,
    assets: bytes | None = None,
    progress: Progress = iter,
    stages: Stages | None = None,
) -> LoopRun:
    """Search every keyframe of a map for loops and let the pose graph judge them.

    Global descriptors that are missing are stored in the map; closures, verdicts and poses are left to
    :func:`~vloc_ros.loop_closure.judgement.store_judgement` and ``apply_judgement``.

    Args:
        store: the map, open for writing.
        settings: of the search and of the graph.
        assets: weights or vocabulary of the descriptor; by default those of the map.
        progress: shows how far the search is.
        stages: that were made of the settings already; None to make them.

    Raises:
        ConfigError: the descriptor or a stage is unknown, or has no weights, or cannot be computed here; or none of them knows the
            condition of the settings.
        WeightsError: the file of weights of a stage is missing, damaged or of another network.
        MapError: the map is empty, damaged, or cannot be written.
        DataError: the graph cannot be solved.
    """
    detector = detector_for(store, settings, assets, live=False, stages=stages)
    keyframes = store.keyframes()
    found = list(_detections(detector, progress(keyframes)))
    candidates = [detection.candidate for detection in found if detection.candidate is not None]
    map_graph = graph_of_map(store, candidates)
    return LoopRun(
        descriptor=detector.descriptor_name,
        stages={} if detector.stages is None else detector.stages.names,
        fine_ms=_median([detection.fine_ms for detection in found if detection.fine_ms is not None]),
        rerank_ms=_median([detection.rerank_ms for detection in found if detection.rerank_ms is not None]),
        keyframes=tuple(keyframes),
        odometry=odometry_poses(map_graph.graph),
        judgement=judge(map_graph, settings.gnc, settings.labels, next_revision(store)),
        candidates={(candidate.a, candidate.b): candidate for candidate in candidates},
        rejections=tuple(rejection for detection in found for rejection in detection.rejections),
        claims=tuple(claim for claim in map(Claim.of, found) if claim is not None),
        counts=detector.counts,
        verifier=detector.verifier,
    )


def _detections(detector: LoopDetector, keyframes: Iterable[Keyframe]) -> Iterator[Detection]:
    for keyframe in keyframes:
        yield detector.process(keyframe)


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
