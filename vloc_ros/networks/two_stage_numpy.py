"""What a network of both stages says of images and of pairs of them, for those who have arrays: no gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.networks.network import BATCH
from vloc_ros.networks.preprocessing import preprocess
from vloc_ros.networks.two_stage import TwoStageNetwork

Array = NDArray[np.float32]


def look_at(network: TwoStageNetwork, images: Sequence[Image]) -> tuple[Array, Array]:
    """(N, C) global descriptors of unit length and (N, S * S, C) patches of unit length, row by row, of at least one image."""
    means, patches = [], []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            prepared = preprocess(images[start : start + BATCH], network.backbone.size)
            mean, local = network.look(torch.from_numpy(prepared))
            means.append(mean.numpy())
            patches.append(local.numpy())
    return np.concatenate(means), np.concatenate(patches)


def points_of(network: TwoStageNetwork, query: Array, candidates: Array) -> Array:
    """(B, 8, 2) points [px] for the (S * S, C) patches of a query and the (B, S * S, C) of a few candidates."""
    with torch.inference_mode():
        made: Array = network.points(torch.from_numpy(query), torch.from_numpy(candidates)).numpy()
    return made
