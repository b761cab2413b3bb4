"""The weights that a calibration begins with: those given, those in use, or those that come with vloc_ros."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load

from vloc_ros.data.models import shipped_places
from vloc_ros.data.weights import (
    DISAM,
    GLVL,
    PLACE_NETWORKS,
    SUFFIX,
    TWO_STAGES,
    WeightsCard,
    load_card,
    load_weights,
    save_weights,
)
from vloc_ros.errors import WeightsError
from vloc_ros.mapping.model_versions import version_in_use, versions, weights_of
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.automatic import PLACE


@dataclass(frozen=True, slots=True)
class Base:
    """Weights to begin with.

    Attributes:
        card: of them.
        path: of their file.
        parent: number of the version of the map that they are, None when they are none.
    """

    card: WeightsCard
    path: Path
    parent: int | None


def base_of(store: MapStore, given: Path | None, work: Path) -> Base | None:
    """What to begin with; None when there is nothing.

    Args:
        store: the map.
        given: file of weights that the user names.
        work: folder for the weights of a version that is in the map.

    Raises:
        WeightsError: the given file is damaged, of no network of place recognition, or of both stages of one.
        MapError: the map is damaged.
        DataError: the file of a version cannot be written.
    """
    if given is not None:
        _, card = load_weights(given)
        if card.network not in PLACE_NETWORKS:
            raise WeightsError(f"{given} holds weights of {card.network}, not of place recognition ({', '.join(PLACE_NETWORKS)})")
        if card.network == TWO_STAGES:
            raise WeightsError(
                f"{given} holds both stages of {TWO_STAGES}, which learn together: train it further with `vloc train vpr`, or take "
                "weights that only describe images"
            )
        if card.network == DISAM:
            raise WeightsError(
                f"{given} holds weights of {DISAM}, which learn from conditions and not from the closures of a map: train it with "
                "`vloc train disam`, or take weights of another kind"
            )
        if card.network == GLVL:
            raise WeightsError(
                f"{given} holds weights of {GLVL}, which learn from maps of the ground and not from the closures of a route: train "
                "it with `vloc train glvl`, or take weights of another kind"
            )
        known = next((version.number for version in versions(store) if version.card.sha256 == card.sha256), None)
        return Base(card, given, known)
    used = version_in_use(store)
    if used is not None:
        path = work / f"base{SUFFIX}"
        save_weights(path, load(weights_of(store, used.number)), used.card)
        return Base(used.card, path, used.number)
    shipped = shipped_places().get(PLACE)
    return None if shipped is None else Base(load_card(shipped), shipped, None)
