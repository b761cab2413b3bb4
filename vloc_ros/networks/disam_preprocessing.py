"""How an image enters a network of DISAM: one way, in training and on the robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.networks.disam_form import DisamForm
from vloc_ros.networks.preprocessing import resized_to


def disam_images(images: Sequence[Image], form: DisamForm) -> NDArray[np.float32]:
    """Prepare images for a network; the whole image is resized, and its aspect changed. Grey images get three equal channels.

    Args:
        images: N images, (H, W) grey or (H, W, 3) RGB uint8, of any sizes.
        form: of the network.

    Returns:
        (N, 3, height, width) float32 from -1 to 1, contiguous.
    """
    batch = np.empty((len(images), 3, form.height, form.width), dtype=np.float32)
    for row, image in zip(batch, images, strict=True):
        row[:] = resized_to(to_rgb(image), form.width, form.height).transpose(2, 0, 1)
    return batch / np.float32(127.5) - np.float32(1.0)
