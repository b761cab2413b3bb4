"""Versions of a model in a map: of weights that nobody trained, and of a descriptor that needs no network at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from vloc_ros.calibration.probability import MatchProbability, Method
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.weights import WeightsCard, hash_of
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.model_versions import ModelVersion, add_version
from vloc_ros.retrieval import GlobalDescriptor, Needs, View
from vloc_ros.retrieval.of_map import MapDescriptor

PROBABILITY = MatchProbability(Method.LOGISTIC, -4.0, 6.0, -0.5, most_similarity=0.9, least_log_variance=-8.0)
"""Falls with the variance: a candidate of similarity s and variance v has the logit -4 + 6 min(s, 0.9) - max(log v, -8) / 2."""


def untrained(folder: Path, seed: int) -> tuple[bytes, WeightsCard]:
    """Weights of a network with variances, and their card; needs torch."""
    from vloc_ros.networks import Backbone, NetworkKind
    from vloc_ros.networks.files import save_network
    from vloc_ros.networks.network import random_network

    path = folder / f"untrained{seed}.safetensors"
    card = save_network(path, random_network(NetworkKind.UNCERTAINTY, Backbone.MOBILENETV3, seed), "nothing")
    return path.read_bytes(), card


class WithVariance(GlobalDescriptor):
    """Another descriptor of features under another card, with variances that depend on the features."""

    name = "with_variance"
    needs = Needs.FEATURES

    def __init__(self, described: GlobalDescriptor, card: ModelCard) -> None:
        self._described, self._card = described, card

    @property
    def card(self) -> ModelCard:
        return self._card

    def describe(self, view: View) -> np.ndarray:
        return self._described.describe(view)

    def describe_with_variance(self, views: list[View]) -> tuple[np.ndarray, np.ndarray]:
        return self.describe_many(views), np.array([variance_of(view) for view in views], dtype=np.float32)


def variance_of(view: View) -> float:
    return 1e-3 * (1 + len(view.features) % 5)


def version_with_variance(
    store: MapStore, described: GlobalDescriptor, probability: MatchProbability | None = PROBABILITY, seed: int = 0
) -> MapDescriptor:
    """A version of a map that describes as another descriptor does; its weights are never looked at."""
    tensors = {"weight": np.random.default_rng(seed).normal(size=3).astype(np.float32)}
    card = WeightsCard("made-up", "gem", "vgg16", described.card.dimension, hash_of(tensors), "none", "nothing")
    values = None if probability is None else probability.to_dict()
    version: ModelVersion = add_version(store, save(tensors), card, probability=values)
    return MapDescriptor(WithVariance(described, version.card.model_card), None, version)
