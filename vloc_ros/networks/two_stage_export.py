"""Networks of both stages as two ONNX files: what looks at images, and what compares one with others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vloc_ros.data.onnx_file import PAIR_WEIGHTS, PLACE_WEIGHTS, with_metadata
from vloc_ros.networks.export import onnx_bytes
from vloc_ros.networks.two_stage import TwoStageNetwork

_MANY = {0: "images"}


class _Look(nn.Module):
    def __init__(self, network: TwoStageNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.look(images)


class _Points(nn.Module):
    def __init__(self, network: TwoStageNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, query: Tensor, candidates: Tensor) -> Tensor:
        return self.network.points(query, candidates)


def onnx_of_look(network: TwoStageNetwork, sha256: str) -> bytes:
    """The first stage: ``images`` (N, 3, size, size), prepared, to ``mean`` (N, C) and ``patches`` (N, S * S, C).

    Metadata say of which weights it is. Needs the package ``onnx``.

    Args:
        network: in evaluation mode.
        sha256: hash of the weights of both stages.
    """
    size = network.backbone.size
    axes = {"images": _MANY, "mean": _MANY, "patches": _MANY}
    content = onnx_bytes(_Look(network), (torch.zeros(2, 3, size, size),), ["images"], ["mean", "patches"], axes)
    return with_metadata(content, {PLACE_WEIGHTS: sha256})


def onnx_of_pairs(network: TwoStageNetwork, sha256: str) -> bytes:
    """The second stage: ``query`` (S * S, C) and ``candidates`` (B, S * S, C) patches to ``points`` (B, 8, 2) [px].

    Args:
        network: in evaluation mode.
        sha256: hash of the weights of both stages.
    """
    patches = torch.rand(2, network.backbone.side**2, network.backbone.channels)
    axes = {"candidates": _MANY, "points": _MANY}
    content = onnx_bytes(_Points(network), (patches[0], patches), ["query", "candidates"], ["points"], axes)
    return with_metadata(content, {PAIR_WEIGHTS: sha256})
