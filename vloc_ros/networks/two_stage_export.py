"""Networks of both stages as two ONNX files: what looks at images, and what compares one with others."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn

from vloc_ros.data.onnx_file import PAIR_WEIGHTS, PLACE_WEIGHTS, with_metadata
from vloc_ros.networks.export import OPSET
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
    content = _exported(_Look(network), (torch.zeros(2, 3, size, size),), ["images"], ["mean", "patches"], axes)
    return with_metadata(content, {PLACE_WEIGHTS: sha256})


def onnx_of_pairs(network: TwoStageNetwork, sha256: str) -> bytes:
    """The second stage: ``query`` (S * S, C) and ``candidates`` (B, S * S, C) patches to ``points`` (B, 8, 2) [px].

    Args:
        network: in evaluation mode.
        sha256: hash of the weights of both stages.
    """
    patches = torch.rand(2, network.backbone.side**2, network.backbone.channels)
    axes = {"candidates": _MANY, "points": _MANY}
    content = _exported(_Points(network), (patches[0], patches), ["query", "candidates"], ["points"], axes)
    return with_metadata(content, {PAIR_WEIGHTS: sha256})


def _exported(
    module: nn.Module, examples: tuple[Tensor, ...], inputs: list[str], outputs: list[str], axes: dict[str, dict[int, str]]
) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on which exporter is to come
        torch.onnx.export(
            module.eval(),
            examples,
            buffer,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()
