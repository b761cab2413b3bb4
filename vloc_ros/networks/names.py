"""Which networks there are; known without torch."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Backbone(Enum):
    """What turns an image into a map of local descriptors."""

    VGG16 = "vgg16"
    """13 convolutions, 512 channels of stride 16; Simonyan and Zisserman 2015, configuration D."""
    MOBILENETV3 = "mobilenetv3"
    """MobileNetV3-Large, projected to 256 channels of stride 32; Howard et al. 2019, table 1."""

    @property
    def channels(self) -> int:
        """Length of a local descriptor."""
        return 512 if self is Backbone.VGG16 else 256

    @property
    def stride(self) -> int:
        """Pixels of the input from one local descriptor to the next."""
        return 16 if self is Backbone.VGG16 else 32


@unique
class NetworkKind(Enum):
    """What turns the map of local descriptors into one vector."""

    NETVLAD = "netvlad"
    """Residuals to 64 cluster centres; Arandjelović et al. 2016."""
    GEM = "gem"
    """Generalised mean and a fully connected layer; Radenović et al. 2018."""
