"""How an image enters the global half of GLVL: one way, in training and on the drone, and as grey as the local half sees it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_grey
from vloc_ros.networks.preprocessing import resized


def glvl_images(images: Sequence[Image], size: int) -> NDArray[np.float32]:
    """Prepare images for a network; the whole image is resized, and its aspect changed.

    Args:
        images: N images, (H, W) grey or (H, W, 3) RGB uint8, of any sizes.
        size: height and width that the network sees [px], see :attr:`vloc_ros.networks.glvl_form.GlvlForm.size`.

    Returns:
        (N, 1, size, size) float32 from 0 to 1, contiguous.
    """
    batch = np.empty((len(images), 1, size, size), dtype=np.float32)
    for row, image in zip(batch, images, strict=True):
        row[0] = resized(to_grey(image), size)
    return batch / np.float32(255.0)
