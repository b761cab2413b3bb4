"""Short vectors for latents of DISAM: what :class:`vloc_ros.networks.domains.LatentCompression` projects onto, learned from images.

Latents of unit length whose dot product is the metric of the stage are projected onto the directions in which those of some
images are long. No labels are needed, and no image is compared with another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, unique
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.data.images import read_image
from vloc_ros.data.samples import evenly_of_each
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.networks.disam_form import DisamForm
from vloc_ros.networks.disam_preprocessing import disam_images
from vloc_ros.networks.domains import DomainNetwork, LatentCompression

_log = logging.getLogger(__name__)
MOST_ELEMENTS = 2048
"""Of a vector: 8 KiB of float32."""
POOLED = 16_384
"""Where nobody says how large a cell is, it is so large that at most so many elements are left: what tells places apart is fine,
and averaging it away loses much more than the projection does, whose 512 directions of so many elements take 16 MiB."""
IMAGES = 1200
_BATCH = 16
_BLOCK = 4096  # columns that are made double at a time
_MOST_BYTES = 1 << 31
_SMALLEST = 1e-9
"""Directions of less than this part of the largest squared length are rounding."""


@unique
class Centring(Enum):
    """What is taken away from vectors before they are projected."""

    NONE = "none"
    """Nothing: dot products are kept as well as so many elements can."""
    ALL = "all"
    """The mean of all images."""
    CONDITION = "condition"
    """The mean of the images of the same condition: what all of them have in common says nothing of a place."""


class Basis(NamedTuple):
    """Affine maps of (E,) vectors x of a condition k to (D,): ``basis`` (x - ``mean``_k), both float32.

    Attributes:
        mean: (K, E), zeros where nothing was centred.
        basis: (D, E) rows, the direction in which vectors are longest first.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]


def learn_basis(
    vectors: NDArray[np.float32],
    conditions: NDArray[np.int64],
    count: int,
    length: int,
    whitening: float = 0.0,
    centring: Centring = Centring.NONE,
) -> Basis:
    """Directions in which vectors are longest; of all bases of that length theirs loses the least of dot products.

    Computed in double precision from the smaller of the two products of the vectors with themselves.

    Args:
        vectors: (N, E) float32.
        conditions: (N,) number of the condition of each.
        count: K, of all conditions; one without vectors gets the mean of all.
        length: of what is made, at most; less where the vectors have fewer directions.
        whitening: 0 keeps dot products, 1 makes all directions equally long (Jegou and Chum 2012), 0.5 is half-way.
        centring: what is taken away first.

    Raises:
        DataError: there are fewer than two vectors, or they are all the same.
    """
    if len(vectors) < 2:
        raise DataError("no projection can be learned from fewer than two images: give more")
    before = float(np.square(vectors, dtype=np.float64).sum())
    mean = _means(vectors, conditions, count, centring)
    vectors = vectors - mean[conditions]
    few = len(vectors) < vectors.shape[1]
    values, directions = np.linalg.eigh(_gram(vectors) if few else _gram(vectors.T))
    values, directions = values[::-1], directions[:, ::-1]
    # Squares of equal vectors add up to rounding where the mean is taken away.
    kept = min(length, int(np.sum(values > _SMALLEST * before)))
    if kept < 1:
        raise DataError("the images are all the same, and no projection can be learned from them: give others")
    lengths = np.sqrt(values[:kept])
    basis = directions[:, :kept].T
    if few:
        rows = directions[:, :kept] / lengths
        basis = np.concatenate([rows.T @ part for part in _columns(vectors)], axis=1)
    weights = (lengths[0] / lengths) ** whitening
    return Basis(mean, (weights[:, None] * basis).astype(np.float32))


def _means(vectors: NDArray[np.float32], conditions: NDArray[np.int64], count: int, centring: Centring) -> NDArray[np.float32]:
    mean = np.zeros((count, vectors.shape[1]), dtype=np.float32)
    if centring is Centring.NONE:
        return mean
    mean[:] = vectors.mean(axis=0, dtype=np.float64)
    if centring is Centring.CONDITION:
        for number in np.unique(conditions):
            mean[number] = vectors[conditions == number].mean(axis=0, dtype=np.float64)
    return mean


def _columns(vectors: NDArray[np.float32]) -> Iterable[NDArray[np.float64]]:
    """Some elements of all vectors at a time."""
    for start in range(0, vectors.shape[1], _BLOCK):
        yield vectors[:, start : start + _BLOCK].astype(np.float64)


