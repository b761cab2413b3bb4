"""How large a network of GLVL is, as its card says it; known without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vloc_ros.data.weights import GLVL, WeightsCard
from vloc_ros.errors import ConfigError, WeightsError

EXPANSION = 4
"""Of the channels within a block to those behind it."""
STEM_STRIDE = 8
TOP_STRIDE = 32
STEM_STAGES = 2
STAGES = 4
_WIDEST, _DEEPEST, _LONGEST, _LARGEST = 256, 64, 1024, 2048
_TEXT = re.compile(r"resnet (\d{1,4}) (\d{1,3}(?:-\d{1,3}){3}), descriptors (\d{1,4}), (\d{1,4}) px")


@dataclass(frozen=True, slots=True)
class ResNetForm:
    """Size of a network of bottleneck blocks (ResNet-50 and its smaller sisters).

    Attributes:
        width: channels of the first convolution, and of the narrow convolutions of the first stage; 64 as published.
        blocks: of each of the four stages, (3, 4, 6, 3) as published; or of the two of a stem alone.

    Raises:
        ConfigError: a size is not possible.
    """

    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        if not 1 <= self.width <= _WIDEST:
            raise ConfigError(f"a ResNet of width {self.width} cannot be: give 1 to {_WIDEST}, 64 as published")
        if len(self.blocks) not in (STEM_STAGES, STAGES) or not all(1 <= count <= _DEEPEST for count in self.blocks):
            raise ConfigError(
                f"a ResNet of the blocks {self.text} cannot be: give 1 to {_DEEPEST} for each of its four stages, 3-4-6-3 as "
                "published, or for the two of a stem"
            )

    @property
    def stem(self) -> ResNetForm:
        """Of the stem alone."""
        return ResNetForm(self.width, self.blocks[:STEM_STAGES])

    @property
    def stem_channels(self) -> int:
        """Of the map of stride 8."""
        return 2 * self.width * EXPANSION

    @property
    def top_channels(self) -> int:
        """Of the map of stride 32."""
        return 8 * self.width * EXPANSION

    @property
    def text(self) -> str:
        """The blocks, as cards say them."""
        return "-".join(map(str, self.blocks))


@dataclass(frozen=True, slots=True)
class GlvlForm:
    """Size of the network of both halves.

    Attributes:
        resnet: of the stem and of the global half.
        descriptor: length of a local descriptor; 256 as published.
        size: height and width of what the global half sees of an image [px]; 500 as published.

    Raises:
        ConfigError: a size is not possible.
    """

    resnet: ResNetForm = field(default_factory=ResNetForm)
    descriptor: int = 256
    size: int = 500

    def __post_init__(self) -> None:
        if len(self.resnet.blocks) != STAGES:
            raise ConfigError(f"the global half needs a ResNet of four stages, not one of the blocks {self.resnet.text}")
        if not 1 <= self.descriptor <= _LONGEST:
            raise ConfigError(f"local descriptors of {self.descriptor} elements cannot be: give 1 to {_LONGEST}, 256 as published")
        if not TOP_STRIDE <= self.size <= _LARGEST:
            raise ConfigError(f"images of {self.size} px do not fit: give {TOP_STRIDE} to {_LARGEST}, 500 as published")

    @property
    def vector(self) -> int:
        """Length of a global vector; 2048 as published."""
        return self.resnet.top_channels

    @property
    def backbone(self) -> str:
        """As cards say it."""
        return f"resnet {self.resnet.width} {self.resnet.text}, descriptors {self.descriptor}, {self.size} px"

    @property
    def preprocessing(self) -> str:
        """How images are prepared, as cards say it: for both halves alike, but that the local one sees them in their own size."""
        return f"whole image to {self.size}x{self.size} (area, linear where enlarged), grey, values from 0 to 1"

    @classmethod
    def of_card(cls, card: WeightsCard, what: str) -> GlvlForm:
        """What a card says.

        Raises:
            WeightsError: it is that of another network, or damaged; ``what`` names the weights.
        """
        found = _TEXT.fullmatch(card.backbone)
        if card.network != GLVL or found is None:
            raise WeightsError(f"{what} holds weights of {card.network} on {card.backbone}, and here some of {GLVL} are needed")
        width, blocks, descriptor, size = found.groups()
        try:
            form = cls(ResNetForm(int(width), tuple(map(int, blocks.split("-")))), int(descriptor), int(size))
        except ConfigError as error:
            raise WeightsError(f"{what} has a model card that cannot be: {error}") from error
        if card.preprocessing != form.preprocessing:
            raise WeightsError(
                f"{what} was made for images prepared in another way ('{card.preprocessing}', here: '{form.preprocessing}'): "
                "train it again with this release"
            )
        if card.dimension != form.vector:
            raise WeightsError(f"{what} makes vectors of {form.vector} elements and its card says {card.dimension}")
        return form
