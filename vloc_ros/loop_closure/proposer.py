"""Which keyframes resemble one, by one model: its descriptors, their variances, and the probability that it makes of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.calibration.probability import MatchProbability, pair_variance
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import DataError, MapError
from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.mapping.model_versions import NO_VERSION, ModelVersion, version
from vloc_ros.retrieval import DescriptorIndex
from vloc_ros.retrieval.of_map import MapDescriptor, view_of


@dataclass(frozen=True, slots=True)
class Proposal:
    """A keyframe that resembles another.

    Attributes:
        id: it.
        score: similarity of their descriptors.
        variance: of the difference of their descriptors, per element; None where the model knows none.
        probability: that they are one place; None where it is unknown.
    """

    id: KeyframeId
    score: float
    variance: float | None
    probability: float | None


@dataclass(frozen=True, slots=True)
class SearchModel:
    """What is known of a model that proposes, beside its descriptors.

    Attributes:
        version: its number in the map, 0 when it is no version of the map.
        probability: of a match; None when nobody has calibrated it.
    """

    version: int = NO_VERSION
    probability: MatchProbability | None = None

    @classmethod
    def of(cls, store: MapStore, number: int | None) -> SearchModel:
        """What the map says now of the model version of a number, None for what is no version.

        Raises:
            MapError: the map is damaged, its probability included.
        """
        return cls() if number is None else cls(number, _probability(store, version(store, number)))


def _probability(store: MapStore, of: ModelVersion) -> MatchProbability | None:
    if of.probability is None:
        return None
    try:
        return MatchProbability.from_dict(of.probability)
    except DataError as error:
        raise MapError(f"the map {store.path}: of the model version {of.name}, {error}") from None


class Proposer:
    """The keyframes of a map as one model sees them. Another model needs another proposer, so that two are never mixed."""

    def __init__(self, store: MapStore, describer: MapDescriptor) -> None:
        """Take over the descriptors that the map has of this model.

        Raises:
            MapError: the map is damaged.
        """
        self._store = store
        self._describer = describer
        with store.database.snapshot():
            known, vectors = describer.stored(store)
            self._variances = describer.variances(store)
            self.model = SearchModel.of(store, self._number)
        self._index: DescriptorIndex[KeyframeId] = DescriptorIndex(self.card.dimension)
        self._index.add_many(known, vectors)
        self.condition = ""
        """By which condition the newest keyframe was described, said or inferred; empty from a model that knows none."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.card.name

    @property
    def card(self) -> ModelCard:
        """What makes the descriptors."""
        return self._describer.descriptor.card

    @property
    def _number(self) -> int | None:
        return None if self._describer.version is None else self._describer.version.number

    def look_up(self) -> None:
        """Take over the probability that the map has for this model by now.

        Raises:
            MapError: the map is damaged.
        """
        self.model = SearchModel.of(self._store, self._number)

    @property
    def described(self) -> list[KeyframeId]:
        """The keyframes that have their descriptor."""
        return self._index.ids

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of images that the model knows."""
        return self._describer.descriptor.conditions

    def learn_of(self, id: KeyframeId, condition: str = "") -> None:
        """Make sure that a keyframe has its descriptor, here and in the map.

        Args:
            id: the keyframe.
            condition: in which somebody says that it was taken; empty where nobody does.

        Raises:
            MapError: it cannot be described, or the map not be written.
        """
        if id in self._index:
            return
        vector, variance = self._describer.describe(self._store, id, condition)
        if self.conditions:
            view = view_of(self._store, id, self._describer.descriptor, condition)
            [self.condition] = self._describer.descriptor.conditions_of([view])
        self._describer.keep(self._store, id, vector, variance)
        self._index.add(id, vector)
        if variance is not None:
            self._variances[id] = variance

    def similar(self, id: KeyframeId, most: int, where: Callable[[KeyframeId], bool]) -> list[Proposal]:
        """The keyframes most similar to a described one, best first, of those for which ``where`` holds."""
        found = self._index.search(self._index.vector(id), most, where)
        variances = [self._pair_variance(id, other) for other in found.ids]
        probabilities = self._probabilities(found.scores.astype(np.float64), variances)
        return [
            Proposal(other, score, variance, probability)
            for (other, score), variance, probability in zip(found, variances, probabilities, strict=True)
        ]

    def scores(self, id: KeyframeId, where: Callable[[KeyframeId], bool]) -> list[float]:
        """Similarity of a described keyframe to all for which ``where`` holds, best first."""
        return [score for other, score in self._index.search(self._index.vector(id), len(self._index)) if where(other)]

    def _pair_variance(self, a: KeyframeId, b: KeyframeId) -> float | None:
        if a not in self._variances or b not in self._variances:
            return None
        of_pair = pair_variance(np.array([self._variances[a]]), np.array([self._variances[b]]))
        return float(of_pair[0])

    def _probabilities(self, scores: NDArray[np.float64], variances: list[float | None]) -> list[float | None]:
        probability = self.model.probability
        if probability is None:
            return [None] * len(scores)
        # one without a variance is unknown to a probability that asks for it, and must not become a number by chance
        known = np.array([variance is not None or not probability.needs_variance for variance in variances], dtype=bool)
        filled = np.array([np.nan if variance is None else variance for variance in variances], dtype=np.float64)
        values = probability(scores, filled if probability.needs_variance else None)
        return [float(value) if usable else None for value, usable in zip(values, known, strict=True)]
