"""Networks of GLVL in files: weights in, a network out, and back; and its local half as local features of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vloc_ros.data.weights import GLVL, Tensors, WeightsCard, hash_of, load_weights, save_weights
from vloc_ros.networks.files import require_tensors
from vloc_ros.networks.glvl import Glvl
from vloc_ros.networks.glvl_form import GlvlForm
from vloc_ros.networks.local_files import file_shapes, file_tensors, save_local_network
from vloc_ros.networks.superpoint import SuperPoint


def load_glvl(path: Path) -> tuple[Glvl, WeightsCard]:
    """The network whose weights a file holds, in evaluation mode, and its card.

    Raises:
        WeightsError: the file or its card is missing or damaged, they do not belong together, or the weights are not those of
            the network that the card names.
    """
    tensors, card = load_weights(path)
    return glvl_of(tensors, card, str(path)), card


def glvl_of(tensors: Tensors, card: WeightsCard, what: str) -> Glvl:
    """The network of some weights, in evaluation mode.

    Args:
        tensors: by name; the caller has made sure that they are those of the card.
        card: what they are.
        what: they are called in messages.

    Raises:
        WeightsError: the weights are not those of the network that the card names.
    """
    form = GlvlForm.of_card(card, what)
    with torch.device("meta"):  # a card may speak of any size: memory is taken for what is there
        shapes = file_shapes(Glvl(form))
    require_tensors(shapes, tensors, what, f"{GLVL}, {form.backbone}")
    network = Glvl(form)
    # Counters are not in files; they keep their zeros.
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, strict=False)
    network.eval()
    return network


def save_glvl(
    path: Path, network: Glvl, trained_on: str, parent: str = "", licence: str = "", results: str = "", notes: str = ""
) -> WeightsCard:
    """Write the weights of a network and a card that is named after the file.

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
    tensors, form = file_tensors(network), network.form
    card = WeightsCard(
        name=path.stem,
        network=GLVL,
        backbone=form.backbone,
        dimension=form.vector,
        sha256=hash_of(tensors),
        preprocessing=form.preprocessing,
        trained_on=trained_on,
        parent=parent,
        licence=licence,
        results=results,
        notes=notes,
    )
    save_weights(path, tensors, card)
    return card


def superpoint_of(network: Glvl) -> SuperPoint:
    """The local half alone, with weights of its own, in evaluation mode and on the CPU."""
    half = SuperPoint(network.form.resnet, network.form.descriptor)
    half.stem.load_state_dict(network.stem.state_dict())
    half.head.load_state_dict(network.local.state_dict())
    half.eval()
    return half


def save_superpoint_of(
    path: Path, network: Glvl, trained_on: str, licence: str = "", results: str = "", notes: str = ""
) -> WeightsCard:
    """Write the local half as a network of local features; its card names the whole network as its parent.

    Args:
        path: file to write, ``<name>.safetensors``.
        network: both halves.
        trained_on: what it has learned from, in words.
        licence: under which the weights may be used.
        results: how good it is, measured by what, in words.
        notes: anything else.

    Raises:
        WeightsError: the name of the file does not end in ``.safetensors``.
        DataError: a file cannot be written.
    """
    parent = hash_of(file_tensors(network))
    return save_local_network(path, superpoint_of(network), trained_on, parent, licence, results, notes)
