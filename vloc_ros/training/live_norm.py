"""Normalisations that learn, for networks that come with frozen ones or none: from random weights nothing is learned without.

What a linear layer of the head is given is normalised, too. It is all positive behind a ReLU or a generalised mean, so that the
first steps of an optimizer like Adam would move all vectors the same way, until all images look alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from vloc_ros.networks.mobilenetv3 import FrozenBatchNorm
from vloc_ros.networks.network import PlaceNetwork, load_tensors, tensors_of

MOMENTUM = 0.1
"""How fast statistics follow: what the last ten batches or so were like."""
COUNTER = "num_batches_tracked"  # only training has a use for it
_INPUT, _EPS = "input_norm", 1e-5


def let_norms_learn(network: nn.Module) -> None:
    """Put learning normalisations in place of the frozen ones; they begin with the same tensors, under the same names."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, FrozenBatchNorm):
                setattr(module, name, _live(child))


def _live(frozen: FrozenBatchNorm) -> nn.BatchNorm2d:
    live = nn.BatchNorm2d(len(frozen.weight), eps=frozen.eps, momentum=MOMENTUM)
    live.load_state_dict(frozen.state_dict(), strict=False)  # all but the counter
    return live.train(frozen.training)


def normalise_inputs(network: nn.Module) -> None:
    """Normalise what the linear layers of a network are given, each element over the batch; for random ones only."""
    for module in [module for module in network.modules() if isinstance(module, nn.Linear)]:
        norm = nn.BatchNorm2d(module.in_features, eps=_EPS, momentum=MOMENTUM, affine=False)  # the layer itself scales and shifts
        module.add_module(_INPUT, norm.train(module.training))
        module.register_forward_pre_hook(_normalised)


def _normalised(module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    """(N, C) inputs of a layer through the normalisation it has now, which processes may share."""
    norm: nn.Module = getattr(module, _INPUT)
    result: Tensor = norm(inputs[0][:, :, None, None])
    return result[:, :, 0, 0]


def with_frozen_norms(network: PlaceNetwork) -> PlaceNetwork:
    """A copy for the run time, in evaluation mode on the CPU: statistics are frozen, those of linear layers become part of them."""
    tensors = {name: tensor for name, tensor in tensors_of(network).items() if not name.endswith(COUNTER)}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and hasattr(module, _INPUT):
            _absorb(tensors, name)
    frozen = PlaceNetwork(network.kind, network.backbone, 0 if network.whitening is None else network.dimension)
    load_tensors(frozen, tensors)
    return frozen


def _absorb(tensors: dict[str, NDArray[np.float32]], layer: str) -> None:
    """W (x - m) / s + b as one linear layer, in place."""
    mean, variance = (tensors.pop(f"{layer}.{_INPUT}.{name}").astype(np.float64) for name in ("running_mean", "running_var"))
    weight = tensors[f"{layer}.weight"] / np.sqrt(variance + _EPS)
    tensors[f"{layer}.weight"] = weight.astype(np.float32)
    tensors[f"{layer}.bias"] = (tensors[f"{layer}.bias"] - weight @ mean).astype(np.float32)
