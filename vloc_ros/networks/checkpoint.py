"""Check points that others published: read without running anything in them, and their weights given our names.

Layouts that are understood, each with or without the ``module.`` of parallel training and inside a ``state_dict`` entry or not:

- NetVLAD-pytorch and the calibrator of system M: ``encoder.N.weight``, ``pool.conv.weight``, ``pool.centroids``, and a
  whitening ``WPCA.0.weight``; MobileNetV3 as ``encoder.0.N...`` with its projection in ``encoder.1.weight``.
- torchvision's classifiers: ``features.N...``; ``classifier...`` is left out. timm's ViT: ``blocks.N...``; ``head...`` is left out.
- a backbone of one of these below any other name, and the heads of system M by their shapes, see :mod:`.recognition`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.data.weights import SUFFIX, read_tensors
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.networks.files import require_fit, some
from vloc_ros.networks.names import Backbone, NetworkKind
from vloc_ros.networks.network import PlaceNetwork, load_tensors, make_network, random_network, tensors_of
from vloc_ros.networks.recognition import with_known_backbone, with_known_heads


class _Ignored:
    """Stands for an array beside the weights, of scores for example: whatever it holds is not even read."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


# Scores beside the weights are often numpy scalars, under the name of numpy 1 or 2; making one runs no code.
_SCALAR = np.float64(0.0).__reduce__()[0]
_HARMLESS = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_Ignored, "numpy.core.multiarray._reconstruct"),
    (_Ignored, "numpy._core.multiarray._reconstruct"),
    (_Ignored, "numpy.ndarray"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)},
]
_COMMON = (
    (r"features\.(\d+\..+)", r"encoder.features.\1"),
    (r"WPCA\.0\.(weight|bias)", r"whitening.\1"),
    (r"pool\.p", r"pool.gem.p"),
)
_RENAMED = {
    Backbone.VGG16: (*_COMMON, (r"encoder\.(\d+\.(?:weight|bias))", r"encoder.features.\1")),
    Backbone.MOBILENETV3: (
        *_COMMON,
        (r"encoder\.1\.(weight|bias)", r"encoder.project.\1"),
        (r"encoder\.0\.(\d+\..+)", r"encoder.features.\1"),
    ),
    Backbone.VIT_SMALL: _COMMON,
}
_CLASSIFIERS = ("classifier.", "head.")
_GROUPS = ("encoder.project", "pool", "variance")
_WITH_HEADS = (NetworkKind.GEM, NetworkKind.UNCERTAINTY)


@dataclass(frozen=True, slots=True)
class Imported:
    """A network with weights of a check point.

    Attributes:
        network: the network, in evaluation mode.
        random: its parts that the file does not hold, which are random: ``pool``, ``encoder.project``.
    """

    network: PlaceNetwork
    random: tuple[str, ...]


def import_checkpoint(path: Path, kind: NetworkKind, backbone: Backbone, seed: int = 0) -> Imported:
    """Read a published check point as a network.

    The backbone must be there, whole. What a classifier of ImageNet does not have, pooling and projection, is random then, and
    so is the variance head that a GeM network does not have.

    Args:
        path: a file of ``torch.save``, or of safetensors.
        kind: which network to make of it.
        backbone: which backbone is in it.
        seed: of what is random.

    Raises:
        ConfigError: there is no such network.
        WeightsError: the file cannot be read, holds code, or is not of this network; the text says what is wrong.
    """
    if backbone not in _RENAMED:
        raise ConfigError(f"no check points were published for {backbone.value}; take {' or '.join(b.value for b in _RENAMED)}")
    random = random_network(kind, backbone, seed)
    given = renamed(read_checkpoint(path), backbone)
    if kind in _WITH_HEADS:
        given = with_known_heads(given, backbone.channels, path)
    tensors: dict[str, NDArray[np.float32]] = tensors_of(random)
    if not any(name.startswith("encoder.") and name in tensors for name in given):
        raise WeightsError(f"{path} holds no weights of {backbone.value}: it has {some(list(given)) or 'none at all'}")
    groups = [name for name in _GROUPS if any(known.startswith(name + ".") for known in tensors)]
    absent = tuple(group for group in groups if not any(name.startswith(group + ".") for name in given))
    kept = {name: tensor for name, tensor in tensors.items() if name.startswith(tuple(f"{group}." for group in absent))}
    whitened = 0 if kind is NetworkKind.UNCERTAINTY else _whitening(given, path, random.pooled_dimension)
    network = make_network(kind, backbone, whitened)
    require_fit(network, kept | given, path)
    load_tensors(network, kept | given)
    return Imported(network, absent)


