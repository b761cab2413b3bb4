"""XFeat (Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching", CVPR 2024) from its published backbone.

A peer to be measured against: the file of weights is not part of this package. It holds the backbone as ONNX of one input size,
with the three outputs of the paper's figure 3; what makes key points of them (section 3.2) is written here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.features.contract import FeatureExtractor, Features, Metric, register_file
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.engines.onnxruntime import open_session
from vloc_ros.features.learned_settings import LearnedSettings

_CELL = 8
_DESCRIPTOR = 64
_LOGITS = _CELL * _CELL + 1  # the pixels of a cell, and none of them
_OVERLAP_PX = 64
_NMS_PX = 5
_MIN_SCORE = 0.05
_CUBIC = -0.75  # the constant of the cubic kernel of torch, with which the descriptors were trained
_SIZE_PX = 16.0  # nominal; the network states none


@dataclass(frozen=True, slots=True)
class _Tile:
    """A stretch of an axis that goes through the network at once.

    Attributes:
        start: its first pixel.
        first: first cell of the image that is taken from it.
        stop: cell of the image after the last that is taken from it.
    """

    start: int
    first: int
    stop: int


class XFeat(FeatureExtractor):
    """XFeat through onnxruntime. Images of other sizes than the network's are mirrored outwards, or cut in overlapping tiles."""

    name = "xfeat"
    metric = Metric.COSINE

    def __init__(self, path: Path, max_features: int, threads: int) -> None:
        """Load the network.

        Args:
            path: of the ONNX file.
            max_features: at most so many key points.
            threads: cores to use.

        Raises:
            ConfigError: onnxruntime is not installed.
            WeightsError: the file cannot be read or is not this network.
        """
        self._max_features = max_features
        self._session, self._digest = _session(path, threads)
        entry = self._session.get_inputs()[0]
        self._entry, self._side = str(entry.name), (int(entry.shape[3]), int(entry.shape[2]))
        self._outputs = _outputs_by_channels(self._session, path)

    @property
    def fingerprint(self) -> str:
        return f"xfeat-{self._digest[:12]}-v1"

    @property
    def descriptor_size(self) -> int:
        return _DESCRIPTOR

    def extract(self, image: Image) -> Features:
        height, width = image.shape[:2]
        descriptors, logits, reliability = self._maps(image)
        heat = key_point_heat(logits)[:height, :width]
        v, u = np.nonzero((heat > _MIN_SCORE) & (heat == cv2.dilate(heat, np.ones((_NMS_PX, _NMS_PX), np.uint8))))
        keypoints = np.stack([u, v], axis=1).astype(np.float32)
        at_cells = ((keypoints + 0.5) / _CELL - 0.5).astype(np.float32)
        scores = np.asarray(heat[v, u]) * sampled(reliability[:, :, None], at_cells, _linear)[:, 0]
        order = np.argsort(-scores, kind="stable")[: self._max_features]
        if len(order) == 0:
            return self.nothing()
        described = sampled(descriptors, at_cells[order], _cubic)
        return Features(
            keypoints=keypoints[order],
            scores=scores[order].astype(np.float32),
            sizes=np.full(len(order), _SIZE_PX, dtype=np.float32),
            descriptors=_unit(described),
            disparity=np.full(len(order), np.nan, dtype=np.float32),
        )

    def _maps(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """(h, w, 64) descriptors of unit length, (h, w, 65) logits and (h, w) reliability, one row and column per cell."""
        rgb = to_rgb(image)
        across, down = tiles(rgb.shape[1], self._side[0]), tiles(rgb.shape[0], self._side[1])
        size = (down[-1].start + self._side[1], across[-1].start + self._side[0])
        padded = np.pad(rgb, ((0, size[0] - rgb.shape[0]), (0, size[1] - rgb.shape[1]), (0, 0)), mode="symmetric")
        whole = [np.empty((down[-1].stop, across[-1].stop, channels), np.float32) for channels in (_DESCRIPTOR, _LOGITS, 1)]
        for row in down:
            for column in across:
                part = padded[row.start : row.start + self._side[1], column.start : column.start + self._side[0]]
                tensor = np.ascontiguousarray(part.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255.0)
                found = self._session.run(self._outputs, {self._entry: tensor})
                for target, value in zip(whole, found, strict=True):
                    v, u = row.start // _CELL, column.start // _CELL
                    inner = value[0].transpose(1, 2, 0)[row.first - v : row.stop - v, column.first - u : column.stop - u]
                    target[row.first : row.stop, column.first : column.stop] = inner
        return _unit(whole[0]), whole[1], whole[2][:, :, 0]


@register_file("xfeat.onnx")
def open_xfeat(path: Path, max_features: int, settings: LearnedSettings) -> FeatureExtractor:
    """XFeat of an ONNX file, see :class:`XFeat`."""
    return XFeat(path, max_features, settings.threads)


def tiles(length: int, side: int) -> list[_Tile]:
    """Tiles of ``side`` pixels that cover a length [px], all starting at cells, seams in the middle of their overlaps."""
    count = 1 if length <= side else -(-(length - _OVERLAP_PX) // (side - _OVERLAP_PX))
    steps = np.linspace(0.0, max(length - side, 0), count)
    starts = [int(-(-step // _CELL)) * _CELL for step in steps]
    seams = [(a + side + b) // 2 // _CELL for a, b in pairwise(starts)]
    bounds = [0, *seams, -(-length // _CELL)]
    return [_Tile(start, bounds[k], bounds[k + 1]) for k, start in enumerate(starts)]


def key_point_heat(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(8 h, 8 w) probabilities of a key point from (h, w, 65) logits: a softmax over each cell and the answer 'none'."""
    scaled = np.exp(logits - logits.max(axis=2, keepdims=True))
    shares = (scaled / scaled.sum(axis=2, keepdims=True))[:, :, :-1]
    height, width = shares.shape[:2]
    cells = shares.reshape(height, width, _CELL, _CELL).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(cells.reshape(height * _CELL, width * _CELL))


def sampled(field: NDArray[np.float32], points: NDArray[np.float32], kernel: Any) -> NDArray[np.float32]:
    """(N, C) values of an (h, w, C) field at (N, 2) positions (u, v); the border is continued outwards."""
    base = np.floor(points).astype(np.int64)
    share = points - base
    (across, weights_u), (down, weights_v) = kernel(share[:, 0]), kernel(share[:, 1])
    total = np.zeros((len(points), field.shape[2]), dtype=np.float32)
    for dv, weight_v in zip(down, weights_v, strict=True):
        rows = np.clip(base[:, 1] + dv, 0, field.shape[0] - 1)
        for du, weight_u in zip(across, weights_u, strict=True):
            columns = np.clip(base[:, 0] + du, 0, field.shape[1] - 1)
            total += field[rows, columns] * (weight_u * weight_v)[:, None]
    return total


def _linear(share: NDArray[np.float32]) -> tuple[tuple[int, ...], list[NDArray[np.float32]]]:
    """Places and weights of linear interpolation."""
    return (0, 1), [1.0 - share, share]


def _cubic(share: NDArray[np.float32]) -> tuple[tuple[int, ...], list[NDArray[np.float32]]]:
    """Places and weights of cubic convolution (Keys 1981)."""

    def near(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((_CUBIC + 2.0) * x - (_CUBIC + 3.0)) * x * x + 1.0

    def far(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((_CUBIC * x - 5.0 * _CUBIC) * x + 8.0 * _CUBIC) * x - 4.0 * _CUBIC

    return (-1, 0, 1, 2), [far(share + 1.0), near(share), near(1.0 - share), far(2.0 - share)]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of the last axis at unit length."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return np.asarray(vectors / lengths, dtype=np.float32)


def _session(path: Path, threads: int) -> tuple[Any, str]:
    """A session of onnxruntime, and the hash of the file."""
    if not is_installed("onnxruntime"):
        raise ConfigError(f"{path} needs onnxruntime, which is not installed: do what requirements/engines.txt says")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        session = open_session(raw, threads)
    except Exception as error:  # see there
        raise WeightsError(f"{path} cannot be loaded by onnxruntime; is it damaged or something else?") from error
    return session, hashlib.sha256(raw).hexdigest()


def _outputs_by_channels(session: Any, path: Path) -> list[str]:
    """Names of the outputs: descriptors, logits, reliability."""
    inputs, shapes = session.get_inputs(), {output.name: output.shape for output in session.get_outputs()}
    side = inputs[0].shape if len(inputs) == 1 else []
    if len(side) != 4 or side[1] != 3 or not all(isinstance(n, int) and n >= 2 * _OVERLAP_PX and n % 32 == 0 for n in side[2:]):
        raise WeightsError(f"{path} is not XFeat: its input is {side or len(inputs)}, not one RGB image of a fixed size")
    cells = [side[2] // _CELL, side[3] // _CELL]
    found = [[name for name, s in shapes.items() if list(s) == [1, c, *cells]] for c in (_DESCRIPTOR, _LOGITS, 1)]
    if any(len(names) != 1 for names in found):
        raise WeightsError(
            f"{path} is not XFeat: its outputs have the shapes {sorted(map(list, shapes.values()))} instead of 64, 65 and 1 "
            f"channels of {cells[0]}x{cells[1]}"
        )
    return [names[0] for names in found]
