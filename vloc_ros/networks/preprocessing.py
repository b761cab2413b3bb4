"""How an image enters a network: one way, in training and on the robot."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.errors import WeightsError

INPUT_SIZE = 224
"""Height and width [px] of what most networks see; the others are in :attr:`vloc_ros.networks.names.Backbone.size`."""
# Of the ImageNet training images in [0, 1], as all published weights of these backbones expect.
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def preprocessing_of(size: int) -> str:
    """What :func:`preprocess` does, as model cards say it."""
    return f"whole image to {size}x{size} (area, linear where enlarged), RGB, ImageNet mean and deviation"


PREPROCESSING = preprocessing_of(INPUT_SIZE)
"""For most networks."""


def require_preprocessing(preprocessing: str, what: str, size: int = INPUT_SIZE) -> None:
    """Make sure that a model card speaks of images that are prepared as here, for a network of that input size [px].

    Raises:
        WeightsError: it does not; ``what`` names the weights.
    """
    if preprocessing != preprocessing_of(size):
        raise WeightsError(
            f"{what} was made for images prepared in another way ('{preprocessing}', here: '{preprocessing_of(size)}'): "
            "import or train it again with this release"
        )


def preprocess(images: Sequence[Image], size: int = INPUT_SIZE) -> NDArray[np.float32]:
    """Prepare images for a network.

    The whole image is resized, and its aspect changed: nothing of the field of view is cropped away, which is what tells
    places apart on a route, and nothing is padded, whatever the size of the camera. Grey images get three equal channels.

    Args:
        images: N images, (H, W) grey or (H, W, 3) RGB uint8, of any sizes.
        size: height and width that the network sees [px].

    Returns:
        (N, 3, size, size) float32, contiguous.
    """
    batch = np.empty((len(images), 3, size, size), dtype=np.float32)
    for row, image in zip(batch, images, strict=True):
        row[:] = ((to_rgb(resized(image, size)) / np.float32(255.0) - MEAN) / DEVIATION).transpose(2, 0, 1)
    return batch


def resized(image: Image, size: int = INPUT_SIZE) -> Image:
    """The image at input size, which is all that :func:`preprocess` sees of it."""
    return resized_to(image, size, size)


def resized_to(image: Image, width: int, height: int) -> Image:
    """The image at another size: averaged over areas along an axis that shrinks, so that nothing aliases, else interpolated."""
    smaller = (min(image.shape[1], width), min(image.shape[0], height))
    if smaller != (image.shape[1], image.shape[0]):
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA))
    if smaller != (width, height):
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
    return image
