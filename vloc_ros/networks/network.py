"""A whole network: backbone, pooling, and the whitening that some have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.data.frame import Image
from vloc_ros.networks.mobilenetv3 import MobileNetV3
from vloc_ros.networks.names import Backbone, NetworkKind
from vloc_ros.networks.pooling import CLUSTERS, GemHead, NetVlad, Whitening
from vloc_ros.networks.preprocessing import preprocess
from vloc_ros.networks.vgg16 import VGG16

BATCH = 8
"""Images that go through together; on a CPU more of them are not faster."""


# Softness of the assignment to random centres: of the order that centres of real descriptors ask for.
_RANDOM_ALPHA = 100.0


class PlaceNetwork(nn.Module):
    """Prepared images to unit vectors. ``encoder`` gives local descriptors, ``pool`` one vector, ``whitening`` may shorten it."""

    def __init__(self, kind: NetworkKind, backbone: Backbone, whitened: int = 0) -> None:
        """Build a network with undefined weights; callers use :func:`random_network` or weights from a file.

        Args:
            kind: NetVLAD or GeM.
            backbone: what is below it.
            whitened: dimension after whitening, 0 for none.
        """
        super().__init__()
        self.kind, self.backbone = kind, backbone
        is_netvlad = kind is NetworkKind.NETVLAD
        self.encoder = VGG16(last_relu=not is_netvlad) if backbone is Backbone.VGG16 else MobileNetV3()
        self.pool = NetVlad(backbone.channels) if is_netvlad else GemHead(backbone.channels)
        pooled = CLUSTERS * backbone.channels if is_netvlad else backbone.channels - 1
        self.whitening = Whitening(pooled, whitened) if whitened else None
        self.pooled_dimension = pooled
        self.dimension = whitened or pooled

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) prepared images to (N, dimension) of unit length."""
        pooled = self.pool(self.encoder(images))
        return pooled if self.whitening is None else self.whitening(pooled)


def random_network(kind: NetworkKind, backbone: Backbone, seed: int = 0) -> PlaceNetwork:
    """A network that was never trained: random weights that depend on the seed alone, in evaluation mode.

    Convolutions keep the variance of what passes (He et al. 2015); the layer behind the generalised mean is a random rotation
    that drops one dimension, which keeps distances; NetVLAD's centres are random directions, so give it real ones
    (:func:`vloc_ros.networks.centroids.initialise_netvlad`).
    """
    network = PlaceNetwork(kind, backbone)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
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
    network.eval()
    return network


def tensors_of(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    """All weights by name, as arrays of their own."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def load_tensors(network: nn.Module, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Put all weights into a network and leave it in evaluation mode; names and shapes must be those it has."""
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, strict=True)
    network.eval()


def describe_images(network: nn.Module, images: Sequence[Image], batch: int = BATCH) -> NDArray[np.float32]:
    """What a network makes of images, (N, ...) float32, in batches and without gradients."""
    results = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            prepared = torch.from_numpy(preprocess(images[start : start + batch]))
            results.append(network(prepared).numpy())
    return np.concatenate(results)
