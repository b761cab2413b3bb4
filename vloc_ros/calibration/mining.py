"""Training tuples from the labels of the pose graph.

The robust graph is the teacher (Lajoie and Beltrame, "Self-Supervised Domain Calibration and Uncertainty Estimation for Place
Recognition", RA-L 2023): closures that it believes in give an anchor and a positive, those that it rejects give pairs of places
that only look alike, and where it is undecided nothing is learned. Negatives are the keyframes that the present descriptor finds
most similar although they are elsewhere.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from vloc_ros.calibration.exclusion import PUBLISHED_EXCLUSION, Exclusion, ExclusionSettings
from vloc_ros.calibration.layout import Layout
from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.config import param, section
from vloc_ros.errors import MapError
from vloc_ros.loop_closure.verifier import Candidate, LoopVerifier, VerificationSettings
from vloc_ros.mapping.closures import Closure
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.registration import Registrar
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.training_tuples import TupleOrigin, replace_tuples
from vloc_ros.pose_graph import GncSettings, Label
from vloc_ros.retrieval.index import DescriptorIndex
from vloc_ros.retrieval.of_map import MapDescriptor

_log = logging.getLogger(__name__)
Progress = Callable[[Sequence[Closure]], Iterable[Closure]]
Among = Callable[[Layout], Collection[KeyframeId]]
Writing = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class MiningSettings:
    """What is made of the labels."""

    tuples: int = param(500, "tuples and outlier pairs, at most of each, evenly chosen; they cost time", min=1, max=1000000)
    negatives: int = param(10, "negatives of a tuple, at most", min=1, max=1000)
    attempts: int = param(40, "keyframes that geometry compares with an anchor in search of negatives, at most", min=1, max=100000)
    outliers_apart: bool = param(
        True, "an outlier whose keyframes the optimised graph has near each other gives no pair: its pose is wrong, not its place"
    )
    exclusion: ExclusionSettings = section(ExclusionSettings)
    verification: VerificationSettings = section(VerificationSettings)


PUBLISHED_MINING: dict[str, Any] = {
    "tuples": 1000000,
    "negatives": 10,
    "outliers_apart": False,
    "exclusion": PUBLISHED_EXCLUSION,
    "verification": {"min_inliers": 6, "min_ratio": 0.0},
}
"""The published values (source_systems 2.3, 2.4), in place of our defaults."""


@dataclass(frozen=True, slots=True)
class Mined:
    """What came of the labels of a map.

    Attributes:
        tuples: tuples and pairs, ordered by anchor and positive (query and negative), all of one revision.
        revision: of the pose graph that they were mined from.
        counts: closures by label, and what was left out by reason: ``without_negatives`` (inliers), ``near_outliers``,
            ``unmatched_pairs`` (pairs of keyframes that geometry told apart) and ``matched_pairs`` (those that it could not).
    """

    tuples: TupleSet
    revision: int
    counts: Counter[str]


class Miner:
    """Mines a map again and again as its pose graph grows. What geometry said of a pair is remembered: it never changes."""

    def __init__(
        self,
        store: MapStore,
        describer: MapDescriptor,
        registrar: Registrar,
        settings: MiningSettings,
        solver: GncSettings | None = None,
    ) -> None:
        """Take what it needs.

        Args:
            store: the map.
            describer: the descriptor by which negatives are hard: the one that is to be tuned.
            registrar: matches and solves; of the map's camera and features.
            settings: of mining.
            solver: of the graph that says what is far.
        """
        self._store = store
        self._describer = describer
        self._settings = settings
        self._solver = solver
        self._verifier = LoopVerifier(store, registrar, settings.verification)
        self._index: DescriptorIndex[KeyframeId] = DescriptorIndex(describer.descriptor.card.dimension)
        self._unlike: dict[tuple[KeyframeId, KeyframeId], bool] = {}

    def mine(self, progress: Progress = iter, among: Among | None = None) -> Mined:
        """The tuples and pairs of the labels as they stand now; the map is not changed.

        Args:
            progress: shows how far it is.
            among: says which keyframes may be named; all by default.

        Raises:
            MapError: the map is empty or damaged, or has no images and the descriptor needs them.
            DataError: the graph cannot be solved.
        """
        layout = Layout.of(self._store, self._solver)
        self._describe(layout)
        counts = Counter({label.value: 0 for label in Label})
        counts.update(closure.verdict.label.value for closure in layout.closures)
        exclusion = Exclusion(self._settings.exclusion, layout.inliers, layout)
        named = frozenset(layout.ids if among is None else among(layout))
        tuples, pairs = [], []
        for closure in progress(self._chosen(layout.closures, named)):
            if closure.verdict.label is Label.INLIER:
                negatives = tuple(self._negatives(closure, named, exclusion))
                if negatives:
                    weight = min(1.0, closure.verdict.weight)
                    tuples.append(TrainingTuple(closure.b, closure.a, negatives, weight, layout.revision))
                else:
                    counts["without_negatives"] += 1
            elif self._settings.outliers_apart and self._may_be_one_place(closure, layout):
                counts["near_outliers"] += 1
            else:
                pairs.append(OutlierPair(closure.b, closure.a, 1.0 - closure.verdict.weight, layout.revision))
        counts["unmatched_pairs"] = sum(self._unlike.values())
        counts["matched_pairs"] = len(self._unlike) - counts["unmatched_pairs"]
        tuples.sort(key=lambda item: (item.anchor, item.positive))
        pairs.sort(key=lambda pair: (pair.query, pair.negative))
        return Mined(TupleSet(tuple(tuples), tuple(pairs)), layout.revision, counts)

    def mine_into_map(
        self, progress: Progress = iter, tries: int = 3, writing: Writing = nullcontext, among: Among | None = None
    ) -> Mined:
        """Mine, and put the result in the place of what the map holds; again when the pose graph has moved on meanwhile.

        Args:
            progress: shows how far it is.
            tries: so often.
            writing: entered while the map is written.
            among: says which keyframes may be named; all by default.

        Raises:
            MapError: as :meth:`mine`; the map cannot be written; or the pose graph moved on at every try.
            DataError: the graph cannot be solved.
        """
        for _ in range(tries):
            mined = self.mine(progress, among)
            with writing():
                stored = replace_tuples(self._store, mined.tuples, mined.revision, TupleOrigin.LABELS)
            if stored:
                return mined
            _log.info("%s: the pose graph moved on from revision %d while it was mined", self._store.path, mined.revision)
        raise MapError(
            f"the pose graph of the map {self._store.path} moved on {tries} times while it was mined: mine when it rests"
        )

    def _chosen(self, closures: Sequence[Closure], named: Collection[KeyframeId]) -> list[Closure]:
        """The inliers and outliers that something is made of, in order: of each label at most so many, evenly chosen."""
        rows = []
        for label in (Label.INLIER, Label.OUTLIER):
            of_label = [row for row, one in enumerate(closures) if one.verdict.label is label and one.a in named and one.b in named]
            count = min(self._settings.tuples, len(of_label))
            rows += [of_label[k * len(of_label) // count] for k in range(count)]
        return [closures[row] for row in sorted(rows)]

    def _describe(self, layout: Layout) -> None:
        """Keep the index as the map is: keyframes come as the robot drives, and go by pruning."""
        for id in self._index.ids:
            if id not in layout.row:
                self._index.remove(id)
        new = [id for id in layout.ids if id not in self._index]
        made = self._describer.index(self._store, new)
        self._index.add_many(*made.snapshot())

    def _negatives(self, closure: Closure, named: Collection[KeyframeId], exclusion: Exclusion) -> Iterator[KeyframeId]:
        """The most similar keyframes of other places that geometry does not match with the anchor."""
        anchor = closure.b
        around = exclusion.around(anchor, closure.a)
        wanted = self._settings.attempts
        found = self._index.search(
            self._index.vector(anchor), wanted, lambda other: other in named and not exclusion.excludes(around, other)
        )
        count = 0
        for other, score in found:
            if self._is_unlike(other, anchor, score):
                yield other
                count += 1
                if count == self._settings.negatives:
                    return

    def _is_unlike(self, other: KeyframeId, anchor: KeyframeId, score: float) -> bool:
        """Whether geometry tells two keyframes apart: it fails, and not only because the pose that many agree on is odd."""
        # Always the same way round: what is mined must not depend on what was mined before.
        pair = (min(other, anchor), max(other, anchor))
        if pair not in self._unlike:
            outcome = self._verifier.verify(*pair, score)
            few = outcome.inliers < self._settings.verification.min_inliers
            self._unlike[pair] = few and not isinstance(outcome, Candidate)
        return self._unlike[pair]

    def _may_be_one_place(self, closure: Closure, layout: Layout) -> bool:
        """An outlier says that a relative pose is wrong. Only what lies apart is also known to be two places."""
        return not layout.distance(closure.a, closure.b) > self._settings.exclusion.distance


def miner_for(
    store: MapStore,
    settings: MiningSettings,
    descriptor: str = "auto",
    assets: bytes | None = None,
    registrar: Registrar | None = None,
    solver: GncSettings | None = None,
) -> Miner:
    """A miner for the camera and the features of a map.

    Raises:
        ConfigError: the descriptor is unknown, or has no weights.
        MapError: the map is damaged.
    """
    from vloc_ros.features import MatchSettings
    from vloc_ros.geometry.pnp import PnpSettings

    # What made the features is not needed: their type says how they are compared.
    matcher = registrar or Registrar(store.camera, None, MatchSettings(), PnpSettings())
    return Miner(store, MapDescriptor.of(store, descriptor, assets), matcher, settings, solver)
