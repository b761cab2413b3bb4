"""Arrays, features and images to blobs and back. ``what`` names the thing for errors, for example ``keyframe s1/k4``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.image_headers import declared_size
from vloc_ros.errors import MapError
from vloc_ros.features.contract import Features
from vloc_ros.geometry.camera import Array

RIGID_TOLERANCE = 1e-5
"""How far a stored rotation may be from orthonormal; products of many transforms need :func:`geometry.se3.normalised`."""
_UNIT_TOLERANCE = 1e-2
_SYMMETRY_TOLERANCE = 1e-6
_STORED_TYPES: dict[str, Any] = {"float16": np.dtype("<f2"), "uint8": np.dtype("u1")}


class FeatureRow(NamedTuple):
    """Features as columns of the map; ``number`` of them; ``points`` is five rows of float32: u, v, score, size, disparity."""

    number: int
    dimension: int
    encoding: str
    points: bytes
    descriptors: bytes


def encode_features(features: Features, what: str) -> FeatureRow:
    """Pack features: everything exactly, except unit float32 descriptors, which become float16.

    Raises:
        MapError: the arrays do not follow the contract of :class:`Features`.
    """
    count, descriptors = len(features), features.descriptors
    if features.keypoints.shape != (count, 2) or descriptors.ndim != 2 or len(descriptors) != count:
        raise MapError(f"{what}: {count} key points do not fit descriptors of shape {descriptors.shape}")
    if any(column.shape != (count,) for column in (features.scores, features.sizes, features.disparity)):
        raise MapError(f"{what}: scores, sizes and disparity must each have one value for each of the {count} key points")
    columns = (features.keypoints.T, features.scores, features.sizes, features.disparity)
    points = np.vstack(columns).astype("<f4")
    if not np.isfinite(points[:4]).all():
        raise MapError(f"{what}: a key point, score or size is not a finite number")
    encoding = _encoding(descriptors, what)
    packed = descriptors.astype(_STORED_TYPES[encoding]).tobytes()
    return FeatureRow(count, int(descriptors.shape[1]), encoding, points.tobytes(), packed)


def _encoding(descriptors: NDArray[Any], what: str) -> str:
    if descriptors.dtype == np.uint8:
        return "uint8"
    if descriptors.dtype != np.float32:
        raise MapError(f"{what}: descriptors must be float32 (cosine) or uint8 (Hamming), not {descriptors.dtype}")
    norms = np.linalg.norm(descriptors, axis=1)
    if not np.all((norms == 0.0) | (np.abs(norms - 1.0) < _UNIT_TOLERANCE)):
        raise MapError(f"{what}: float32 descriptors must have unit length")
    return "float16"


def decode_features(row: FeatureRow, what: str) -> Features:
    """Inverse of :func:`encode_features`; float16 descriptors come back as float32, again of unit length.

    Raises:
        MapError: the row is damaged.
    """
    kind = _STORED_TYPES.get(row.encoding)
    if kind is None or row.number < 0 or row.dimension < 0:
        raise MapError(f"{what} is damaged: {row.number} features of {row.dimension} x '{row.encoding}' cannot be")
    points = _array(row.points, np.dtype("<f4"), (5, row.number), what, "key points").astype(np.float32)
    stored = _array(row.descriptors, kind, (row.number, row.dimension), what, "descriptors")
    descriptors = stored.copy() if row.encoding == "uint8" else _unit(stored.astype(np.float32))
    return Features(np.ascontiguousarray(points[:2].T), points[2], points[3], descriptors, points[4])


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    norms[norms == 0.0] = 1.0
    rows /= norms[:, None]
    return rows


def encode_transform(a_T_b: Array, what: str) -> bytes:
    """A (4, 4) rigid transform.

    Raises:
        MapError: it is not one.
    """
    a_T_b = np.asarray(a_T_b, dtype=np.float64)
    if not is_rigid(a_T_b):
        raise MapError(f"{what}: a pose must be a finite (4, 4) rigid transform; a product of many needs se3.normalised")
    return a_T_b.astype("<f8").tobytes()


def decode_transform(blob: bytes, what: str) -> Array:
    """Inverse of :func:`encode_transform`, without the test of rigidity (``vloc map check`` makes it).

    Raises:
        MapError: the blob has the wrong length.
    """
    return _array(blob, np.dtype("<f8"), (4, 4), what, "pose").astype(np.float64)


def is_rigid(a_T_b: Array) -> bool:
    """Whether an array is a (4, 4) rigid transform within :data:`RIGID_TOLERANCE`."""
    if a_T_b.shape != (4, 4) or not np.isfinite(a_T_b).all():
        return False
    rotation = a_T_b[:3, :3]
    orthonormal = np.abs(rotation @ rotation.T - np.eye(3)).max() < RIGID_TOLERANCE and np.linalg.det(rotation) > 0.0
    return bool(orthonormal and np.array_equal(a_T_b[3], [0.0, 0.0, 0.0, 1.0]))


def encode_covariance(covariance: Array, what: str) -> bytes:
    """A (6, 6) covariance, made exactly symmetric.

    Raises:
        MapError: it is not finite, symmetric and positive semi-definite.
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    if not is_covariance(covariance):
        raise MapError(f"{what}: a covariance must be finite, (6, 6), symmetric and positive semi-definite")
    return (0.5 * (covariance + covariance.T)).astype("<f8").tobytes()


