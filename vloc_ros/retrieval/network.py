"""What the descriptors that come from a network share; torch is imported when one is created."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.weights import Tensors, WeightsCard, hash_of, load_weights
from vloc_ros.errors import DataError, WeightsError
from vloc_ros.networks import PREPROCESSING, Backbone, NetworkKind
from vloc_ros.networks.availability import require_torch
from vloc_ros.retrieval.contract import GlobalDescriptor, View

if TYPE_CHECKING:
    from vloc_ros.networks.network import PlaceNetwork


class NetworkDescriptor(GlobalDescriptor):
    """A network and what it was made from. An image of one colour has nothing to describe and gets zeros.

    Attributes:
        kind: what turns local descriptors into one vector.
        backbone: what makes the local descriptors.
    """

    kind: ClassVar[NetworkKind]
    backbone: ClassVar[Backbone]

    def __init__(self, network: PlaceNetwork, card: ModelCard) -> None:
        """Wrap a network in evaluation mode; callers use :meth:`random` or :meth:`load`."""
        self.network = network
        self._card = card

    @classmethod
    def random(cls, seed: int = 0) -> NetworkDescriptor:
        """A network that was never trained, which its card says; its weights depend on the seed alone.

        Raises:
            ConfigError: torch is not installed.
        """
        require_torch(f"the descriptor '{cls.name}'")
        from vloc_ros.networks.network import random_network, tensors_of

        network = random_network(cls.kind, cls.backbone, seed)
        prepared = f"{PREPROCESSING}; random weights of seed {seed}"
        return cls(network, ModelCard(cls.name, network.dimension, hash_of(tensors_of(network)), prepared))

    @classmethod
    def load(cls, path: Path) -> NetworkDescriptor:
        """The network of a file of weights.

        Raises:
            ConfigError: torch is not installed.
            WeightsError: the file or its card is missing or damaged, or it holds another network.
        """
        require_torch(f"the network in {path}")
        return cls.of(*load_weights(path), str(path))

    @classmethod
    def of(cls, tensors: Tensors, card: WeightsCard, what: str) -> NetworkDescriptor:
        """The network of some weights, which are those of the card; ``what`` they are called in messages.

        Raises:
            ConfigError: torch is not installed.
            WeightsError: they are of another network.
        """
        require_torch(what)
        from vloc_ros.networks.files import network_of

        network = network_of(tensors, card, what)
        if (network.kind, network.backbone) != (cls.kind, cls.backbone):
            raise WeightsError(f"{what} holds weights of {card.network} on {card.backbone}, not of '{cls.name}'")
        return cls(network, card.model_card)

    @property
    def card(self) -> ModelCard:
        """As the contract says."""
        return self._card

    def describe(self, view: View) -> NDArray[np.float32]:
        """As the contract says."""
        result: NDArray[np.float32] = self.describe_many([view])[0]
        return result

    def describe_many(self, views: Sequence[View]) -> NDArray[np.float32]:
        """(N, D) descriptors, computed in batches.

        Raises:
            DataError: a view has no image.
        """
        return self.describe_with_variance(views)[0]

    def describe_with_variance(self, views: Sequence[View]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """As the contract says, computed in batches.

        Raises:
            DataError: a view has no image.
        """
        from vloc_ros.networks.network import describe_with_variance

        images = [_image_of(view, self.name) for view in views]
        result = np.zeros((len(images), self.card.dimension), dtype=np.float32)
        uncertain = np.full(len(images), np.inf, dtype=np.float32) if self.kind is NetworkKind.UNCERTAINTY else None
        seen = [index for index, image in enumerate(images) if image.size and image.min() != image.max()]
        if seen:
            result[seen], variances = describe_with_variance(self.network, [images[index] for index in seen])
            if uncertain is not None:
                uncertain[seen] = variances
        return result, uncertain


def _image_of(view: View, name: str) -> Image:
    if view.image is None:
        raise DataError(f"the descriptor '{name}' needs the image of a view, and it holds none")
    return view.image