def _gram(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The products of all rows with each other."""
    total = np.zeros((len(rows), len(rows)))
    for part in _columns(rows):
        total += part @ part.T
    return total


def automatic_cell(form: DisamForm, most: int = POOLED) -> int:
    """Side of the smallest cells by whose means a latent comes down to ``most`` elements, or of the largest there are."""
    largest = min(form.latent[1:])
    return next((cell for cell in range(1, largest) if LatentCompression(form, cell, 0).length <= most), largest)


def compressed(
    network: DomainNetwork,
    files: Mapping[str, Sequence[Path]],
    cell: int = 0,
    length: int = 512,
    whitening: float = 0.5,
    centring: Centring = Centring.CONDITION,
    images: int = IMAGES,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = lambda paths: paths,
) -> DomainNetwork:
    """A network whose latents become vectors of a length, with the encoders, decoders and classifier of another.

    Args:
        network: with any compression, or none; it is not changed, and its parts are shared.
        files: images by condition, as many conditions of the network as there are images of.
        cell: side of the squares of the latent that are averaged, 1 for none; 0 chooses by :func:`automatic_cell`.
        length: of the vectors, fewer where the images have fewer directions; 0 for no projection.
        whitening: see :func:`learn_basis`.
        centring: see :func:`learn_basis`.
        images: at most so many are looked at, evenly chosen, as many of each condition.
        progress: wraps a walk over the files that are read.

    Raises:
        ConfigError: a size is not possible, or so large that the vectors of all images do not fit memory.
        DataError: there are images of a condition that the network does not know, or too few, or one cannot be read.
    """
    form = network.form
    unknown = [name for name in files if name not in form.conditions]
    if unknown:
        raise DataError(f"the network does not know the condition {unknown[0]}, but {', '.join(form.conditions)}: name folders so")
    cell = cell or automatic_cell(form)
    if not 1 <= cell <= min(form.latent[1:]) or not 0 <= length <= MOST_ELEMENTS or not 0.0 <= whitening <= 1.0:
        raise ConfigError(
            f"latents of {form.latent[2]}x{form.latent[1]} cannot be averaged over cells of {cell}, projected to {length} elements "
            f"and whitened by {whitening:g}: give a cell that fits, {MOST_ELEMENTS} elements or fewer, and 0 to 1"
        )
    pooling = LatentCompression(form, cell, 0)
    basis = None
    if length:
        chosen = evenly_of_each(files, images)
        _require_room(sum(map(len, chosen.values())), pooling.length)
        vectors, conditions = _described(network, chosen, pooling, progress)
        basis = learn_basis(vectors, conditions, len(form.conditions), length, whitening, centring)
        if len(basis.basis) < length:
            _log.warning("vectors become %d elements long, in so many directions the images differ", len(basis.basis))
    return _with_compression(network, cell, basis)


def without_decoders(network: DomainNetwork) -> DomainNetwork:
    """A network that shares all of another but its decoders: what describes images needs none."""
    made = DomainNetwork(network.form, decoders=False, classifier=False)
    made.encoders, made.classifier, made.compression = network.encoders, network.classifier, network.compression
    made.eval()
    return made


def _with_compression(network: DomainNetwork, cell: int, basis: Basis | None) -> DomainNetwork:
    made = without_decoders(network)
    made.decoders = network.decoders
    made.compression = LatentCompression(network.form, cell, 0 if basis is None else len(basis.basis))
    if basis is not None:
        with torch.no_grad():
            made.compression.mean.copy_(torch.from_numpy(basis.mean))
            # It is most of the weights, and a file holds what is exact in half precision in half the bytes.
            made.compression.basis.copy_(torch.from_numpy(basis.basis).half())
    made.compression.to(next(network.encoders.parameters()).device)
    return made


def _require_room(count: int, elements: int) -> None:
    if 4 * count * elements > _MOST_BYTES:
        raise ConfigError(
            f"latents of {elements} elements of {count} images take {4 * count * elements / 1e9:.0f} GB: average over larger "
            "cells, or learn from fewer images"
        )


def _described(
    network: DomainNetwork,
    files: Mapping[str, Sequence[Path]],
    pooling: LatentCompression,
    progress: Callable[[Sequence[Path]], Iterable[Path]],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, E) pooled latents of unit length, and (N,) the numbers of their conditions."""
    number = {name: k for k, name in enumerate(network.form.conditions)}
    walk = [(number[name], path) for name, paths in files.items() for path in paths]
    device = next(network.encoders.parameters()).device
    vectors = np.empty((len(walk), pooling.length), dtype=np.float32)
    pictures, begun = [], 0
    with torch.inference_mode():
        for row, path in enumerate(progress([path for _, path in walk])):
            pictures.append(read_image(path))
            done = row + 1
            if len(pictures) < _BATCH and done < len(walk) and walk[done][0] == walk[row][0]:
                continue
            batch = torch.from_numpy(disam_images(pictures, network.form)).to(device)
            vectors[begun:done] = pooling.whole(network.encode(batch, walk[row][0])).float().cpu().numpy()
            pictures, begun = [], done
    return vectors, np.array([condition for condition, _ in walk], dtype=np.int64)