def decode_covariance(blob: bytes, what: str) -> Array:
    """Inverse of :func:`encode_covariance`.

    Raises:
        MapError: the blob has the wrong length.
    """
    return _array(blob, np.dtype("<f8"), (6, 6), what, "covariance").astype(np.float64)


def is_covariance(covariance: Array) -> bool:
    """Whether an array is a finite, symmetric, positive semi-definite (6, 6) matrix, within rounding.

    The test is made on correlations, so that the units of translation and rotation do not matter.
    """
    if covariance.shape != (6, 6) or not np.isfinite(covariance).all():
        return False
    variances = np.diagonal(covariance)
    if (variances < 0.0).any():
        return False
    sigmas = np.where(variances > 0.0, np.sqrt(np.maximum(variances, 0.0)), 1.0)
    correlation = covariance / np.outer(sigmas, sigmas)
    if np.abs(correlation - correlation.T).max() > _SYMMETRY_TOLERANCE:
        return False
    return bool(np.linalg.eigvalsh(0.5 * (correlation + correlation.T))[0] > -_SYMMETRY_TOLERANCE)


def encode_vector(vector: NDArray[np.float32], what: str) -> bytes:
    """A global descriptor: (D,) finite float32, stored exactly.

    Raises:
        MapError: it is not one.
    """
    vector = np.asarray(vector)
    if vector.ndim != 1 or len(vector) == 0 or not np.isfinite(vector).all():
        raise MapError(f"{what}: a global descriptor must be a finite vector, not an array of shape {vector.shape}")
    return vector.astype("<f4").tobytes()


def decode_vector(blob: bytes, dimension: int, what: str) -> NDArray[np.float32]:
    """Inverse of :func:`encode_vector`.

    Raises:
        MapError: the blob has the wrong length.
    """
    return _array(blob, np.dtype("<f4"), (dimension,), what, "global descriptor").astype(np.float32)


def encode_image(image: Image, quality: int, what: str) -> bytes:
    """JPEG of an (H, W) grey or (H, W, 3) RGB image.

    Raises:
        MapError: it is not such an image.
    """
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise MapError(f"{what}: an image must be uint8, (H, W) grey or (H, W, 3) RGB, not {image.dtype} {image.shape}")
    try:
        pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        done, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise MapError(f"{what}: the image of {image.shape[1]}x{image.shape[0]} px cannot be stored as JPEG") from error
    if not done:
        raise MapError(f"{what}: the image of {image.shape[1]}x{image.shape[0]} px cannot be stored as JPEG")
    return bytes(jpeg)


def decode_image(jpeg: bytes, width: int, height: int, what: str) -> Image:
    """Inverse of :func:`encode_image`.

    Raises:
        MapError: the blob is not a JPEG image of that size.
    """
    # Looked at before it is decoded: a map may come from anywhere, and some bytes may claim an image that fills the memory.
    size = declared_size(jpeg)
    if size is not None and size != (width, height):
        raise MapError(f"{what} is damaged: its image is {size[0]}x{size[1]} px, not {width}x{height}")
    try:
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED) if size is not None else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise MapError(f"{what} is damaged: its image cannot be decoded")
    if pixels.shape[:2] != (height, width):  # turned by what its EXIF data say
        raise MapError(f"{what} is damaged: its image is {pixels.shape[1]}x{pixels.shape[0]} px, not {width}x{height}")
    return np.asarray(pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _array(blob: bytes, kind: np.dtype[Any], shape: tuple[int, ...], what: str, part: str) -> NDArray[Any]:
    expected = math.prod(shape) * kind.itemsize
    if len(blob) != expected:
        raise MapError(f"{what} is damaged: its {part} have {len(blob)} bytes, not {expected}")
    return np.frombuffer(blob, kind).reshape(shape)
