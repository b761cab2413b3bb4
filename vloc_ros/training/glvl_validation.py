"""Judging a network of GLVL while it learns: views of held-out sites are looked for, and located, in maps of another condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import Image, to_grey, to_rgb
from vloc_ros.features.contract import FeatureExtractor, Features, Metric
from vloc_ros.features.heatmap import probable
from vloc_ros.features.matching import MatchSettings, match
from vloc_ros.features.sift import Sift
from vloc_ros.networks.glvl import Glvl
from vloc_ros.networks.superpoint import log_probabilities
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.disam_pictures import beside
from vloc_ros.training.glvl_losses import descriptors_at
from vloc_ros.training.glvl_objective import GlvlLearner
from vloc_ros.training.ground_feed import as_input
from vloc_ros.training.ground_mining import Tiles
from vloc_ros.training.ground_sites import GroundSource, Pixels
from vloc_ros.training.ground_views import (
    Array,
    GroundChangeSettings,
    GroundViewSettings,
    altered,
    homography,
    mapped,
    random_pair,
    seen,
)
from vloc_ros.training.sampling import Weighted

_BATCH = 16
_WIDER = 1.5  # the part of the map that a view is matched to, in sides of a view
_MATCHING = MatchSettings(ratio=0.9, min_similarity=0.0)
_FEWEST = 8  # inliers
_STREAM = 64  # of random numbers, apart from other uses of the seed


@dataclass(frozen=True)
class GlvlValidationSettings:
    """What a network is judged by after each epoch."""

    queries: int = param(100, "views of held-out sites", min=1, max=10000)
    reference: str = param("noon", "condition of the map, where a site has it, else its first; views are of the others")
    rotation_deg: float = param(20.0, "views are turned from north by up to so much", unit="deg", min=0.0, max=180.0)
    near_px: float = param(3.0, "a view is located when its centre is found within so many of its pixels", unit="px", min=0.1)
    keypoints: int = param(600, "at most so many key points of a view", min=10, max=10000)


class _Query(NamedTuple):
    """A view, the part of the map it is matched to, and where in that its centre truly is [px]."""

    view: Pixels
    part: Pixels
    truth: Array
    places: NDArray[np.bool_]


class _Located(NamedTuple):
    """What matching found: error of the centre [px], infinite for none; and the (M, 4) inliers."""

    error: float
    inliers: NDArray[np.float32]


class GlvlValidator:
    """See the module: ``recall``, the share of views whose tile is found first; ``located``; and ``task``, their mean."""

    def __init__(
        self, sources: Sequence[Weighted[GroundSource]], view: GroundViewSettings, settings: GlvlValidationSettings
    ) -> None:
        """Draw the views, which are always the same.

        Raises:
            DataError: an image cannot be read.
        """
        self._settings = settings
        self._view = replace(view, heading_deg=0.0, rotation_deg=settings.rotation_deg, perspective=min(view.perspective, 0.05))
        self._tiles = Tiles(sources, view)
        tiles = range(len(self._tiles))
        self._map = np.stack([self._plain(tile, self._reference(tile), view.side) for tile in tiles])
        rng = np.random.default_rng(_STREAM)
        order = [tile for _ in range(-(-settings.queries // len(tiles))) for tile in rng.permutation(len(tiles)).tolist()]
        self._queries = [self._query(tile, rng) for tile in order[: settings.queries]]
        self._sift = self._located_with(Sift(settings.keypoints))

    def __call__(self, learner: GlvlLearner) -> dict[str, float]:
        """The shares, and those of SIFT for the same views."""
        network = learner.glvl
        vectors = describe(network, self._map)
        views = describe(network, np.stack([query.view for query in self._queries]))
        first = (views @ vectors.T).argmax(1)
        recall = float(np.mean([query.places[row] for query, row in zip(self._queries, first.tolist(), strict=True)]))
        extractor = NetworkFeatures(network, self._settings.keypoints)
        found = self._located_with(extractor)
        located, sift = self._share(found), self._share(self._sift)
        more = {"recall": recall, "located": located, "located_by_sift": sift, "keypoints": extractor.mean_count}
        return {"task": 0.5 * (recall + located)} | more

    def pictures(self, learner: GlvlLearner) -> dict[str, Image]:
        """Some views beside the map, with the matches that agree: of SIFT, and of the network."""
        network = learner.glvl
        with torch.no_grad():
            chosen = list(range(0, len(self._queries), max(1, len(self._queries) // 4)))[:4]
            extractor = NetworkFeatures(network, self._settings.keypoints)
            rows = {}
            for k in chosen:
                ours = self._locate(self._queries[k], extractor)
                rows[f"matches {k}"] = beside(*(_drawn(self._queries[k], one) for one in (self._sift[k], ours)))
            return rows

    def _share(self, found: Sequence[_Located]) -> float:
        return float(np.mean([one.error <= self._settings.near_px for one in found]))

    def _reference(self, tile: int) -> int:
        names = self._site(tile)[0].sites[self._site(tile)[1]].conditions
        return names.index(self._settings.reference) if self._settings.reference in names else 0

    def _site(self, tile: int) -> tuple[GroundSource, int]:
        return self._tiles.sources[int(self._tiles.source[tile])].source, int(self._tiles.site[tile])

    def _plain(self, tile: int, condition: int, side: int) -> Pixels:
        source, site = self._site(tile)
        there = homography(self._tiles.centre[tile], self._tiles.zoom, 0.0, np.zeros(2), self._view, side)
        return to_grey(seen(source, site, condition, there, side)[0])

    def _query(self, tile: int, rng: np.random.Generator) -> _Query:
        (source, site), reference = self._site(tile), self._reference(tile)
        others = [k for k in range(self._tiles.conditions(tile)) if k != reference]
        condition = others[int(rng.integers(len(others)))] if others else reference
        flat = replace(self._view, zoom_min=self._tiles.zoom, zoom_max=self._tiles.zoom)
        there = random_pair(self._tiles.centre[tile], rng, flat)[1]
        view, known = seen(source, site, condition, there, flat.side)
        grey = to_grey(view) if others else altered(view, known, rng, GroundChangeSettings(), AugmentationSettings(), True)[0]
        middle = np.full((1, 2), 0.5 * (flat.side - 1))
        centre = mapped(np.linalg.inv(there), middle)
        part = 32 * round(_WIDER * flat.side / 32)
        in_part = homography(self._tiles.centre[tile], self._tiles.zoom, 0.0, np.zeros(2), flat, part)
        number = self._tiles.number == self._tiles.number[tile]
        near = np.abs(self._tiles.centre - centre).max(axis=1) <= 0.5 * flat.side * self._tiles.zoom
        return _Query(grey, self._plain(tile, reference, part), mapped(in_part, centre)[0], number & near)

    def _located_with(self, extractor: FeatureExtractor | NetworkFeatures) -> list[_Located]:
        return [self._locate(query, extractor) for query in self._queries]

    def _locate(self, query: _Query, extractor: FeatureExtractor | NetworkFeatures) -> _Located:
        here, there = extractor.extract(query.view), extractor.extract(query.part)
        pairs = match(here, there, Metric.COSINE, _MATCHING).indices
        both = np.concatenate([here.keypoints[pairs[:, 0]], there.keypoints[pairs[:, 1]]], axis=1)
        if len(both) < _FEWEST:
            return _Located(np.inf, both[:0])
        matrix, mask = cv2.findHomography(both[:, :2], both[:, 2:], cv2.USAC_MAGSAC, 3.0, maxIters=2000, confidence=0.999)
        inliers = both[mask.ravel() > 0] if mask is not None else both[:0]
        if matrix is None or len(inliers) < _FEWEST:
            return _Located(np.inf, inliers)
        middle = np.full((1, 2), 0.5 * (len(query.view) - 1))
        error = float(np.linalg.norm(mapped(matrix, middle)[0] - query.truth))
        return _Located(error if np.isfinite(error) else np.inf, inliers)


class NetworkFeatures:
    """Key points and descriptors of a network while it learns, found as on the robot."""

    def __init__(self, network: Glvl, count: int) -> None:
        """At most ``count`` key points of an image."""
        self._network, self._count = network, count
        self._found = list[int]()

    @property
    def mean_count(self) -> float:
        """Key points of an image so far."""
        return float(np.mean(self._found)) if self._found else 0.0

    def extract(self, image: Image) -> Features:
        """As the contract of extractors says."""
        device = next(self._network.parameters()).device
        bins, maps = self._network.local(self._network.stem(as_input(torch.from_numpy(image[None]).to(device))))
        found = probable(torch.exp(log_probabilities(bins))[0, 0].cpu().numpy())
        pixels, scores = found.pixels[: self._count], found.scores[: self._count]
        self._found.append(len(pixels))
        descriptors = descriptors_at(maps, torch.from_numpy(pixels)[None].to(device))[0].cpu().numpy()
        nothing = np.full(len(pixels), np.nan, dtype=np.float32)
        return Features(pixels, scores, np.full(len(pixels), 8.0, dtype=np.float32), descriptors, nothing)


def describe(network: Glvl, images: Pixels) -> NDArray[np.float32]:
    """(N, D) global vectors of (N, S, S) grey images, by a network in evaluation mode."""
    training, device = network.training, next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        parts = [as_input(torch.from_numpy(images[k : k + _BATCH]).to(device)) for k in range(0, len(images), _BATCH)]
        made = torch.cat([network.global_of(network.stem(part)) for part in parts])
    network.train(training)
    return np.asarray(made.cpu().numpy(), dtype=np.float32)


def _drawn(query: _Query, found: _Located) -> Image:
    """A view and the map beside each other, with a line for each match that agrees."""
    height, (left, right) = len(query.part), (to_rgb(query.view), to_rgb(query.part))
    sheet = np.zeros((height, left.shape[1] + right.shape[1], 3), dtype=np.uint8)
    sheet[: len(left), : left.shape[1]], sheet[:, left.shape[1] :] = left, right
    colour = (60, 220, 60) if found.error <= 3.0 else (230, 60, 60)
    for u, v, x, y in np.rint(found.inliers).astype(int).tolist():
        cv2.line(sheet, (u, v), (x + left.shape[1], y), colour, 1, cv2.LINE_AA)
    return sheet
