"""Versions of the place recognition model that live in the map, and which of them is in use.

A version is what a calibration made of the map: weights, their card, the probability of a match that goes with them, and the
outcome of the promotion test. Which version is in use follows from the switches alone: that of the newest finished one. A switch
is asked for, then all keyframes are described anew while the old version goes on answering, and then it is finished in one
transaction; an unfinished switch is void as soon as there is a newer one. Version 0 stands for no version at all: the descriptor
that the map had before, so that the first version can be rolled back too.

The descriptors of version n are those of the model ``site-n``; descriptors of several versions lie side by side and never mix.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence

from vloc_ros.data.weights import WeightsCard, hash_of, tensors_of_bytes
from vloc_ros.errors import MapError, WeightsError
from vloc_ros.mapping.database import checksum
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_rows import (
    NO_VERSION,
    ModelVersion,
    Switch,
    SwitchReason,
    Values,
    json_or_none,
    name_of,
    switch_of_row,
    to_json,
    version_of_row,
)
from vloc_ros.mapping.store import MapStore

__all__ = [
    "NO_VERSION",
    "ModelVersion",
    "Switch",
    "SwitchReason",
    "add_version",
    "ask_switch",
    "finish_switch",
    "is_described",
    "name_of",
    "number_before",
    "number_in_use",
    "pending_switch",
    "set_probability",
    "switches",
    "undescribed",
    "version",
    "version_in_use",
    "versions",
    "weights_of",
]


def add_version(
    store: MapStore,
    weights: bytes,
    card: WeightsCard,
    *,
    parent: int | None = None,
    probability: Values | None = None,
    decision: Values | None = None,
) -> ModelVersion:
    """Store a version in one transaction; it is not used before a switch to it is finished.

    Args:
        store: the map, open for writing.
        weights: content of a ``.safetensors`` file.
        card: of these weights; its name becomes that of the version.
        parent: number of the version that it was made from.
        probability: of a match, as plain values.
        decision: of the promotion test, as plain values.

    Returns:
        The new version; where the map has the same weights already, the version that has them, unchanged.

    Raises:
        WeightsError: the weights are damaged or not those of the card.
        MapError: the parent is unknown, values are no JSON, or the map cannot be written.
    """
    found = hash_of(tensors_of_bytes(weights, f"the weights for the map {store.path}"))
    if found != card.sha256:
        raise WeightsError(f"the weights of hash {found[:12]}... are not those of the card {card.name} ({card.sha256[:12]}...)")
    texts = json_or_none(probability, "the probability"), json_or_none(decision, "the decision")
    with store.database.transaction():
        known = versions(store)
        same = next((version for version in known if version.card.sha256 == card.sha256), None)
        if same is not None:
            return same
        if parent is not None:
            version(store, parent)
        number = _free_number(known, {other.name for other in store.model_cards()})
        card = dataclasses.replace(card, name=name_of(number))
        row = (number, parent, time.time_ns(), to_json(dataclasses.asdict(card), "the card"), *texts)
        store.database.insert("model_version", row)
        store.database.insert("model_weights", (number, weights))
        # The name is taken from now on, so that no file of the same name can put its descriptors there.
        store.database.insert("model_card", dataclasses.astuple(card.model_card))
        return version_of_row(store.path, row)


def _free_number(known: Iterable[ModelVersion], names: set[str]) -> int:
    number = max((version.number for version in known), default=0) + 1
    while name_of(number) in names:  # descriptors of a file that was called so
        number += 1
    return number


def versions(store: MapStore) -> list[ModelVersion]:
    """All versions of a map, by number; their weights are not read.

    Raises:
        MapError: one is damaged.
    """
    return [version_of_row(store.path, row) for row in store.database.rows("model_version", "ORDER BY number")]


def version(store: MapStore, number: int) -> ModelVersion:
    """One version.

    Raises:
        MapError: the map does not have it, or it is damaged.
    """
    rows = store.database.rows("model_version", "WHERE number = ?", (number,))
    if not rows:
        numbers = ", ".join(str(other.number) for other in versions(store)) or "none"
        raise MapError(f"the map {store.path} has no model version {number} (it has: {numbers}); see vloc models list")
    return version_of_row(store.path, rows[0])


def weights_of(store: MapStore, number: int) -> bytes:
    """The weights of a version: content of a ``.safetensors`` file.

    Raises:
        MapError: the map does not have the version, or its weights are damaged.
    """
    rows = store.database.rows("model_weights", "WHERE number = ?", (number,))
    if not rows:
        version(store, number)
        raise MapError(f"the map {store.path} is damaged: the weights of model version {number} are missing; restore a copy")
    return bytes(rows[0][1])


def set_probability(store: MapStore, number: int, probability: Values, decision: Values | None) -> None:
    """Replace the probability and the decision of a version, in one transaction.

    Raises:
        MapError: the map does not have the version, values are no JSON, or the map cannot be written.
    """
    texts = to_json(probability, "the probability"), json_or_none(decision, "the decision")
    with store.database.transaction():
        version(store, number)
        row = store.database.rows("model_version", "WHERE number = ?", (number,))[0]
        values = (*texts, checksum((*row[:4], *texts)), number)
        store.database.execute("UPDATE model_version SET probability = ?, decision = ?, crc = ? WHERE number = ?", values)


def ask_switch(store: MapStore, number: int, reason: SwitchReason, figures: Values | None = None) -> Switch:
    """Ask for another version; whoever owns the search describes the keyframes with it and finishes the switch.

    A switch that waits to be finished is superseded, unless it is to the same version: then that one is returned.

    Args:
        store: the map, open for writing.
        number: of the version; :data:`NO_VERSION` for what the map had before the first. The version in use may be asked for
            while another is on its way: that calls the other off.
        reason: why.
        figures: what it was decided by, as plain values.

    Raises:
        MapError: the version is unknown or already in use, the map has keyframes without images, which no network can describe,
            figures are no JSON, or the map cannot be written.
    """
    text = to_json(figures or {}, "the figures of a switch")
    with store.database.transaction():
        if number != NO_VERSION:
            version(store, number)
            _require_images(store)
        pending = pending_switch(store)
        if pending is not None and pending.version == number:
            return pending
        if pending is None and number_in_use(store) == number:
            raise MapError(f"the map {store.path} already uses {_called(number)}")
        last = max((switch.number for switch in switches(store)), default=0)
        row = (last + 1, number or None, reason.name, text, time.time_ns(), None)
        store.database.insert("model_switch", row)
        return switch_of_row(store.path, row)


def switches(store: MapStore) -> list[Switch]:
    """All switches of a map, in the order in which they were asked for.

    Raises:
        MapError: one is damaged.
    """
    return [switch_of_row(store.path, row) for row in store.database.rows("model_switch", "ORDER BY number")]


def pending_switch(store: MapStore) -> Switch | None:
    """The switch that waits to be finished: the newest one, unless it took effect already.

    Raises:
        MapError: it is damaged.
    """
    rows = store.database.rows("model_switch", "ORDER BY number DESC LIMIT 1")
    newest = switch_of_row(store.path, rows[0]) if rows else None
    return newest if newest is not None and newest.finished_ns is None else None


def finish_switch(store: MapStore, switch_number: int) -> bool:
    """Let a switch take effect, in one transaction; descriptors of older versions than the one before go.

    Returns:
        True when the version is in use now, also when it was so before. False, and nothing has changed, when a newer switch was
        asked for or a keyframe has no descriptor of the version: describe it and try again. Of :data:`NO_VERSION` no descriptors
        are asked, as they are made without weights.

    Raises:
        MapError: there is no such switch, or the map cannot be written.
    """
    with store.database.transaction():
        known = switches(store)
        switch = next((switch for switch in known if switch.number == switch_number), None)
        if switch is None:
            raise MapError(f"nobody asked the map {store.path} for the switch {switch_number}")
        if switch is not known[-1]:
            return False
        if switch.finished_ns is not None:
            return True
        if switch.version != NO_VERSION and undescribed(store, name_of(switch.version)):
            return False
        figures = to_json(switch.figures, "the figures")
        row = (switch.number, switch.version or None, switch.reason.name, figures, switch.asked_ns, time.time_ns())
        store.database.insert("model_switch", row, replace=True)
        _prune(store)
    return True


def number_in_use(store: MapStore) -> int:
    """Number of the version in use, :data:`NO_VERSION` when there is none."""
    return _history(switches(store))[-1]


def version_in_use(store: MapStore) -> ModelVersion | None:
    """The version in use, None when the map is as it was before the first.

    Raises:
        MapError: the map is damaged.
    """
    with store.database.snapshot():
        number = number_in_use(store)
        return None if number == NO_VERSION else version(store, number)


def number_before(store: MapStore) -> int | None:
    """Number of the version to go back to: that which was in use before the one in use was chosen, None when nothing came before.

    What was rolled back is not gone back to.
    """
    history = _history(switches(store))
    return history[-2] if len(history) > 1 else None


def undescribed(store: MapStore, model: str) -> list[KeyframeId]:
    """Keyframes without a descriptor of a model, in order; no descriptor is read."""
    described = "SELECT session, keyframe FROM global_descriptor WHERE model = ?"
    query = f"SELECT session, keyframe FROM keyframe EXCEPT {described} ORDER BY 1, 2"
    return [KeyframeId(int(session), int(keyframe)) for session, keyframe in store.database.execute(query, (model,))]


def is_described(store: MapStore, model: str) -> bool:
    """Whether any keyframe has a descriptor of a model; no descriptor is read."""
    return bool(store.database.scalar("SELECT EXISTS (SELECT 1 FROM global_descriptor WHERE model = ?)", (model,)))


def _history(known: Sequence[Switch]) -> list[int]:
    """Versions in use one after the other, the newest last; a roll-back takes away what it went back from."""
    history = [NO_VERSION]
    for switch in known:
        if switch.finished_ns is None or switch.version == history[-1]:
            continue
        if switch.reason is SwitchReason.ROLLED_BACK and switch.version in history:
            while history[-1] != switch.version:
                history.pop()
        else:
            history.append(switch.version)
    return history


def _prune(store: MapStore) -> None:
    """Remove the descriptors of versions that are neither in use nor the one to go back to; the versions themselves stay."""
    kept = {number_in_use(store), number_before(store)}
    for other in versions(store):
        if other.number not in kept:
            store.database.execute("DELETE FROM global_descriptor WHERE model = ?", (other.name,))


def _require_images(store: MapStore) -> None:
    without = store.keyframes_without_image()
    if without:
        raise MapError(
            f"the map {store.path} has {without} keyframes without an image, which no network can describe: "
            "teach with keyframes.image_quality above 0"
        )


def _called(number: int) -> str:
    return "no version of its own" if number == NO_VERSION else f"the model version {number}"
