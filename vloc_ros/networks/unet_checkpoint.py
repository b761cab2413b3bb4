"""Published check points of U, ``network_*_layer16.pth`` and ``network_*_layer32.pth``: their weights under our names.

================================  ==============================  ====================================
published                         ours                            what it is
================================  ==============================  ====================================
``inc.double_conv.K``             ``encoder.0.K``                 block at full resolution
``downL.maxpool_conv.1.           ``encoder.L.K``                 block of level L = 1 to 4
double_conv.K``
``upS_pts.conv.double_conv.K``    ``detector.steps.(S - 1).K``    step S = 1 to 4 of the detector
``outc_pts.conv``                 ``detector.head``               1x1 convolution to logits
``upS_score.conv.double_conv.K``  ``scorer.steps.(S - 1).K``      step S of the scores
``outc_score.conv``               ``scorer.head``                 1x1 convolution, before the sigmoid
================================  ==============================  ====================================

K is the place of a layer in a block: 0 and 3 are convolutions, 1 and 4 batch normalisations, with the same names of tensors in
both. The order of channels in a concatenation is the same too: first the map of the encoder, then what comes from below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.errors import WeightsError
from vloc_ros.networks.checkpoint import read_checkpoint
from vloc_ros.networks.files import require_tensors, some
from vloc_ros.networks.unet import UNet

Tensors = Mapping[str, NDArray[np.float32]]
_FIRST = "encoder.0.0.weight"
_HEADS = {"pts": "detector", "score": "scorer"}
_COUNTER = "num_batches_tracked"


class _Bookkeeping:
    """Stands for the object in which the published training keeps its losses; it is read and forgotten."""


_ARRAY: Any = np.zeros(0).__reduce__()[0]  # makes an empty array
_INERT = (
    (_Bookkeeping, "src.utils.statistics.Statistics"),
    (np.ndarray, "numpy.ndarray"),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
)


def import_unet(path: Path) -> UNet:
    """Read a check point of U as a network in evaluation mode; its width is seen from its weights.

    Args:
        path: a file of ``torch.save`` with the weights, alone or as ``model_state_dict`` beside the state of the training, under
            the published names or ours; or of safetensors.

    Raises:
        WeightsError: the file cannot be read, holds code, or is not of this network; the text says what is wrong.
    """
    tensors = our_names(read_checkpoint(path, _INERT))
    first = tensors.get(_FIRST)
    if first is None:
        raise WeightsError(f"{path} holds no weights of a U-Net of U: it has {some(list(tensors))}")
    if first.ndim != 4 or first.shape[1:] != (UNet.colours, 3, 3):
        raise WeightsError(
            f"{path}: the first convolution has the shape {first.shape} instead of (width, 3, 3, 3): "
            "it is not of a U-Net of U for RGB images"
        )
    network = UNet(len(first))
    expected = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(_COUNTER)}
    require_tensors({name: tuple(t.shape) for name, t in expected.items()}, tensors, path, f"a U-Net of width {network.width}")
    network.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in expected}, strict=False)
    network.eval()
    return network


def our_names(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """The tensors of a check point of U under our names; what has no rule keeps its name."""
    plain = {name.removeprefix("module."): tensor for name, tensor in tensors.items() if not name.endswith(_COUNTER)}
    return {_our_name(name): tensor for name, tensor in plain.items()}


def published_names(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """Inverse of :func:`our_names`: for those who want to load our weights into the published network."""
    return {_published_name(name): tensor for name, tensor in tensors.items()}


def _our_name(name: str) -> str:
    if found := re.fullmatch(r"inc\.double_conv\.(.+)", name):
        return f"encoder.0.{found[1]}"
    if found := re.fullmatch(r"down([1-4])\.maxpool_conv\.1\.double_conv\.(.+)", name):
        return f"encoder.{found[1]}.{found[2]}"
    if found := re.fullmatch(r"up([1-4])_(pts|score)\.conv\.double_conv\.(.+)", name):
        return f"{_HEADS[found[2]]}.steps.{int(found[1]) - 1}.{found[3]}"
    if found := re.fullmatch(r"outc_(pts|score)\.conv\.(.+)", name):
        return f"{_HEADS[found[1]]}.head.{found[2]}"
    return name


def _published_name(name: str) -> str:
    heads = {ours: theirs for theirs, ours in _HEADS.items()}
    if found := re.fullmatch(r"encoder\.0\.(.+)", name):
        return f"inc.double_conv.{found[1]}"
    if found := re.fullmatch(r"encoder\.([1-4])\.(.+)", name):
        return f"down{found[1]}.maxpool_conv.1.double_conv.{found[2]}"
    if found := re.fullmatch(r"(detector|scorer)\.steps\.([0-3])\.(.+)", name):
        return f"up{int(found[2]) + 1}_{heads[found[1]]}.conv.double_conv.{found[3]}"
    if found := re.fullmatch(r"(detector|scorer)\.head\.(.+)", name):
        return f"outc_{heads[found[1]]}.conv.{found[2]}"
    return name
