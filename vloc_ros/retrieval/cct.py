"""``cct``: generalised mean of the local descriptors of a convolutional transformer, the first stage of DHE-VPR (Lu et al. 2024).

A file of weights may hold the first stage alone, or both: then the re-ranker of that file shares the work on an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.weights import TWO_STAGES, Tensors, WeightsCard, load_card
from vloc_ros.errors import WeightsError
from vloc_ros.networks import Backbone, NetworkKind
from vloc_ros.retrieval.engines import PlaceEngine
from vloc_ros.retrieval.network import NetworkDescriptor
from vloc_ros.retrieval.pair_engine import PairEngine, pair_engine, pair_engine_of


class FirstStage(PlaceEngine):
    """Of a network of both stages, what describes whole images."""

    def __init__(self, engine: PairEngine) -> None:
        """Share an engine."""
        self.engine = engine

    def __call__(self, images: Sequence[Image]) -> tuple[NDArray[np.float32], None]:
        """As the contract says."""
        return self.engine.look(images)[0], None


class Cct14(NetworkDescriptor):
    """On the backbone of the paper: 384 elements, of images of 384x384 px."""

    name: ClassVar[str] = "cct14"
    kind: ClassVar[NetworkKind] = NetworkKind.PLAIN_GEM
    backbone: ClassVar[Backbone] = Backbone.CCT14

    @classmethod
    def load(cls, path: Path) -> NetworkDescriptor:
        """The network of a file of weights of the first stage or of both; see :class:`NetworkDescriptor`."""
        if load_card(path).network != TWO_STAGES:
            return super().load(path)
        return cls._sharing(pair_engine(path), str(path))

    @classmethod
    def of(cls, tensors: Tensors, card: WeightsCard, what: str) -> NetworkDescriptor:
        """The network of some weights of the first stage or of both; see :class:`NetworkDescriptor`."""
        if card.network != TWO_STAGES:
            return super().of(tensors, card, what)
        return cls._sharing(pair_engine_of(tensors, card, what), what)

    @classmethod
    def _sharing(cls, engine: PairEngine, what: str) -> NetworkDescriptor:
        if engine.card.backbone != cls.backbone.value:
            raise WeightsError(f"{what} holds weights on {engine.card.backbone}, not of '{cls.name}'")
        return cls(FirstStage(engine), engine.card.model_card)


class CctSmall(Cct14):
    """On a smaller one for robots without a GPU: 192 elements, of images of 256x256 px."""

    name: ClassVar[str] = "cct_small"
    backbone: ClassVar[Backbone] = Backbone.CCT_SMALL


# Neither is registered: random weights find nothing. Those that come with vloc_ros, `cct`, are known by the name of their file.
