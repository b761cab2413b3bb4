"""From a pair of images to one that a network learns from: cropped, in its colours, altered by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vloc_ros.config import param
from vloc_ros.data.frame import to_grey, to_rgb
from vloc_ros.training.augmentation import AugmentationSettings, augment
from vloc_ros.training.cropping import crop_pair
from vloc_ros.training.pairs import TrainingPair


@dataclass(frozen=True)
class ImageSettings:
    """What images a network is trained on."""

    width: int = param(288, "width of the images that are learned from", unit="px", min=32, max=4096)
    height: int = param(224, "height of them", unit="px", min=32, max=4096)
    zoom: float = param(2.0, "images are shown up to so many times larger than just fills the crop", min=1.0, max=8.0)
    zoom_apart: float = param(1.25, "largest difference in scale of the two images of a pair", min=1.0, max=2.0)


PUBLISHED_IMAGES: dict[str, Any] = {"width": 512, "height": 384, "zoom": 1.0, "zoom_apart": 1.0}
"""What was published for U, in place of our defaults: whole images."""


def prepared(
    pair: TrainingPair,
    images: ImageSettings,
    augmentation: AugmentationSettings | None,
    rng: np.random.Generator,
    colours: int = 1,
) -> TrainingPair:
    """A pair as a network gets to see it.

    Args:
        pair: of any size. Where it has a stereo truth both images are cropped alike; without it each gets a crop of its own.
        images: their size.
        augmentation: None leaves the images as they are.
        rng: decides.
        colours: 1 for grey images, else they are RGB.
    """
    pair = crop_pair(pair, (images.width, images.height), rng, images.zoom, images.zoom_apart)
    a, b = (to_grey(image) if colours == 1 else to_rgb(image) for image in (pair.image_a, pair.image_b))
    if augmentation is not None:
        a, b = augment(a, rng, augmentation), augment(b, rng, augmentation)
    return TrainingPair(a, b, pair.warp, pair.stereo, pair.tag)
