"""Local descriptors of patches, compact: what a re-ranker keeps of an image in memory, in a map and in a file.

The published code keeps 24 x 24 x 384 float32 of each image: 884 736 bytes. All that is compared is the direction of a
descriptor, so its length need not be kept: that of what is decoded becomes one again.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError, DataError
from vloc_ros.retrieval.patch_codebook import PatchCodebook
from vloc_ros.retrieval.rerank import Storage

_MAGIC, _VERSION = b"VLPM", 1
_HEADER, _CHECKSUM = struct.Struct("<4sHHII32s32s"), struct.Struct("<I")
_DTYPES = {Storage.FLOAT16: "<f2", Storage.INT8: "<i1", Storage.PQ: "<u1"}
_NOTHING = 1e-12


@dataclass(frozen=True, slots=True)
class PatchMap:
    """Local descriptors of the patches of an image, row by row.

    Attributes:
        storage: what the codes are.
        codes: (N, K) float16, int8 or uint8.
        book: what uint8 codes mean, else None.
    """

    storage: Storage
    codes: NDArray[Any]
    book: PatchCodebook | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self) -> NDArray[np.float32]:
        """(N, C) descriptors of unit length, decoded anew at each call; zeros where there was nothing."""
        rows = self.codes.astype(np.float32) if self.book is None else self.book.decode(self.codes)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _NOTHING), dtype=np.float32)


class PatchCodec:
    """Encodes and stores the descriptors of one network."""

    def __init__(
        self, storage: Storage, patches: int, channels: int, weights_sha256: str, book: PatchCodebook | None = None
    ) -> None:
        """Build it.

        Args:
            storage: how descriptors are encoded; what was stored in another way can be read all the same.
            patches: of an image.
            channels: elements of a descriptor.
            weights_sha256: hash of the network's weights.
            book: of these weights, None where there is none.

        Raises:
            ConfigError: product quantisation is asked for, and there is no code book.
            DataError: the code book is of other descriptors.
        """
        if storage is Storage.PQ and book is None:
            raise ConfigError(
                "storage 'pq' needs a code book beside the weights: make it with `vloc train match --codebook`, or choose int8"
            )
        if book is not None and book.channels != channels:
            raise DataError(f"the code book is of descriptors of {book.channels} elements, not of {channels}: learn it anew")
        self.storage, self._shape, self._book = storage, (patches, channels), book
        self._weights = bytes.fromhex(weights_sha256)

    def encode(self, rows: NDArray[np.float32]) -> PatchMap:
        """What is kept of (N, C) descriptors."""
        if self.storage is Storage.FLOAT16:
            return PatchMap(self.storage, rows.astype(np.float16))
        if self.storage is Storage.PQ:
            assert self._book is not None  # the constructor saw to it
            return PatchMap(self.storage, self._book.encode(rows), self._book)
        largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), _NOTHING)
        return PatchMap(self.storage, np.rint(rows * (127.0 / largest)).astype(np.int8))

    def to_bytes(self, kept: PatchMap | None) -> bytes:
        """A header that names the weights and the code book, the codes, and a checksum; nothing for nothing."""
        if kept is None:
            return b""
        book = b"" if kept.book is None else kept.book.sha256
        kind = list(_DTYPES).index(kept.storage)
        content = _HEADER.pack(_MAGIC, _VERSION, kind, *kept.codes.shape, self._weights, book)
        content += kept.codes.astype(_DTYPES[kept.storage]).tobytes()
        return content + _CHECKSUM.pack(zlib.crc32(content))

    def from_bytes(self, content: bytes) -> PatchMap | None:
        """The inverse, whatever way it was stored.

        Raises:
            DataError: it is damaged, or of other weights or another code book.
        """
        if not content:
            return None
        storage, book, codes = self._parsed(content)
        if storage is not Storage.PQ:
            return PatchMap(storage, codes)
        if self._book is None or book != self._book.sha256:
            has = "has none" if self._book is None else "has another one"
            raise DataError(f"these patches were stored with a code book, and this re-ranker {has}: prepare the images anew")
        return PatchMap(storage, codes, self._book)

    def _parsed(self, content: bytes) -> tuple[Storage, bytes, NDArray[Any]]:
        if len(content) < _HEADER.size + _CHECKSUM.size or content[:4] != _MAGIC:
            raise DataError("this is not what a re-ranker keeps of the patches of an image: prepare the images anew")
        _, version, kind, patches, columns, weights, book = _HEADER.unpack_from(content)
        if version != _VERSION:
            raise DataError(f"these patches are of version {version} of their format, not {_VERSION}: prepare the images anew")
        if _CHECKSUM.pack(zlib.crc32(content[: -_CHECKSUM.size])) != content[-_CHECKSUM.size :] or kind >= len(_DTYPES):
            raise DataError("the stored patches of an image are damaged: prepare the images anew")
        if weights != self._weights:
            raise DataError("these patches were made by other weights than those in use: prepare the images anew")
        storage = list(_DTYPES)[kind]
        dtype, body = np.dtype(_DTYPES[storage]), content[_HEADER.size : -_CHECKSUM.size]
        if (patches, columns) != (self._shape[0], self._columns(storage)) or len(body) != patches * columns * dtype.itemsize:
            raise DataError(f"stored patches of {patches} x {columns} do not fit this network: prepare the images anew")
        codes = np.frombuffer(body, dtype=dtype).reshape(patches, columns)
        if storage is Storage.FLOAT16 and not np.isfinite(codes).all():
            raise DataError("the stored patches of an image are not finite numbers: prepare the images anew")
        return storage, book, codes

    def _columns(self, storage: Storage) -> int:
        """Elements of a code; of a code book that is not there, whatever was stored."""
        if storage is not Storage.PQ:
            return self._shape[1]
        return 0 if self._book is None else len(self._book.pieces)
