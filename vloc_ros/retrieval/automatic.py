"""Which global descriptor "auto" means for a map."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.models import shipped_places
from vloc_ros.data.weights import load_card
from vloc_ros.mapping.model_versions import is_described, version_in_use
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.engines import can_compute
from vloc_ros.retrieval.hog import Hog
from vloc_ros.retrieval.vlad import Vlad

AUTO = "auto"
"""Name that leaves the choice of the descriptor to what the map has."""
PLACE = "place"
"""Name of the shipped network."""


def automatic_name(store: MapStore) -> str:
    """What "auto" means for a map: the version of its own model in use, else :func:`name_without_version`; nothing is loaded.

    Raises:
        MapError: the map is damaged.
    """
    in_use = version_in_use(store)
    return name_without_version(store) if in_use is None or store.keyframes_without_image() else in_use.name


def name_without_version(store: MapStore) -> str:
    """What describes a map that has no model of its own in use.

    ``vlad`` where a keyframe has no image; ``hog`` where the map is described by it and not by ``place`` (an old map answers as it
    is), or where nothing is installed that computes ``place``; else ``place``, which finds more in other light and seasons (see
    ``benchmarks/place_recall.py``, ``relocalisation.py`` and ``retrieval.py``).

    Raises:
        MapError: the map is damaged.
    """
    with store.database.snapshot():
        if store.keyframes_without_image():
            return Vlad.name
        shipped, cards = shipped_network(), {card.name: card for card in store.model_cards()}
        if shipped is None or cards.get(PLACE, shipped) != shipped:
            return Hog.name
        by_hog = cards.get(Hog.name) == Hog().card and is_described(store, Hog.name)
        return Hog.name if by_hog and not is_described(store, PLACE) else PLACE


@cache
def shipped_network() -> ModelCard | None:
    """The card of the shipped network ``place``; None where it is not installed, or nothing that computes it."""
    path: Path | None = shipped_places().get(PLACE)
    if path is None:
        return None
    card = load_card(path)
    return card.model_card if can_compute(path, card.sha256) else None
