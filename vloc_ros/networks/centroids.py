"""Cluster centres of NetVLAD from the images of a site, before any training (Arandjelović et al. 2016, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vloc_ros.data.frame import Image
from vloc_ros.errors import DataError
from vloc_ros.networks.network import BATCH, PlaceNetwork
from vloc_ros.networks.pooling import CLUSTERS, NetVlad
from vloc_ros.networks.preprocessing import preprocess

MAX_DESCRIPTORS = 50_000
"""Local descriptors that are clustered; taken evenly from all images, all of them where the images are few."""
_ITERATIONS = 100
_MIN_PER_CLUSTER = 4
# The second-best centre gets a hundredth of the best one's weight, on average.
_RATIO = 0.01


def initialise_netvlad(network: PlaceNetwork, images: Sequence[Image], seed: int = 0) -> float:
    """Give a NetVLAD network centres that fit what its backbone sees in images.

    Centres are the k-means of local descriptors, each of unit length over its channels, as they are when they are pooled. The
    assignment to them is as soft as makes the two best centres of a descriptor differ by a factor of 100 on average.

    Args:
        network: the network, changed in place; a whitening it has is of other centres and must be learned again.
        images: (H, W) grey or (H, W, 3) RGB uint8 images of the site; some ten suffice, a thousand are better.
        seed: of the sampling and of k-means.

    Returns:
        The softness alpha.

    Raises:
        DataError: there are too few images.
    """
    if not isinstance(network.pool, NetVlad):
        raise TypeError("only NetVLAD has cluster centres")
    descriptors = local_descriptors(network, images, seed)
    if len(descriptors) < _MIN_PER_CLUSTER * CLUSTERS:
        raise DataError(
            f"{len(images)} images give {len(descriptors)} local descriptors and {CLUSTERS} centres need "
            f"{_MIN_PER_CLUSTER * CLUSTERS} at least: give more images"
        )
    centres, alpha = cluster(descriptors, CLUSTERS, seed)
    network.pool.set_clusters(torch.from_numpy(centres), alpha)
    return alpha


def local_descriptors(network: PlaceNetwork, images: Sequence[Image], seed: int) -> NDArray[np.float32]:
    """(M, C) local descriptors of unit length over their channels, from random positions, as many of each image.

    Args:
        network: the network whose encoder is asked.
        images: the images.
        seed: of the positions.
    """
    rng = np.random.default_rng(seed)
    per_image = math.ceil(MAX_DESCRIPTORS / max(1, len(images)))
    samples = [np.zeros((0, network.backbone.channels), dtype=np.float32)]
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            maps = network.encoder(torch.from_numpy(preprocess(images[start : start + BATCH], network.backbone.size)))
            for local in functional.normalize(maps, dim=1).flatten(2).transpose(1, 2).numpy():
                chosen = rng.permutation(len(local))[:per_image]
                samples.append(local[chosen])
    return np.concatenate(samples)[:MAX_DESCRIPTORS]


def cluster(descriptors: NDArray[np.float32], clusters: int, seed: int) -> tuple[NDArray[np.float32], float]:
    """Centres of unit descriptors, and the softness of the assignment to them.

    Args:
        descriptors: (M, C) float32 of unit length, M >= clusters.
        clusters: number K of centres.
        seed: of the first centres.

    Returns:
        (K, C) float32 centres, and alpha = -ln(0.01) over the mean gap between the cosines to the two nearest directions.
    """
    kmeans = faiss.Kmeans(
        descriptors.shape[1], clusters, niter=_ITERATIONS, seed=seed, min_points_per_centroid=1, max_points_per_centroid=1024
    )
    kmeans.train(np.ascontiguousarray(descriptors), init_centroids=_spread(descriptors, clusters, seed))
    centres = np.array(kmeans.centroids, dtype=np.float32)
    directions = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    scores = np.sort(descriptors @ directions.T, axis=1)
    gap = float(np.mean(scores[:, -1] - scores[:, -2]))
    return centres, -math.log(_RATIO) / max(gap, 1e-6)


def _spread(descriptors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """First centres far from each other: each is drawn by the squared distance to those before (k-means++)."""
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(len(descriptors)))]
    squared = np.full(len(descriptors), np.inf)
    while len(chosen) < count:
        distance = 2.0 - 2.0 * (descriptors @ descriptors[chosen[-1]]).astype(np.float64)  # all are of unit length
        squared = np.minimum(squared, np.maximum(distance, 1e-12))
        chosen.append(int(rng.choice(len(descriptors), p=squared / squared.sum())))
    return descriptors[chosen]
