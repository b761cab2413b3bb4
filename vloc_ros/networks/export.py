"""Networks of local features for those who run them without our code: ONNX, and TorchScript as VT&R3 loads it."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.data.local_model import LocalModel
from vloc_ros.data.onnx_file import METADATA, with_metadata
from vloc_ros.networks.local import LocalNetwork

OPSET = 17


class _AsTuple(nn.Module):
    def __init__(self, network: LocalNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        made = self.network(images)
        return (made.logits, made.scores, *made.maps)


def onnx_of(network: LocalNetwork, model: LocalModel) -> bytes:
    """The network as ONNX: ``image`` (1, colours, H, W) to ``logits``, ``scores`` and ``map0`` ..., for any H and W that fit.

    Metadata say which weights these are and how the maps are read. Needs the package ``onnx``.
    """
    image = torch.zeros(1, network.colours, 2 * network.multiple, 3 * network.multiple)
    maps = [f"map{number}" for number in range(len(network.strides))]
    outputs, axes = ["logits", "scores", *maps], {"image": {2: "height", 3: "width"}}
    content = onnx_bytes(_AsTuple(network), (image,), ["image"], outputs, axes)
    return with_metadata(content, {METADATA: model.to_json()})


class _ForVtr3(nn.Module):
    """What VT&R3 loads: RGB images in [0, 1] to key points, dense descriptors and dense scores.

    Key points are the expected positions in windows under a softmax, (B, 2, N) of (u, v) [px]; descriptors are the maps enlarged to
    the size of the image, which their user samples and normalises; scores have been through their sigmoid.
    """

    def __init__(self, network: LocalNetwork, window: int) -> None:
        super().__init__()
        self.network = network
        self.colours, self.window = network.colours, window
        matrix = network.projection
        self.projected = matrix is not None
        self.register_buffer("matrix", torch.zeros(0) if matrix is None else matrix.detach().clone()[:, :, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.colours == 1:
            images = (images * images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        made = self.network(images)
        size = images.shape[-2:]
        large = [functional.interpolate(one, size, mode="bilinear", align_corners=False) for one in made.maps]
        descriptors = torch.cat(large, 1)
        if self.projected:
            descriptors = functional.conv2d(descriptors, self.matrix)
        return _expected_positions(made.logits, self.window), descriptors, made.scores


def onnx_bytes(
    module: nn.Module, examples: tuple[Tensor, ...], inputs: list[str], outputs: list[str], axes: dict[str, dict[int, str]]
) -> bytes:
    """A module as ONNX.

    Args:
        module: what is exported; it is put into evaluation mode.
        examples: of its inputs.
        inputs: their names.
        outputs: names of its outputs.
        axes: which axes may have any length, by input and output, and what to call them.
    """
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


def _expected_positions(logits: Tensor, side: int) -> Tensor:
    """(B, 2, N) positions (u, v), row by row; windows that do not fit into the image as a whole are left out."""
    width = logits.shape[-1]
    patches = functional.unfold(logits, side, stride=side)
    weights = torch.softmax(patches, 1)
    inside = torch.arange(side, device=logits.device, dtype=logits.dtype)
    u = (weights * inside.repeat(side).view(1, -1, 1)).sum(1)
    v = (weights * inside.repeat_interleave(side).view(1, -1, 1)).sum(1)
    columns = width // side
    number = torch.arange(patches.shape[2], device=logits.device)
    starts = torch.stack([number % columns, torch.div(number, columns, rounding_mode="floor")]).to(logits.dtype) * side
    return torch.stack([u, v], 1) + starts


def for_vtr3(network: LocalNetwork, window: int) -> nn.Module:
    """The network as a module with the interface that VT&R3 expects: (key points, dense descriptors, dense scores)."""
    return _ForVtr3(network, window).eval()


def torchscript_of(network: LocalNetwork, window: int, height: int, width: int) -> torch.jit.ScriptModule:
    """The network as VT&R3 loads it, for images of one size."""
    image = torch.rand(1, 3, height, width)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # on what is fixed to the size of the image
        return torch.jit.trace(for_vtr3(network, window), image, check_trace=False)
