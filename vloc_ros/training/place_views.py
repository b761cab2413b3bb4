"""From a place to the images of it that a network learns from: chosen, seen through a random view, altered by chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import Image, to_grey, to_rgb
from vloc_ros.errors import ConfigError
from vloc_ros.networks.names import Backbone
from vloc_ros.networks.preprocessing import INPUT_SIZE, resized
from vloc_ros.training.augmentation import AugmentationSettings, augment
from vloc_ros.training.places import Place
from vloc_ros.training.sources.homographies import HomographySettings, look, random_view

_SIZE, _SMALLEST = 160, 64  # [px]


@dataclass(frozen=True)
class PlaceImageSettings:
    """What images of places a network is trained on. On the robot it sees whole images at its full input size."""

    size: int = param(
        0,
        "width and height of the images that are learned from; 0 takes 160, or what a network is made for that has one size",
        unit="px",
        min=0,
        max=384,
    )
    per_place: int = param(4, "images of each place in a batch", min=2, max=64)
    mirrored: float = param(0.5, "so many of the places are mirrored, which makes other places of them", min=0.0, max=1.0)
    grey: float = param(0.2, "so many of the images lose their colour, as those of grey cameras", min=0.0, max=1.0)
    zoom: float = param(1.6, "images are shown up to so many times larger", min=1.0, max=4.0)
    shift: float = param(0.08, "largest shift of the centre, of the side of the image", min=0.0, max=0.5)
    rotation_deg: float = param(4.0, "largest rotation in the image", unit="deg", min=0.0, max=90.0)
    perspective: float = param(0.06, "largest change of the scale from the centre to a border", min=0.0, max=0.5)
    cache_mb: int = param(400, "each process that prepares samples keeps so much of what it has read", unit="MB", min=0)

    def sized_for(self, backbone: Backbone) -> PlaceImageSettings:
        """With the size that a network learns from.

        Raises:
            ConfigError: it is too small, or not that of a network that has one size.
        """
        wanted = backbone.size if backbone.fixed_size else _SIZE
        size = self.size or wanted
        if size != wanted if backbone.fixed_size else not _SMALLEST <= size <= backbone.size:
            known = f"{wanted}" if backbone.fixed_size else f"{_SMALLEST} to {backbone.size}"
            raise ConfigError(f"images.size is {size}, and {backbone.value} learns from images of {known} px: leave it at 0")
        return dataclasses.replace(self, size=size)

    def view(self) -> HomographySettings:
        """Of the random views."""
        return HomographySettings(
            self.size, self.size, self.rotation_deg, 1.0, self.zoom, self.perspective, self.shift, plain_share=0.0
        )


@dataclass(frozen=True, slots=True)
class PlaceSample:
    """Some images of one place.

    Attributes:
        place: its number, see :class:`vloc_ros.training.place_numbers.PlaceNumbers`.
        images: (K, S, S, 3) uint8 RGB.
        tag: its name.
    """

    place: int
    images: NDArray[np.uint8]
    tag: str


class ImageCache:
    """Images at input size that were read before; what no longer fits is read again."""

    def __init__(self, limit_mb: int, size: int = INPUT_SIZE) -> None:
        """Empty; ``size`` is the height and width of the images that the network sees [px]."""
        self._left, self._size, self._kept = limit_mb * 1_000_000, size, dict[tuple[int, int], Image]()

    def image(self, key: tuple[int, int], read: Callable[[], Image]) -> Image:
        """(size, size) or (size, size, 3) image that has this key, which is read where it is not kept.

        Raises:
            DataError: the image is damaged.
        """
        known = self._kept.get(key)
        if known is not None:
            return known
        image = resized(read(), self._size)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[key] = image
        return image


def chosen_views(place: Place, count: int, rng: np.random.Generator) -> list[int]:
    """Views of a place, in as many conditions as there are; the same ones over again where they are too few."""
    order = rng.permutation(len(place.views)).tolist()
    seen: set[str] = set()
    fresh, others = list[int](), list[int]()
    for view in order:
        condition = place.views[view].condition
        (others if condition in seen else fresh).append(view)
        seen.add(condition)
    ordered = fresh + others
    return [ordered[k % len(ordered)] for k in range(count)]


def altered_view(
    image: Image, rng: np.random.Generator, settings: PlaceImageSettings, augmentation: AugmentationSettings, mirrored: bool
) -> Image:
    """(S, S, 3) RGB image as a network gets to see it.

    Args:
        image: at input size.
        rng: decides.
        settings: size, and how far views differ.
        augmentation: of light, lens and sensor.
        mirrored: left and right are exchanged.
    """
    view = settings.view()
    strayed = look(image, random_view((image.shape[1], image.shape[0]), rng, view), view)
    if rng.random() < settings.grey:
        strayed = to_grey(strayed)
    altered = to_rgb(augment(strayed, rng, augmentation))
    return np.ascontiguousarray(altered[:, ::-1]) if mirrored else altered


def plain_view(image: Image, size: int) -> Image:
    """(S, S, 3) RGB image without any change."""
    return to_rgb(np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8))
