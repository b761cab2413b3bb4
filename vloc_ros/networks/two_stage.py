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

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, with local descriptors as a list: (N, C) and (N, S * S, C), row by row."""
        seen = self(images)
        return seen.mean, seen.local.flatten(2).transpose(1, 2)

    def points(self, query: Tensor, candidates: Tensor) -> Tensor:
        """(S * S, C) patches of one query and (B, S * S, C) of candidates, as :meth:`look` gives them, to (B, 8, 2) points [px]."""
        side = self.backbone.side
        one, others = query.t().unflatten(1, (side, side))[None], candidates.transpose(1, 2).unflatten(2, (side, side))
        made: Tensor = self.regression(one, others)
        return made


def random_two_stage(backbone: Backbone, seed: int = 0) -> TwoStageNetwork:
    """One that was never trained: random weights that depend on the seed alone, in evaluation mode."""
    network = TwoStageNetwork(backbone)
    network.place.load_state_dict(random_network(NetworkKind.PLAIN_GEM, backbone, seed).state_dict())
    network.regression.initialise(torch.Generator().manual_seed(seed))
    network.eval()
    return network
