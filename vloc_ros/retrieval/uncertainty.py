"""``uncertainty``: descriptors as those of ``gem``, each with the variance of its elements (system M)."""

from __future__ import annotations

from typing import ClassVar

from vloc_ros.networks import Backbone, NetworkKind
from vloc_ros.retrieval.contract import register
from vloc_ros.retrieval.network import NetworkDescriptor


class UncertaintyVgg16(NetworkDescriptor):
    """On the larger backbone of the paper: 511 elements and a variance."""

    name: ClassVar[str] = "uncertainty"
    kind: ClassVar[NetworkKind] = NetworkKind.UNCERTAINTY
    uncertain: ClassVar[bool] = True
    backbone: ClassVar[Backbone] = Backbone.VGG16


class UncertaintyMobileNetV3(NetworkDescriptor):
    """On the backbone for a robot without a GPU: 255 elements and a variance."""

    name: ClassVar[str] = "uncertainty_mobilenetv3"
    kind: ClassVar[NetworkKind] = NetworkKind.UNCERTAINTY
    uncertain: ClassVar[bool] = True
    backbone: ClassVar[Backbone] = Backbone.MOBILENETV3


class UncertaintyCompactUNet(NetworkDescriptor):
    """On the trunk of the small U-Net of local features: 255 elements and a variance."""

    name: ClassVar[str] = "uncertainty_compact_unet"
    kind: ClassVar[NetworkKind] = NetworkKind.UNCERTAINTY
    uncertain: ClassVar[bool] = True
    backbone: ClassVar[Backbone] = Backbone.COMPACT_UNET


# Weights of their own are named by their file instead, see weights_file.py.
register(UncertaintyVgg16.name)(UncertaintyVgg16.random)
register(UncertaintyMobileNetV3.name)(UncertaintyMobileNetV3.random)
register(UncertaintyCompactUNet.name)(UncertaintyCompactUNet.random)
