"""Latents of held-out traverses and of training images, for the benchmarks of what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.data.images import read_image
from vloc_ros.data.places import Picture
from vloc_ros.data.samples import evenly
from vloc_ros.data.seasons import open_all_seasons
from vloc_ros.networks.disam_form import DisamForm, Stage
from vloc_ros.networks.disam_preprocessing import disam_images
from vloc_ros.networks.domains import DomainNetwork, LatentCompression
from vloc_ros.training.condition_feed import ConditionImageSettings
from vloc_ros.training.disam_registry import KINDS, open_conditions
from vloc_ros.training.disam_validation import Traverses, near_poses, same_names
from vloc_ros.training.registry import DataSpec

Rows = NDArray[np.float32]
RADIUS_M, ANGLE_DEG = 5.0, 10.0
_BATCH = 16


class Asked(NamedTuple):
    """Latents (N, C, h, w) of a reference and of queries of other conditions, and the rows that show the place of each query."""

    reference: Rows
    queries: Rows
    conditions: NDArray[np.int64]
    """(N,) numbers of those of the queries; the reference's is 0."""
    positives: list[NDArray[np.int64]]


def traverses(text: str, conditions: tuple[str, ...], limit: int, tolerance: int) -> list[Traverses]:
    """Of ``conditions:FOLDER``, whose images of one place have one name, or of ``seasons:FOLDER`` with poses."""
    spec = DataSpec.parse(text, KINDS)
    if spec.kind == "seasons":
        return [near_poses(data, conditions, RADIUS_M, ANGLE_DEG) for data in open_all_seasons(spec.path)]
    return [same_names(open_conditions([spec], conditions, ConditionImageSettings()), conditions[0], limit, tolerance)]


def latents(network: DomainNetwork, pictures: Sequence[Picture], condition: int) -> Rows:
    """(N, C, h, w) latents of pictures of one condition."""
    made = []
    with torch.inference_mode():
        for start in range(0, len(pictures), _BATCH):
            batch = disam_images([picture.read() for picture in pictures[start : start + _BATCH]], network.form)
            made.append(network.encode(torch.from_numpy(batch), condition).numpy())
    return np.concatenate(made)


def asked(network: DomainNetwork, texts: Sequence[str], limit: int, tolerance: int) -> list[Asked]:
    """Latents of all held-out traverses, the conditions given; queries that have no answer are left out."""
    names, found = network.form.conditions, []
    for one in (one for text in texts for one in traverses(text, names, limit, tolerance)):
        numbers = [names.index(judged.condition) for judged in one.queries]
        queries = np.concatenate([latents(network, judged.pictures, k) for k, judged in zip(numbers, one.queries, strict=True)])
        conditions = np.repeat(numbers, [len(judged.pictures) for judged in one.queries])
        positives = [rows for judged in one.queries for rows in judged.positives]
        answered = [place for place, rows in enumerate(positives) if len(rows)]
        reference = latents(network, one.reference, 0)
        found.append(Asked(reference, queries[answered], conditions[answered], [positives[place] for place in answered]))
    return found


def learned_from(network: DomainNetwork, texts: Sequence[str], images: int) -> tuple[Rows, NDArray[np.int64]]:
    """(N, C, h, w) latents of training images, as many of each condition, and (N,) the numbers of their conditions."""
    files = open_conditions([DataSpec.parse(text, KINDS) for text in texts], (), ConditionImageSettings())
    names = network.form.conditions
    share = max(1, images // len(names))
    chosen = {names.index(name): _pictures(evenly(paths, share)) for name, paths in files.items() if name in names}
    found = [latents(network, pictures, number) for number, pictures in chosen.items()]
    return np.concatenate(found), np.repeat(list(chosen), [len(part) for part in found])


def whole(form: DisamForm, stage: Stage, cell: int, given: Rows) -> Rows:
    """(N, E) vectors of unit length whose dot products are the metric of a stage, of latents averaged over cells."""
    pooling = LatentCompression(replace(form, stage=stage), cell, 0)
    with torch.inference_mode():
        return np.concatenate(
            [pooling.whole(torch.from_numpy(part)).numpy() for part in np.array_split(given, -(-len(given) // 64))]
        )


def unit(rows: Rows) -> Rows:
    """Rows of unit length."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _pictures(paths: Sequence[Path]) -> list[Picture]:
    def reading(path: Path) -> Picture:
        return Picture(path.name, lambda: read_image(path))

    return [reading(path) for path in paths]
