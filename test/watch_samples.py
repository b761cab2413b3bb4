"""Versions of a model in made-up maps, each with weights of its own and random descriptors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vloc_ros.data.weights import load_weights
from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.mapping.model_versions import ModelVersion, Switch, SwitchReason, add_version, ask_switch, finish_switch
from vloc_ros.mapping.searches import Search, put_search


def add_model(store: MapStore, folder: Path, seed: int, decision: dict | None = None) -> ModelVersion:
    """A version with random weights."""
    from vloc_ros.networks import Backbone, NetworkKind
    from vloc_ros.networks.files import save_network
    from vloc_ros.networks.network import random_network

    path = folder / f"weights_{seed}.safetensors"
    save_network(path, random_network(NetworkKind.GEM, Backbone.MOBILENETV3, seed), "nothing")
    return add_version(store, path.read_bytes(), load_weights(path)[1], decision=decision)


def use(store: MapStore, number: int, reason: SwitchReason) -> Switch:
    """Ask for a version, describe all keyframes by chance, and finish the switch."""
    switch = ask_switch(store, number, reason)
    if number:
        rng = np.random.default_rng(number)
        dimension = next(card.dimension for card in store.model_cards() if card.name == f"site-{number}")
        for keyframe in store.keyframes():
            store.set_global_descriptor(keyframe.id, f"site-{number}", rng.normal(size=dimension).astype(np.float32))
    assert finish_switch(store, switch.number)
    return switch


def search(store: MapStore, id: KeyframeId, version: int, found: bool, at_ns: int, partner: KeyframeId | None = None) -> None:
    """Keep what a search came to."""
    other = partner or KeyframeId(id.session - 1, id.keyframe)
    model = f"site-{version}" if version else "hog"
    reason = "" if found else "too_few_inliers"
    put_search(store, Search(id, version, model, 0.8, None, None, other, found, reason, at_ns))
