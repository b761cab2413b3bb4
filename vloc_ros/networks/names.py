"""Which networks there are; known without torch."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Backbone(Enum):
    """What turns an image into local descriptors."""

    VGG16 = "vgg16"
    """13 convolutions, 512 channels of stride 16; Simonyan and Zisserman 2015, configuration D."""
    MOBILENETV3 = "mobilenetv3"
    """MobileNetV3-Large, projected to 256 channels of stride 32; Howard et al. 2019, table 1."""
    VIT_SMALL = "vit_small"
    """ViT-S/16, 384 channels, one token per 16x16 px and one for the image; Dosovitskiy et al. 2021, Touvron et al. 2021."""

    @property
    def channels(self) -> int:
        """Length of a local descriptor."""
        return {"vgg16": 512, "mobilenetv3": 256, "vit_small": 384}[self.value]

    @property
    def stride(self) -> int:
        """Pixels of the input from one local descriptor to the next."""
        return 32 if self is Backbone.MOBILENETV3 else 16


@unique
class NetworkKind(Enum):
    """What turns the local descriptors of an image into one vector."""

    NETVLAD = "netvlad"
    """Residuals to 64 cluster centres; Arandjelović et al. 2016."""
    GEM = "gem"
    """Generalised mean and a fully connected layer; Radenović et al. 2018."""
    UNCERTAINTY = "uncertainty"
    """As GEM, and beside it a second head that says how uncertain the vector is: one variance for all its elements."""
    BAREBONE = "barebone"
    """Nothing: what the backbone itself says of the whole image, before a classifier."""


@unique
class LearnedPart(Enum):
    """The part of a network that learns; the rest is frozen."""

    PUBLISHED = "published"
    """The heads, and of VGG16 conv5_1 to conv5_3, of MobileNetV3 all but batch normalisations. Of a ViT nothing was published:
    its last two blocks and normalisation, which is as deep."""
    CONV5_2 = "conv5_2"
    """VGG16 only: as published, but conv5_1 is frozen, too, as the released training of uncertainty does."""
    HEADS = "heads"
    """What stands on the backbone."""
    VARIANCE = "variance"
    """The variance head alone: descriptors stay as they are, bit for bit."""
    ALL = "all"
    """Everything but batch normalisations."""


def backbones_of(kind: NetworkKind) -> tuple[Backbone, ...]:
    """The backbones that a network of this kind can have: convolutions give a map to be pooled, a ViT a token of the image."""
    return (Backbone.VIT_SMALL,) if kind is NetworkKind.BAREBONE else (Backbone.VGG16, Backbone.MOBILENETV3)
