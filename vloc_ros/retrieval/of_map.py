"""Global descriptors of the keyframes of a map: taken from it where they are there, made from its features or images else."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError, MapError
from vloc_ros.mapping.assets import model_asset, put_model_asset
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_versions import NO_VERSION, ModelVersion, name_of, version, version_in_use, weights_of
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.variances import variances_of
from vloc_ros.retrieval.automatic import AUTO, automatic_name, name_without_version
from vloc_ros.retrieval.contract import GlobalDescriptor, Needs, View, create_descriptor, takes_assets
from vloc_ros.retrieval.index import DescriptorIndex
from vloc_ros.retrieval.vlad import Vlad
from vloc_ros.retrieval.vocabulary import CENTRES, Vocabulary
from vloc_ros.retrieval.weights_file import descriptor_of

_log = logging.getLogger(__name__)

SITE = "site"
"""Name of the version of the map's own model that is in use; ``site-3`` is version 3."""
_OF_VERSION = re.compile(r"site-([1-9]\d{0,8})")
_MOST_VIEWS = 300
"""So many keyframes, spread over the map, are enough to learn from."""
_FEATURES_PER_WORD = 8
"""A word that has fewer features to its name says nothing of other images."""
_MANY = 100
"""To describe more keyframes than this takes some seconds."""


@dataclass(frozen=True, slots=True)
class MapDescriptor:
    """A global descriptor for a map.

    Attributes:
        descriptor: it.
        assets: what it was made from, None when it needs nothing; with it the map describes alike on every computer.
        version: of the map's own model, None for a descriptor that is not one.
    """

    descriptor: GlobalDescriptor
    assets: bytes | None
    version: ModelVersion | None = None

    @classmethod
    def of(cls, store: MapStore, name: str, assets: bytes | None = None) -> MapDescriptor:
        """The descriptor of that name; its vocabulary or weights are those given, else those of the map, else learned from it.

        "site" is the version of the map's own model that is in use, "site-3" its version 3. "auto" is "site" for a map that has a
        version in use, else "site-0", which is ``place``, ``hog`` or ``vlad``: see
        :func:`~vloc_ros.retrieval.automatic.name_without_version`.

        Raises:
            ConfigError: the name is unknown, the map has no version in use, or the descriptor needs weights that neither the
                caller nor the map has, or torch, which is not installed.
            DataError: the assets are damaged or belong to something else.
            WeightsError: the weights of a version are of no network that this release has.
            MapError: the map is damaged, or has no such version.
        """
        with store.database.snapshot():
            name = _automatic(store) if name == AUTO else name_without_version(store) if name == name_of(NO_VERSION) else name
            chosen = _version(store, name)
            if chosen is not None:
                return cls._of_version(store, chosen, assets)
        if takes_assets(name) and assets is None:
            assets = model_asset(store, name)
            if assets is None and name == Vlad.name:
                assets = _vocabulary(store)
        return cls(create_descriptor(name, assets), assets)

    @classmethod
    def _of_version(cls, store: MapStore, chosen: ModelVersion, assets: bytes | None) -> MapDescriptor:
        if assets is not None:
            raise ConfigError(f"the weights of '{chosen.name}' are in the map {store.path}; leave other ones out")
        return cls(descriptor_of(weights_of(store, chosen.number), chosen.card), None, chosen)

    def vector(self, store: MapStore, id: KeyframeId) -> NDArray[np.float32]:
        """(D,) descriptor of a keyframe, made now.

        Raises:
            MapError: the keyframe has no image and the descriptor needs one, or the map is damaged.
        """
        return self.describe(store, id)[0]

    def describe(self, store: MapStore, id: KeyframeId, condition: str = "") -> tuple[NDArray[np.float32], float | None]:
        """(D,) descriptor of a keyframe, made now, and the variance of its elements, None where the descriptor knows none.

        Args:
            store: the map.
            id: the keyframe.
            condition: in which somebody says that it was taken; empty where nobody does.

        Raises:
            MapError: the keyframe has no image and the descriptor needs one, or the map is damaged.
        """
        vectors, variances = self.descriptor.describe_with_variance([view_of(store, id, self.descriptor, condition)])
        return vectors[0], None if variances is None else float(variances[0])

    def stored(self, store: MapStore) -> tuple[list[KeyframeId], NDArray[np.float32]]:
        """Keyframes whose descriptor the map holds, with their (N, D) descriptors; none of those that another model made."""
        card = self.descriptor.card
        if card not in store.model_cards():
            return [], np.zeros((0, card.dimension), dtype=np.float32)
        return store.global_descriptors(card.name)

    def variances(self, store: MapStore) -> dict[KeyframeId, float]:
        """Variances of the descriptors that the map holds (:meth:`stored`), as far as the model that made them knows them."""
        card = self.descriptor.card
        return variances_of(store, card.name) if card in store.model_cards() else {}

    def keep(self, store: MapStore, id: KeyframeId, vector: NDArray[np.float32], variance: float | None = None) -> None:
        """Store the descriptor of a keyframe in the map with its variance, if it has one, and with the first one what made it.

        Raises:
            MapError: the map holds descriptors of another model of that name, or cannot be written.
        """
        card = self.descriptor.card
        if card not in store.model_cards():
            if self.assets is None:
                store.add_model_card(card)
            else:
                put_model_asset(store, card, self.assets)
        store.set_global_descriptor(id, card.name, vector, variance)

    def index(self, store: MapStore, ids: Iterable[KeyframeId]) -> DescriptorIndex[KeyframeId]:
        """An index of keyframes, from the map as far as it has their descriptors; nothing is written.

        Raises:
            MapError: the map is damaged, or has no images and the descriptor needs them.
        """
        known, vectors = self.stored(store)
        rows, wanted = dict(zip(known, vectors, strict=True)), list(ids)
        index: DescriptorIndex[KeyframeId] = DescriptorIndex(self.descriptor.card.dimension)
        missing, name = sum(id not in rows for id in wanted), self.descriptor.card.name
        if missing > _MANY:
            _log.info("%s: describing %d keyframes by %s; `vloc map redescribe` keeps that for good", store.path, missing, name)
        for id in wanted:
            index.add(id, rows[id] if id in rows else self.vector(store, id))
        return index


