"""An index on disk: a folder of three files, the vectors of which are mapped and not read.

``vectors.npy`` holds the (N, D) float32 rows; ``index.json`` the ids in the same order, the rows that are zeros and checksums;
``lists.faiss`` the inverted file, where there is one. ``index.json`` is written last: without it, nothing was saved.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import naming, read_text
from vloc_ros.data.output import remove_quietly, write_bytes, write_text
from vloc_ros.errors import DataError
from vloc_ros.retrieval.index import DescriptorIndex, IndexSettings
from vloc_ros.retrieval.inverted_file import InvertedFile
from vloc_ros.retrieval.rows import RowStore

Id = TypeVar("Id", bound=Hashable)

_VERSION = 1
_VECTORS, _LISTS, _HEADER = "vectors.npy", "lists.faiss", "index.json"


def save_index(index: DescriptorIndex[Id], folder: Path, encode: Callable[[Id], str] = str) -> None:
    """Write an index; what was removed from it is left out.

    Args:
        index: what to save.
        folder: made when missing; an index that was saved there is replaced.
        encode: text of an id, from which ``decode`` of :func:`load_index` makes it again.

    Raises:
        DataError: it cannot be written.
    """
    remove_quietly(folder / _HEADER)
    ids, vectors = index.snapshot()
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    # A new file under the old name: an index that still maps the old one goes on with it.
    write_bytes(folder / _VECTORS, buffer.getvalue())
    header: dict[str, Any] = {
        "version": _VERSION,
        "dimension": index.dimension,
        "ids": [encode(id) for id in ids],
        "zeros": np.flatnonzero(~vectors.any(axis=1)).tolist(),
        "vectors_crc32": zlib.crc32(vectors.tobytes()),
    }
    lists = index.lists_of(len(ids))
    if lists is None:
        remove_quietly(folder / _LISTS)
    else:
        data = lists.to_bytes()
        write_bytes(folder / _LISTS, data)
        header |= {"lists_crc32": zlib.crc32(data), "lists_learned_from": lists.learned_from}
    write_text(folder / _HEADER, json.dumps(header))


def load_index(
    folder: Path, decode: Callable[[str], Id], settings: IndexSettings | None = None, *, verify: bool = False
) -> DescriptorIndex[Id]:
    """Open a saved index; vectors come from the disk when a search needs them.

    Args:
        folder: of :func:`save_index`.
        decode: an id from its text, for example ``KeyframeId.parse``.
        settings: of the searches.
        verify: read all vectors once and compare their checksum.

    Raises:
        DataError: there is no index in the folder, or its files are damaged or do not belong together; the text names the file.
    """
    header = _header(folder / _HEADER)
    vectors = _mapped(folder / _VECTORS, (len(header["ids"]), header["dimension"]))
    if verify and zlib.crc32(np.ascontiguousarray(vectors).tobytes()) != header["vectors_crc32"]:
        raise DataError(f"{folder / _VECTORS} is damaged: its checksum is not that of {_HEADER}; build the index anew")
    hidden = np.zeros(len(vectors), dtype=bool)
    hidden[header["zeros"]] = True
    rows = RowStore(header["dimension"], vectors, hidden)
    with naming(folder / _HEADER):
        return DescriptorIndex.of([decode(text) for text in header["ids"]], rows, settings, _lists(folder / _LISTS, header))


def _header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); is the index damaged?") from error
    if not isinstance(header, dict) or header.get("version") != _VERSION:
        raise DataError(f"{path} is not of version {_VERSION} of this format; build the index anew")
    ids, zeros, dimension = header.get("ids"), header.get("zeros"), header.get("dimension")
    fits = (
        isinstance(ids, list)
        and all(isinstance(id, str) for id in ids)
        and isinstance(zeros, list)
        and all(type(row) is int and 0 <= row < len(ids) for row in zeros)
        and type(dimension) is int
        and dimension > 0
        and all(type(header.get(name, 0)) is int for name in ("vectors_crc32", "lists_crc32", "lists_learned_from"))
    )
    if not fits:
        raise DataError(f"{path} lacks ids, zeros or dimension, or holds something else there; is the index damaged?")
    return header


def _mapped(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        if 0 in shape:
            return np.zeros(shape, dtype=np.float32)
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}; build the index anew") from error
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise DataError(f"{path} holds {vectors.dtype} {vectors.shape} instead of float32 {shape}; the files are of two indices")
    return np.asarray(vectors)


def _lists(path: Path, header: dict[str, Any]) -> InvertedFile | None:
    if "lists_crc32" not in header:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; build the index anew") from error
    if zlib.crc32(data) != header["lists_crc32"]:
        raise DataError(f"{path} is damaged: its checksum is not that of {_HEADER}; build the index anew")
    with naming(path):
        return InvertedFile.from_bytes(data, header.get("lists_learned_from", len(header["ids"])))
