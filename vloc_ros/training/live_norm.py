"""Batch normalisation that learns, for networks that come with a frozen one: from random weights nothing is learned without."""

from __future__ import annotations

from torch import nn

from vloc_ros.networks.mobilenetv3 import FrozenBatchNorm
from vloc_ros.networks.network import PlaceNetwork, load_tensors, tensors_of

MOMENTUM = 0.1
"""How fast statistics follow: what the last ten batches or so were like."""
_COUNTER = "num_batches_tracked"  # of batch normalisation: only training has a use for it


def let_norms_learn(network: nn.Module) -> None:
    """Put learning normalisations in place of the frozen ones; they begin with the same tensors, under the same names."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, FrozenBatchNorm):
                setattr(module, name, _live(child))


def _live(frozen: FrozenBatchNorm) -> nn.BatchNorm2d:
    live = nn.BatchNorm2d(len(frozen.weight), eps=FrozenBatchNorm.EPS, momentum=MOMENTUM)
    live.load_state_dict(frozen.state_dict(), strict=False)  # all but the counter
    return live.train(frozen.training)


def with_frozen_norms(network: PlaceNetwork) -> PlaceNetwork:
    """A copy for the run time, in evaluation mode on the CPU."""
    tensors = {name: tensor for name, tensor in tensors_of(network).items() if not name.endswith(_COUNTER)}
    frozen = PlaceNetwork(network.kind, network.backbone, 0 if network.whitening is None else network.dimension)
    load_tensors(frozen, tensors)
    return frozen
