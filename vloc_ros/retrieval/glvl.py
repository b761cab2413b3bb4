"""``glvl``: the global half of GLVL, a generalised mean of a ResNet's local descriptors, as map tiles are found by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.weights import Tensors, WeightsCard, load_weights
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.networks.availability import require_torch
from vloc_ros.networks.glvl_form import GlvlForm
from vloc_ros.networks.glvl_preprocessing import glvl_images
from vloc_ros.retrieval.engines import OnnxRuntimeEngine, PlaceEngine, exported_network, in_batches
from vloc_ros.retrieval.network import EngineDescriptor, require_computable

if TYPE_CHECKING:
    from vloc_ros.networks.glvl import Glvl as GlvlNetwork


class TorchVectors(PlaceEngine):
    """The network itself."""

    def __init__(self, network: GlvlNetwork) -> None:
        """Wrap a network in evaluation mode."""
        self.network = network

    def __call__(self, images: Sequence[Image]) -> tuple[NDArray[np.float32], None]:
        """As the contract says."""
        from vloc_ros.networks.glvl_export import vectors_of

        size = self.network.form.size
        return np.concatenate([vectors_of(self.network, glvl_images(batch, size)) for batch in in_batches(images)]), None


class Glvl(EngineDescriptor):
    """A network of both halves, of any size, of which the global one describes. An image of one colour gets zeros.

    Its local half is a network of local features in a file of its own: ``superpoint``.
    """

    name: ClassVar[str] = "glvl"

    @classmethod
    def load(cls, path: Path) -> Glvl:
        """The network of a file of weights; torch is not needed where ``<name>.onnx`` of these weights is beside it.

        Raises:
            ConfigError: torch is not installed, and there is no such file.
            WeightsError: the file or its card is missing or damaged, or it holds another network.
        """
        tensors, card = load_weights(path)
        form = GlvlForm.of_card(card, str(path))
        exported = exported_network(path, card.sha256)
        if exported is not None:
            return cls(OnnxRuntimeEngine(lambda: exported, _prepared(form)), card.model_card)
        require_computable(path)
        return cls.of(tensors, card, str(path))

    @classmethod
    def of(cls, tensors: Tensors, card: WeightsCard, what: str) -> Glvl:
        """The network of some weights, which are those of the card; ``what`` they are called in messages.

        Raises:
            ConfigError: torch is not installed.
            WeightsError: they are of another network.
        """
        require_torch(f"the network in {what}")
        from vloc_ros.networks.glvl_export import onnx_of_vectors
        from vloc_ros.networks.glvl_files import glvl_of

        network = glvl_of(tensors, card, what)
        if is_installed("onnxruntime") and is_installed("onnx"):
            engine = OnnxRuntimeEngine(partial(onnx_of_vectors, network, card.sha256), _prepared(network.form))
            return cls(engine, card.model_card)
        return cls(TorchVectors(network), card.model_card)


def _prepared(form: GlvlForm) -> partial[NDArray[np.float32]]:
    return partial(glvl_images, size=form.size)
