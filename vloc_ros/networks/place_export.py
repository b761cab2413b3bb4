"""Networks of place recognition as ONNX: many times faster on a CPU than torch, and of use where torch is not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vloc_ros.data.onnx_file import PLACE_WEIGHTS, with_metadata
from vloc_ros.networks.export import onnx_bytes
from vloc_ros.networks.network import PlaceNetwork, as_described


class _AsTuple(nn.Module):
    def __init__(self, network: PlaceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        made = as_described(self.network(images))
        return (made.mean,) if made.variance is None else (made.mean, made.variance)


def onnx_of_place(network: PlaceNetwork, sha256: str) -> bytes:
    """The network as ONNX: ``images`` (N, 3, size, size), prepared, to ``mean`` (N, D) and, where it has one, ``variance`` (N,).

    Metadata say of which weights it is. Needs the package ``onnx``.

    Args:
        network: in evaluation mode.
        sha256: hash of its weights.
    """
    size = network.backbone.size
    images = torch.zeros(1, 3, size, size)
    with torch.inference_mode():
        outputs = ["mean", "variance"][: len(_AsTuple(network)(images))]
    axes = {name: {0: "images"} for name in ("images", *outputs)}
    content = onnx_bytes(_AsTuple(network), (images,), ["images"], outputs, axes)
    return with_metadata(content, {PLACE_WEIGHTS: sha256})
