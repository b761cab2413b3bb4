"""A network of local features in 8-bit integers: convolutions in ONNX Runtime's static quantisation, calibrated on images.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018. Weights
have a scale for each channel of the output, activations one for each tensor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.onnx_file import CALIBRATED, with_metadata
from vloc_ros.data.output import write_bytes

_KINDS = ["Conv", "Concat", "Resize", "MaxPool"]
"""Layers in integers. All others are cheap, and with the contrast of the image made even in integers the network is useless."""
_FIRST = 2
"""So many convolutions stay in floats: they are quick, and the descriptors of the small network deviate by 40 % less."""
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Says that the graph is ready: torch has folded what can be folded. Otherwise ONNX Runtime advises to do so."""


def quantised(network: bytes, images: Iterable[NDArray[np.float32]], calibrated_on: str) -> bytes:
    """A network in 8-bit integers, with metadata that say so.

    Left in floats is what comes before the second convolution, this one, and all convolutions that no ReLU follows, the heads.
    Weights are of 7 bits, as processors without VNNI (AVX2) add two products in 16 bits, where those of 8 bits overflow. The
    range of a tensor is the mean of its ranges in the images: with the range over all of them, which few values reach, the
    descriptors of the small network deviate three times as much.

    Args:
        network: as ONNX, in floats.
        images: (1, C, H, W) each, as the network sees them, of sides that it takes; at least one.
        calibrated_on: what they are, in words.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    with tempfile.TemporaryDirectory(prefix="vloc_int8_") as folder:
        given, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        write_bytes(given, with_metadata(network, _PREPARED))
        quantize_static(
            given,
            made,
            _reader(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=_KINDS,
            nodes_to_exclude=_in_floats(load_model_with_shape_infer(given).graph.node),
            extra_options={"CalibMovingAverage": True},
        )
        return with_metadata(made.read_bytes(), {CALIBRATED: calibrated_on})


def _in_floats(nodes: Any) -> list[str]:
    """Names of the layers that stay in floats, see :func:`quantised`."""
    convolutions = [at for at, node in enumerate(nodes) if node.op_type == "Conv"]
    rectified = {name for node in nodes if node.op_type == "Relu" for name in node.input}
    heads = [at for at in convolutions if rectified.isdisjoint(nodes[at].output)]
    return [nodes[at].name for at in (*range(convolutions[:_FIRST][-1] + 1), *heads)]


def _reader(images: Iterable[NDArray[np.float32]]) -> Any:
    """The images as ONNX Runtime asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        def __init__(self) -> None:
            self._images: Iterator[NDArray[np.float32]] = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image}

    return Reader()
