"""Networks of local features for those who run them without our code: ONNX, and TorchScript as VT&R3 loads it."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn

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
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on which exporter is to come
        torch.onnx.export(
            _AsTuple(network).eval(),
            (image,),
            buffer,
            input_names=["image"],
            output_names=["logits", "scores", *maps],
            dynamic_axes={"image": {2: "height", 3: "width"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return with_metadata(buffer.getvalue(), {METADATA: model.to_json()})
