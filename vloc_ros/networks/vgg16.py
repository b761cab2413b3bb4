"""VGG16 up to its last convolution (Simonyan and Zisserman 2015, configuration D)."""

from __future__ import annotations

from torch import Tensor, nn

# Channels of the 13 convolutions of 3x3; M is a max-pool of 2x2.
_LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)


class VGG16(nn.Module):
    """conv1_1 to conv5_3, without the last max-pool; state-dict names as torchvision's (``features.0.weight`` ...).

    NetVLAD takes what comes before the last ReLU, signs and all; a pooling of powers needs what comes after it.
    """

    def __init__(self, last_relu: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for entry in _LAYERS:
            if isinstance(entry, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.ReLU(inplace=True)]
                channels = entry
        self.features = nn.Sequential(*(layers if last_relu else layers[:-1]))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) prepared images to (N, 512, H // 16, W // 16)."""
        return self.features(images)
