"""``gem``: generalised mean of deep local descriptors and a fully connected layer (Radenović et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

from vloc_ros.networks import Backbone, NetworkKind
from vloc_ros.retrieval.contract import register
from vloc_ros.retrieval.network import NetworkDescriptor


class GemVgg16(NetworkDescriptor):
    """On the backbone of the paper: 511 elements, fewer when its weights hold a whitening."""

    name: ClassVar[str] = "gem"
    kind: ClassVar[NetworkKind] = NetworkKind.GEM
    backbone: ClassVar[Backbone] = Backbone.VGG16


class GemMobileNetV3(NetworkDescriptor):
    """On a backbone for a robot without a GPU: 255 elements, fewer when its weights hold a whitening."""

    name: ClassVar[str] = "gem_mobilenetv3"
    kind: ClassVar[NetworkKind] = NetworkKind.GEM
    backbone: ClassVar[Backbone] = Backbone.MOBILENETV3


class GemCompactUNet(NetworkDescriptor):
    """On the trunk of the small U-Net of local features: 255 elements, fewer when its weights hold a whitening."""

    name: ClassVar[str] = "gem_compact_unet"
    kind: ClassVar[NetworkKind] = NetworkKind.GEM
    backbone: ClassVar[Backbone] = Backbone.COMPACT_UNET


# Weights of their own are named by their file instead, see weights_file.py.
register(GemVgg16.name)(GemVgg16.random)
register(GemMobileNetV3.name)(GemMobileNetV3.random)
register(GemCompactUNet.name)(GemCompactUNet.random)
