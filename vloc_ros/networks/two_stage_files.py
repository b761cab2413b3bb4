"""Networks of both stages in files: weights in, a network out, and back."""

from __future__ import annotations

from pathlib import Path

from vloc_ros.data.weights import TWO_STAGES, Tensors, WeightsCard, hash_of, load_weights, save_weights
from vloc_ros.networks.files import require_tensors
from vloc_ros.networks.network import load_tensors, tensors_of
from vloc_ros.networks.preprocessing import preprocessing_of
from vloc_ros.networks.two_stage import TwoStageNetwork
from vloc_ros.networks.two_stage_card import two_stage_backbone

__all__ = ["load_two_stage", "save_two_stage", "two_stage_of"]


def load_two_stage(path: Path) -> tuple[TwoStageNetwork, WeightsCard]:
    """The network whose weights a file holds, in evaluation mode, and its card.

    Raises:
        WeightsError: the file or its card is missing or damaged, they do not belong together, or the weights are not those of
            the network that the card names.
    """
    tensors, card = load_weights(path)
    return two_stage_of(tensors, card, str(path)), card


def two_stage_of(tensors: Tensors, card: WeightsCard, what: str) -> TwoStageNetwork:
    """The network of some weights, in evaluation mode.

    Args:
        tensors: by name; the caller has made sure that they are those of the card.
        card: what they are.
        what: they are called in messages.

    Raises:
        WeightsError: the weights are not those of the network that the card names.
    """
    backbone = two_stage_backbone(card, what)
    network = TwoStageNetwork(backbone)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    require_tensors(shapes, tensors, what, f"{TWO_STAGES} on {backbone.value}")
    load_tensors(network, tensors)
    return network


def save_two_stage(path: Path, network: TwoStageNetwork, trained_on: str, parent: str = "", licence: str = "") -> WeightsCard:
    """Write the weights of both stages and a card that is named after the file.

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
    tensors, backbone = tensors_of(network), network.backbone
    card = WeightsCard(
        name=path.stem,
        network=TWO_STAGES,
        backbone=backbone.value,
        dimension=backbone.channels,
        sha256=hash_of(tensors),
        preprocessing=preprocessing_of(backbone.size),
        trained_on=trained_on,
        parent=parent,
        licence=licence,
    )
    save_weights(path, tensors, card)
    return card
