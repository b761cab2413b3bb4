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
    COMPACT_UNET = "compact_unet"
    """Trunk of the small U-Net of local features, projected to 256 channels of stride 8: it knows day and night from the start."""
    VIT_SMALL = "vit_small"
    """ViT-S/16, 384 channels, one token per 16x16 px and one for the image; Dosovitskiy et al. 2021, Touvron et al. 2021."""
    CCT14 = "cct14"
    """CCT-14/7x2 cut off after 8 layers, 384 channels of stride 16, of images of 384 px; Hassani et al. 2021, Lu et al. 2024."""
    CCT_SMALL = "cct_small"
    """Two such layers of 192 channels on the trunk of the small U-Net, images of 256 px: for training and running it on a CPU."""

    @property
    def channels(self) -> int:
        """Length of a local descriptor."""
        return {"vgg16": 512, "mobilenetv3": 256, "compact_unet": 256, "vit_small": 384, "cct14": 384, "cct_small": 192}[self.value]

    @property
    def stride(self) -> int:
        """Pixels of the input from one local descriptor to the next."""
        return {"mobilenetv3": 32, "compact_unet": 8}.get(self.value, 16)

    @property
    def size(self) -> int:
        """Height and width of the images that it sees on the robot [px]."""
        return {"cct14": 384, "cct_small": 256}.get(self.value, 224)

    @property
    def fixed_size(self) -> bool:
        """Whether it sees images of that size alone: its positions are learned."""
        return self in (Backbone.VIT_SMALL, Backbone.CCT14, Backbone.CCT_SMALL)

    @property
    def side(self) -> int:
        """Local descriptors along either side of such an image."""
        return self.size // self.stride


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
    PLAIN_GEM = "plain_gem"
    """Generalised mean of local descriptors of unit length, and nothing behind it; Lu et al. 2024, section 3.1."""


@unique
class LearnedPart(Enum):
    """The part of a network that learns; the rest is frozen."""

    PUBLISHED = "published"
    """The heads, and of VGG16 conv5_1 to conv5_3, of MobileNetV3 all but batch normalisations; of the small
    U-Net likewise. Of a CCT its last two layers. Of a ViT nothing was published: its last two blocks and normalisation."""
    CONV5_2 = "conv5_2"
    """VGG16 only: as published, but conv5_1 is frozen, too, as the released training of uncertainty does."""
    HEADS = "heads"
    """What stands on the backbone."""
    VARIANCE = "variance"
    """The variance head alone: descriptors stay as they are, bit for bit."""
    ALL = "all"
    """Everything but batch normalisations."""


def backbones_of(kind: NetworkKind) -> tuple[Backbone, ...]:
    """The backbones that a network of this kind can have: most give a map to be pooled, a ViT a token of the image."""
    if kind is NetworkKind.BAREBONE:
        return (Backbone.VIT_SMALL,)
    if kind is NetworkKind.PLAIN_GEM:
        return (Backbone.CCT14, Backbone.CCT_SMALL)
    return (Backbone.VGG16, Backbone.COMPACT_UNET, Backbone.MOBILENETV3)