def view_of(store: MapStore, id: KeyframeId, descriptor: GlobalDescriptor, condition: str = "") -> View:
    """What a descriptor needs of a keyframe, and in which condition somebody says that it was taken.

    Raises:
        MapError: the keyframe has no image and the descriptor needs one, or the map is damaged.
    """
    if descriptor.needs is Needs.FEATURES:
        return View(features=store.features(id), condition=condition)
    image = store.image(id)
    if image is None:
        raise MapError(
            f"the map {store.path} has no image of keyframe {id}, which the descriptor '{descriptor.name}' needs: "
            "use one of local features (vlad), or teach with keyframes.image_quality above 0"
        )
    return View(image=image, condition=condition)


def is_of_site(name: str) -> bool:
    """Whether a name is that of a map's own model: "site", or "site-3" of its version 3."""
    return name == SITE or _OF_VERSION.fullmatch(name) is not None


def depends_on_map(name: str) -> bool:
    """Whether it takes a map to know which descriptor a name means, or to make it."""
    return name == AUTO or is_of_site(name) or takes_assets(name)


def _automatic(store: MapStore) -> str:
    name, in_use = automatic_name(store), version_in_use(store)
    if in_use is not None and name != in_use.name:
        without = store.keyframes_without_image()
        _log.warning("%s: %d keyframes have no image, which %s needs: vlad stands in for it", store.path, without, in_use.name)
    return name


def _version(store: MapStore, name: str) -> ModelVersion | None:
    """The version of the map's own model that is called so, None for a name of another kind."""
    if name == SITE:
        found = version_in_use(store)
        if found is None:
            raise ConfigError(
                f"the map {store.path} has no model of its own in use: make one with vloc calibrate, or choose one with "
                "vloc models promote"
            )
        return found
    match = _OF_VERSION.fullmatch(name)
    return None if match is None else version(store, int(match[1]))


def _vocabulary(store: MapStore) -> bytes:
    """A vocabulary of the features of a map; a small map gets fewer words."""
    ids: Sequence[KeyframeId] = [keyframe.id for keyframe in store.keyframes()]
    step = max(1, -(-len(ids) // _MOST_VIEWS))
    views = [store.features(id) for id in ids[::step]]
    words = min(CENTRES, sum(map(len, views)) // _FEATURES_PER_WORD)
    return Vocabulary.learn(views, count=max(1, words)).to_bytes()
