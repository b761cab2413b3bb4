"""ONNX Runtime, https://onnxruntime.ai."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from vloc_ros.data.local_model import LocalModel
from vloc_ros.errors import WeightsError
from vloc_ros.features.engines.contract import Array, Engine


def open_session(network: bytes, threads: int) -> Any:
    """A session on the CPU.

    Raises:
        Exception: the network cannot be used; the types are onnxruntime's own, and not documented.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait in a loop for the next image take the cores from the matching in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A plan of the memory of each size of image makes nothing faster, and a third of the peak is its.
    options.enable_mem_pattern = False
    # Where layers are laid out for AVX-512, one of few channels is given the buffer of a larger map, which ends the run.
    options.enable_mem_reuse = False
    options.log_severity_level = 3  # errors; they are raised as well
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def session_of(network: bytes, threads: int) -> Any:
    """A session on the CPU of a network of this package.

    Raises:
        WeightsError: the ONNX file cannot be used.
    """
    try:
        return open_session(network, threads)
    except Exception as error:  # see there
        raise WeightsError(f"ONNX Runtime cannot use the network: {str(error).splitlines()[0]}") from error


class OnnxRuntimeEngine(Engine):
    """A session of ONNX Runtime on the CPU; images of all sizes share it."""

    name = "onnxruntime"

    def __init__(self, model: LocalModel, network: bytes, threads: int) -> None:
        """Load a network.

        Raises:
            WeightsError: the ONNX file cannot be used.
        """
        super().__init__(model)
        self._session = session_of(network, threads)

    def _compute(self, image: Array) -> list[NDArray[Any]]:
        made: list[NDArray[Any]] = self._session.run(None, {"image": image})
        return made
