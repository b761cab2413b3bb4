"""Networks of place recognition to begin a training with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.networks.cct import Cct, TrunkTokenizer
from vloc_ros.networks.centroids import initialise_netvlad
from vloc_ros.networks.local_files import load_local_network
from vloc_ros.networks.names import Backbone, NetworkKind
from vloc_ros.networks.network import BATCH, PlaceNetwork, load_tensors, random_network, tensors_of
from vloc_ros.networks.preprocessing import preprocess, resized
from vloc_ros.networks.unet_encoder import UNetEncoder
from vloc_ros.training.live_norm import MOMENTUM, let_norms_learn, normalise_inputs
from vloc_ros.training.places import PlaceSource

LOCAL_START = "unet"
"""Name of the shipped local features that a backbone of theirs begins with."""


def fresh_network(kind: NetworkKind, backbone: Backbone, seed: int, projected: int = 0) -> PlaceNetwork:
    """A network of random weights, with normalisations that learn.

    Args:
        kind: what makes one vector.
        backbone: what is below it.
        seed: of the weights.
        projected: elements after a linear projection, random too; 0 for none.
    """
    network = random_network(kind, backbone, seed)
    if projected:
        tensors = tensors_of(network)
        network = PlaceNetwork(kind, backbone, projected)
        weight = torch.empty(projected, network.pooled_dimension)
        nn.init.orthogonal_(weight, generator=torch.Generator().manual_seed(seed))
        load_tensors(network, tensors | {"whitening.weight": weight.numpy(), "whitening.bias": np.zeros(projected, np.float32)})
    let_norms_learn(network)
    if not isinstance(network.encoder, Cct):  # which normalises every token itself
        normalise_inputs(network)
    return network


def begin_with_features(network: PlaceNetwork, path: Path) -> str:
    """Give the backbone of a fresh network what local features have learned; returns the hash of their weights.

    Raises:
        ConfigError: the backbone has nothing to do with local features.
        WeightsError: the file is missing or damaged, or its network is another.
    """
    trunk = trunk_of(network)
    if trunk is None:
        raise ConfigError(
            f"{path} holds local features, from which {network.backbone.value} cannot begin: take --network compact_unet "
            "or cct_small"
        )
    local, card = load_local_network(path)
    trunk.begin_with(local)  # files hold no counters: those of normalisations that learn stay zero
    return card.sha256


def trunk_of(network: PlaceNetwork) -> UNetEncoder | None:
    """The part of a network that is the trunk of local features; None where there is none."""
    encoder = network.encoder
    if isinstance(encoder, Cct) and isinstance(encoder.tokenizer, TrunkTokenizer):
        return encoder.tokenizer.trunk
    return encoder if isinstance(encoder, UNetEncoder) else None


def some_images(sources: Sequence[PlaceSource], count: int, seed: int, size: int) -> list[Image]:
    """Images at input size [px] from random places, as many of each source.

    Raises:
        DataError: one of them is damaged.
    """
    rng = np.random.default_rng([seed, 92])  # kept apart from other uses of the seed
    found = []
    for k in range(count):
        source = sources[k % len(sources)]
        views = source.place(int(rng.integers(len(source)))).views
        found.append(resized(views[int(rng.integers(len(views)))].read(), size))
    return found


def centre_on_images(network: PlaceNetwork, images: Sequence[Image], seed: int) -> None:
    """Give a NetVLAD network whose normalisations learn their statistics on images, and then its cluster centres.

    Raises:
        DataError: there are too few images.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
    network.train()
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            network.encoder(torch.from_numpy(preprocess(images[start : start + BATCH], network.backbone.size)))
    network.eval()
    for norm in norms:
        norm.momentum = MOMENTUM
    initialise_netvlad(network, images, seed)
