"""Files that appear whole or not at all, and output folders that are complete or untouched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError

_DEPTH_MAX = np.iinfo(np.uint16).max


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: under another name first, then renamed; its folder is made when missing.

    Raises:
        DataError: it cannot be written (disk full, read-only, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        remove_quietly(temporary)
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def remove_quietly(path: Path) -> None:
    """Remove a left-over file if it is there; one that cannot be removed does no harm."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    Raises:
        DataError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_image(path: Path, image: NDArray[Any]) -> None:
    """Write an (H, W) uint8 or uint16 or (H, W, 3) uint8 RGB image as lossless PNG, atomically.

    Raises:
        DataError: it cannot be encoded or written.
    """
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    encoded, buffer = cv2.imencode(".png", ordered)
    if not encoded:
        raise DataError(f"cannot encode {path}: an image of {image.dtype} {image.shape} is not writable as PNG")
    write_bytes(path, buffer.tobytes())


def write_jpeg(path: Path, image: NDArray[np.uint8], quality: int = 95) -> None:
    """Write an (H, W) grey or (H, W, 3) RGB uint8 image as JPEG, atomically.

    Args:
        path: the file.
        image: the image.
        quality: 1 to 100.

    Raises:
        DataError: it cannot be encoded or written.
    """
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    try:
        encoded, buffer = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise DataError(f"cannot encode {path}: {error.err}") from error
    if not encoded:
        raise DataError(f"cannot encode {path}: an image of {image.dtype} {image.shape} is not writable as JPEG")
    write_bytes(path, buffer.tobytes())


def write_depth(path: Path, depth: NDArray[np.float32], scale: float) -> None:
    """Write depth [m] as 16-bit PNG with ``scale`` steps per metre; what is unknown or too far becomes 0.

    Raises:
        DataError: it cannot be written.
    """
    steps = np.round(np.where(np.isfinite(depth), depth, 0.0).astype(np.float64) * scale)
    write_image(path, np.where((steps > 0) & (steps <= _DEPTH_MAX), steps, 0).astype(np.uint16))


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """A scratch folder inside ``out`` whose contents are moved to ``out`` at the end, and removed when anything fails.

    Raises:
        DataError: ``out`` is a file or a folder with something in it, or cannot be written.
    """
    created = _prepare(out)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".part-", dir=out))
    except OSError as error:
        raise DataError(f"cannot write to {out}: {error.strerror or error}") from error
    try:
        yield scratch
        for entry in sorted(scratch.iterdir()):
            entry.replace(out / entry.name)
    except OSError as error:
        raise DataError(f"cannot write to {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if created:
            _remove_if_empty(out)


def _remove_if_empty(folder: Path) -> None:
    """Take back a folder that was made for nothing; one with contents stays."""
    try:
        folder.rmdir()
    except OSError:
        return


def _prepare(out: Path) -> bool:
    """Make the output folder; True when it was not there before."""
    try:
        if out.exists():
            if not out.is_dir() or any(out.iterdir()):
                raise DataError(f"the output {out} exists and is not an empty folder; name another one or remove it first")
            return False
        out.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {out}: {error.strerror or error}") from error
    return True
