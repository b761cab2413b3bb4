"""A calibration, from the labels of a map to a new version of its place recognition: mine, train, judge, store.

Killed at any moment, the same call goes on: the tuples are mined again unless the work folder has them, the training goes on at
its last check point, and the version is written to the map in one transaction at the very end. A version is stored whether it won
its promotion test or not, with the decision; who uses it is not decided here.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vloc_ros.calibration.base import Base, base_of
from vloc_ros.calibration.held_out import HeldOutPlaces, held_out_places
from vloc_ros.calibration.judging import Judgement, JudgingSettings, answer, describe_keyframes, judge_models
from vloc_ros.calibration.layout import Layout
from vloc_ros.calibration.mining import miner_for
from vloc_ros.calibration.plan import Plan, key_of, read_plan, stands, write_plan
from vloc_ros.calibration.promotion import Decision
from vloc_ros.calibration.refusals import blank, distrust, too_few_places
from vloc_ros.calibration.settings import CalibrationSettings
from vloc_ros.calibration.stage import Progress, Stage, untold
from vloc_ros.calibration.stretches import Split, split_route
from vloc_ros.calibration.tuning import train_plan
from vloc_ros.data.weights import WeightsCard, load_weights
from vloc_ros.errors import TrainingError
from vloc_ros.evaluation.calibration_report import write_calibration_report
from vloc_ros.mapping.closures import Closure
from vloc_ros.mapping.images import keyframes_with_image
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_versions import ModelVersion, add_version, name_of, set_probability, versions
from vloc_ros.mapping.model_versions import version as find_version
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.training_tuples import tuples_of, withdraw_stale
from vloc_ros.networks.availability import require_torch
from vloc_ros.retrieval.contract import create_descriptor
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.training.run_state import only_writer

_log = logging.getLogger(__name__)
_NO_BASE = "there are no weights to begin with: name a file with --base, as `vloc train places` writes it"
_NO_TUPLES = "mining found no tuples with images where the route may be trained on: drive more of the route again"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What came of a calibration: a version with its decision, or a reason why there is none.

    Attributes:
        version: in the map.
        decision: of its promotion test.
        report: the page about it; its numbers are beside it, with the suffix ``.json``.
        refusal: a sentence; None when there is a version.
    """

    version: ModelVersion | None = None
    decision: Decision | None = None
    report: Path | None = None
    refusal: str | None = None

    @property
    def won(self) -> bool:
        """Whether the version is better than what is in use, as far as can be told."""
        return self.decision is not None and self.decision.promote

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the version by ``version`` (number), ``name`` and ``sha256``, ``promote``, the ``decision``, the
        ``reasons`` against it in words, whether it has a ``probability``, and the paths and sentences.
        """
        version, decision = self.version, self.decision
        return {
            "version": None if version is None else version.number,
            "name": None if version is None else version.name,
            "sha256": None if version is None else version.card.sha256,
            "probability": version is not None and version.probability is not None,
            "promote": self.won,
            "decision": None if decision is None else decision.to_dict(),
            "reasons": [] if decision is None else [reason.value for reason in decision.reasons],
            "report": None if self.report is None else str(self.report),
            "refusal": self.refusal,
        }


def calibrate(
    map_path: Path, work: Path, base: Path | None, settings: CalibrationSettings, progress: Progress = untold
) -> Calibrated:
    """Calibrate the place recognition of a map.

    Args:
        map_path: the map, with loop closures that a pose graph has labelled, and images.
        work: folder of the work, of this map alone, where it goes on when it was killed.
        base: file of weights to begin with; by default the version in use, else what comes with vloc_ros.
        settings: all of them.
        progress: told how far it is.

    Raises:
        ConfigError: torch is not there, or settings do not fit the network.
        MapError: the map is damaged, or cannot be written.
        DataError: the graph cannot be solved, or a file not be written.
        WeightsError: the weights to begin with are damaged, or of something else.
        TrainingError: a loss is not finite, or another process works in the folder.
        KeyboardInterrupt: it was interrupted, after a check point; the same call goes on.
    """
    require_torch("a calibration")
    with only_writer(work), MapStore.open(map_path) as store:
        begin = base_of(store, base, work)
        if begin is None:
            return Calibrated(refusal=_NO_BASE)
        return _Run(store, work, begin, settings, progress).run()


class _Run:
    """One calibration of an open map."""

    def __init__(self, store: MapStore, work: Path, base: Base, settings: CalibrationSettings, progress: Progress) -> None:
        self._store, self._work, self._base = store, work, base
        self._settings, self._progress = settings, progress

    def run(self) -> Calibrated:
        settings = self._settings
        self._progress(Stage.MINING, 0.0, {})
        layout = Layout.of(self._store, settings.gnc)
        refusal = distrust(self._store, layout, settings) or blank(self._store, layout)
        if refusal is not None:
            return Calibrated(refusal=refusal)
        split = split_route(layout, settings.stretches)
        refusal = too_few_places(self._places(layout, split, ()), settings.promotion)
        if refusal is not None:
            return Calibrated(refusal=refusal)
        plan = self._plan(split)
        self._progress(Stage.MINING, 1.0, {"tuples": len(plan.tuples.tuples), "pairs": len(plan.tuples.pairs)})
        if not plan.tuples.tuples:
            return Calibrated(refusal=_NO_TUPLES)
        self._progress(Stage.TRAINING, 0.0, {})
        try:
            weights = train_plan(self._store, plan, self._base.path, self._work, settings, self._progress)
        except TrainingError as error:
            return Calibrated(refusal=f"the training failed: {error}")
        self._progress(Stage.TRAINING, 1.0, {})
        return self._judge_and_store(layout, split, plan, weights)

    def _places(self, layout: Layout, split: Split, trained: Sequence[KeyframeId]) -> HeldOutPlaces:
        settings = self._settings
        usable = keyframes_with_image(self._store)
        reach = settings.stretches.radius
        return held_out_places(layout, split, usable, settings.held_out, settings.promotion.stretch, trained, reach)

    def _plan(self, split: Split) -> Plan:
        """What the work folder says is learned from, as long as it holds; else what is mined now."""
        key, plan = key_of(self._settings, self._base.card.sha256), read_plan(self._work)
        if plan is not None and plan.key == key:
            with self._writing(Stage.MINING, 0.0):
                withdraw_stale(self._store)
            if stands(plan, tuples_of(self._store)):
                return plan
            _log.info("labels that tuples were mined from have changed: the work in %s begins anew", self._work)
        miner = miner_for(self._store, self._settings.mining, self._settings.descriptor, solver=self._settings.gnc)
        mined = miner.mine_into_map(
            self._mined,
            writing=lambda: self._writing(Stage.MINING, 1.0),
            among=lambda layout: split_route(layout, self._settings.stretches).training,
        )
        tuples = split.training_tuples(mined.tuples).within(keyframes_with_image(self._store))
        if not self._settings.learning.pairs:
            tuples = dataclasses.replace(tuples, pairs=())
        plan = Plan(key, mined.revision, tuples)
        write_plan(self._work, plan)
        return plan

    def _mined(self, closures: Sequence[Closure]) -> Iterator[Closure]:
        for number, closure in enumerate(closures):
            self._progress(Stage.MINING, number / len(closures), {"closures": len(closures)})
            yield closure

    @contextmanager
    def _writing(self, stage: Stage, share: float) -> Iterator[None]:
        self._progress(stage, share, {"writing": True})
        try:
            yield
        finally:
            self._progress(stage, share, {"writing": False})

    def _judge_and_store(self, layout: Layout, split: Split, plan: Plan, weights: Path) -> Calibrated:
        _, card = load_weights(weights)
        if card.sha256 == self._base.card.sha256:
            return Calibrated(refusal="the training changed nothing: take more epochs, or a larger training.learning_rate")
        known = next((version for version in versions(self._store) if version.card.sha256 == card.sha256), None)
        name = name_of_next(self._store) if known is None else known.name
        report = self._work / f"{name}.html"
        if known is not None and known.decision is not None:
            return Calibrated(known, Decision.from_dict(known.decision), report if report.is_file() else None)
        places = self._places(layout, split, plan.tuples.keyframes)
        refusal = too_few_places(places, self._settings.promotion)
        if refusal is not None:
            return Calibrated(refusal=refusal)
        judged = self._judge(places, weights, name)
        title = f"Calibration of {self._store.path.name}"
        write_calibration_report(report, title, judged.before, judged.after, judged.decision, bins=self._settings.promotion.bins)
        version, decision = self._store_version(weights, card, judged)
        return Calibrated(version, decision, report)

    def _judge(self, places: HeldOutPlaces, weights: Path, name: str) -> Judgement:
        """Both models on the held-out places."""
        settings = self._settings
        judging = JudgingSettings(settings.held_out, settings.probability, settings.promotion, settings.training.seed)
        before = MapDescriptor.of(self._store, settings.descriptor).descriptor
        answered = []
        for number, descriptor in enumerate((before, create_descriptor(str(weights)))):

            def told(count: int, number: int = number) -> None:
                self._progress(Stage.EVALUATING, (number + count / len(places.database)) / 2.0, {"queries": len(places.queries)})

            described = describe_keyframes(self._store, descriptor, places.database, told)
            answered.append(answer(places, *described, judging))
        in_use = before.card.name
        attempt = 1 + sum(
            version.decision is not None and version.decision.get("before") == in_use for version in versions(self._store)
        )
        return judge_models(places, (in_use, answered[0]), (name, answered[1]), judging, attempt)

    def _store_version(self, weights: Path, card: WeightsCard, judged: Judgement) -> tuple[ModelVersion, Decision]:
        decision, fitted = judged.decision, judged.fitted
        probability = None if fitted.probability is None else fitted.probability.to_dict()
        base = self._base
        notes = "" if fitted.refusal is None else f"no probability of a match: {fitted.refusal.value}"
        card = dataclasses.replace(card, parent=base.card.sha256, licence=base.card.licence, results=str(decision), notes=notes)
        content = weights.read_bytes()
        with self._writing(Stage.STORING, 0.0):
            version = add_version(
                self._store, content, card, parent=base.parent, probability=probability, decision=decision.to_dict()
            )
            if version.name != decision.after:
                decision = dataclasses.replace(decision, after=version.name)  # somebody else has stored a version meanwhile
            if version.decision != decision.to_dict() and probability is not None:
                set_probability(self._store, version.number, probability, decision.to_dict())
        self._progress(Stage.STORING, 1.0, {"version": version.number, "name": version.name})
        return find_version(self._store, version.number), decision


def name_of_next(store: MapStore) -> str:
    """What the next version will be called, if nobody is faster."""
    return name_of(max((version.number for version in versions(store)), default=0) + 1)
