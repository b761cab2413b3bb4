"""Networks of DISAM in files: weights in, a network out, and back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from vloc_ros.data.weights import DISAM, Tensors, WeightsCard, hash_of, load_weights, save_weights
from vloc_ros.errors import WeightsError
from vloc_ros.networks.disam_form import DisamForm
from vloc_ros.networks.domains import DomainNetwork
from vloc_ros.networks.files import require_tensors
from vloc_ros.networks.network import load_tensors, tensors_of


def load_disam(path: Path) -> tuple[DomainNetwork, WeightsCard]:
    """The network whose weights a file holds, in evaluation mode, and its card.

    Raises:
        WeightsError: the file or its card is missing or damaged, they do not belong together, or the weights are not those of
            the network that the card names.
    """
    tensors, card = load_weights(path)
    return disam_of(tensors, card, str(path)), card


def disam_of(tensors: Tensors, card: WeightsCard, what: str) -> DomainNetwork:
    """The network of some weights, in evaluation mode, with those of its parts that there are weights of.

    Args:
        tensors: by name; the caller has made sure that they are those of the card.
        card: what they are.
        what: they are called in messages.

    Raises:
        WeightsError: the weights are not those of the network that the card names.
    """
    form = DisamForm.of_card(card, what)
    cell, basis = tensors.get("compression.cell"), tensors.get("compression.basis")
    sizes = [float(size) for size in range(1, min(form.latent[1:]) + 1)]
    if cell is None or basis is None or cell.shape != (1,) or basis.ndim != 2 or float(cell[0]) not in sizes:
        raise WeightsError(f"{what} does not say how its latents are compressed: import or train it again")
    make = partial(
        DomainNetwork,
        form,
        decoders=any(name.startswith("decoders.") for name in tensors),
        classifier=any(name.startswith("classifier.") for name in tensors),
        cell=int(cell[0]),
        length=len(basis),
    )
    with torch.device("meta"):  # a card may speak of any size: memory is taken for what is there
        shapes = {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}
    require_tensors(shapes, tensors, what, f"{DISAM}, {form.backbone}, with {len(form.conditions)} conditions")
    network = make()
    if network.compression.length != card.dimension:
        raise WeightsError(f"{what} makes descriptors of {network.compression.length} elements and its card says {card.dimension}")
    load_tensors(network, tensors)
    return network


def save_disam(
    path: Path, network: DomainNetwork, trained_on: str, parent: str = "", licence: str = "", notes: str = ""
) -> WeightsCard:
    """Write the weights of a network and a card that is named after the file.

    Args:
        path: file to write, ``<name>.safetensors``.
        network: the network.
        trained_on: what it has learned from, in words.
        parent: hash of the weights it was made from.
        licence: under which the weights may be used.
        notes: anything else.

    Raises:
        WeightsError: the name of the file does not end in ``.safetensors``.
        DataError: a file cannot be written.
    """
    tensors, form = tensors_of(network), network.form
    card = WeightsCard(
        name=path.stem,
        network=DISAM,
        backbone=form.backbone,
        dimension=network.compression.length,
        sha256=hash_of(tensors),
        preprocessing=form.preprocessing,
        trained_on=trained_on,
        parent=parent,
        licence=licence,
        notes=notes,
        conditions=",".join(form.conditions),
    )
    save_weights(path, tensors, card)
    return card
