"""The pixels of an image file of any size, and which of them are without data."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import Georeference
from vloc_ros.aerial.tiff_tags import TiffTags
from vloc_ros.data.frame import Image
from vloc_ros.data.images import check_jpeg, check_png
from vloc_ros.errors import ConfigError, DataError

_PHOTOMETRIC, _SAMPLES, _EXTRA = 262, 277, 338
_PALETTE = 3
_ALPHAS = (1, 2)
_OPAQUE = 255
_STRETCH = (0.5, 99.5)
"""Percentiles that become black and white where pixels have more than 8 bits: cameras use a part of 16 bits only."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Decoded pixels.

    Attributes:
        image: (H, W) grey or (H, W, 3) RGB uint8.
        known: (H, W) uint8, 255 where there is ground; None where the file does not say it.
    """

    image: Image
    known: NDArray[np.uint8] | None


def decode_pixels(path: Path, tags: TiffTags | None, nodata: float | None = None) -> Pixels:
    """Decode a PNG, JPEG or TIFF; nothing is turned by what its EXIF data say.

    Args:
        path: of the file.
        tags: of a TIFF.
        nodata: value of pixels that were not seen, where no opaqueness says it.

    Raises:
        DataError: it is truncated, damaged, or of a kind that cannot be a map.
        ConfigError: rasterio is needed for it, and is not installed.
    """
    _require_whole(path)
    samples = 3 if tags is None else tags.number(_SAMPLES, 1)
    if samples > 4 or samples == 2:
        return read_by_rasterio(path)[0]
    flag = cv2.IMREAD_UNCHANGED
    if tags is not None and tags.number(_PHOTOMETRIC) == _PALETTE:
        flag = cv2.IMREAD_COLOR
    try:
        with _quiet():
            raw = cv2.imread(str(path), flag)
    except cv2.error as error:
        raise DataError(f"{path} cannot be decoded: {error.err}") from error
    if raw is None and tags is not None:
        return read_by_rasterio(path)[0]
    if raw is None:
        raise DataError(f"{path} cannot be decoded: it is damaged or not an image")
    known = None
    if raw.ndim == 3 and raw.shape[2] == 4:
        if tags is None or tags.number(_EXTRA) in _ALPHAS:
            opaque = np.iinfo(raw.dtype).max if raw.dtype.kind == "u" else 1.0
            known = np.where(raw[..., 3] == opaque, _OPAQUE, 0).astype(np.uint8)
        raw = raw[..., :3]
    if raw.ndim == 3:
        raw = cv2.cvtColor(raw, cv2.COLOR_BGR2RGB)
    if known is None and nodata is not None:
        differs = raw != nodata
        known = np.where(differs if differs.ndim == 2 else differs.any(axis=2), _OPAQUE, 0).astype(np.uint8)
    return Pixels(_in_eight_bits(path, raw, known), known)


def read_by_rasterio(path: Path) -> tuple[Pixels, Georeference | None]:
    """Read whatever GDAL knows: the first three bands, or the first one, with its mask.

    Raises:
        DataError: GDAL cannot read it either.
        ConfigError: rasterio is not installed.
    """
    try:
        import rasterio
        from rasterio.errors import RasterioError
    except ImportError as error:
        raise ConfigError(
            f"{path} needs rasterio (requirements/aerial.txt): install it, or save the map as a plain GeoTIFF"
        ) from error
    try:
        with rasterio.open(path) as dataset:
            bands = [1, 2, 3] if dataset.count >= 3 else [1]
            raw = np.ascontiguousarray(np.moveaxis(dataset.read(bands), 0, 2))
            known = np.asarray(dataset.dataset_mask(), dtype=np.uint8)
            transform, code = dataset.transform, None if dataset.crs is None else dataset.crs.to_epsg()
    except RasterioError as error:
        raise DataError(f"{path} cannot be decoded: {error}") from error
    raw = raw[..., 0] if raw.shape[2] == 1 else raw
    where = None
    if code is not None and not transform.is_identity:
        affine = np.array([[transform.a, transform.b, transform.c], [transform.d, transform.e, transform.f]], dtype=np.float64)
        affine[:, 2] += affine[:, :2] @ (0.5, 0.5)
        where = Georeference(affine, f"EPSG:{code}")
    return Pixels(_in_eight_bits(path, raw, known), known), where


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV warns of each tag of a GeoTIFF, as it knows none of them; where it cannot be told not to, it does."""
    logging = getattr(cv2.utils, "logging", None)
    if logging is None:
        yield
        return
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)


def _require_whole(path: Path) -> None:
    """OpenCV fills what is missing of a PNG or JPEG with grey, which is no ground."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            ending = path.suffix.lower()
            if ending == ".png":
                check_png(bytes(raw), str(path))
            elif ending in (".jpg", ".jpeg"):
                check_jpeg(bytes(raw), str(path))
    except ValueError as error:
        raise DataError(f"{path} is empty: copy it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _in_eight_bits(path: Path, raw: NDArray[Any], known: NDArray[np.uint8] | None) -> Image:
    if raw.dtype == np.uint8:
        return raw
    if raw.dtype != np.uint16:
        raise DataError(f"the pixels of {path} are {raw.dtype}: a map is an image of 8 or 16 bits, heights are none")
    step = max(1, int(np.sqrt(raw.shape[0] * raw.shape[1] / 1e6)))
    sample = raw[::step, ::step]
    sample = sample[sample > 0] if known is None else sample[known[::step, ::step] > 0]
    low, high = np.percentile(sample, _STRETCH) if sample.size else (0.0, 65535.0)
    table = np.clip((np.arange(65536) - low) * (255.0 / max(high - low, 1.0)), 0.0, 255.0).astype(np.uint8)
    return np.asarray(table[raw], dtype=np.uint8)
