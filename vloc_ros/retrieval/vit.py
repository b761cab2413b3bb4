"""``vit_small``: what a vision transformer says of the whole image before its classifier, the third network of system M's paper."""

from __future__ import annotations

from typing import ClassVar

from vloc_ros.networks import Backbone, NetworkKind
from vloc_ros.retrieval.contract import register
from vloc_ros.retrieval.network import NetworkDescriptor


class VitSmall(NetworkDescriptor):
    """ViT-S/16: 384 elements, fewer when its weights hold a whitening."""

    name: ClassVar[str] = "vit_small"
    kind: ClassVar[NetworkKind] = NetworkKind.BAREBONE
    backbone: ClassVar[Backbone] = Backbone.VIT_SMALL


# Weights of its own are named by their file instead, see weights_file.py.
register(VitSmall.name)(VitSmall.random)
