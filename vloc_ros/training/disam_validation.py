"""Judging a network of DISAM while it learns: how often the place of a query in one condition is found in the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vloc_ros.data.condition_folders import ConditionFiles
from vloc_ros.data.images import read_image
from vloc_ros.data.places import Picture
from vloc_ros.data.seasons import SeasonsDataset, SeasonsPicture
from vloc_ros.errors import DataError
from vloc_ros.geometry.se3 import between, rotation_angle
from vloc_ros.networks.disam_form import DisamForm
from vloc_ros.networks.disam_preprocessing import disam_images
from vloc_ros.networks.domains import LatentCompression
from vloc_ros.networks.translation import TranslationNetwork

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Judged:
    """Queries of one condition and the rows of the reference that show their place.

    Attributes:
        condition: their condition.
        pictures: of them.
        positives: for each the rows, for judging only.
    """

    condition: str
    pictures: tuple[Picture, ...]
    positives: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, slots=True)
class Traverses:
    """A reference and what is looked for in it."""

    reference: tuple[Picture, ...]
    queries: tuple[Judged, ...]


def same_names(files: ConditionFiles, reference: str, limit: int, tolerance: int = 0) -> Traverses:
    """Traverses whose images of one place have the same name, as those of Nordland; the images evenly thinned to a limit.

    Raises:
        DataError: no name of another condition is one of the reference.
    """
    rows = {file.stem: row for row, file in enumerate(files[reference])}
    thinned = files[reference][:: max(1, len(files[reference]) // limit)]
    row_of = {file.stem: row for row, file in enumerate(thinned)}
    place = np.array([rows[file.stem] for file in thinned])
    queries = []
    for condition, images in files.items():
        named = tuple(file for file in images if file.stem in row_of)
        if condition != reference and named:
            where = [np.flatnonzero(np.abs(place - rows[file.stem]) <= tolerance) for file in named]
            queries.append(Judged(condition, tuple(_picture(file) for file in named), tuple(where)))
    if not queries:
        raise DataError(f"no image of another condition has the name of one of {reference}: nothing can be judged by it")
    return Traverses(tuple(_picture(file) for file in thinned), tuple(queries))


def near_poses(data: SeasonsDataset, conditions: Sequence[str], distance_m: float, angle_deg: float) -> Traverses:
    """Traverses of a long-term benchmark whose queries have poses, of each of some conditions.

    Args:
        data: the benchmark.
        conditions: those that are looked at, the reference first.
        distance_m: images taken this far apart or less show one place [m],
        angle_deg: if they also look this far apart or less [deg].

    Raises:
        DataError: the reference is another condition, or no query has a pose and the same side as an image near it.
    """
    if data.conditions[0] != conditions[0]:
        raise DataError(f"the reference of {data.name} is {data.conditions[0]}, and not {conditions[0]}: name that one first")
    found: dict[str, list[tuple[Picture, NDArray[np.int64]]]] = {}
    for query in data.queries:
        if query.picture.condition not in conditions:
            continue
        rows = [row for row, one in enumerate(data.database) if _is_near(query, one, distance_m, np.deg2rad(angle_deg))]
        if rows:
            found.setdefault(query.picture.condition, []).append((query.picture, np.array(rows)))
    if not found:
        raise DataError(f"{data.name}: no query has a pose within {distance_m:g} m of the reference: nothing can be judged by it")
    queries = (Judged(name, tuple(p for p, _ in some), tuple(rows for _, rows in some)) for name, some in found.items())
    return Traverses(tuple(one.picture for one in data.database), tuple(queries))


def _is_near(query: SeasonsPicture, one: SeasonsPicture, distance_m: float, angle: float) -> bool:
    if query.world_T_camera is None or one.world_T_camera is None or query.side != one.side:
        return False
    motion = between(query.world_T_camera, one.world_T_camera)
    return bool(np.linalg.norm(motion[:3, 3]) <= distance_m and rotation_angle(motion) <= angle)


def _picture(file: Path) -> Picture:
    return Picture(file.name, partial(read_image, file))


class DisamValidator:
    """Recall@1 by the metric of the stage, with given conditions; ``task`` is its mean over conditions.

    Latents are whole and centred by condition, as those that are searched are: while a network learns, what all images of a
    condition have in common changes a lot, and would hide what tells places apart.
    """

    def __init__(self, traverses: Sequence[Traverses], form: DisamForm, device: torch.device) -> None:
        """Remember what is looked for."""
        self._traverses, self._form, self._device = traverses, form, device
        self._metric = LatentCompression(form, 1, 0)

    def __call__(self, network: TranslationNetwork) -> dict[str, float]:
        """Recall by condition, share of conditions that the classifier names rightly, and the task."""
        references = [self._described(network, one.reference, 0) for one in self._traverses]
        groups = [(judged, number) for number, one in enumerate(self._traverses) for judged in one.queries]
        queries = [self._described(network, one.pictures, self._form.conditions.index(one.condition)) for one, _ in groups]
        centred = centred_by_condition([0] * len(references), [vectors for vectors, _ in references])
        names = [judged.condition for judged, _ in groups]
        found: dict[str, list[bool]] = {}
        for (judged, number), vectors in zip(groups, centred_by_condition(names, [vectors for vectors, _ in queries]), strict=True):
            best = (vectors @ centred[number].T).argmax(dim=1).cpu().numpy()
            hits = [bool(np.isin(row, rows)) for row, rows in zip(best, judged.positives, strict=True) if len(rows)]
            found.setdefault(judged.condition, []).extend(hits)
        shares = {f"recall_{condition}": float(np.mean(hits)) for condition, hits in found.items() if hits}
        task = float(np.mean(list(shares.values()))) if shares else 0.0
        named = [right for _, some in references + queries for right in some]
        return shares | {"condition_right": float(np.mean(named)), "task": task}

    def _described(self, network: TranslationNetwork, pictures: Sequence[Picture], condition: int) -> tuple[Tensor, list[bool]]:
        vectors, right = [], []
        for start in range(0, len(pictures), _BATCH):
            batch = disam_images([picture.read() for picture in pictures[start : start + _BATCH]], self._form)
            images = torch.from_numpy(batch).to(self._device)
            vectors.append(self._metric.whole(network.domains.encode(images, condition).float()))
            if network.domains.classifier is not None:
                right += (network.domains.logits(images).argmax(dim=1) == condition).tolist()
        return torch.cat(vectors), right


def centred_by_condition(conditions: Sequence[int | str], groups: Sequence[Tensor]) -> list[Tensor]:
    """(N, D) vectors each, without the mean of all that are of the same condition, of unit length."""
    means = {}
    for condition in set(conditions):
        own = [vectors for name, vectors in zip(conditions, groups, strict=True) if name == condition]
        means[condition] = torch.cat(own).mean(dim=0)
    pairs = zip(conditions, groups, strict=True)
    return [functional.normalize(vectors - means[condition], dim=1) for condition, vectors in pairs]
