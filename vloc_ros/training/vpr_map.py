"""Queries and a database from the map of a robot: keyframes, by the training tuples that its pose graph has labelled."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

import numpy as np

from vloc_ros.calibration.tuples import TupleSet
from vloc_ros.data.frame import Image
from vloc_ros.errors import DataError, MapError
from vloc_ros.mapping.images import keyframes_with_image
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.training_tuples import tuples_of
from vloc_ros.training.vpr_sources import Shot, VprSource


def open_map_tuples(path: Path) -> VprSource:
    """The anchors of a map's tuples are its queries, with all positives that they have.

    Negatives are those of its tuples, and the other ends of its outlier pairs: of the other keyframes nobody knows what they show.

    Raises:
        DataError: it holds no tuples whose keyframes have images.
        MapError: it is absent, damaged, or not a map.
    """
    with MapStore.open(path, read_only=True) as store:
        tuples = tuples_of(store).within(keyframes_with_image(store))
    if not tuples.tuples:
        raise DataError(f"{path} holds no training tuples with images: `vloc calibrate` mines them, from a map taught with images")
    reader = _Reader(path)
    return _source(path.name, tuples, reader)


def _source(name: str, tuples: TupleSet, reader: _Reader) -> VprSource:
    ids = tuples.keyframes
    row_of = {id: row for row, id in enumerate(ids)}
    positives, negatives = dict[KeyframeId, set[int]](), dict[KeyframeId, set[int]]()
    for item in tuples.tuples:
        positives.setdefault(item.anchor, set()).add(row_of[item.positive])
        negatives.setdefault(item.anchor, set()).update(row_of[id] for id in item.negatives)
    for pair in tuples.pairs:
        if pair.query in negatives:
            negatives[pair.query].add(row_of[pair.negative])
    anchors = sorted(positives)
    rows = np.arange(len(ids), dtype=np.int64)
    only = [np.array(sorted(negatives[id] - positives[id]), dtype=np.int64) for id in anchors]
    return VprSource(
        name,
        tuple(Shot(f"{name} {id}", partial(reader.image, id)) for id in ids),
        np.array([row_of[id] for id in anchors], dtype=np.int64),
        rows,
        [np.array(sorted(positives[id]), dtype=np.int64) for id in anchors],
        [np.setdiff1d(rows, left) for left in only],
        only,
    )


class _Reader:
    """Images of keyframes; every thread of every process opens the map for itself, as a connection must not be shared."""

    def __init__(self, path: Path) -> None:
        self._path, self._own = path, threading.local()

    def image(self, id: KeyframeId) -> Image:
        """The image as it is stored; raises a MapError where there is none."""
        stores: dict[int, MapStore] = self._own.__dict__.setdefault("stores", {})
        process = os.getpid()
        if process not in stores:  # that of a parent is kept, unused: it is not for this process to close
            stores[process] = MapStore.open(self._path, read_only=True)
        image = stores[process].image(id)
        if image is None:
            raise MapError(f"the map {self._path} has no image of keyframe {id} any more: begin another run")
        return image
