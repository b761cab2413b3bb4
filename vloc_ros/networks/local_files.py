"""Networks of local features in files: weights in, a network out, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vloc_ros.data.local_model import LocalModel, preprocessing_of
from vloc_ros.data.weights import LOCAL_NETWORKS, WeightsCard, hash_of, load_weights, save_weights
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.networks.compact import CompactUNet
from vloc_ros.networks.files import require_tensors
from vloc_ros.networks.glvl_form import ResNetForm
from vloc_ros.networks.local import LocalNetwork
from vloc_ros.networks.network import tensors_of
from vloc_ros.networks.superpoint import SuperPoint
from vloc_ros.networks.unet import UNet

_PUBLISHED = ResNetForm().stem.blocks
_BUILDERS: dict[str, Callable[[int, tuple[int, ...], int], LocalNetwork]] = {
    CompactUNet.architecture: lambda width, _, size: CompactUNet(width, size),
    UNet.architecture: lambda width, _, __: UNet(width),
    SuperPoint.architecture: lambda width, blocks, size: SuperPoint(ResNetForm(width, blocks or _PUBLISHED), size),
}
_TEXT = re.compile(r"width (\d{1,4})(?:, blocks (\d{1,3}(?:-\d{1,3})+))?")
_COUNTER = "num_batches_tracked"  # of batch normalisation: only training has a use for it
_WIDEST, _LONGEST = 64, 1024


def build_network(architecture: str, width: int, descriptor_size: int = 128, blocks: tuple[int, ...] = ()) -> LocalNetwork:
    """A network with random weights.

    Args:
        architecture: name of its kind, as in model cards.
        width: what scales its channels.
        descriptor_size: length of its descriptors; of an architecture whose width decides that, it is ignored.
        blocks: of each stage of an architecture of blocks, by default as published; others ignore it.

    Raises:
        WeightsError: there is no such architecture, or not of that size.
    """
    if architecture not in _BUILDERS:
        raise WeightsError(f"'{architecture}' is not one of the networks of local features: {', '.join(_BUILDERS)}")
    if not (1 <= width <= _WIDEST and 1 <= descriptor_size <= _LONGEST):
        raise WeightsError(f"a network of width {width} with descriptors of {descriptor_size} elements cannot be")
    try:
        return _BUILDERS[architecture](width, blocks, descriptor_size)
    except ConfigError as error:
        raise WeightsError(f"such a network cannot be: {error}") from error


def file_tensors(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    """The weights by name, as files hold them."""
    return {name: tensor for name, tensor in tensors_of(network).items() if not name.endswith(_COUNTER)}


def file_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of :func:`file_tensors`."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if not name.endswith(_COUNTER)}


def save_local_network(
    path: Path,
    network: LocalNetwork,
    trained_on: str,
    parent: str = "",
    licence: str = "",
    results: str = "",
    notes: str = "",
) -> WeightsCard:
    """Write the weights of a network, and a card that is named after the file.

    Args:
        path: file to write, ``<name>.safetensors``.
        network: the network; its parameters may be on any device.
        trained_on: what it has learned from, in words.
        parent: hash of the weights it was made from.
        licence: under which the weights may be used.
        results: how good it is, measured by what, in words.
        notes: anything else, for example how long it was trained.

    Raises:
        WeightsError: the name of the file does not end in ``.safetensors``.
        DataError: a file cannot be written.
    """
    tensors = file_tensors(network)
    card = WeightsCard(
        name=path.stem,
        network=network.architecture,
        backbone=network.backbone,
        dimension=network.descriptor_size,
        sha256=hash_of(tensors),
        preprocessing=preprocessing_of(network.colours),
        trained_on=trained_on,
        parent=parent,
        licence=licence,
        results=results,
        notes=notes,
    )
    save_weights(path, tensors, card)
    return card


def load_local_network(path: Path) -> tuple[LocalNetwork, WeightsCard]:
    """The network whose weights a file holds, in evaluation mode, and its card.

    Raises:
        WeightsError: the file or its card is missing or damaged, they do not belong together, or the weights are not those of
            the network that the card names.
    """
    tensors, card = load_weights(path)
    return network_of(tensors, card, path), card


def network_of(tensors: Mapping[str, NDArray[np.float32]], card: WeightsCard, path: Path) -> LocalNetwork:
    """The network of weights that were read from a file, in evaluation mode.

    Raises:
        WeightsError: they are not those of the network that the card names.
    """
    if card.network not in LOCAL_NETWORKS:
        raise WeightsError(f"{path} holds weights of {card.network}, which is no network of local features")
    found = _TEXT.fullmatch(card.backbone)
    blocks = tuple(map(int, found[2].split("-"))) if found is not None and found[2] else ()
    network = None if found is None else build_network(card.network, int(found[1]), card.dimension, blocks)
    if network is None or network.backbone != card.backbone:
        example = "width 24" if network is None else network.backbone
        raise WeightsError(f"{path}: the model card must say how large the network is ('{example}'), not '{card.backbone}'")
    require_tensors(file_shapes(network), tensors, path, f"{card.network} of {card.backbone}")
    if network.descriptor_size != card.dimension:
        raise WeightsError(f"{path} makes descriptors of {network.descriptor_size} elements and its card says {card.dimension}")
    if preprocessing_of(network.colours) != card.preprocessing:
        raise WeightsError(
            f"{path} was made for images prepared in another way ('{card.preprocessing}', here: "
            f"'{preprocessing_of(network.colours)}'): import or train it again with this release"
        )
    # Counters are not in files; they keep their zeros.
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, strict=False)
    network.eval()
    return network


def model_of(network: LocalNetwork, card: WeightsCard) -> LocalModel:
    """What one must know of a network beside its maps."""
    projection = network.projection
    name = ""
    if projection is not None:
        name = next(known for known, tensor in network.named_parameters() if tensor is projection)
    return LocalModel(
        sha256=card.sha256,
        colours=network.colours,
        multiple=network.multiple,
        strides=network.strides,
        through_pixels=network.through_pixels,
        projection=name,
        centred=network.centred,
        probable=network.probable,
    )
