"""Pairs of stereo frames from the runs of a UTIAS path, with disparities and relative poses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.utias import UtiasReader, Vertex
from vloc_ros.data.utias_graph import UtiasGraph
from vloc_ros.data.utias_samples import IN_THE_DARK_RUNS, MULTISEASON_RUNS, Runs, Sample, random_samples, sequential_samples
from vloc_ros.errors import DataError
from vloc_ros.features.stereo import StereoMethod, StereoSettings, dense_disparity
from vloc_ros.geometry.se3 import inverse
from vloc_ros.training.pairs import PairSource, StereoTruth, TrainingPair
from vloc_ros.training.sources.warp import warp_by_depth
from vloc_ros.training.utias_settings import Sampling, Split, UtiasSettings

_MIN_DEPTH, _MAX_DEPTH = 0.1, 400.0  # [m] of disparities that count, as published
_STEREO = StereoSettings(method=StereoMethod.SGBM)


class UtiasPairs(PairSource):
    """The live vertex of a sample is image a, that of the map image b."""

    def __init__(
        self, path: Path, settings: UtiasSettings, held_out: bool = False, samples: Sequence[Sample] | None = None
    ) -> None:
        """Read the pose graph and draw the pairs.

        Args:
            path: folder of the runs.
            settings: split and sampling.
            held_out: take the runs that are not learned from.
            samples: these pairs instead.

        Raises:
            DataError: the folder is none of UTIAS, is damaged, or has none of the runs.
        """
        self.path = path
        self._graph = UtiasGraph.read(path)
        self.samples = list(samples) if samples is not None else _drawn(self._graph, settings, held_out)
        if not self.samples:
            raise DataError(f"{path}: no pairs of vertices to train with; are there two runs along the path?")
        for vertex in {vertex for sample in self.samples for vertex in sample}:
            if vertex not in self._graph.place:
                raise DataError(f"{path}: vertex {vertex[1]} of run {vertex[0]} is not in the pose graph")
        self._reader = lru_cache(maxsize=None)(self._open)

    def __len__(self) -> int:
        """Pairs."""
        return len(self.samples)

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """The pair of a sample; nothing about it is random.

        Raises:
            DataError: an image is missing or damaged; the text names it.
        """
        live, other = self.samples[index]
        (frame_a, reader), (frame_b, of_b) = self._frame(live), self._frame(other)
        if of_b.camera != reader.camera:
            raise DataError(f"{self.path}: runs {live[0]} and {other[0]} are of different cameras")
        camera, base_T_camera = reader.camera, reader.base_T_camera
        limits = camera.fx * camera.baseline / _MAX_DEPTH, camera.fx * camera.baseline / _MIN_DEPTH
        disparities: list[NDArray[np.float32]] = []
        for frame in (frame_a, frame_b):
            found = dense_disparity(frame, frame.left_grey, camera, _STEREO)
            known = (found >= limits[0]) & (found <= limits[1])
            disparities.append(np.where(known, found, np.float32(np.nan)).astype(np.float32))
        b_T_a = inverse(base_T_camera) @ self._graph.b_T_a(live, other) @ base_T_camera
        inverse_a, inverse_b = (disparity / np.float32(camera.fx * camera.baseline) for disparity in disparities)
        return TrainingPair(
            frame_a.left,
            frame_b.left,
            warp_by_depth(camera, inverse_a, inverse_b, b_T_a),
            StereoTruth(camera, disparities[0], disparities[1], b_T_a, base_T_camera),
            f"utias:{self.path.name}-{live[0]}-{live[1]}-{other[0]}-{other[1]}",
        )

    def _open(self, run: int) -> tuple[UtiasReader, dict[int, int]]:
        reader = UtiasReader(self.path / f"run_{run:06d}")
        return reader, {vertex: index for index, vertex in enumerate(reader.vertices)}

    def _frame(self, vertex: Vertex) -> tuple[StereoFrame, UtiasReader]:
        reader, index = self._reader(vertex[0])
        if vertex[1] not in index:
            raise DataError(f"{self.path}: run {vertex[0]} has no images of vertex {vertex[1]}")
        return reader.frame(index[vertex[1]]), reader


def split_of(path: Path, split: Split) -> Runs | None:
    """The runs of a split; None when all are in both parts."""
    if split is Split.NONE:
        return None
    if split is Split.AUTO:
        names = [re.sub(r"[-_ ]", "", folder.name.lower()) for folder in (path.resolve(), *path.resolve().parents)]
        name = next((name for name in names if "inthedark" in name or "multiseason" in name), "")
        if not name:
            return None
        return MULTISEASON_RUNS if "multiseason" in name else IN_THE_DARK_RUNS
    return MULTISEASON_RUNS if split is Split.MULTISEASON else IN_THE_DARK_RUNS


def _drawn(graph: UtiasGraph, settings: UtiasSettings, held_out: bool) -> list[Sample]:
    split = split_of(graph.path, settings.split)
    wanted = None if split is None else set(split.held_out if held_out else split.learned)
    runs = [run for run in graph.runs() if wanted is None or run in wanted]
    if len(runs) < 2:
        part = "held out" if held_out else "learned from"
        raise DataError(f"{graph.path} holds {len(runs)} of the runs that are {part}; two are needed (utias.split=none takes all)")
    if settings.sampling is Sampling.RANDOM:
        count = settings.validation_samples if held_out else settings.samples
        return random_samples(graph, runs, count, settings.temporal_length, settings.seed + held_out)
    return [
        sample
        for live, other in permutations(runs, 2)
        for sample in sequential_samples(graph, live, other, settings.temporal_length, settings.radius)
    ]
