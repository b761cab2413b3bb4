"""The homography network in 8-bit integers, behind the same contract: about twice as fast on a CPU with VNNI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.onnx_file import PAIR_WEIGHTS, metadata_of
from vloc_ros.errors import ConfigError
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.engines.onnx_files import PAIRS_ENDING, onnx_of_weights
from vloc_ros.features.engines.onnxruntime import session_of
from vloc_ros.retrieval.pair_engine import THREADS, PairEngine

Array = NDArray[np.float32]
ENDING = PAIRS_ENDING.replace(".onnx", "_int8.onnx")
"""Of the name of the ONNX file, after the name of the weights."""


class IntegerPairEngine(PairEngine):
    """Looks at images as another engine does, and compares them in 8-bit integers, by ONNX Runtime."""

    def __init__(self, floats: PairEngine, pairs: Callable[[], bytes]) -> None:
        """Of the engine of the same weights and what gives the content of the ONNX file in integers."""
        super().__init__(floats.card)
        self._floats, self._pairs = floats, pairs

    def _look(self, images: Sequence[Image]) -> tuple[Array, Array]:
        return self._floats.look(images)

    def _points(self, query: Array, candidates: Array) -> Array:
        made: Array = self._session.run(["points"], {"query": query, "candidates": candidates})[0]
        return made

    @cached_property
    def _session(self) -> Any:
        return session_of(self._pairs(), THREADS)


def integer_engine(path: Path, floats: PairEngine) -> IntegerPairEngine:
    """The engine in integers of a file of weights: of ``<name>_pairs_int8.onnx`` beside it, else made anew, in some seconds.

    Args:
        path: the file.
        floats: its engine in floats.

    Raises:
        ConfigError: what is needed is not installed.
        WeightsError: the ONNX file cannot be read.
    """
    if not is_installed("onnxruntime"):
        raise ConfigError(
            "8-bit integers are computed by onnxruntime, which is not installed: do what requirements/engines.txt says"
        )
    ready = onnx_of_weights([path.with_name(path.stem + ENDING)], path.name, floats.card.sha256, _hash_in)
    missing = [name for name in ("torch", "onnx") if not is_installed(name)]
    if ready is None and missing:
        raise ConfigError(
            f"{path} has no {path.stem}{ENDING} of its weights beside it, and making one needs {' and '.join(missing)}: "
            "use floats, or make it where that is installed, and copy the file"
        )
    return IntegerPairEngine(floats, lambda: ready or made_of(path))


def made_of(path: Path) -> bytes:
    """The content of ``<name>_pairs_int8.onnx`` of a file of weights; needs torch and onnx.

    Raises:
        WeightsError: the file or its card is missing, damaged or of another network.
    """
    from vloc_ros.networks.pairs_int8 import integer_pairs
    from vloc_ros.networks.two_stage_export import onnx_of_pairs
    from vloc_ros.networks.two_stage_files import load_two_stage

    network, card = load_two_stage(path)
    return integer_pairs(onnx_of_pairs(network, card.sha256), card.sha256)


def _hash_in(content: bytes, what: str) -> str | None:
    return metadata_of(content, what).get(PAIR_WEIGHTS)
