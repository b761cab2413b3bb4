"""A whole network: backbone, pooling, and the whitening or the variance that some have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.networks.cct import Cct
from vloc_ros.networks.mobilenetv3 import MobileNetV3
from vloc_ros.networks.names import Backbone, NetworkKind, backbones_of
from vloc_ros.networks.pooling import CLUSTERS, GemHead, NetVlad, PlainGem, Whitening
from vloc_ros.networks.preprocessing import preprocess
from vloc_ros.networks.uncertainty import Described, VarianceHead
from vloc_ros.networks.unet_encoder import UNetEncoder
from vloc_ros.networks.vgg16 import VGG16
from vloc_ros.networks.vit import ClassToken, VisionTransformer

BATCH = 8
"""Images that go through together; on a CPU more of them are not faster."""


# Softness of the assignment to random centres: of the order that centres of real descriptors ask for.
_RANDOM_ALPHA = 100.0


class PlaceNetwork(nn.Module):
    """Prepared images to unit vectors. ``encoder`` gives local descriptors, ``pool`` one vector, ``whitening`` may shorten it."""

    def __init__(self, kind: NetworkKind, backbone: Backbone, whitened: int = 0) -> None:
        """Build a network with undefined weights; callers use :func:`random_network` or weights from a file.

        Args:
            kind: what pools.
            backbone: what is below it, one of :func:`vloc_ros.networks.names.backbones_of` the kind.
            whitened: dimension after whitening, 0 for none.
        """
        super().__init__()
        self.kind, self.backbone = kind, backbone
        self.encoder = _encoder(kind, backbone)
        self.pool, pooled = _pool(kind, backbone.channels)
        self.whitening = Whitening(pooled, whitened) if whitened else None
        self.pooled_dimension = pooled
        self.dimension = whitened or pooled

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) prepared images to (N, dimension) of unit length."""
        pooled = self.pool(self.encoder(images))
        return pooled if self.whitening is None else self.whitening(pooled)


class UncertaintyNetwork(PlaceNetwork):
    """Descriptors and how uncertain each is: a GeM network with a second head, ``variance``, on the same local descriptors."""

    def __init__(self, backbone: Backbone) -> None:
        """As :class:`PlaceNetwork`; there is no whitening, behind which the variance would mean nothing."""
        super().__init__(NetworkKind.UNCERTAINTY, backbone)
        self.variance = VarianceHead(backbone.channels)

    def forward(self, images: Tensor) -> Described:
        """(N, 3, H, W) prepared images to N descriptors with their variances."""
        local = self.encoder(images)
        return Described(self.pool(local), self.variance(local))


def _encoder(kind: NetworkKind, backbone: Backbone) -> nn.Module:
    if backbone is Backbone.VIT_SMALL:
        return VisionTransformer()
    if backbone in (Backbone.CCT14, Backbone.CCT_SMALL):
        return Cct(backbone)
    signed = kind is NetworkKind.NETVLAD
    if backbone is Backbone.COMPACT_UNET:
        return UNetEncoder(last_relu=not signed)
    return VGG16(last_relu=not signed) if backbone is Backbone.VGG16 else MobileNetV3()


def _pool(kind: NetworkKind, channels: int) -> tuple[nn.Module, int]:
    """What pools, and the dimension of what it gives."""
    if kind is NetworkKind.NETVLAD:
        return NetVlad(channels), CLUSTERS * channels
    if kind is NetworkKind.PLAIN_GEM:
        return PlainGem(), channels
    return (ClassToken(), channels) if kind is NetworkKind.BAREBONE else (GemHead(channels), channels - 1)


def make_network(kind: NetworkKind, backbone: Backbone, whitened: int = 0) -> PlaceNetwork:
    """A network of a kind, with undefined weights.

    Args:
        kind: which.
        backbone: what is below it.
        whitened: dimension after whitening, 0 for none.

    Raises:
        ConfigError: there is no such network: the kind does not go with the backbone, or with a whitening.
    """
    known = backbones_of(kind)
    if backbone not in known:
        raise ConfigError(f"there is no {kind.value} on {backbone.value}: take {' or '.join(member.value for member in known)}")
    if kind is not NetworkKind.UNCERTAINTY:
        return PlaceNetwork(kind, backbone, whitened)
    if whitened:
        raise ConfigError("the variance of an uncertainty network is that of its own descriptors: they cannot be whitened")
    return UncertaintyNetwork(backbone)


def random_network(kind: NetworkKind, backbone: Backbone, seed: int = 0) -> PlaceNetwork:
    """A network that was never trained: random weights that depend on the seed alone, in evaluation mode.

    Convolutions keep the variance of what passes (He et al. 2015); the layer behind the generalised mean is a random rotation
    that drops one dimension, which keeps distances; variances are near 1/C, the prior; NetVLAD's centres are random directions,
    so give it real ones (:func:`vloc_ros.networks.centroids.initialise_netvlad`). A ViT and a CCT get the published initialisation.

    Raises:
        ConfigError: there is no such network.
    """
    network = make_network(kind, backbone)
    generator = torch.Generator().manual_seed(seed)
    if isinstance(network.encoder, (VisionTransformer, Cct)):
        network.encoder.initialise(generator)
    else:
        _initialise(network.encoder, generator)
    _initialise(network.pool, generator)
    if isinstance(network, UncertaintyNetwork):
        network.variance.start_at(1.0 / backbone.channels, generator)
    network.eval()
    return network


def _initialise(part: nn.Module, generator: torch.Generator) -> None:
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, NetVlad):
            nn.init.normal_(module.centroids, std=module.centroids.shape[1] ** -0.5, generator=generator)
            module.set_clusters(functional.normalize(module.centroids.data, dim=1), _RANDOM_ALPHA)


def as_described(output: Tensor | Described) -> Described:
    """What a network put out, with None for a variance that it does not give."""
    return output if isinstance(output, Described) else Described(output, None)


def tensors_of(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    """All weights by name, as arrays of their own."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def load_tensors(network: nn.Module, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Put all weights into a network and leave it in evaluation mode; names and shapes must be those it has."""
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, strict=True)
    network.eval()


def describe_images(network: PlaceNetwork, images: Sequence[Image], batch: int = BATCH) -> NDArray[np.float32]:
    """(N, D) float32 descriptors that a network makes of images, in batches and without gradients."""
    return describe_with_variance(network, images, batch)[0]


def describe_with_variance(
    network: PlaceNetwork, images: Sequence[Image], batch: int = BATCH
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """(N, D) float32 descriptors of at least one image, and (N,) their variances; None from a network that has none."""
    means, variances = [], []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            prepared = preprocess(images[start : start + batch], network.backbone.size)
            described = as_described(network(torch.from_numpy(prepared)))
            means.append(described.mean.numpy())
            if described.variance is not None:
                variances.append(described.variance.numpy())
    return np.concatenate(means), np.concatenate(variances) if variances else None
