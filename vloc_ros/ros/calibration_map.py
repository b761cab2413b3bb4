"""The map as the calibration node sees it: labels and tuples, and the version of the model that is asked for. Imports no ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vloc_ros.calibration.node_memory import Labels, labels_of
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.closures import closures_of, graph_revision
from vloc_ros.mapping.model_versions import (
    NO_VERSION,
    SwitchReason,
    ask_switch,
    number_in_use,
    pending_switch,
    switches,
    version,
    version_in_use,
    versions,
)
from vloc_ros.mapping.training_tuples import TupleCounts, tuple_counts, withdraw_stale
from vloc_ros.ros.model_message import ModelHint


@dataclass(frozen=True, slots=True)
class MapLabels:
    """What the pose graph says in the map, and what was mined from it.

    Attributes:
        revision: of the pose graph.
        counts: closures by label.
        decided: inliers and outliers by pair.
        tuples: mined ones.
        withdrawn: how many of them went when this was read.
    """

    revision: int = 0
    counts: Mapping[str, int] | None = None
    decided: Labels | None = None
    tuples: TupleCounts = TupleCounts()
    withdrawn: int = 0


def read_labels(store: MapStore, before: MapLabels) -> MapLabels:
    """The labels as they stand; when the pose graph has another revision than before, tuples of changed labels are withdrawn.

    Raises:
        MapError: the map is damaged, or cannot be written.
    """
    revision = graph_revision(store)
    if revision == before.revision and before.decided is not None:
        return MapLabels(revision, before.counts, before.decided, tuple_counts(store))
    withdrawn = withdraw_stale(store)
    with store.database.snapshot():
        closures, revision = closures_of(store), graph_revision(store)
        counts = Counter(closure.verdict.label.value for closure in closures)
        return MapLabels(revision, counts, labels_of(closures), tuple_counts(store), withdrawn)


def promote(store: MapStore, number: int, decision: Mapping[str, Any] | None) -> str:
    """Ask for the switch to a version that won; what came of it, in a sentence.

    Raises:
        MapError: the map cannot be written, or does not have the version.
    """
    if number_in_use(store) == number:
        return f"version {number} is in use already"
    # The same labels make the same weights: what was rolled back once does not come back by itself.
    if any(switch.reason is SwitchReason.ROLLED_BACK and switch.figures.get("from") == number for switch in switches(store)):
        return f"version {number} was rolled back before, and is not asked for again"
    switch = ask_switch(store, number, SwitchReason.PROMOTED, decision)
    return f"the switch {switch.number} to version {number} is asked for"


@dataclass(frozen=True, slots=True)
class ModelState:
    """Which version of the model the map uses, and which it is to use; None where the map has none at all."""

    in_use: ModelHint
    wanted: ModelHint
    reason: str = ""

    @classmethod
    def of(cls, store: MapStore) -> ModelState | None:
        """As the map says.

        Raises:
            MapError: it is damaged.
        """
        with store.database.snapshot():
            if not versions(store):
                return None
            used, pending = version_in_use(store), pending_switch(store)
            in_use = ModelHint() if used is None else ModelHint(used.name, used.card.sha256)
            if pending is None:
                return cls(in_use, in_use)
            if pending.version == NO_VERSION:
                return cls(in_use, ModelHint(), pending.reason.value)
            wanted = version(store, pending.version)
            return cls(in_use, ModelHint(wanted.name, wanted.card.sha256), pending.reason.value)
