"""Networks of both stages that were never trained, but whose every weight matters, and pictures for them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from vloc_ros.networks import Backbone
from vloc_ros.networks.two_stage import TwoStageNetwork, random_two_stage
from vloc_ros.networks.two_stage_files import save_two_stage


def lively(backbone: Backbone, seed: int = 0) -> TwoStageNetwork:
    """As initialised, but nothing is zero or one that could hide a mistake: positions, biases, normalisations, the power."""
    network = random_two_stage(backbone, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith(("bias", "positions")) or "norm" in name:
                tensor += 0.05 * torch.randn(tensor.shape, generator=generator)
        network.place.pool.p.fill_(2.6)
        network.regression.points.weight.copy_(torch.randn(network.regression.points.weight.shape, generator=generator) * 0.05)
    return network


def identity(backbone: Backbone) -> TwoStageNetwork:
    """One that says of each pair that nothing moved."""
    network = random_two_stage(backbone)
    with torch.no_grad():
        network.regression.points.weight.zero_()
    return network


def pictures(count: int, seed: int = 5) -> list[np.ndarray]:
    """Smooth (150, 200, 3) pictures without a pattern that repeats."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 15, 20, 3), dtype=np.uint8)
    return [cv2.resize(one, (200, 150), interpolation=cv2.INTER_CUBIC) for one in coarse]


def saved(path: Path, network: TwoStageNetwork | None = None) -> Path:
    """A file of weights of both stages."""
    save_two_stage(path, network or lively(Backbone.CCT_SMALL), "nothing")
    return path
