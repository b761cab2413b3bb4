"""What the calibration node does between its topics: begins calibrations, sees them through, and watches what they promoted.

Imports no ROS. The topics only say that there may be something new; what counts is in the map.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vloc_ros.calibration.lateness import Lateness
from vloc_ros.calibration.node_memory import NodeMemory
from vloc_ros.calibration.settings import CalibrationSettings
from vloc_ros.calibration.supervisor import Ending, JobOutcome, Pause, Supervisor
from vloc_ros.calibration.watch import ModelWatch, Watched
from vloc_ros.config import to_dict
from vloc_ros.data.output import write_text
from vloc_ros.errors import ConfigError, MapError, VlocError
from vloc_ros.mapping import MapStore
from vloc_ros.ros.calibration_map import MapLabels, ModelState, promote, read_labels
from vloc_ros.ros.calibration_settings import CalibrationNodeSettings
from vloc_ros.ros.problems import Problem, Problems

_SETTLE_S, _READ_S = 1.0, 10.0
_MODEL_S = 1.0


class CalibrationKeeper:
    """Belongs to one thread, as the map does. Everything but the training is done in it."""

    def __init__(
        self,
        settings: CalibrationNodeSettings,
        calibration: CalibrationSettings,
        problems: Problems,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take up the work where it was left; the map is opened when there is one.

        Raises:
            ConfigError: no map is named.
            DataError: a setting of the watch makes no sense.
        """
        if not settings.map:
            raise ConfigError("no map is named; set the parameter 'map', for example map:=site.vloc")
        self.settings, self._calibration, self._problems, self._clock = settings, calibration, problems, clock
        self.path = Path(settings.map).expanduser()
        self.work = Path(settings.work).expanduser() if settings.work else self.path.with_suffix(".calibration")
        self.memory = NodeMemory.read(self.work)
        self.lateness = Lateness(settings.late)
        self.labels = MapLabels()
        self.model: ModelState | None = None
        self.watched: Watched | None = None
        self.promotion = ""
        """What came of the last version that won, in a sentence."""
        self._watch = ModelWatch(settings.watch, self.work / "watch.json")
        self._store: MapStore | None = None
        self._outcome: JobOutcome | None = None
        self._heard_at: float | None = None
        self._changed_at = self._ended_at = self._read_at = self._model_at = self._watched_at = float("-inf")
        self.supervisor = Supervisor(settings.supervisor)
        if self.memory.paused:
            self.supervisor.pause(Pause.USER)

    def tune(self, settings: CalibrationNodeSettings) -> None:
        """Take over the live ones of other settings; a calibration that runs goes on under them."""
        self.settings = settings
        self.lateness.tune(settings.late)
        self.supervisor.tune(settings.supervisor.budget)

    def program(self) -> list[str]:
        """The trainer's executable and arguments for the job at hand."""
        folder = self.memory.job_folder
        base = ["--base", str(Path(self.settings.base).expanduser())] if self.settings.base else []
        files = ["--map", str(self.path), "--work", str(folder), "--settings", str(folder / "settings.json"), *base]
        # eager: how far it gives way is a setting of the supervisor, and was seen to when it was started
        return [sys.executable, "-m", "vloc_ros.calibration.child", "--eager", *files]

    def labelled(self) -> None:
        """The pose graph has labelled something."""
        self._heard_at = self._clock()

    def odometry(self, stamp_ns: int, now_ns: int) -> None:
        """The localisation has finished a frame with this stamp; ``now_ns`` is of the same clock."""
        self.lateness.heard(stamp_ns, now_ns, self._clock())
        if not self.lateness.comparable:
            lag = self.lateness.lag_s
            self._problems.report(
                Problem.BAD_STAMP,
                f"odometry is stamped {lag:.0f} s before the clock, so nobody can tell if it is late: is use_sim_time to be set?",
            )
        else:
            self._problems.clear(Problem.BAD_STAMP)
        self._make_room()

    def _make_room(self) -> None:
        if self.lateness.late(self._clock()):
            self.supervisor.pause(Pause.LATE)
        else:
            self.supervisor.resume(Pause.LATE)

    def turn(self) -> ModelState | None:
        """Whatever is due; never waits for the training.

        Returns:
            What is to be published about the model; None when that has not changed.
        """
        self._make_room()
        self._guarded(self._see_through, Problem.WORK_FOLDER)
        store = self._ready()
        if store is None:
            return None
        self._guarded(lambda: self._look(store), Problem.MAP)
        self._guarded(self._begin_if_due, Problem.WORK_FOLDER)
        return self._new_model(store)

    def _guarded(self, step: Callable[[], None], problem: Problem) -> None:
        try:
            step()
        except VlocError as error:
            self._problems.report(problem, str(error))
        else:
            self._problems.clear(problem)

    def _ready(self) -> MapStore | None:
        if self._store is None and self.path.exists():
            try:
                self._store = MapStore.open(self.path)
            except MapError as error:
                self._problems.report(Problem.MAP, str(error))
        return self._store

    def _look(self, store: MapStore) -> None:
        """Read the labels after there were messages, and from time to time; and look after the promoted model."""
        now = self._clock()
        settled = self._heard_at is not None and now - self._heard_at >= _SETTLE_S
        if settled or now - self._read_at >= _READ_S:
            self._heard_at, self._read_at = None, now
            before, self.labels = self.labels, read_labels(store, self.labels)
            if before.decided is not None and before.decided != self.labels.decided:
                self._changed_at = now
        if now - self._watched_at >= self.settings.watch_period:
            self._watched_at = now
            seen = self._watch.look(store)
            self.watched = seen if seen is not None or self.watched is None else self._last_watched(store)

    def _last_watched(self, store: MapStore) -> Watched | None:
        """What is watched no longer because of the watch itself stays to be read, until something else is promoted."""
        assert self.watched is not None
        return self.watched if self.watched.asked is not None else None

    @property
    def news(self) -> int:
        """Labels that are new or have changed since the last calibration."""
        return 0 if self.labels.decided is None else self.memory.news(self.labels.decided)

    def why_not(self) -> str:
        """Why no calibration begins by itself now, in a sentence; empty when one is due."""
        trigger, now = self.settings.trigger, self._clock()
        if self.supervisor.busy or self.memory.running:
            return "one is running"
        if not trigger.automatic:
            return "it begins only when the service trigger is called"
        if self.memory.paused:
            return "somebody asked for a pause"
        if self.news < trigger.labels:
            return f"{self.news} of {trigger.labels} labels are new"
        if now - self._changed_at < trigger.quiet or self._heard_at is not None:
            return "labels are still coming"
        if now - self._ended_at < trigger.rest:
            return f"the last one ended {now - self._ended_at:.0f} s ago, and {trigger.rest:g} s lie between two"
        return ""

    def _begin_if_due(self) -> None:
        if self.memory.running and not self.supervisor.busy:
            self._start()  # this process was killed, or cleaned up, before the job had ended
        elif not self.why_not():
            self.memory.begin(self.labels.decided or {})
            self._start()

    def _start(self) -> None:
        folder = self.memory.job_folder
        write_text(folder / "settings.json", json.dumps(to_dict(self._calibration), indent=1) + "\n")
        self.supervisor.start(self.program(), folder / "trainer.log")

    def trigger(self) -> str:
        """Begin a calibration now; what will happen, in a sentence.

        Raises:
            VlocError: one is running, there is no map, or the work folder cannot be written.
        """
        if self.supervisor.busy or self.memory.running:
            raise VlocError(f"the calibration {self.memory.job} is running already; its progress is in /diagnostics")
        store = self._ready()
        if store is None:
            raise VlocError(f"there is no map at {self.path} to calibrate yet")
        self.labels = read_labels(store, self.labels)
        self.memory.begin(self.labels.decided or {})
        self._start()
        held = ", and waits until ~/resume is called" if self.memory.paused else ""
        return f"the calibration {self.memory.job} begins, of {len(self.labels.decided or {})} labels{held}"

    def pause(self, wanted: bool) -> str:
        """Let the trainer stand still, or go on; also when this node is started again. What happened, in a sentence.

        Raises:
            DataError: that cannot be remembered.
        """
        self.memory.paused = wanted
        (self.supervisor.pause if wanted else self.supervisor.resume)(Pause.USER)
        self.memory.write()
        others = [pause.value for pause in self.supervisor.status.pauses if pause is not Pause.USER]
        if wanted:
            return "the trainer stands still until ~/resume is called"
        return f"the trainer goes on when it may: {'; '.join(others)}" if others else "the trainer goes on"

    def active(self, yes: bool) -> None:
        """The node is active, or no longer so."""
        (self.supervisor.resume if yes else self.supervisor.pause)(Pause.INACTIVE)

    def _see_through(self) -> None:
        """Take what the trainer ended with; what cannot be done with it now is tried again at the next turn."""
        self._outcome = self._outcome or self.supervisor.poll()
        if self._outcome is None:
            return
        outcome = self._outcome
        if outcome.ending is Ending.DONE and outcome.values.get("promote"):
            self.promotion = self._promote(outcome.values)
        result = self._result(outcome)
        self.memory.end(result, learned=outcome.ending is Ending.DONE)
        self._outcome, self._ended_at, self._model_at = None, self._clock(), float("-inf")
        if outcome.ending is Ending.DONE:
            self._problems.clear(Problem.TRAINER)
        else:
            self._problems.report(Problem.TRAINER, f"the calibration {self.memory.job} failed: {outcome.text}")

    def _promote(self, values: dict[str, Any]) -> str:
        store = self._ready()
        if store is None:
            raise MapError(f"the map {self.path} is gone, and with it the version {values['version']} that won")
        if not self.settings.promote:
            return f"version {values['version']} won, and waits for `vloc models promote` (promote is false)"
        return promote(store, int(values["version"]), values.get("decision"))

    def _result(self, outcome: JobOutcome) -> dict[str, Any]:
        ended = {"job": self.memory.job, "ending": outcome.ending.value, "text": outcome.text, "ended_ns": time.time_ns()}
        promotion = self.promotion if outcome.values.get("promote") else ""
        return {**outcome.values, **ended, "promotion": promotion}

    def _new_model(self, store: MapStore) -> ModelState | None:
        now = self._clock()
        if now - self._model_at < _MODEL_S:
            return None
        self._model_at = now
        try:
            found = ModelState.of(store)
        except VlocError as error:
            self._problems.report(Problem.MAP, str(error))
            return None
        changed, self.model = found != self.model, found
        return found if changed else None

    def close(self) -> None:
        """End the trainer and close the map; a job that runs goes on when the node is configured again."""
        self.supervisor.close()
        store, self._store = self._store, None
        if store is not None:
            store.close()
