"""Weights whose names were never published, told apart by where they are and by their shapes.

The check points of system M name their entries (``epoch``, ``state_dict``, ...), not the modules inside: which attribute holds the
backbone, which the mean head and which the variance head is unknown here. The shapes leave no doubt: a layer to one element less
is the mean's, one to as many the first of the variance, one to a single element its last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import WeightsError
from vloc_ros.networks.names import Backbone

Tensors = Mapping[str, NDArray[np.float32]]
# The first weights of a backbone and the names below the attribute that holds it; of torchvision's modules, and timm's ViT.
_FIRST = {
    Backbone.VGG16: ("0.weight", (64, 3, 3, 3), r"\d+\.(weight|bias)"),
    Backbone.MOBILENETV3: ("0.0.0.weight", (16, 3, 3, 3), r"(0\.\d+\..+|1\.(weight|bias))"),
    Backbone.VIT_SMALL: ("cls_token", (1, 1, 384), r"(cls_token|pos_embed|(patch_embed|blocks|norm)\..+)"),
}
_HEADS = ("pool.", "variance.")


def with_known_backbone(tensors: Tensors, backbone: Backbone) -> dict[str, NDArray[np.float32]]:
    """The tensors with ``encoder.`` in place of whatever holds the backbone; unchanged where there is none, or several."""
    first, shape, below = _FIRST[backbone]
    holders = [name[: -len(first)] for name, tensor in tensors.items() if name.endswith(first) and tensor.shape == shape]
    holders = [holder for holder in holders if holder == "" or holder.endswith(".")]
    if len(holders) != 1:
        return dict(tensors)
    (holder,) = holders
    names = re.compile(re.escape(holder) + f"(?P<name>{below})")
    return {f"encoder.{match['name']}" if (match := names.fullmatch(name)) else name: value for name, value in tensors.items()}


def with_known_heads(tensors: Tensors, channels: int, path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors with the names that our heads have, as far as shapes tell; those of no head keep theirs.

    Args:
        tensors: by name.
        channels: of the backbone.
        path: for messages.

    Raises:
        WeightsError: there are two powers of a generalised mean and it is not plain which is of which head.
    """
    layers = {"pool.fc": (channels - 1, channels), "variance.fc.0": (channels, channels), "variance.fc.1": (1, channels)}
    heads = {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder.")}
    names: dict[str, str] = {}
    for ours, shape in layers.items():
        found = [name for name, tensor in heads.items() if name.endswith(".weight") and tensor.shape == shape]
        if len(found) == 1:
            stem = found[0].removesuffix(".weight")
            names |= {f"{stem}.weight": f"{ours}.weight", f"{stem}.bias": f"{ours}.bias"}
    powers = [name for name, tensor in heads.items() if tensor.shape == (1,) and name not in names]
    names |= _powers(powers, names, tensors, path)
    return {names.get(name, name): tensor for name, tensor in tensors.items()}


def _powers(powers: list[str], names: Mapping[str, str], tensors: Tensors, path: Path) -> dict[str, str]:
    """The names of the powers of the means: each belongs to the head whose layers have most of its name in theirs."""
    there = [head for head in _HEADS if any(ours.startswith(head) for ours in names.values())]
    if len(powers) != len(there) or not there:
        return {}
    if len(there) == 1:
        return {powers[0]: f"{there[0]}gem.p"}
    parts = [set().union(*(_parts(name) for name, ours in names.items() if ours.startswith(head))) for head in there]
    first, second = powers
    straight = len(_parts(first) & parts[0]) + len(_parts(second) & parts[1])
    crossed = len(_parts(first) & parts[1]) + len(_parts(second) & parts[0])
    if straight == crossed and not np.array_equal(tensors[first], tensors[second]):
        raise WeightsError(
            f"{path}: which of '{first}' and '{second}' is the power of the mean head and which of the variance head cannot be "
            f"told: rename them to '{there[0]}gem.p' and '{there[1]}gem.p'"
        )
    mean, variance = (first, second) if straight >= crossed else (second, first)
    return {mean: f"{there[0]}gem.p", variance: f"{there[1]}gem.p"}


def _parts(name: str) -> set[str]:
    return {part for part in re.split(r"[._]", name) if part not in {"weight", "bias"}}
