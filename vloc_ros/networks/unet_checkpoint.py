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
_COUNTER = "num_batches_tracked"
_HEADS = {"pts": "detector", "score": "scorer"}
_OURS = {
    "inc.double_conv.": "encoder.0.",
    **{f"down{level}.maxpool_conv.1.double_conv.": f"encoder.{level}." for level in range(1, 5)},
    **{f"up{k + 1}_{theirs}.conv.double_conv.": f"{ours}.steps.{k}." for theirs, ours in _HEADS.items() for k in range(4)},
    **{f"outc_{theirs}.conv.": f"{ours}.head." for theirs, ours in _HEADS.items()},
}
_PUBLISHED = {ours: theirs for theirs, ours in _OURS.items()}


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
    return {_renamed(name, _OURS): tensor for name, tensor in plain.items()}


def published_names(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """Inverse of :func:`our_names`: for those who want to load our weights into the published network."""
    return {_renamed(name, _PUBLISHED): tensor for name, tensor in tensors.items()}


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """The name with another prefix, as the table says; none of its prefixes begins with another one of them."""
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
