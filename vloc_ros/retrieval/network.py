"""What the descriptors that come from a network share; torch is imported when one is created that ONNX Runtime cannot compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.weights import Tensors, WeightsCard, hash_of, load_weights
from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.networks import Backbone, NetworkKind
from vloc_ros.networks.availability import require_torch
from vloc_ros.networks.preprocessing import preprocessing_of, require_preprocessing
from vloc_ros.retrieval.contract import GlobalDescriptor, View
from vloc_ros.retrieval.engines import PlaceEngine, TorchEngine, engine_of, exported_engine


class EngineDescriptor(GlobalDescriptor):
    """What an engine computes. An image of one colour has nothing to describe and gets zeros."""

    uncertain: ClassVar[bool] = False
    """Whether the engine knows variances."""

    def __init__(self, engine: PlaceEngine, card: ModelCard) -> None:
        """Put the parts together; callers use methods that load them."""
        self.engine = engine
        self._card = card

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
            WeightsError: the network cannot be used, or its descriptors are of another length than its card says.
        """
        images = [_image_of(view, self.name) for view in views]
        result = np.zeros((len(images), self.card.dimension), dtype=np.float32)
        uncertain = np.full(len(images), np.inf, dtype=np.float32) if self.uncertain else None
        seen = [index for index, image in enumerate(images) if image.size and image.min() != image.max()]
        if seen:
            made, variances = self.engine([images[index] for index in seen])
            if made.shape[1] != self.card.dimension:
                raise WeightsError(
                    f"the network of '{self.card.name}' makes {made.shape[1]} elements, its card says {self.card.dimension}"
                )
            result[seen] = made
            if uncertain is not None:
                uncertain[seen] = variances
        return result, uncertain


class NetworkDescriptor(EngineDescriptor):
    """A network and what it was made from.

    Attributes:
        kind: what turns local descriptors into one vector.
        backbone: what makes the local descriptors.
    """

    kind: ClassVar[NetworkKind]
    backbone: ClassVar[Backbone]

    @classmethod
    def random(cls, seed: int = 0) -> NetworkDescriptor:
        """A network that was never trained, which its card says; its weights depend on the seed alone.

        Raises:
            ConfigError: torch is not installed.
        """
        require_torch(f"the descriptor '{cls.name}'")
        from vloc_ros.networks.network import random_network, tensors_of

        network = random_network(cls.kind, cls.backbone, seed)
        prepared = f"{preprocessing_of(cls.backbone.size)}; random weights of seed {seed}"
        return cls(TorchEngine(network), ModelCard(cls.name, network.dimension, hash_of(tensors_of(network)), prepared))

    @classmethod
    def load(cls, path: Path) -> NetworkDescriptor:
        """The network of a file of weights; torch is not needed where ``<name>.onnx`` of these weights is beside it.

        Raises:
            ConfigError: torch is not installed, and there is no such file.
            WeightsError: the file or its card is missing or damaged, or it holds another network.
        """
        tensors, card = load_weights(path)
        require_preprocessing(card.preprocessing, str(path), cls.backbone.size)
        exported = exported_engine(path, card.sha256, cls.backbone.size)
        if exported is not None and (card.network, card.backbone) == (cls.kind.value, cls.backbone.value):
            return cls(exported, card.model_card)
        require_computable(path)
        return cls.of(tensors, card, str(path))

    @classmethod
    def of(cls, tensors: Tensors, card: WeightsCard, what: str) -> NetworkDescriptor:
        """The network of some weights, which are those of the card; ``what`` they are called in messages.

        Raises:
            ConfigError: torch is not installed.
            WeightsError: they are of another network.
        """
        require_torch(f"the network in {what}")
        from vloc_ros.networks.files import network_of

        network = network_of(tensors, card, what)
        if (network.kind, network.backbone) != (cls.kind, cls.backbone):
            raise WeightsError(f"{what} holds weights of {card.network} on {card.backbone}, not of '{cls.name}'")
        return cls(engine_of(network, card.sha256), card.model_card)


def require_computable(path: Path) -> None:
    """Make sure that what computes networks can do it for weights without an ONNX file beside them.

    Raises:
        ConfigError: ONNX Runtime is installed, and torch, which makes such a file, is not.
    """
    if not is_installed("torch") and is_installed("onnxruntime"):
        raise ConfigError(
            f"{path} has no {path.stem}.onnx of its weights beside it, and torch, which does without, is not installed: run "
            f"`vloc export {path.name} --to onnx` where it is, and copy the file"
        )


def _image_of(view: View, name: str) -> Image:
    if view.image is None:
        raise DataError(f"the descriptor '{name}' needs the image of a view, and it holds none")
    return view.image
