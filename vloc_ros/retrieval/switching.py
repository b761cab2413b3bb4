"""Ending a switch to another model of the map: all keyframes are described anew, then the switch takes effect."""

from __future__ import annotations

from vloc_ros.mapping.model_versions import Switch, finish_switch, name_of, pending_switch, switches
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.redescribe import Progress, redescribe


def describer_of(store: MapStore, switch: Switch) -> MapDescriptor:
    """What describes keyframes after a switch.

    Raises:
        ConfigError: torch is needed and not installed.
        WeightsError: the weights of the version are of no network that this release has.
        MapError: the map is damaged.
    """
    return MapDescriptor.of(store, name_of(switch.version))


def end_switch(store: MapStore, switch: Switch, progress: Progress = iter) -> bool:
    """Describe what is left and finish a switch; whoever is killed here calls it again.

    Args:
        store: the map, open for writing; other processes may add keyframes to it.
        switch: that was asked for.
        progress: shows how far it is.

    Returns:
        Whether the switch took effect; False when a newer one was asked for meanwhile.

    Raises:
        ConfigError: torch is needed and not installed.
        WeightsError: the weights of the version are of no network that this release has.
        MapError: a keyframe cannot be described, or the map is damaged or cannot be written; what was described stays.
    """
    describer = describer_of(store, switch)
    while _waits(store, switch):  # a keyframe that is added between the two calls below needs another round
        redescribe(store, describer, progress=progress)
        if finish_switch(store, switch.number):
            return True
    return any(other.number == switch.number and other.finished_ns is not None for other in switches(store))


def _waits(store: MapStore, switch: Switch) -> bool:
    pending = pending_switch(store)
    return pending is not None and pending.number == switch.number
