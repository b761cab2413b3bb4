"""PCA whitening of a network's vectors: fewer elements, and none that all images share (Jégou and Chum 2012)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.errors import DataError
from vloc_ros.networks.network import PlaceNetwork, describe_images, load_tensors, make_network, tensors_of

# Components of less than this part of the largest variance are noise, which whitening would blow up.
_SMALLEST_VARIANCE = 1e-6


def learn_whitening(network: PlaceNetwork, images: Sequence[Image], dimension: int) -> PlaceNetwork:
    """A network that ends in a whitening learned from images; one that it had is replaced.

    Args:
        network: what is to be shortened; it is not changed.
        images: images of the site, more than ``dimension`` of them.
        dimension: number of elements to keep.

    Raises:
        ConfigError: networks of this kind have no whitening.
        DataError: there are too few images, or too many of them are alike.
    """
    if not 0 < dimension <= network.pooled_dimension:
        raise DataError(f"descriptors of {network.pooled_dimension} elements cannot be whitened to {dimension}")
    if len(images) <= dimension:
        raise DataError(
            f"{dimension} principal components need at least {dimension + 1} images and there are {len(images)}: "
            "give more images, or ask for fewer components"
        )
    whitened, plain = (make_network(network.kind, network.backbone, kept) for kept in (dimension, 0))
    tensors = {name: tensor for name, tensor in tensors_of(network).items() if not name.startswith("whitening.")}
    load_tensors(plain, tensors)
    weight, bias = principal_components(describe_images(plain, images), dimension)
    load_tensors(whitened, tensors | {"whitening.weight": weight, "whitening.bias": bias})
    return whitened


def principal_components(vectors: NDArray[np.float32], dimension: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The affine map to principal components of unit variance, as weight (D, C) and bias (D,).

    Args:
        vectors: (N, C) float32, N > D.
        dimension: number D of components.

    Raises:
        DataError: the vectors vary in fewer directions.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = torch.from_numpy(vectors - mean.astype(np.float32))
    # Through the smaller Gram matrix: with N images and C = 32768 elements, N is.
    few = centred.shape[0] < centred.shape[1]
    gram = (centred @ centred.T if few else centred.T @ centred).double()
    values, directions = (array.numpy() for array in torch.linalg.eigh(gram))
    values, directions = values[::-1][:dimension], directions[:, ::-1][:, :dimension]
    if values[-1] <= _SMALLEST_VARIANCE * values[0]:
        rank = int(np.sum(values > _SMALLEST_VARIANCE * values[0]))
        raise DataError(f"the images vary in {rank} directions only, not in {dimension}: give others, or ask for fewer components")
    deviations = np.sqrt(values / (len(vectors) - 1))
    components = (centred.double().numpy().T @ directions / np.sqrt(values) if few else directions).T
    weight = components / deviations[:, None]
    return weight.astype(np.float32), -(weight @ mean).astype(np.float32)
