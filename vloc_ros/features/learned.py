"""Learned local features: a network from a file of weights, run by whichever engine is there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_grey, to_rgb
from vloc_ros.data.weights import INT8_ENDING, LOCAL_NETWORKS, SUFFIX, Tensors, WeightsCard, load_weights
from vloc_ros.errors import WeightsError
from vloc_ros.features.contract import FeatureExtractor, Features, Metric, register_file
from vloc_ros.features.engines import Engine, Maps, load_engine, load_int8_engine
from vloc_ros.features.heatmap import probable
from vloc_ros.features.keypoints import KeyPoints, local_maxima, one_per_window
from vloc_ros.features.learned_settings import Detection, LearnedSettings
from vloc_ros.features.sampling import descriptors_of, sample_columns
from vloc_ros.features.spread import spread_evenly

_SMALLEST_PX = 32
"""An image with a shorter side has nothing in it that could be described."""


def prepare(image: Image, colours: int, max_pixels: int) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    """What a network sees of an image.

    Args:
        image: (H, W) grey or (H, W, 3) RGB.
        colours: channels that the network takes, 1 or 3.
        max_pixels: an image with more is scaled down to so many.

    Returns:
        The (1, colours, h, w) image with values from 0 to 1, None when there is nothing to see, and the size of its pixels (u, v)
        in those of the original.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, float(np.sqrt(max_pixels / max(1, width * height))))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    scale = np.array([width / size[0], height / size[1]], dtype=np.float32)
    if min(size) < _SMALLEST_PX or image.min() == image.max():
        return None, scale
    if shrink < 1.0:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    planes = to_grey(image)[None] if colours == 1 else to_rgb(image).transpose(2, 0, 1)
    return planes[None].astype(np.float32) / np.float32(255.0), scale


class LearnedFeatures(FeatureExtractor):
    """Key points and descriptors from the maps of a network, sampled at the key points only."""

    metric = Metric.COSINE

    def __init__(
        self,
        name: str,
        architecture: str,
        engine: Engine,
        projection: NDArray[np.float32] | None,
        descriptor_size: int,
        max_features: int,
        settings: LearnedSettings,
    ) -> None:
        """Put the parts together; callers use :func:`load_features`.

        Args:
            name: of the model.
            architecture: of the network.
            engine: computes its maps.
            projection: (D, C) from what is sampled to descriptors, None where descriptors are what is sampled.
            descriptor_size: D.
            max_features: at most so many key points per image.
            settings: how key points are found, and how large an image may be.
        """
        self.name = name
        self.engine = engine
        self.settings = settings
        self._architecture = architecture
        self._projection = projection
        self._size = descriptor_size
        self._max_features = max_features

    @property
    def fingerprint(self) -> str:
        """The weights, and how key points are found: not the name of the file, the engine, nor how many there are."""
        found = self.settings
        if self.engine.model.probable:
            how = f"probable{found.suppression}"
        else:
            how = f"window{found.window}" if found.detection is Detection.WINDOW else f"nms{found.neighbourhood}"
        return f"{self._architecture}-{self.engine.model.sha256[:16]}-{how}-{found.max_pixels}px-v1"

    @property
    def descriptor_size(self) -> int:
        return self._size

    def extract(self, image: Image) -> Features:
        prepared, scale = prepare(image, self.engine.model.colours, self.settings.max_pixels)
        if prepared is None:
            return self.nothing()
        maps = self.engine.run(prepared)
        found = self._detect(maps)
        height, width = maps.logits.shape
        chosen = spread_evenly(found.pixels, found.scores, (width, height), self._max_features)
        pixels = found.pixels[chosen]
        columns = sample_columns(maps.maps, self.engine.model.strides, pixels, (width, height), self.engine.model.through_pixels)
        descriptors = descriptors_of(columns, self._projection, self.engine.model.centred)
        good = np.asarray(np.isfinite(descriptors).all(axis=1))
        half = np.float32(0.5)
        features = Features(
            keypoints=(pixels + half) * scale - half,
            scores=found.scores[chosen],
            sizes=np.full(len(chosen), self.settings.neighbourhood * scale.max(), dtype=np.float32),
            descriptors=descriptors,
            disparity=np.full(len(chosen), np.nan, dtype=np.float32),
        )
        return features if good.all() else features.select(good)

    def _detect(self, maps: Maps) -> KeyPoints:
        if self.engine.model.probable:
            return probable(maps.scores, self.settings.threshold, self.settings.suppression)
        if self.settings.detection is Detection.WINDOW:
            return one_per_window(maps.logits, maps.scores, self.settings.window)
        return local_maxima(maps.logits, maps.scores, self.settings.neighbourhood, self.settings.radius)


@register_file(SUFFIX)
def load_features(path: Path, max_features: int, settings: LearnedSettings) -> LearnedFeatures:
    """The extractor whose weights are in a file.

    Raises:
        ConfigError: no engine that can run it is installed.
        WeightsError: the file or its card is missing or damaged, or of another kind of network.
    """
    tensors, card = _local_weights(path)
    engine = load_engine(path, tensors, card, settings.engine, settings.threads)
    return assemble(path, tensors, card, engine, max_features, settings)


@register_file(INT8_ENDING)
def load_int8_features(path: Path, max_features: int, settings: LearnedSettings) -> LearnedFeatures:
    """The extractor of a network in 8-bit integers, as `vloc export --int8` writes it beside the weights that it was made from.

    Its key points and descriptors differ a little from those in floats, and by how much depends on its calibration. So the file
    counts as weights of its own: its fingerprint is neither theirs nor that of another calibration.

    Raises:
        ConfigError: onnxruntime is not installed, or another engine is asked for.
        WeightsError: the file is damaged or of something else, or its weights are not beside it.
    """
    weights = path.with_name(path.name.removesuffix(INT8_ENDING) + SUFFIX)
    if not weights.is_file():
        raise WeightsError(f"{path} needs the weights that it was made from beside it: copy {weights.name} and its card there")
    tensors, card = _local_weights(weights)
    engine = load_int8_engine(path, card, settings.engine, settings.threads)
    return assemble(path, tensors, card, engine, max_features, settings)


def _local_weights(path: Path) -> tuple[Tensors, WeightsCard]:
    tensors, card = load_weights(path)
    if card.network not in LOCAL_NETWORKS:
        raise WeightsError(
            f"{path} holds weights of {card.network} on {card.backbone}, which describes whole images and has no local features; "
            f"those are of: {', '.join(LOCAL_NETWORKS)}"
        )
    return tensors, card


def assemble(
    path: Path, tensors: Tensors, card: WeightsCard, engine: Engine, max_features: int, settings: LearnedSettings
) -> LearnedFeatures:
    """The extractor of a file: weights, and what computes their network.

    Raises:
        WeightsError: the weights lack the projection that the network needs.
    """
    projection = tensors.get(engine.model.projection)
    if engine.model.projection and (projection is None or projection.shape[0] != card.dimension):
        raise WeightsError(f"{path} has no '{engine.model.projection}' of {card.dimension} rows: copy or import it again")
    return LearnedFeatures(path.stem, card.network, engine, projection, card.dimension, max_features, settings)
