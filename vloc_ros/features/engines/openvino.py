"""OpenVINO, https://docs.openvino.ai."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.local_model import LocalModel
from vloc_ros.errors import WeightsError
from vloc_ros.features.engines.contract import Array, Engine


class OpenVinoEngine(Engine):
    """A network compiled by OpenVINO for the CPU, once for each size of image."""

    name = "openvino"

    def __init__(self, model: LocalModel, network: bytes, threads: int) -> None:
        """Load a network.

        Raises:
            WeightsError: the ONNX file cannot be used.
        """
        import openvino

        super().__init__(model)
        self._core = openvino.Core()
        self._bytes = network
        self._settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._requests: dict[tuple[int, ...], Any] = {}
        try:
            self._core.read_model(network, b"")
        except RuntimeError as error:
            raise WeightsError(f"OpenVINO cannot use the network: {str(error).splitlines()[0]}") from error

    def _compute(self, image: Array) -> list[NDArray[Any]]:
        request = self._requests.get(image.shape)
        if request is None:
            network = self._core.read_model(self._bytes, b"")
            network.reshape(list(image.shape))
            request = self._core.compile_model(network, "CPU", self._settings).create_infer_request()
            self._requests = {image.shape: request}  # cameras do not change their size
        # What comes back is overwritten by the next image.
        return [np.array(one) for one in request.infer([image]).values()]
