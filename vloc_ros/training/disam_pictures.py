"""What a network of DISAM makes of some images, to look at while it learns."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.data.condition_folders import ConditionFiles
from vloc_ros.data.frame import Image
from vloc_ros.data.images import read_image
from vloc_ros.networks.disam_preprocessing import disam_images
from vloc_ros.networks.translation import TranslationNetwork

_SHOWN = 4  # conditions, and translations of each
_GAP_PX = 4


def translations(network: TranslationNetwork, files: ConditionFiles) -> dict[str, Image]:
    """For some conditions an image, then what it becomes in each of them; its own column is there and back without a detour."""
    names = list(network.domains.form.conditions)[:_SHOWN]
    device = next(network.parameters()).device
    result = {}
    for number, name in enumerate(names):
        middle = files[name][len(files[name]) // 2]
        image = torch.from_numpy(disam_images([read_image(middle)], network.domains.form)).to(device)
        latent = network.domains.encode(image, number)
        row = [image, *(network.domains.decode(latent, other) for other in range(len(names)))]
        result[f"from {name}"] = beside(*(_pixels(one[0]) for one in row))
    return result


def beside(*images: Image) -> Image:
    """(H, W, 3) images of one height beside each other."""
    gap: NDArray[np.uint8] = np.full((images[0].shape[0], _GAP_PX, 3), 255, dtype=np.uint8)
    parts = [part for image in images for part in (image, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _pixels(image: torch.Tensor) -> Image:
    """(3, H, W) from -1 to 1 to (H, W, 3) uint8."""
    levels = ((image.float().cpu().numpy() + 1.0) * 127.5).round().clip(0, 255)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0))
