"""Watches a promoted model in the map: one that finds fewer of the loops that are to be expected is rolled back.

A loop is to be expected where the pose graph has an older keyframe of another part of the drive near and looking the same way.
What the graph says of a search is asked once, soon after it, and kept: later, loops that only one of the models finds would
improve the graph for one of them. Of a session that it joins nowhere the model before is asked
(:mod:`vloc_ros.calibration.second_opinion`).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vloc_ros.calibration.layout import Layout
from vloc_ros.calibration.rollback import Expectation, Outcome, RollbackMonitor, RollbackSettings, Watch
from vloc_ros.calibration.second_opinion import SecondOpinion, SecondOpinionSettings, unjoined_session
from vloc_ros.config import param, section
from vloc_ros.data.output import write_text
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_versions import (
    NO_VERSION,
    Switch,
    SwitchReason,
    ask_switch,
    number_before,
    number_in_use,
    pending_switch,
    switches,
)
from vloc_ros.mapping.searches import Search, searches_of
from vloc_ros.mapping.store import MapStore
from vloc_ros.pose_graph import Label

_log = logging.getLogger(__name__)
_FORMAT = "vloc watch 1"


@dataclass(frozen=True)
class WatchSettings:
    """How a promoted model is watched."""

    enabled: bool = param(True, "roll back a promoted model that does worse than the one before")
    reach: float = param(3.0, "a loop is to be expected where an older keyframe is so near", unit="m", min=0.1, max=100.0)
    heading: float = param(math.pi / 4, "and looks the same way, within this", unit="rad", min=0.0, max=math.pi)
    gap: float = param(20.0, "and was passed so much earlier, or in another session", unit="m", min=0.0, max=10000.0)
    before: int = param(2000, "newest searches of the model before that say what is to be expected", min=10, max=1000000)
    roll_back: RollbackSettings = section(RollbackSettings)
    unjoined: SecondOpinionSettings = section(SecondOpinionSettings)


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watch says now.

    Attributes:
        switch: the promotion that is watched.
        before: number of the version to go back to.
        watch: the figures; None when there is nothing to compare with.
        text: in a sentence.
        asked: the switch back, when it was asked for just now.
    """

    switch: Switch
    before: int
    watch: Watch | None
    text: str
    asked: Switch | None = None


class Expected:
    """The keyframes at which a loop is to be expected."""

    def __init__(self, layout: Layout, settings: WatchSettings) -> None:
        self._layout, self._settings = layout, settings
        self._session = np.array([id.session for id in layout.ids])
        self._number = np.array([id.keyframe for id in layout.ids])
        self._outliers = {
            frozenset((closure.a, closure.b)) for closure in layout.closures if closure.verdict.label is Label.OUTLIER
        }

    def at(self, id: KeyframeId) -> bool:
        """Whether a search for this keyframe should find one."""
        layout, row = self._layout, self._layout.row.get(id)
        if row is None:
            return False
        own = self._session == id.session
        older = (self._session < id.session) | (own & (self._number < id.keyframe))
        earlier = ~own | (layout.path_m[row] - layout.path_m > self._settings.gap)
        near = np.linalg.norm(layout.positions - layout.positions[row], axis=1) <= self._settings.reach
        rows = np.flatnonzero(older & earlier & near & (layout.component == layout.component[row]))
        return any(layout.turned(id, layout.ids[other]) <= self._settings.heading for other in rows.tolist())

    def found(self, search: Search) -> bool:
        """Whether a search found a loop that the pose graph does not reject."""
        return search.verified and frozenset((search.keyframe, search.partner)) not in self._outliers


