"""Made-up model versions for the tests; some of networks that exist, some of a few numbers."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import save

from vloc_ros.data.weights import WeightsCard, hash_of
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_versions import add_version, ask_switch, finish_switch, name_of
from vloc_ros.networks import PREPROCESSING

DIMENSION = 8


def made_up(seed, parent=""):
    """Weights of a few numbers with a card that says they were a network: enough for the map, which does not run them."""
    tensors = {"a": np.full((2, 3), seed, dtype=np.float32)}
    card = WeightsCard("some", "gem", "mobilenetv3", DIMENSION, hash_of(tensors), PREPROCESSING, "nothing", parent)
    return save(tensors), card


def add(store, seed, **more):
    return add_version(store, *made_up(seed), **more)


def vector(id, number):
    rng = np.random.default_rng([*id, number])
    values = rng.normal(size=DIMENSION).astype(np.float32)
    return values / np.linalg.norm(values)


def describe(store, number, ids=None):
    """Give keyframes descriptors of a version."""
    for id in [keyframe.id for keyframe in store.keyframes()] if ids is None else ids:
        store.set_global_descriptor(KeyframeId(*id), name_of(number), vector(id, number))


def use(store, number, reason):
    """Switch to a version whose keyframes are described first."""
    switch = ask_switch(store, number, reason)
    if number:
        describe(store, number)
    assert finish_switch(store, switch.number)
    return switch
