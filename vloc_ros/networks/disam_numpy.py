"""Networks of DISAM for those who have arrays."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.networks.domains import DomainNetwork

Array = NDArray[np.float32]


def encode(network: DomainNetwork, images: Array, condition: int) -> tuple[Array, Array]:
    """(N, D) vectors and (N, C, h, w) latents of (N, 3, H, W) prepared images of one condition."""
    with torch.inference_mode():
        latents = network.encode(torch.from_numpy(images), condition)
        return network.compression(latents, condition).numpy(), latents.numpy()


def encode_whole(network: DomainNetwork, images: Array, condition: int) -> tuple[Array, Array]:
    """As :func:`encode`, but (N, E) vectors before any projection."""
    with torch.inference_mode():
        latents = network.encode(torch.from_numpy(images), condition)
        return network.compression.whole(latents).numpy(), latents.numpy()


def logits(network: DomainNetwork, images: Array) -> Array:
    """(N, K) logits of the conditions."""
    with torch.inference_mode():
        made: Array = network.logits(torch.from_numpy(images)).numpy()
    return made


def misfit(network: DomainNetwork, images: Array) -> Array:
    """(N, K) mean absolute differences to what each condition makes of images."""
    with torch.inference_mode():
        made: Array = network.misfit(torch.from_numpy(images)).numpy()
    return made
