"""Export of a network of local features in 8-bit integers, judged against the same network in floats before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from vloc_ros.data.frame import Image
from vloc_ros.data.output import write_bytes
from vloc_ros.data.samples import evenly
from vloc_ros.data.weights import INT8_ENDING, load_weights
from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.engines.contract import continued
from vloc_ros.features.engines.onnxruntime import OnnxRuntimeEngine
from vloc_ros.features.learned import LearnedFeatures, assemble, prepare
from vloc_ros.features.learned_settings import LearnedSettings
from vloc_ros.networks.export import onnx_of
from vloc_ros.networks.local_files import load_local_network, model_of
from vloc_ros.networks.quantise import quantised

_JUDGED = 8  # images
_KEY_POINTS = 1000
_SAME_PX = 1.5
_LEAST_SIMILARITY = 0.98  # the small network reaches 0.999; with all layers in integers it is useless, at 0.7


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much a network in integers is like the one in floats.

    Attributes:
        similarity: mean cosine between their descriptors, at the key points that both find within 1.5 px.
        repeated: share of the key points in floats that the one in integers finds too.
    """

    similarity: float
    repeated: float


def export_int8(path: Path, out: Path, images: Sequence[Image], calibrated_on: str) -> Likeness:
    """Export a file of weights as ONNX in 8-bit integers.

    Args:
        path: the file of weights.
        out: file to write, named after the weights: ``unet_int8.onnx`` of ``unet.safetensors``.
        images: to calibrate on: (H, W) grey or (H, W, 3) RGB, of the kind that will be looked at.
        calibrated_on: what they are, in words; kept in the file.

    Returns:
        How much it is like the network in floats, on some of the images.

    Raises:
        ConfigError: what is needed is not installed, or the file would not be found by its name.
        WeightsError: the weights cannot be used, or the network in integers is too unlike the one in floats.
        DataError: the images show nothing, or the file cannot be written.
    """
    missing = [name for name in ("onnx", "onnxruntime") if not is_installed(name)]
    if missing:
        raise ConfigError(f"vloc export --int8 needs {' and '.join(missing)}: do what requirements/engines.txt says")
    if out.name != path.stem + INT8_ENDING:
        raise ConfigError(f"{out} must be called {path.stem}{INT8_ENDING}: its name says whose weights it belongs to")
    network, card = load_local_network(path)
    model = model_of(network, card)
    settings = LearnedSettings()
    seen = [prepared for image in images if (prepared := prepare(image, model.colours, settings.max_pixels)[0]) is not None]
    if not seen:
        raise DataError(f"none of the {len(images)} images to calibrate on shows anything: they are too small or of one colour")
    plain = onnx_of(network, model)
    small = quantised(plain, (continued(image, model.multiple) for image in seen), calibrated_on)
    tensors, _ = load_weights(path)
    floats, integers = (
        assemble(path, tensors, card, OnnxRuntimeEngine(model, content, settings.threads), _KEY_POINTS, settings)
        for content in (plain, small)
    )
    likeness = _likeness(floats, integers, evenly(images, _JUDGED))
    if not likeness.similarity >= _LEAST_SIMILARITY:
        raise WeightsError(
            f"{path} in 8-bit integers is too unlike itself in floats (similarity of descriptors {likeness.similarity:.3f}): "
            "calibrate on images that show more, and as different ones as will be looked at"
        )
    write_bytes(out, small)
    return likeness


def _likeness(floats: LearnedFeatures, integers: LearnedFeatures, images: Sequence[Image]) -> Likeness:
    similarity: list[float] = []
    points = 0
    for image in images:
        a, b = floats.extract(image), integers.extract(image)
        points += len(a)
        if len(b) == 0:
            continue
        distance, nearest = cKDTree(b.keypoints).query(a.keypoints)
        same = distance <= _SAME_PX
        similarity += np.einsum("ij,ij->i", a.descriptors[same], b.descriptors[nearest[same]]).tolist()
    return Likeness(float(np.mean(similarity)) if similarity else 0.0, len(similarity) / max(1, points))
