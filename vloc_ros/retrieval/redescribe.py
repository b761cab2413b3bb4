"""Describing the keyframes of a map with another model, beside the descriptors that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_versions import undescribed
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.of_map import MapDescriptor

Progress = Callable[[Sequence[KeyframeId]], Iterable[KeyframeId]]


def redescribe(store: MapStore, describer: MapDescriptor, limit: int | None = None, progress: Progress = iter) -> int:
    """Describe keyframes that have no descriptor of a model yet, in the order of their names.

    Each descriptor is stored as soon as it is made: whoever is killed goes on where they were. Descriptors of other models stay.

    Args:
        store: the map, open for writing.
        describer: the model.
        limit: at most so many keyframes now; None for all.
        progress: shows how far it is.

    Returns:
        How many keyframes are left.

    Raises:
        MapError: a keyframe has no image and the model needs one, the map holds descriptors of another model of that name, or it
            is damaged or cannot be written; what was described stays.
    """
    card = describer.descriptor.card
    if any(known.name == card.name for known in store.model_cards()):
        store.add_model_card(card)  # refused where the map knows another model of that name
    for id in progress(undescribed(store, card.name)[:limit]):
        describer.keep(store, id, *describer.describe(store, id))
    return len(undescribed(store, card.name))
