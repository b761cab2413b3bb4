"""Small networks of GLVL that were never trained, in files."""

from __future__ import annotations

from pathlib import Path


def random_glvl(seed: int = 0, width: int = 8, blocks: tuple[int, ...] = (1, 2, 1, 1), descriptor: int = 32, size: int = 96):
    """A small network whose detector, though random, prefers some pixels clearly, and whose normalisations do something."""
    import torch
    from local_samples import texture

    from vloc_ros.networks.glvl import Glvl
    from vloc_ros.networks.glvl_form import GlvlForm, ResNetForm

    torch.manual_seed(seed)
    network = Glvl(GlvlForm(ResNetForm(width, blocks), descriptor, size)).train()
    pictures = torch.stack([torch.from_numpy(texture(number, (96, 128)))[None].float() / 255.0 for number in range(4)])
    with torch.no_grad():
        for _ in range(60):  # running means and variances
            network(pictures)
        network.eval()
        scale = 3.0 / network(pictures).bins.std()
        network.local.detector[-1].weight *= scale
        network.local.detector[-1].bias *= scale
    return network


def glvl_weights(path: Path, seed: int = 0, **form: object) -> Path:
    """A file of weights of :func:`random_glvl`."""
    from vloc_ros.networks.glvl_files import save_glvl

    save_glvl(path, random_glvl(seed, **form), "nothing, random weights")
    return path


def superpoint_weights(path: Path, seed: int = 0, **form: object) -> Path:
    """A file of weights of the local half of :func:`random_glvl`."""
    from vloc_ros.networks.glvl_files import save_superpoint_of

    save_superpoint_of(path, random_glvl(seed, **form), "nothing, random weights")
    return path
