"""Code books of product quantisation: a byte for several elements of a local descriptor.

Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", PAMI 2011: a vector is cut into pieces of equal length,
and of each piece the number of the nearest of 256 learned ones is kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from vloc_ros.data.output import write_bytes
from vloc_ros.errors import DataError

ENTRIES = 256
"""Learned pieces per place of a piece: as many as a byte can name."""
SUFFIX = ".codebook"
_ELEMENTS = 4
"""In a piece, where that divides the length: coarser ones lose matches."""
_SAMPLES = 200 * ENTRIES
_SEED = 1
_MOST = 1 << 28


@dataclass(frozen=True, slots=True)
class PatchCodebook:
    """Learned pieces of the local descriptors of one network.

    Attributes:
        pieces: (M, 256, E) float32; M * E elements make a descriptor.
        weights_sha256: hash of the weights that made the descriptors.
    """

    pieces: NDArray[np.float32]
    weights_sha256: str

    @classmethod
    def learn(cls, rows: NDArray[np.float32], weights_sha256: str) -> PatchCodebook:
        """From (N, C) local descriptors of unit length, of many images; deterministic.

        Raises:
            DataError: there are fewer than 256 of them.
        """
        import faiss  # takes a moment, and only learning needs it

        count, channels = rows.shape
        if count < ENTRIES:
            raise DataError(f"{count} local descriptors cannot make a code book of {ENTRIES} entries; give more images")
        elements = next(size for size in range(_ELEMENTS, 0, -1) if channels % size == 0)
        quantiser = faiss.ProductQuantizer(channels, channels // elements, 8)
        quantiser.cp.seed, quantiser.cp.min_points_per_centroid = _SEED, 1
        chosen = np.random.default_rng(_SEED).permutation(count)[:_SAMPLES]
        quantiser.train(np.ascontiguousarray(rows[chosen], dtype=np.float32))
        pieces = faiss.vector_to_array(quantiser.centroids).reshape(channels // elements, ENTRIES, elements)
        return cls(np.array(pieces, dtype=np.float32), weights_sha256)

    @property
    def channels(self) -> int:
        """Length of a descriptor."""
        return int(self.pieces.shape[0] * self.pieces.shape[2])

    @property
    def sha256(self) -> bytes:
        """(32,) hash: codes of one code book mean nothing to another."""
        content = str(self.pieces.shape).encode() + self.pieces.astype("<f4").tobytes() + self.weights_sha256.encode()
        return hashlib.sha256(content).digest()

    def encode(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(N, M) numbers of the nearest pieces of (N, C) descriptors."""
        parts = rows.reshape(len(rows), len(self.pieces), -1).swapaxes(0, 1)
        # |x - c|^2 without |x|^2, which is the same for all pieces
        distance = np.sum(self.pieces**2, axis=2)[:, None] - 2.0 * (parts @ self.pieces.swapaxes(1, 2))
        return np.asarray(distance.argmin(axis=2).T, dtype=np.uint8)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, C) descriptors, not of unit length, of (N, M) codes."""
        return np.asarray(self.pieces[np.arange(len(self.pieces)), codes].reshape(len(codes), -1), dtype=np.float32)

    def to_bytes(self) -> bytes:
        """Contents of a file of a code book (safetensors)."""
        weights = np.frombuffer(self.weights_sha256.encode(), dtype=np.uint8)
        return bytes(save({"pieces": self.pieces, "weights_sha256": weights}))

    @classmethod
    def from_bytes(cls, content: bytes, what: str = "this") -> PatchCodebook:
        """Inverse of :meth:`to_bytes`; ``what`` it is called in messages.

        Raises:
            DataError: it is no code book, or a damaged one.
        """
        try:
            tensors: dict[str, Any] = load(content)
            pieces, weights = tensors["pieces"], tensors["weights_sha256"]
            name = weights.tobytes().decode("ascii")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{what} is no code book of patches, or a damaged one ({error}): copy it again") from error
        fits = pieces.ndim == 3 and pieces.shape[1] == ENTRIES and 0 < pieces.size <= _MOST and pieces.dtype == np.float32
        if not fits or not np.isfinite(pieces).all():
            raise DataError(
                f"{what} holds {pieces.dtype} {pieces.shape} where finite pieces of descriptors should be: copy it again"
            )
        return cls(pieces, name)


def codebook_path(weights: Path) -> Path:
    """Where the code book of a file of weights is."""
    return weights.with_suffix(SUFFIX)


def save_codebook(weights: Path, book: PatchCodebook) -> None:
    """Write a code book beside its weights.

    Raises:
        DataError: it cannot be written.
    """
    write_bytes(codebook_path(weights), book.to_bytes())


def load_codebook(weights: Path, weights_sha256: str) -> PatchCodebook | None:
    """The code book beside a file of weights, None where there is none.

    Raises:
        DataError: it cannot be read, is damaged, or of other weights.
    """
    path = codebook_path(weights)
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    book = PatchCodebook.from_bytes(content, str(path))
    if book.weights_sha256 != weights_sha256:
        raise DataError(
            f"{path} is the code book of other weights than {weights.name}: learn it anew (vloc train match --codebook), or copy "
            "both files again"
        )
    return book
