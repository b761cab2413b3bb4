"""The contract of a global descriptor: one unit vector per image, and the registry by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.models import shipped_places
from vloc_ros.errors import ConfigError
from vloc_ros.features import Features


@unique
class Needs(Enum):
    """What a global descriptor is made from."""

    IMAGE = "image"
    FEATURES = "features"


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one image.

    Attributes:
        image: (H, W) grey or (H, W, 3) RGB uint8, or None where only the features were kept.
        features: its local features, or None where nobody extracted any.
        size: width and height [px], where the image was not kept and they are known.
        condition: in which it was taken (``night``), empty where nobody says; descriptors that know conditions find it out then.
    """

    image: Image | None = None
    features: Features | None = None
    size: tuple[int, int] | None = None
    condition: str = ""

    @property
    def extent(self) -> tuple[int, int] | None:
        """Width and height of the image [px], None where nobody knows."""
        return self.size if self.image is None else (self.image.shape[1], self.image.shape[0])


class GlobalDescriptor(ABC):
    """Describes a whole image by one vector, so that images of one place are near each other. Deterministic, without state.

    Attributes:
        name: what users call it.
        needs: the part of a :class:`View` that must be there.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs] = Needs.IMAGE

    @property
    @abstractmethod
    def card(self) -> ModelCard:
        """Name, dimension, hash of the weights (or of the vocabulary) and preprocessing; equal cards, comparable vectors."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Those that it can be told in :attr:`View.condition`; none where the condition makes no difference to it."""
        return ()

    def conditions_of(self, views: Sequence[View]) -> list[str]:
        """By which of its :attr:`conditions` each view is described, said or inferred; empty texts where it knows none.

        Raises:
            DataError: a view lacks what :attr:`needs` says.
        """
        return [""] * len(views)

    @abstractmethod
    def describe(self, view: View) -> NDArray[np.float32]:
        """(D,) float32 of unit length, compared by its dot product; all zeros for an image with nothing to describe.

        Raises:
            DataError: the view lacks what :attr:`needs` says.
        """

    def describe_many(self, views: Sequence[View]) -> NDArray[np.float32]:
        """(N, D) descriptors of several images; a network does it in batches."""
        rows = [self.describe(view) for view in views]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.card.dimension)

    def describe_with_variance(self, views: Sequence[View]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """As :meth:`describe_many`, and how uncertain each descriptor is.

        Returns:
            (N, D) descriptors, and (N,) variances of their elements, infinite for an image with nothing to describe; None from a
            descriptor that does not know.
        """
        return self.describe_many(views), None


Maker = Callable[[], GlobalDescriptor]
AssetMaker = Callable[["bytes | None"], GlobalDescriptor]
FileMaker = Callable[[Path], GlobalDescriptor]

_MAKERS: dict[str, Maker] = {}
_ASSET_MAKERS: dict[str, AssetMaker] = {}
_FILE_MAKERS: dict[str, FileMaker] = {}


def register(name: str) -> Callable[[Maker], Maker]:
    """Decorator that makes a class or function, called without arguments, known as the maker of a descriptor."""

    def known(maker: Maker) -> Maker:
        _MAKERS[name] = maker
        return maker

    return known


def register_file(suffix: str) -> Callable[[FileMaker], FileMaker]:
    """Decorator that makes a function known as the maker of descriptors from files whose names end so."""

    def known(maker: FileMaker) -> FileMaker:
        _FILE_MAKERS[suffix] = maker
        return maker

    return known


def register_with_assets(name: str) -> Callable[[AssetMaker], AssetMaker]:
    """As :func:`register`, for a descriptor that is learned: its maker is given the bytes of a vocabulary.

    The maker gets None when the caller has none; it then either does without or raises a ConfigError that says where they come
    from. A network is asked for by the file of its weights instead, see :func:`register_file`.
    """

    def known(maker: AssetMaker) -> AssetMaker:
        _ASSET_MAKERS[name] = maker
        return maker

    return known


def descriptors() -> list[str]:
    """Names of the registered global descriptors, and of shipped weights."""
    return sorted([*_MAKERS, *_ASSET_MAKERS, *shipped_places()])


def takes_assets(name: str) -> bool:
    """Whether a descriptor is made from a vocabulary; False for an unknown name."""
    return name in _ASSET_MAKERS


def create_descriptor(name: str, assets: bytes | None = None) -> GlobalDescriptor:
    """Build a global descriptor by name, or from the file of a network's weights, as in ``models/site.safetensors``.

    Args:
        name: one of :func:`descriptors`, that of shipped weights, or the path of a file of weights.
        assets: contents of its vocabulary, for a descriptor that is learned.

    Raises:
        ConfigError: the name is not registered, what it needs is not installed, the descriptor cannot do without assets, or it
            has no use for them.
        DataError: the assets are damaged or belong to something else.
        WeightsError: the file of weights, or its card, is missing, damaged or of another network.
    """
    if name in _ASSET_MAKERS:
        return _ASSET_MAKERS[name](assets)
    if name not in _MAKERS:
        name = str(shipped_places().get(name, name))
    from_file = _FILE_MAKERS.get(Path(name).suffix)
    if from_file is None and name not in _MAKERS:
        raise ConfigError(f"unknown descriptor '{name}'; known: {', '.join(descriptors())}, or a file of weights (*.safetensors)")
    if assets is not None:
        raise ConfigError(f"the descriptor '{name}' is not learned and has no use for weights or a vocabulary; leave them out")
    return _MAKERS[name]() if from_file is None else from_file(Path(name))
