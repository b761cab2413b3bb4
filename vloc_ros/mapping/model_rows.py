"""Rows of the tables of model versions: what they mean, and how they are read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Any

from vloc_ros.data.weights import WeightsCard, card_of_values
from vloc_ros.errors import MapError, WeightsError

NO_VERSION = 0
"""Number that stands for what the map had before its first version."""
Values = Mapping[str, Any]


@unique
class SwitchReason(Enum):
    """Why the version in use changes."""

    PROMOTED = "it won the promotion test"
    ROLLED_BACK = "the one in use was taken back"
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
    """Name of the descriptors of a version; ``site-0`` is called what the map had before its first one."""
    return f"site-{number}"


def json_or_none(values: Values | None, what: str) -> str | None:
    """As :func:`to_json`, None of None."""
    return None if values is None else to_json(values, what)


def to_json(values: Values, what: str) -> str:
    """Plain values as the map keeps them.

    Raises:
        MapError: they are no JSON, or a number is not finite.
    """
    try:
        return json.dumps(dict(values), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MapError(
            f"{what} of a model version cannot be stored as JSON ({error}): give plain values, None for unknown"
        ) from None


def version_of_row(path: Path, row: Sequence[Any]) -> ModelVersion:
    """A row of the table ``model_version`` (without ``crc``) of the map at ``path``.

    Raises:
        MapError: it is damaged.
    """
    number, parent, created_ns, card, probability, decision = row
    what = f"the map {path} is damaged: the model version {number}"
    try:
        read = card_of_values(_object(card, what), what)
    except WeightsError as error:
        raise MapError(str(error)) from None
    values = [None if text is None else _object(text, what) for text in (probability, decision)]
    return ModelVersion(int(number), name_of(number), None if parent is None else int(parent), int(created_ns), read, *values)


def switch_of_row(path: Path, row: Sequence[Any]) -> Switch:
    """A row of the table ``model_switch`` (without ``crc``) of the map at ``path``.

    Raises:
        MapError: it is damaged.
    """
    number, of, reason, figures, asked_ns, finished_ns = row
    what = f"the map {path} is damaged: the switch {number} of model versions"
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
