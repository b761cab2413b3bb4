"""Describing the keyframes of a map with another model, or for a re-ranker, beside what it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_versions import undescribed
from vloc_ros.mapping.patches import keyframes_with_patches
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.conditions import ConditionOf, inferred
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.rerank import Reranker, RerankSettings
from vloc_ros.retrieval.reranker_of_map import RerankerOfMap
from vloc_ros.retrieval.stages import Stages

Progress = Callable[[Sequence[KeyframeId]], Iterable[KeyframeId]]


def redescribe(
    store: MapStore,
    describer: MapDescriptor,
    limit: int | None = None,
    progress: Progress = iter,
    condition_of: ConditionOf = inferred,
) -> int:
    """Describe keyframes that have no descriptor of a model yet, in the order of their names.

    Each descriptor is stored as soon as it is made: whoever is killed goes on where they were. Descriptors of other models stay.

    Args:
        store: the map, open for writing.
        describer: the model.
        limit: at most so many keyframes now; None for all.
        progress: shows how far it is.
        condition_of: in which condition a keyframe was taken, where somebody says.

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
        describer.keep(store, id, *describer.describe(store, id, condition_of(id)))
    return len(undescribed(store, card.name))


def prepare_patches(store: MapStore, reranker: Reranker, progress: Progress = iter, condition_of: ConditionOf = inferred) -> int:
    """Make and store what a re-ranker keeps of the keyframes that the map has nothing of yet, each as soon as it is made.

    A localisation only reads its map: what is not there, it makes when it is lost.

    Args:
        store: the map, open for writing.
        reranker: for whom.
        progress: shows how far it is.
        condition_of: in which condition a keyframe was taken, where somebody says.

    Returns:
        How many keyframes are left: they have no image, or a damaged one, or the map could not be written, which is logged.

    Raises:
        MapError: the map cannot be read.
    """
    of_map = RerankerOfMap(store, reranker, RerankSettings(), cached=1)
    for id in progress(_without_patches(store, reranker)):
        of_map.prepare(id, condition_of(id))
    return len(_without_patches(store, reranker))


def prepare_stages(
    store: MapStore, stages: Stages, progress: Progress = iter, condition_of: ConditionOf = inferred
) -> dict[str, int]:
    """:func:`prepare_patches` for each of some stages; how many keyframes are left, by ``fine`` and ``reranker``.

    Raises:
        MapError: the map cannot be read.
    """
    return {name: prepare_patches(store, stage, progress, condition_of) for name, stage in stages.by_name.items()}


def _without_patches(store: MapStore, reranker: Reranker) -> list[KeyframeId]:
    known = keyframes_with_patches(store, reranker.card)
    return [keyframe.id for keyframe in store.keyframes() if keyframe.id not in known]
