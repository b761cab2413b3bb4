"""The layers of ResNet-50 (He et al. 2016) for grey images: a stem of stride 8 that two heads share, and the rest to stride 32."""

from __future__ import annotations

from torch import Tensor, nn

from vloc_ros.networks.glvl_form import EXPANSION, ResNetForm


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the stride is in the 3x3 one."""

    def __init__(self, channels: int, narrow: int, stride: int) -> None:
        super().__init__()
        wide = narrow * EXPANSION
        self.layers = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, narrow, 3, stride, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
        )
        same = stride == 1 and channels == wide
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4 narrow, H / stride, W / stride)."""
        made: Tensor = self.layers(x) + self.shortcut(x)
        return made.relu()


class ResNetStem(nn.Module):
    """First convolution, pooling and two stages: grey images to maps of stride 8."""

    def __init__(self, form: ResNetForm) -> None:
        """Build it with random weights."""
        super().__init__()
        width = form.width
        self.first = nn.Sequential(
            nn.Conv2d(1, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        self.stages = nn.Sequential(
            _stage(width, width, form.blocks[0], 1), _stage(EXPANSION * width, 2 * width, form.blocks[1], 2)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) to (B, 8 width, H / 8, W / 8), rounded up."""
        made: Tensor = self.stages(self.first(images))
        return made


class ResNetTop(nn.Module):
    """The last two stages: maps of stride 8 to maps of stride 32."""

    def __init__(self, form: ResNetForm) -> None:
        """Build it with random weights."""
        super().__init__()
        width = form.width
        self.stages = nn.Sequential(
            _stage(2 * EXPANSION * width, 4 * width, form.blocks[2], 2),
            _stage(4 * EXPANSION * width, 8 * width, form.blocks[3], 2),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 8 width, H, W) to (B, 32 width, H / 4, W / 4), rounded up."""
        made: Tensor = self.stages(maps)
        return made


def _stage(channels: int, narrow: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, narrow, stride)
    return nn.Sequential(first, *(Bottleneck(EXPANSION * narrow, narrow, 1) for _ in range(blocks - 1)))
