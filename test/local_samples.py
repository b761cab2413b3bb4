"""Networks of local features that were never trained, in files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def texture(seed: int = 0, size: tuple[int, int] = (160, 224)) -> np.ndarray:
    """An (H, W) picture with detail of many sizes."""
    rng = np.random.default_rng(seed)
    image = sum(
        cv2.resize(rng.normal(size=(size[0] // k + 2, size[1] // k + 2)), size[::-1], interpolation=cv2.INTER_CUBIC) * k
        for k in (2, 4, 8, 16)
    )
    return np.clip(128 + 8 * image, 0, 255).astype(np.uint8)


def random_network(width: int = 8, descriptor_size: int = 32, seed: int = 0):
    """A small network whose detector, though random, prefers some pixels clearly."""
    import torch

    from vloc_ros.networks.compact import CompactUNet

    torch.manual_seed(seed)
    network = CompactUNet(width, descriptor_size).eval()
    with torch.no_grad():
        network.head[-1].bias.zero_()
        logits = network(torch.from_numpy(texture(9, (96, 96)))[None, None].float() / 255.0).logits
        network.head[-1].weight[:16] *= 5.0 / logits.std()
    return network


def random_weights(path: Path, width: int = 8, descriptor_size: int = 32, seed: int = 0) -> Path:
    """A file of weights of :func:`random_network`."""
    from vloc_ros.networks.local_files import save_local_network

    save_local_network(path, random_network(width, descriptor_size, seed), "nothing, random weights")
    return path
