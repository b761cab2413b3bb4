"""Which engine computes a network, and the ONNX file that most of them want."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from dataclasses import replace
from pathlib import Path

from vloc_ros.data.local_model import LocalModel
from vloc_ros.data.onnx_file import METADATA, metadata_of
from vloc_ros.data.output import write_bytes
from vloc_ros.data.weights import Tensors, WeightsCard
from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.features.engines.contract import Engine
from vloc_ros.features.engines.onnx_files import SUFFIX, is_int8, onnx_of_weights
from vloc_ros.features.learned_settings import EngineKind

_log = logging.getLogger("vloc.engines")
_ORDER = (EngineKind.ONNXRUNTIME, EngineKind.OPENVINO, EngineKind.TORCH)  # fastest first, as measured


def is_installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def has_engine() -> bool:
    """Whether anything that computes networks is installed."""
    return any(is_installed(one.value) for one in _ORDER)


def load_engine(path: Path, tensors: Tensors, card: WeightsCard, kind: EngineKind, threads: int) -> Engine:
    """The engine that computes the network of a file of weights.

    Args:
        path: the file; ``<name>.onnx`` beside it is used when it is of these weights, and torch is not needed then.
        tensors: what is in it.
        card: its card.
        kind: which engine; AUTO takes the first one that can.
        threads: cores that it uses.

    Raises:
        ConfigError: the engine, or what it needs for this file, is not installed.
        WeightsError: the weights are not those of the network that the card names, or the ONNX file cannot be used.
    """
    if kind is not EngineKind.AUTO:
        if not is_installed(kind.value):
            raise ConfigError(
                f"the engine {kind.value} is not installed: install what requirements/engines.txt or torch.txt says, "
                "or let features.learned.engine be auto"
            )
        return _engine(kind, path, tensors, card, threads)
    installed = [one for one in _ORDER if is_installed(one.value)]
    if not installed:
        raise ConfigError(
            f"{path.name} needs onnxruntime, openvino or torch, and none is installed: do what requirements/engines.txt says"
        )
    if EngineKind.TORCH in installed and not is_installed("onnx") and _ready(path, card) is None:
        return _engine(EngineKind.TORCH, path, tensors, card, threads)
    return _engine(installed[0], path, tensors, card, threads)


def load_int8_engine(path: Path, card: WeightsCard, kind: EngineKind, threads: int) -> Engine:
    """ONNX Runtime with a network in 8-bit integers; its model has the hash of this file in place of that of the weights.

    Args:
        path: the file.
        card: of the weights that it was made from.
        kind: onnxruntime or auto.
        threads: cores that it uses.

    Raises:
        ConfigError: onnxruntime is not installed, or another engine is asked for.
        WeightsError: the file cannot be read, is of other weights, or in floats.
    """
    if kind not in (EngineKind.AUTO, EngineKind.ONNXRUNTIME):
        raise ConfigError(f"{path.name} is computed by onnxruntime only, not by {kind.value}: let features.learned.engine be auto")
    if not is_installed(EngineKind.ONNXRUNTIME.value):
        raise ConfigError(f"{path.name} needs onnxruntime, which is not installed: do what requirements/engines.txt says")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    model = _model_in(content, str(path))
    if model is None or not is_int8(content, str(path)):
        raise WeightsError(f"{path} was not written by `vloc export --int8`: export it again")
    if model.sha256 != card.sha256:
        raise WeightsError(f"{path} was made from other weights than those beside it ({card.name}): export it again")
    from vloc_ros.features.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(replace(model, sha256=hashlib.sha256(content).hexdigest()), content, threads)


def _engine(kind: EngineKind, path: Path, tensors: Tensors, card: WeightsCard, threads: int) -> Engine:
    if kind is EngineKind.TORCH:
        from vloc_ros.features.engines.torch import TorchEngine
        from vloc_ros.networks.local_files import model_of, network_of

        network = network_of(tensors, card, path)
        return TorchEngine(model_of(network, card), network, threads)
    content = _ready(path, card) or _exported(path, tensors, card)
    model = _model_in(content, str(path))
    assert model is not None  # it was looked at, or made here
    if kind is EngineKind.OPENVINO:
        from vloc_ros.features.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(model, content, threads)
    from vloc_ros.features.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, content, threads)


def _ready(path: Path, card: WeightsCard) -> bytes | None:
    """The network as ONNX, from beside the weights or from the cache; None when neither has it."""
    return onnx_of_weights((path.with_suffix(SUFFIX), _cached(card)), path.name, card.sha256, _hash_in)


def _exported(path: Path, tensors: Tensors, card: WeightsCard) -> bytes:
    """The network as ONNX, made by torch and kept in the user's cache where that can be written."""
    missing = [name for name in ("torch", "onnx") if not is_installed(name)]
    if missing:
        raise ConfigError(
            f"{path} has no {path.stem}.onnx of its weights beside it, and making one needs {' and '.join(missing)}: "
            f"run `vloc export {path.name} --to onnx` where that is installed, and copy the file"
        )
    from vloc_ros.networks.export import onnx_of
    from vloc_ros.networks.local_files import model_of, network_of

    network = network_of(tensors, card, path)
    content = onnx_of(network, model_of(network, card))
    try:
        write_bytes(_cached(card), content)
    except DataError as error:
        _log.info("the network is made anew at each start: %s", error)
    return content


def _cached(card: WeightsCard) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "vloc_ros" / f"{card.sha256}{SUFFIX}"


def _model_in(content: bytes, what: str) -> LocalModel | None:
    """What an ONNX file says of its network; None when it is not one of ours."""
    text = metadata_of(content, what).get(METADATA)
    return None if text is None else LocalModel.from_json(text, what)


def _hash_in(content: bytes, what: str) -> str | None:
    model = _model_in(content, what)
    return None if model is None else model.sha256
