"""What a network of DISAM is made for, as its card says it; known without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, unique

from vloc_ros.data.weights import DISAM, WeightsCard
from vloc_ros.errors import ConfigError, WeightsError

_TEXT = re.compile(r"^(\d{1,4}) channels, (\d{1,4})x(\d{1,4}), (coarse|fine)$")


@unique
class Stage(Enum):
    """Which of the two models of DISAM it is, and with that how its latents are compared."""

    COARSE = "coarse"
    """Learned with the feature consistency of mean squares; compared by the mean over channels of the spatial cosine."""
    FINE = "fine"
    """Learned with the similarity activation maps, too; compared by the cosine of the flattened latents."""


@dataclass(frozen=True, slots=True)
class DisamForm:
    """Size, stage and conditions of a network.

    Attributes:
        channels: of the first convolution; the latent has four times as many. 64 as published.
        width: of the images that it sees [px], a multiple of 4 from 32 up. 256 as published.
        height: likewise.
        stage: which model.
        conditions: names of those that have an encoder; the first is the reference.

    Raises:
        ConfigError: a size is not possible, or there are fewer than two conditions, or two of one name.
    """

    channels: int = 64
    width: int = 256
    height: int = 256
    stage: Stage = Stage.COARSE
    conditions: tuple[str, ...] = ("day", "night")

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"a network of {self.channels} channels describes nothing: give 1 or more, 64 as published")
        for name, size in (("width", self.width), ("height", self.height)):
            if size < 32 or size % 4:
                raise ConfigError(f"images of {name} {size} px do not fit: it must be a multiple of 4, and 32 or more")
        if len(self.conditions) < 2 or len(set(self.conditions)) < len(self.conditions):
            raise ConfigError(f"images are translated between two or more conditions, not {', '.join(self.conditions) or 'none'}")
        if any(not name or "," in name for name in self.conditions):
            raise ConfigError(f"a condition needs a name without a comma, not {', '.join(map(repr, self.conditions))}")

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, height and width of the latent: (256, 64, 64) as published."""
        return 4 * self.channels, self.height // 4, self.width // 4

    @property
    def backbone(self) -> str:
        """As cards say it."""
        return f"{self.channels} channels, {self.width}x{self.height}, {self.stage.value}"

    @property
    def preprocessing(self) -> str:
        """How images are prepared, as cards say it."""
        return f"whole image to {self.width}x{self.height} (area, linear where enlarged), RGB, -1 to 1"

    @classmethod
    def of_card(cls, card: WeightsCard, what: str) -> DisamForm:
        """What a card says.

        Raises:
            WeightsError: it is that of another network, or damaged; ``what`` names the weights.
        """
        found = _TEXT.match(card.backbone)
        if card.network != DISAM or found is None:
            raise WeightsError(f"{what} holds weights of {card.network} on {card.backbone}, and here some of {DISAM} are needed")
        channels, width, height, stage = found.groups()
        try:
            form = cls(int(channels), int(width), int(height), Stage(stage), tuple(card.conditions.split(",")))
        except ConfigError as error:
            raise WeightsError(f"{what} has a model card that cannot be: {error}") from error
        if card.preprocessing != form.preprocessing:
            raise WeightsError(
                f"{what} was made for images prepared in another way ('{card.preprocessing}', here: '{form.preprocessing}'): "
                "import or train it again with this release"
            )
        return form
