"""What a map says of its own models: which one is in use, which one is on its way, and whether that makes sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vloc_ros.data.weights import hash_of, tensors_of_bytes
from vloc_ros.errors import MapError, WeightsError
from vloc_ros.mapping.model_versions import (
    NO_VERSION,
    ModelVersion,
    name_of,
    number_in_use,
    pending_switch,
    switches,
    undescribed,
    versions,
    weights_of,
)
from vloc_ros.mapping.store import MapStore


@dataclass(frozen=True, slots=True)
class ModelState:
    """The models of a map.

    Attributes:
        versions: how many there are.
        in_use: number of the one in use, 0 when the map has none in use.
        pending: number of the one that was asked for and is not in use yet, None when none is.
        left: keyframes that the pending one has not described.
    """

    versions: int = 0
    in_use: int = NO_VERSION
    pending: int | None = None
    left: int = 0

    def __str__(self) -> str:
        if not self.versions:
            return "none of its own"
        used = "none in use" if self.in_use == NO_VERSION else f"{name_of(self.in_use)} in use"
        return f"{self.versions}, {used}" + ("" if self.pending is None else f"; {self.unfinished}")

    @property
    def unfinished(self) -> str | None:
        """What is still to be done of a switch, None when nothing is."""
        if self.pending is None:
            return None
        to = "what it had before" if self.pending == NO_VERSION else name_of(self.pending)
        return f"the switch to {to} is not finished ({self.left} keyframes to describe): vloc models promote {self.pending} ends it"


def model_state(store: MapStore) -> ModelState:
    """Where the models of a map stand.

    Raises:
        MapError: the map is damaged.
    """
    with store.database.snapshot():
        pending = pending_switch(store)
        number = None if pending is None else pending.version
        left = len(undescribed(store, name_of(number))) if number else 0
        return ModelState(len(versions(store)), number_in_use(store), number, left)


def damaged_versions(store: MapStore) -> Iterator[str]:
    """One sentence for each thing about the models of a map that makes no sense; an unfinished switch does."""
    try:
        known = versions(store)
        switches(store)
    except MapError as error:
        yield str(error)
        return
    cards = {card.name: card for card in store.model_cards()}
    for version in known:
        if version.card.name != version.name or cards.get(version.name) != version.card.model_card:
            yield f"the card of the model version {version.number} is not that of the descriptors of '{version.name}'"
        yield from _damaged_weights(store, version)


def _damaged_weights(store: MapStore, version: ModelVersion) -> Iterator[str]:
    try:
        found = hash_of(tensors_of_bytes(weights_of(store, version.number), f"the model version {version.number}"))
    except (MapError, WeightsError) as error:
        yield str(error)
        return
    if found != version.card.sha256:
        yield f"the weights of the model version {version.number} are not those of its card"
