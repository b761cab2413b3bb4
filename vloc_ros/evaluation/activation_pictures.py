"""Pictures of why an image was retrieved: similarity activation maps drawn over a query and its answer."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.data.places import Picture
from vloc_ros.retrieval import GlobalDescriptor, View
from vloc_ros.retrieval.activation import GivesLatents, activation_map

LEGEND = (
    "Below them, in colours, is what makes the two alike to the network (similarity activation maps): the brighter, the more it "
    "counts in that image."
)
HEIGHT_PX = 240
_GAP_PX = 6
_NOTHING = 1e-12
_MOST = 0.75  # of a colour over a picture
_DIM = 0.8  # of the brightness of the picture below it, which is grey, so that colours stand out


class ActivationPainter:
    """Draws the maps of a descriptor over pictures."""

    def __init__(self, descriptor: GivesLatents, told: bool) -> None:
        """Remember a descriptor; ``told`` says whether it is told the conditions of pictures, as it was when it searched."""
        self._descriptor, self._told = descriptor, told

    def __call__(self, query: Picture, answer: Picture) -> tuple[Image, Image]:
        """Both pictures, (H, W, 3) RGB of the same height, with the map L(z|z') of each for the other.

        Raises:
            DataError: a picture cannot be read.
            WeightsError: the network cannot be used.
        """
        images = query.read(), answer.read()
        latents = [
            self._descriptor.latent(View(image, condition=picture.condition if self._told else ""))
            for picture, image in zip((query, answer), images, strict=True)
        ]
        maps = activation_map(*latents), activation_map(latents[1], latents[0])
        return draw_activation(images[0], maps[0]), draw_activation(images[1], maps[1])

    def below(self, shown: Image, query: Picture, answer: Picture) -> Image:
        """A picture of a query beside its answer, (H, W, 3) RGB, with their maps below it.

        Raises:
            DataError: a picture cannot be read.
            WeightsError: the network cannot be used.
        """
        left, right = self(query, answer)
        maps = np.hstack([left, np.full((HEIGHT_PX, _GAP_PX, 3), 255, dtype=np.uint8), right])
        width = max(shown.shape[1], maps.shape[1])
        rows = [shown, np.full((_GAP_PX, width, 3), 255, dtype=np.uint8), maps]
        return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows])


def activation_painter(descriptor: GlobalDescriptor, told: bool) -> ActivationPainter | None:
    """What draws the maps of a descriptor, None of one that has none; ``told`` whether it is told conditions."""
    return ActivationPainter(descriptor, told) if isinstance(descriptor, GivesLatents) else None


def draw_activation(image: Image, activation: NDArray[np.float32]) -> Image:
    """A pale picture below the colours of an activation map.

    Args:
        image: (H, W) grey or (H, W, 3) RGB uint8.
        activation: (h, w) of the whole image, 0 or more; the largest value gets the strongest colour.

    Returns:
        (240, W, 3) RGB uint8.
    """
    size = max(1, round(image.shape[1] * HEIGHT_PX / image.shape[0])), HEIGHT_PX
    # small pictures are shown as the pixels they are
    method = cv2.INTER_AREA if image.shape[0] > HEIGHT_PX else cv2.INTER_NEAREST
    below = np.asarray(cv2.resize(to_rgb(image), size, interpolation=method), dtype=np.float32)
    below = _DIM * below.mean(axis=2, keepdims=True)
    largest = max(float(activation.max()), _NOTHING)
    share = np.clip(cv2.resize(activation, size, interpolation=cv2.INTER_LINEAR) / largest, 0.0, 1.0)
    levels = (255.0 * share).astype(np.uint8)
    colour = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float32)
    weight = _MOST * share[..., None]
    return np.asarray(((1.0 - weight) * below + weight * colour).round(), dtype=np.uint8)
