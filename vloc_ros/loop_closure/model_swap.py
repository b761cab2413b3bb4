"""Follows the model version that a map asks for: describes the keyframes with it little by little, then lets it search.

The map alone says which version is wanted, so nothing is lost when this process dies: what is described stays, the switch is
finished in one transaction of the map, and until then the model before it answers every search.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from vloc_ros.errors import VlocError
from vloc_ros.loop_closure.detector import LoopDetector
from vloc_ros.loop_closure.proposer import Proposer
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.model_versions import finish_switch, name_of, pending_switch
from vloc_ros.retrieval.automatic import AUTO, automatic_name
from vloc_ros.retrieval.of_map import SITE, MapDescriptor
from vloc_ros.retrieval.redescribe import redescribe

_log = logging.getLogger(__name__)
_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The model that the map asks for.

    Attributes:
        name: of its descriptors, or ``site-0`` for what the map had before its first version.
        switch: number of the switch that waits to be finished for it, None when it took effect already.
    """

    name: str
    switch: int | None


@dataclass(frozen=True, slots=True)
class SwapState:
    """How far the way to another model is.

    Attributes:
        wanted: name of the model on its way; empty when the one that searches is the one that is wanted.
        left: keyframes that it has yet to describe; None before the first were.
        swaps: how often another model has taken over.
        problem: why it does not go on, empty when it does.
    """

    wanted: str = ""
    left: int | None = None
    swaps: int = 0
    problem: str = ""


class ModelSwap:
    """Brings a detector to the model that its map asks for, between keyframes and a portion at a time."""

    def __init__(self, descriptor: str, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Follow the map.

        Args:
            descriptor: that the user asked for; one that is neither ``auto`` nor ``site`` is kept whatever the map says.
            at_once: keyframes of one portion.
            clock: [s].
        """
        self.follows = descriptor in (AUTO, SITE)
        self._at_once, self._clock = at_once, clock
        self._describer: MapDescriptor | None = None
        self._called = ""
        self._paused_until = -float("inf")
        self.state = SwapState()

    def turn(self, store: MapStore, detector: LoopDetector) -> bool:
        """Do a portion; True while there is more to do at once.

        What fails is kept as :attr:`SwapState.problem` and tried again some seconds later; the detector stays as it is.
        """
        if not self.follows or self._clock() < self._paused_until:
            return False
        try:
            return self._turn(store, detector)
        except VlocError as error:
            self._paused_until = self._clock() + _PAUSE_S
            self._forget()
            self.state = SwapState(self.state.wanted, self.state.left, self.state.swaps, str(error))
            return False

    def _turn(self, store: MapStore, detector: LoopDetector) -> bool:
        wanted = _wanted(store)
        if wanted.switch is None and wanted.name == detector.card.name:
            detector.proposer.look_up()
            self._forget()
            self.state = SwapState(swaps=self.state.swaps)
            return False
        self.state = SwapState(wanted.name, self.state.left if self._called == wanted.name else None, self.state.swaps)
        describer = self._describer_of(store, wanted.name)
        left = redescribe(store, describer, self._at_once)
        self.state = SwapState(wanted.name, left, self.state.swaps)
        if left:
            return True
        if wanted.switch is not None and not finish_switch(store, wanted.switch):
            return True  # somebody asked for another one, or a keyframe has come
        detector.propose_with(Proposer(store, describer))
        self._forget()
        self.state = SwapState(swaps=self.state.swaps + 1)
        _log.info("%s: %s searches from now on", store.path, describer.descriptor.card.name)
        return False

    def _describer_of(self, store: MapStore, name: str) -> MapDescriptor:
        """The model of that name, loaded once."""
        if self._describer is None or self._called != name:
            self._describer, self._called = MapDescriptor.of(store, name), name
        return self._describer

    def _forget(self) -> None:
        self._describer, self._called = None, ""


def _wanted(store: MapStore) -> Wanted:
    with store.database.snapshot():
        switch = pending_switch(store)
        if switch is None:
            return Wanted(automatic_name(store), None)
        return Wanted(name_of(switch.version), switch.number)
