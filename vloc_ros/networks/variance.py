"""A GeM network that is to say how uncertain it is: the same descriptors, and a variance head ready to be trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.networks.names import NetworkKind
from vloc_ros.networks.network import BATCH, PlaceNetwork, UncertaintyNetwork, load_tensors, tensors_of
from vloc_ros.networks.preprocessing import preprocess

_SMALLEST_VARIANCE = 0.01
"""Of an element, in the mean square of all: what varies less is not blown up beyond that."""


def with_variance(network: PlaceNetwork, images: Sequence[Image], seed: int = 0) -> UncertaintyNetwork:
    """An uncertainty network with the descriptors of a GeM network.

    Its variance is that of the prior for every image until it is trained. The linear layers that give it learn at a speed that goes
    with the square of what comes in, which of a network that was trained from scratch may be anything, as descriptors are of unit
    length whatever it is. So local descriptors are scaled to a root mean square of 1 behind the generalised mean, and the layer of
    the mean head by the inverse, which changes no descriptor; and the first layer of the new head begins by subtracting what all
    images share.

    Args:
        network: a GeM network without whitening; it is not changed.
        images: some images of the site, at least one.
        seed: of the new head.

    Raises:
        ConfigError: the network is of another kind, or has a whitening.
        DataError: there is no image in which the network sees anything.
    """
    if network.kind is not NetworkKind.GEM or network.whitening is not None:
        what = f"{network.kind.value}{' with a whitening' if network.whitening is not None else ''}"
        raise ConfigError(f"a variance head needs a network of gem without whitening below it, not of {what}")
    made = UncertaintyNetwork(network.backbone)
    made.variance.start_at(1.0 / network.backbone.channels, torch.Generator().manual_seed(seed))
    load_tensors(made, tensors_of(made) | tensors_of(network))
    pooled = _pooled(made, images)
    size = pooled.square().mean().sqrt()
    with torch.no_grad():
        for parameter in _last_convolution(made.encoder).parameters():
            parameter.div_(size)
        made.pool.fc.weight.mul_(size)
        mean, variance = (pooled / size).mean(0), (pooled / size).var(0, correction=0)
        first = made.variance.fc[0]
        first.weight.div_((variance + _SMALLEST_VARIANCE).sqrt())
        first.bias.copy_(-first.weight @ mean)
    return made


def _pooled(network: UncertaintyNetwork, images: Sequence[Image]) -> Tensor:
    """(N, C) what the variance head sees of images."""
    rows = [torch.zeros(0, network.backbone.channels)]
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            local = network.encoder(torch.from_numpy(preprocess(images[start : start + BATCH], network.backbone.size)))
            rows.append(network.variance.gem(local))
    pooled = torch.cat(rows)
    if len(pooled) == 0 or not bool(pooled.max() > 10.0 * network.variance.gem.eps):
        raise DataError(f"the network sees nothing in {len(pooled)} images: give images of the site, and a trained network")
    return pooled


def _last_convolution(encoder: nn.Module) -> nn.Module:
    """Behind it there is at most a ReLU: what it gives goes with its weights and biases."""
    return [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)][-1]
