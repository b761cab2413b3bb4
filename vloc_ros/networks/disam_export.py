"""Networks of DISAM as ONNX: one graph for all conditions, whose weights are taken from a stack by the number of the condition.

That is as fast as a graph of one condition, and ONNX Runtime has no other way to leave out what an image does not need: it
computes all outputs of a graph, whichever are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.data.onnx_file import CLASSIFIER_WEIGHTS, MISFIT_WEIGHTS, PLACE_WEIGHTS, with_metadata
from vloc_ros.networks.disam import ResidualBlock
from vloc_ros.networks.domains import DomainNetwork
from vloc_ros.networks.export import onnx_bytes


class _Stacked(nn.Module):
    """Encoders, or decoders, as one that is any of them."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self._layers = [list(_layers_of(modules[0]))]  # in a list, so that its own weights are none of ours
        self.stacks = nn.ParameterList(
            [torch.stack([one.detach() for one in same]) for same in zip(*(module.parameters() for module in modules), strict=True)]
        )

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        weights = (stack[condition] for stack in self.stacks)
        return _through(self._layers[0], maps, weights)


def _layers_of(module: nn.Module) -> Iterator[nn.Module]:
    """What maps go through one after the other, residual blocks as wholes."""
    for part in module.children():
        if isinstance(part, nn.Sequential):
            yield from _layers_of(part)
        else:
            yield part


def _through(layers: Iterable[nn.Module], maps: Tensor, weights: Iterator[Tensor]) -> Tensor:
    """What the layers make of maps with other weights than their own; torch.func does the same, but not where it is traced."""
    for layer in layers:
        if isinstance(layer, ResidualBlock):
            maps = maps + _through(_layers_of(layer), maps, weights)
        elif isinstance(layer, nn.Conv2d):
            maps = functional.conv2d(maps, next(weights), next(weights), layer.stride, layer.padding)
        elif isinstance(layer, nn.ConvTranspose2d):
            maps = functional.conv_transpose2d(maps, next(weights), next(weights), layer.stride, layer.padding)
        elif isinstance(layer, nn.PReLU):
            maps = functional.prelu(maps, next(weights))
        else:
            maps = layer(maps)
    return maps


class _Encode(nn.Module):
    def __init__(self, network: DomainNetwork) -> None:
        super().__init__()
        self.encoders, self.compression = _Stacked(list(network.encoders)), network.compression

    def forward(self, images: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.encoders(images, condition)
        return self.compression.whole(latents), latents


class _Misfit(nn.Module):
    def __init__(self, network: DomainNetwork) -> None:
        super().__init__()
        self.encoders, self.decoders = _Stacked(list(network.encoders)), _Stacked(list(network.decoders))

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        shown = self.decoders(self.encoders(images, condition), condition)
        return (shown - images).abs().mean(dim=(1, 2, 3))


class _Classify(nn.Module):
    def __init__(self, network: DomainNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.logits(images)


def onnx_of_encoders(network: DomainNetwork, sha256: str) -> bytes:
    """What describes: ``images`` (N, 3, H, W), prepared, and ``condition`` () int64 to ``whole`` (N, E) and ``latents``.

    The latents are (N, C, h, w); their projection, the largest part of the weights, is not in the file a second time. Metadata
    say of which weights it is, as in all of these. Needs the package ``onnx``.

    Args:
        network: in evaluation mode.
        sha256: hash of its weights.
    """
    return with_metadata(_exported(network, _Encode(network), ["whole", "latents"], True), {PLACE_WEIGHTS: sha256})


def onnx_of_misfit(network: DomainNetwork, sha256: str) -> bytes:
    """How badly a condition shows images: ``images`` and ``condition`` as above to ``misfit`` (N,); the network has decoders."""
    return with_metadata(_exported(network, _Misfit(network), ["misfit"], True), {MISFIT_WEIGHTS: sha256})


def onnx_of_classifier(network: DomainNetwork, sha256: str) -> bytes:
    """Which condition images are of: ``images`` as above to ``logits`` (N, K); the network has a classifier."""
    return with_metadata(_exported(network, _Classify(network), ["logits"], False), {CLASSIFIER_WEIGHTS: sha256})


def _exported(network: DomainNetwork, module: nn.Module, outputs: list[str], of_condition: bool) -> bytes:
    inputs = ["images", "condition"][: 1 + of_condition]
    examples = (torch.zeros(2, 3, network.form.height, network.form.width), torch.tensor(0))[: len(inputs)]
    axes = {name: {0: "images"} for name in ("images", *outputs)}
    return onnx_bytes(module, examples, inputs, outputs, axes)
