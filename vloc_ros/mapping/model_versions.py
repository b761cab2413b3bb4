"""Versions of the place recognition model that live in the map, and which of them is in use.

A version is what a calibration made of the map: weights, their card, the probability of a match that goes with them, and the
outcome of the promotion test. Which version is in use follows from the switches alone: that of the newest finished one. A switch is
asked for, then all keyframes are described anew while the old version goes on answering, and then it is finished in one transaction;
an unfinished switch is void as soon as there is a newer one. Version 0 stands for no version at all: the descriptor that the map
had before, so that the first version can be rolled back too.

The descriptors of version n are those of the model ``site-n``; descriptors of several versions lie side by side and never mix.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from vloc_ros.data.weights import WeightsCard, card_of_values, hash_of, tensors_of_bytes
from vloc_ros.errors import MapError, WeightsError
from vloc_ros.mapping.database import checksum
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore

NO_VERSION = 0
"""Number that stands for what the map had before its first version."""
Values = Mapping[str, Any]


@unique
class SwitchReason(Enum):
    """Why the version in use changes."""

    PROMOTED = "it won the promotion test"
    ROLLED_BACK = "the version in use did worse than the one before"
    ASKED = "somebody asked for it"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of the model, without its weights (:func:`weights_of`).

    Attributes:
        number: from 1.
        name: ``site-<number>``, under which the map keeps its descriptors.
        parent: number of the version that it was made from, None when it came from elsewhere.
        created_ns: when it was stored, nanoseconds since 1970.
        card: of its weights; its name is that of the version.
        probability: how similarity and variance become a probability of being right, None when unknown.
        decision: outcome of its promotion test with the figures, None before any.
    """

    number: int
    name: str
    parent: int | None
    created_ns: int
    card: WeightsCard
    probability: dict[str, Any] | None
    decision: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Switch:
    """A change of the version in use.

    Attributes:
        number: from 1, in the order in which they were asked for.
        version: the one to use; :data:`NO_VERSION` for what the map had before the first.
        reason: why.
        figures: what it was decided by.
        asked_ns: when it was asked for, nanoseconds since 1970.
        finished_ns: when all keyframes were described and it took effect, None before that.
    """

    number: int
    version: int
    reason: SwitchReason
    figures: dict[str, Any]
    asked_ns: int
    finished_ns: int | None


def name_of(number: int) -> str:
    """Name of the descriptors of a version."""
    return f"site-{number}"


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
    texts = _json_or_none(probability, "the probability"), _json_or_none(decision, "the decision")
    with store.database.transaction():
        known = versions(store)
        same = next((version for version in known if version.card.sha256 == card.sha256), None)
        if same is not None:
            return same
        if parent is not None:
            version(store, parent)
        number = _free_number(known, {other.name for other in store.model_cards()})
        card = dataclasses.replace(card, name=name_of(number))
        row = (number, parent, time.time_ns(), _json(dataclasses.asdict(card), "the card"), *texts)
        store.database.insert("model_version", row)
        store.database.insert("model_weights", (number, weights))
        # The name is taken from now on, so that no file of the same name can put its descriptors there.
        store.database.insert("model_card", dataclasses.astuple(card.model_card))
        return _version_of_row(store, row)


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
    return [_version_of_row(store, row) for row in store.database.rows("model_version", "ORDER BY number")]


def version(store: MapStore, number: int) -> ModelVersion:
    """One version.

    Raises:
        MapError: the map does not have it, or it is damaged.
    """
    rows = store.database.rows("model_version", "WHERE number = ?", (number,))
    if not rows:
        numbers = ", ".join(str(other.number) for other in versions(store)) or "none"
        raise MapError(f"the map {store.path} has no model version {number} (it has: {numbers}); see vloc models list")
    return _version_of_row(store, rows[0])


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
    texts = _json(probability, "the probability"), _json_or_none(decision, "the decision")
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
    text = _json(figures or {}, "the figures of a switch")
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
        return _switch_of_row(store, row)


def switches(store: MapStore) -> list[Switch]:
    """All switches of a map, in the order in which they were asked for.

    Raises:
        MapError: one is damaged.
    """
    return [_switch_of_row(store, row) for row in store.database.rows("model_switch", "ORDER BY number")]


def pending_switch(store: MapStore) -> Switch | None:
    """The switch that waits to be finished: the newest one, unless it took effect already.

    Raises:
        MapError: it is damaged.
    """
    rows = store.database.rows("model_switch", "ORDER BY number DESC LIMIT 1")
    newest = _switch_of_row(store, rows[0]) if rows else None
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
        values = (switch.number, switch.version or None, switch.reason.name, _json(switch.figures, "the figures"), switch.asked_ns)
        store.database.insert("model_switch", (*values, time.time_ns()), replace=True)
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
    query = "SELECT session, keyframe FROM keyframe EXCEPT SELECT session, keyframe FROM global_descriptor WHERE model = ? ORDER BY 1, 2"
    return [KeyframeId(int(session), int(keyframe)) for session, keyframe in store.database.execute(query, (model,))]


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


def _json_or_none(values: Values | None, what: str) -> str | None:
    return None if values is None else _json(values, what)


def _json(values: Values, what: str) -> str:
    try:
        return json.dumps(dict(values), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MapError(
            f"{what} of a model version cannot be stored as JSON ({error}): give plain values, None for unknown"
        ) from None


def _version_of_row(store: MapStore, row: Sequence[Any]) -> ModelVersion:
    number, parent, created_ns, card, probability, decision = row
    what = f"the map {store.path} is damaged: the model version {number}"
    try:
        read = card_of_values(_object(card, what), what)
    except WeightsError as error:
        raise MapError(str(error)) from None
    values = [None if text is None else _object(text, what) for text in (probability, decision)]
    return ModelVersion(int(number), name_of(number), None if parent is None else int(parent), int(created_ns), read, *values)


def _switch_of_row(store: MapStore, row: Sequence[Any]) -> Switch:
    number, of, reason, figures, asked_ns, finished_ns = row
    what = f"the map {store.path} is damaged: the switch {number} of model versions"
    try:
        why = SwitchReason[reason]
    except KeyError:
        raise MapError(f"{what} was made because of '{reason}', which is no reason") from None
    finished = None if finished_ns is None else int(finished_ns)
    return Switch(int(number), NO_VERSION if of is None else int(of), why, _object(figures, what), int(asked_ns), finished)


def _object(text: Any, what: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise MapError(f"{what} holds no JSON ({error})") from None
    if not isinstance(values, dict):
        raise MapError(f"{what} holds a JSON value that is no object")
    return values
