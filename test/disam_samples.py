"""Small networks of DISAM whose conditions differ, and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vloc_ros.networks.disam_files import save_disam
from vloc_ros.networks.disam_form import DisamForm, Stage
from vloc_ros.networks.domains import DomainNetwork

CONDITIONS = ("day", "night", "snow")
IMAGES = list(np.random.default_rng(5).integers(0, 256, (3, 120, 160, 3), dtype=np.uint8))


def network(
    stage: Stage = Stage.COARSE, size: tuple[int, int] = (64, 48), seed: int = 1, cell: int = 5, length: int = 0, **parts: bool
) -> DomainNetwork:
    """One of 4 channels with random weights, other ones for each condition; its cells do not divide the latent."""
    form = DisamForm(4, *size, stage, CONDITIONS)
    made = DomainNetwork(form, cell=cell, length=length, **parts)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*made.parameters(), *((made.compression.mean, made.compression.basis) if length else ())):
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    made.eval()
    return made


def written(path: Path, **how: object) -> tuple[Path, DomainNetwork]:
    """The file of such a network, and the network."""
    made = network(**how)
    save_disam(path, made, "nothing")
    return path, made