class ModelWatch:
    """Looks at the map from time to time. It keeps what it saw in a file: a process that is killed goes on where it was."""

    def __init__(self, settings: WatchSettings, file: Path) -> None:
        """Nothing is read yet.

        Raises:
            DataError: a window has fewer than two stretches.
        """
        self._settings, self._file = settings, file
        RollbackMonitor(Expectation(0.5, 0.1, 10), settings.roll_back)
        self._switch: int | None = None
        self._monitor: RollbackMonitor | None = None
        self._judged: set[KeyframeId] = set()
        self._opinion: SecondOpinion | None = None

    def look(self, store: MapStore, layout_of: Callable[[MapStore], Layout] = Layout.of) -> Watched | None:
        """Count what was searched for since the last time, and ask for the roll-back when that is due.

        Args:
            store: the map, open for writing.
            layout_of: where its keyframes lie; only asked when there is something to count.

        Returns:
            None when no promoted model is in use, or another switch is on its way.

        Raises:
            MapError: the map is damaged or cannot be written.
            DataError: the graph cannot be solved, or the file not be written.
        """
        switch, before = self._promotion(store)
        if switch is None or before is None or not self._settings.enabled:
            return None
        assert switch.finished_ns is not None
        if self._switch != switch.number and not self._read(switch):
            self._begin(store, switch, before, Expected(layout_of(store), self._settings))
        monitor = self._monitor
        # a search of the version may lie in the past, from a time when it was in use already
        made = [search for search in by_time(searches_of(store, switch.version)) if search.searched_ns >= switch.finished_ns]
        new = [search for search in made if search.keyframe not in self._judged]
        asking = self._opinion is not None and not self._opinion.done
        if (new or asking) and (monitor is None or monitor.watch.outcome is Outcome.UNDECIDED):
            layout = layout_of(store)
            asked = self._ask_the_one_before(store, switch, before, layout, made)
            if asked is not None:
                return asked
            self._count(layout, new)
            self._write(switch)
        if monitor is None:
            least = 2 * self._settings.roll_back.stretch
            return Watched(switch, before, None, f"it is not watched: the model before had fewer than {least} loops to find")
        return self._decided(store, switch, before, monitor.watch)

    def _count(self, layout: Layout, searches: Sequence[Search]) -> None:
        """Take up new searches."""
        expected = Expected(layout, self._settings)
        for search in searches:
            self._judged.add(search.keyframe)
            if self._monitor is not None and expected.at(search.keyframe):
                self._monitor.observe(expected.found(search))

    def _ask_the_one_before(
        self, store: MapStore, switch: Switch, before: int, layout: Layout, searches: Sequence[Search]
    ) -> Watched | None:
        """Ask the model before about a session that nothing joins to the map; None when there is nothing to be asked."""
        session = unjoined_session(layout, searches, self._settings.unjoined.after)
        if session is None:
            self._opinion = None
            return None
        if self._opinion is None or self._opinion.session != session:
            ids = [search.keyframe for search in searches if search.keyframe.session == session]
            self._opinion = SecondOpinion(store, before, session, ids, self._settings.unjoined)
        opinion = self._opinion
        if opinion.done:
            return None
        opinion.ask()
        watch = None if self._monitor is None else self._monitor.watch
        if not opinion.decided:
            return Watched(switch, before, watch, str(opinion))
        figures = {"from": switch.version, "promotion": switch.number} | opinion.to_dict()
        back = ask_switch(store, before, SwitchReason.ROLLED_BACK, figures)
        _log.warning("the model version %d is rolled back: %s", switch.version, opinion)
        return Watched(switch, before, watch, str(opinion), back)

    def _decided(self, store: MapStore, switch: Switch, before: int, watch: Watch) -> Watched:
        text = f"{watch.outcome.value} after {watch.queries} loops to be found"
        if watch.share is not None:
            text += f": {watch.share:.1%} were found, {watch.expected:.1%} before"
        if watch.outcome is not Outcome.ROLL_BACK:
            return Watched(switch, before, watch, text)
        figures = {"from": switch.version, "promotion": switch.number} | watch.to_dict()
        asked = ask_switch(store, before, SwitchReason.ROLLED_BACK, figures)
        _log.warning("the model version %d is rolled back: %s", switch.version, text)
        return Watched(switch, before, watch, text, asked)

    def _promotion(self, store: MapStore) -> tuple[Switch | None, int | None]:
        """The promotion that made the version in use, and the version before it."""
        with store.database.snapshot():
            finished = [switch for switch in switches(store) if switch.finished_ns is not None]
            if not finished or pending_switch(store) is not None:
                return None, None
            newest = finished[-1]
            promoted = newest.reason is SwitchReason.PROMOTED and newest.version == number_in_use(store) != NO_VERSION
            return (newest, number_before(store)) if promoted else (None, None)

    def _begin(self, store: MapStore, switch: Switch, before: int, expected: Expected) -> None:
        """What is to be expected, from the searches of the model before up to the switch."""
        assert switch.finished_ns is not None
        earlier = [search for search in by_time(searches_of(store, before)) if search.searched_ns < switch.finished_ns]
        counted = [search for search in earlier[-self._settings.before :] if expected.at(search.keyframe)]
        found = [expected.found(search) for search in counted]
        self._switch, self._judged, self._monitor, self._opinion = switch.number, set(), None, None
        if len(found) >= 2 * self._settings.roll_back.stretch:
            expectation = Expectation.of(found, self._settings.roll_back.stretch)
            self._monitor = RollbackMonitor(expectation, self._settings.roll_back)
        self._write(switch)

    def _read(self, switch: Switch) -> bool:
        """Take up the watch over a promotion from the file; False when that is of another, or cannot be read."""
        try:
            values = json.loads(self._file.read_text(encoding="utf-8"))
            if values["format"] != _FORMAT or values["promotion"] != _named(switch):
                return False
            stored = values["monitor"]
            monitor = None if stored is None else RollbackMonitor.from_dict(stored, self._settings.roll_back)
            judged = {KeyframeId.parse(name) for name in values["judged"]}
        except FileNotFoundError:
            return False
        except Exception as error:  # whatever is wrong with it: the map has it all, and the watch begins anew
            _log.warning("%s cannot be read, and the watch over the model begins anew: %r", self._file, error)
            return False
        self._switch, self._monitor, self._judged, self._opinion = switch.number, monitor, judged, None
        return True

    def _write(self, switch: Switch) -> None:
        values: dict[str, Any] = {
            "format": _FORMAT,
            "promotion": _named(switch),
            "monitor": None if self._monitor is None else self._monitor.to_dict(),
            "judged": [str(id) for id in sorted(self._judged)],
        }
        write_text(self._file, json.dumps(values) + "\n")


def by_time(searches: Sequence[Search]) -> list[Search]:
    """Searches in the order in which they were made."""
    return sorted(searches, key=lambda search: (search.searched_ns, search.keyframe))


def _named(switch: Switch) -> list[int]:
    """A switch, also told from one of another map."""
    return [switch.number, switch.version, switch.asked_ns]
