"""The global half of GLVL as ONNX, and for those who have arrays."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vloc_ros.data.onnx_file import PLACE_WEIGHTS, with_metadata
from vloc_ros.networks.export import onnx_bytes
from vloc_ros.networks.glvl import Glvl

Array = NDArray[np.float32]


class _Vectors(nn.Module):
    def __init__(self, network: Glvl) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.global_of(self.network.stem(images))


def onnx_of_vectors(network: Glvl, sha256: str) -> bytes:
    """What describes whole images: ``images`` (N, 1, size, size), prepared, to ``vectors`` (N, D).

    The local half is not in the file: it is one of its own, as a network of local features. Metadata say of which weights it is.
    Needs the package ``onnx``.

    Args:
        network: in evaluation mode.
        sha256: hash of its weights, those of both halves.
    """
    size = network.form.size
    axes = {name: {0: "images"} for name in ("images", "vectors")}
    content = onnx_bytes(_Vectors(network), (torch.zeros(2, 1, size, size),), ["images"], ["vectors"], axes)
    return with_metadata(content, {PLACE_WEIGHTS: sha256})


def vectors_of(network: Glvl, images: Array) -> Array:
    """(N, D) vectors of (N, 1, size, size) prepared images."""
    with torch.inference_mode():
        made: Array = network.global_of(network.stem(torch.from_numpy(images))).numpy()
    return made
