"""``netvlad``: residuals of deep local descriptors to cluster centres (Arandjelović et al. 2016)."""

from __future__ import annotations

from typing import ClassVar

from vloc_ros.networks import Backbone, NetworkKind
from vloc_ros.retrieval.contract import register
from vloc_ros.retrieval.network import NetworkDescriptor


class NetVladVgg16(NetworkDescriptor):
    """On the backbone of the paper: 32 768 elements, fewer when its weights hold a whitening."""

    name: ClassVar[str] = "netvlad"
    kind: ClassVar[NetworkKind] = NetworkKind.NETVLAD
    backbone: ClassVar[Backbone] = Backbone.VGG16


class NetVladMobileNetV3(NetworkDescriptor):
    """On a backbone for a robot without a GPU: 16 384 elements, fewer when its weights hold a whitening."""

    name: ClassVar[str] = "netvlad_mobilenetv3"
    kind: ClassVar[NetworkKind] = NetworkKind.NETVLAD
    backbone: ClassVar[Backbone] = Backbone.MOBILENETV3


class NetVladCompactUNet(NetworkDescriptor):
    """On the trunk of the small U-Net of local features: 16 384 elements, fewer when its weights hold a whitening."""

    name: ClassVar[str] = "netvlad_compact_unet"
    kind: ClassVar[NetworkKind] = NetworkKind.NETVLAD
    backbone: ClassVar[Backbone] = Backbone.COMPACT_UNET


# Weights of their own are named by their file instead, see weights_file.py.
register(NetVladVgg16.name)(NetVladVgg16.random)
register(NetVladMobileNetV3.name)(NetVladMobileNetV3.random)
register(NetVladCompactUNet.name)(NetVladCompactUNet.random)
