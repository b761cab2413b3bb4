"""Both stages of DHE-VPR as one network: what finds candidates, and what estimates the homography to each of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.dhe import SHAPES, DheNetwork
from vloc_ros.networks.names import Backbone, NetworkKind
from vloc_ros.networks.network import PlaceNetwork, make_network, random_network


class Seen(NamedTuple):
    """What the first stage says of N images.

    Attributes:
        mean: (N, C) global descriptors of unit length.
        local: (N, C, S, S) local descriptors of unit length.
    """

    mean: Tensor
    local: Tensor


class TwoStageNetwork(nn.Module):
    """``place`` describes images, ``regression`` compares them; one file of weights holds both, so that they fit each other."""

    def __init__(self, backbone: Backbone) -> None:
        """Build it with undefined weights, on a CCT."""
        super().__init__()
        self.place: PlaceNetwork = make_network(NetworkKind.PLAIN_GEM, backbone)
        self.regression = DheNetwork(SHAPES[backbone], backbone.size)

    @property
    def backbone(self) -> Backbone:
        """What is below both."""
        return self.place.backbone

    def forward(self, images: Tensor) -> Seen:
        """(N, 3, size, size) prepared images to their descriptors."""
        local = self.place.encoder(images)
        return Seen(self.place.pool(local), functional.normalize(local, dim=1))


def random_two_stage(backbone: Backbone, seed: int = 0) -> TwoStageNetwork:
    """One that was never trained: random weights that depend on the seed alone, in evaluation mode."""
    network = TwoStageNetwork(backbone)
    network.place.load_state_dict(random_network(NetworkKind.PLAIN_GEM, backbone, seed).state_dict())
    network.regression.initialise(torch.Generator().manual_seed(seed))
    network.eval()
    return network
