"""Networks in files: weights in, a network out, and back."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.weights import DISAM, GLVL, TWO_STAGES, WeightsCard, hash_of, load_weights, save_weights
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.networks.names import Backbone, NetworkKind
from vloc_ros.networks.network import PlaceNetwork, load_tensors, make_network, tensors_of
from vloc_ros.networks.preprocessing import preprocessing_of, require_preprocessing

E = TypeVar("E", bound=Enum)


def load_network(path: Path) -> tuple[PlaceNetwork, WeightsCard]:
    """The network whose weights a file holds, in evaluation mode, and its card.

    Raises:
        WeightsError: the file or its card is missing or damaged, they do not belong together, or the weights are not those of
            the network that the card names.
    """
    tensors, card = load_weights(path)
    return network_of(tensors, card, str(path)), card


def network_of(tensors: Mapping[str, NDArray[np.float32]], card: WeightsCard, what: str) -> PlaceNetwork:
    """The network of some weights, in evaluation mode.

    Args:
        tensors: by name; the caller has made sure that they are those of the card.
        card: what they are.
        what: they are called in messages.

    Raises:
        WeightsError: the weights are not those of the network that the card names; those of both stages are read by
            :mod:`.two_stage_files`.
    """
    if card.network == TWO_STAGES:
        raise WeightsError(
            f"{what} holds both stages of {TWO_STAGES}, and here weights that only describe images are needed: "
            "`vloc train vpr` takes both"
        )
    if card.network in (DISAM, GLVL):
        alone = f"`vloc train {card.network}` alone takes"
        raise WeightsError(f"{what} holds weights of {card.network}, which {alone}: here another kind is needed")
    kind, backbone = _member(NetworkKind, card.network, what), _member(Backbone, card.backbone, what)
    require_preprocessing(card.preprocessing, what, backbone.size)
    whitening = tensors.get("whitening.weight")
    whitened = len(whitening) if whitening is not None and whitening.ndim == 2 else 0
    try:
        network = make_network(kind, backbone, whitened)
    except ConfigError as error:
        raise WeightsError(f"{what} cannot be used: {error}") from error
    require_fit(network, tensors, what)
    if network.dimension != card.dimension:
        raise WeightsError(f"{what} makes descriptors of {network.dimension} elements and its card says {card.dimension}")
    load_tensors(network, tensors)
    return network


def save_network(path: Path, network: PlaceNetwork, trained_on: str, parent: str = "", licence: str = "") -> WeightsCard:
    """Write the weights of a network and a card that is named after the file.

    Args:
        path: file to write, ``<name>.safetensors``.
        network: the network.
        trained_on: what it has learned from, in words.
        parent: hash of the weights it was made from.
        licence: under which the weights may be used.

    Raises:
        WeightsError: the name of the file does not end in ``.safetensors``.
        DataError: a file cannot be written.
    """
    tensors = tensors_of(network)
    kind, backbone, sha256 = network.kind.value, network.backbone, hash_of(tensors)
    prepared = preprocessing_of(backbone.size)
    card = WeightsCard(path.stem, kind, backbone.value, network.dimension, sha256, prepared, trained_on, parent, licence)
    save_weights(path, tensors, card)
    return card


def require_fit(network: PlaceNetwork, tensors: Mapping[str, NDArray[np.float32]], path: Path | str) -> None:
    """Make sure that tensors are all those of a network, of the right shapes, and no others.

    Raises:
        WeightsError: they are not; the text names the first few that are wrong.
    """
    what = f"{network.kind.value} on {network.backbone.value}"
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    require_tensors(shapes, tensors, path, what)


def require_tensors(
    shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, NDArray[np.float32]], path: Path | str, what: str
) -> None:
    """Make sure that tensors are all those of ``what``, of these shapes, and no others.

    Raises:
        WeightsError: they are not; the text names the first few that are wrong.
    """
    missing = [name for name in shapes if name not in tensors]
    if missing:
        raise WeightsError(f"{path} lacks {len(missing)} of {len(shapes)} weights of {what}: {some(missing)}")
    unknown = [name for name in tensors if name not in shapes]
    if unknown:
        raise WeightsError(f"{path} holds {len(unknown)} weights that {what} does not have: {some(unknown)}")
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise WeightsError(f"{path}: '{name}' has the shape {tensors[name].shape} instead of {shape} in {what}")
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(f"{path}: '{name}' holds values that are not finite; was its training broken off?")


def some(names: list[str]) -> str:
    """The first three of them."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _member(kind: type[E], value: str, what: str) -> E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise WeightsError(f"{what} holds weights of '{value}', which is not one of: {known}") from None
