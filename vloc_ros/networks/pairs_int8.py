"""The network that compares pairs of images in 8-bit integers: its linear layers by ONNX Runtime's dynamic quantisation.

Weights have a scale for each channel of the output, activations one for each call: no images are needed to calibrate it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from vloc_ros.data.onnx_file import PAIR_WEIGHTS, with_metadata
from vloc_ros.data.output import write_bytes

_KIND = "MatMul"
"""Of the layers of the transformer. The last one, to the points, is a Gemm: it costs little, and its errors are pixels."""
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Says that the graph is ready: torch has folded what can be folded. Otherwise ONNX Runtime advises to do so."""


def integer_pairs(network: bytes, sha256: str) -> bytes:
    """A network of pairs with its linear layers in 8-bit integers; what two activations multiply stays in floats.

    Weights are of 7 bits, as processors without VNNI (AVX2) add two products in 16 bits, where those of 8 bits overflow.

    Args:
        network: as ONNX, in floats, see :func:`~vloc_ros.networks.two_stage_export.onnx_of_pairs`.
        sha256: hash of the weights of both stages; metadata keep it.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="vloc_int8_") as folder:
        given, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        write_bytes(given, with_metadata(network, _PREPARED))
        quantize_dynamic(
            given, made, op_types_to_quantize=[_KIND], per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
        )
        return with_metadata(made.read_bytes(), {PAIR_WEIGHTS: sha256})