def _whitening(given: dict[str, NDArray[np.float32]], path: Path, pooled: int) -> int:
    """Dimension after the whitening of a check point, whose 1x1 convolution becomes a matrix; 0 when it has none."""
    weight = given.get("whitening.weight")
    if weight is None:
        return 0
    if weight.size != len(weight) * pooled:
        raise WeightsError(f"{path}: the whitening has the shape {weight.shape}, which does not fit {pooled} elements")
    given["whitening.weight"] = weight.reshape(len(weight), pooled)
    return len(weight)


def renamed(tensors: Mapping[str, NDArray[np.float32]], backbone: Backbone) -> dict[str, NDArray[np.float32]]:
    """The tensors under our names, without classifier and counters; what has no rule keeps its name."""
    plain = {".".join(part for part in name.split(".") if part != "module"): tensor for name, tensor in tensors.items()}
    left_out = _CLASSIFIERS if backbone is Backbone.VIT_SMALL else _CLASSIFIERS[:1]
    kept = {name: t for name, t in plain.items() if not name.startswith(left_out) and not name.endswith("num_batches_tracked")}
    result = {}
    for name, tensor in with_known_backbone(kept, backbone).items():
        matching = (re.sub(f"^{pattern}$", new, name) for pattern, new in _RENAMED[backbone] if re.fullmatch(pattern, name))
        result[next(matching, name)] = tensor
    return result


def read_checkpoint(path: Path, inert: Sequence[tuple[type, str]] = ()) -> dict[str, NDArray[np.float32]]:
    """The float tensors of a file of ``torch.save`` or of safetensors, by the names they have there.

    Args:
        path: the file; tensors may lie in an entry ``state_dict`` or ``model_state_dict`` of it.
        inert: classes without code of their own, each with the name of the class it stands for in files of that publisher.

    Raises:
        WeightsError: it cannot be read, would run code, or holds no tensors.
    """
    if path.suffix == SUFFIX:
        return read_tensors(path)
    if not path.is_file():
        raise WeightsError(f"cannot read {path}: there is no such file")
    try:
        # torch keeps them as a set: of two for one name either would be taken, by chance.
        said = {name for _, name in inert}
        others = [one for one in _HARMLESS if not (isinstance(one, tuple) and one[1] in said)]
        with torch.serialization.safe_globals([*others, *inert]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch documents no types
        raise WeightsError(f"{path} {_refusal(str(error))}") from error
    for entry in ("state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            content = content[entry]
    tensors = content if isinstance(content, Mapping) else {}
    floats = {
        str(name): tensor.float().numpy()
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
    }
    if not floats:
        raise WeightsError(f"{path} holds no tensors by name: a dictionary of weights is needed, or one with a 'state_dict' entry")
    return floats


def _refusal(text: str) -> str:
    """Why torch would not read a file, in one sentence."""
    code = re.search(r"(?:GLOBAL|global:?) `?(?!GLOBAL)([\w.]+)", text)
    if code and "weights_only" in text:
        return (
            f"holds a pickle that would run code ({code[1]}) and is refused: "
            "save its weights alone, with torch.save(model.state_dict(), ...)"
        )
    return "cannot be read as a check point of torch; is it damaged, cut off or something else?"
