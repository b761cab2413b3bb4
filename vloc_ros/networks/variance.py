"""A GeM network that is to say how uncertain it is: the same descriptors, and a variance head ready to be trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.networks.names import NetworkKind
from vloc_ros.networks.network import BATCH, PlaceNetwork, UncertaintyNetwork, load_tensors, random_network, tensors_of
from vloc_ros.networks.preprocessing import preprocess


def with_variance(network: PlaceNetwork, images: Sequence[Image], seed: int = 0) -> UncertaintyNetwork:
    """An uncertainty network with the descriptors of a GeM network.

    Its variance is that of the prior for every image until it is trained. The two linear layers that give it learn at a speed that
    goes with the square of what comes in, which of a network that was trained from scratch may be anything, as descriptors are of
    unit length whatever it is. So local descriptors are scaled to a root mean square of 1 behind the generalised mean, and the
    layer of the mean head by the inverse, which changes no descriptor.

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
    made = random_network(NetworkKind.UNCERTAINTY, network.backbone, seed)
    assert isinstance(made, UncertaintyNetwork)
    load_tensors(made, tensors_of(made) | tensors_of(network))
    size = _root_mean_square(made, images)
    with torch.no_grad():
        for parameter in _last_convolution(made.encoder).parameters():
            parameter.div_(size)
        made.pool.fc.weight.mul_(size)
    return made


def _root_mean_square(network: UncertaintyNetwork, images: Sequence[Image]) -> float:
    """Of the elements of the pooled local descriptors of images."""
    squares = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            local = network.encoder(torch.from_numpy(preprocess(images[start : start + BATCH])))
            squares += network.variance.gem(local).square().mean(1).tolist()
    size = float(sum(squares) / max(1, len(squares))) ** 0.5
    if not size > 1e-3 * network.pool.gem.eps**0.5:
        raise DataError(
            f"the network sees nothing in {len(squares)} images: give images of the site, and a network that was trained"
        )
    return size


def _last_convolution(encoder: nn.Module) -> nn.Module:
    """Behind it there is at most a ReLU: what it gives goes with its weights and biases."""
    return [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)][-1]
