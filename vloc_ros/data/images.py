"""Decoding images of files and of ROS messages; damaged data raises, and never becomes a half grey picture.

Results are (H, W) grey or (H, W, 3) RGB uint8 images, or (H, W) float32 depth [m] that is 0, NaN or infinite where unknown.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import naming
from vloc_ros.data.image_headers import JPEG_SIGNATURE, MAX_SIDE, PNG_SIGNATURE, check_declared_size
from vloc_ros.errors import DataError

Bytes = bytes | bytearray | memoryview | NDArray[np.uint8]
Decoded = NDArray[Any]

# encoding: (scalar type, channels, OpenCV conversion to RGB or None), after sensor_msgs/image_encodings.hpp. OpenCV names a
# Bayer pattern by its second row and column, ROS by its first.
_RAW: dict[str, tuple[str, int, int | None]] = {
    "mono8": ("u1", 1, None),
    "8UC1": ("u1", 1, None),
    "rgb8": ("u1", 3, None),
    "bgr8": ("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC3": ("u1", 3, cv2.COLOR_BGR2RGB),
    "rgba8": ("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "8UC4": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "bayer_rggb8": ("u1", 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": ("u1", 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": ("u1", 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": ("u1", 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "mono16": ("u2", 1, None),
    "16UC1": ("u2", 1, None),
    "32FC1": ("f4", 1, None),
}
_MILLIMETRES = 1000.0
_DEPTH_HEADER = 12


def decode_image(encoding: str, height: int, width: int, step: int, data: Bytes, is_bigendian: bool = False) -> Decoded:
    """Decode a raw ROS image (sensor_msgs/Image).

    Args:
        encoding: as in the message: mono8, mono16, rgb8, bgr8, rgba8, bgra8, bayer_*8, 8UC*, yuv422*, or 16UC1 (depth in
            millimetres) or 32FC1 (depth in metres).
        height: rows [px].
        width: columns [px].
        step: bytes from row to row, >= the bytes of a row.
        data: ``height * step`` bytes.
        is_bigendian: byte order of 16- and 32-bit pixels.

    Returns:
        A uint8 grey or RGB image, or float32 depth [m]; it owns its memory.

    Raises:
        DataError: the encoding is unknown, or size, step and amount of data contradict each other.
    """
    if encoding not in _RAW:
        raise DataError(f"unknown image encoding '{encoding}'; known: {', '.join(_RAW)}")
    scalar, channels, conversion = _RAW[encoding]
    _check_size(height, width)
    rows = _rows(encoding, height, width * channels * int(scalar[1]), step, data)
    kind = np.dtype(scalar).newbyteorder(">" if is_bigendian else "<")
    pixels = np.ascontiguousarray(rows).view(kind).astype(np.dtype(scalar), copy=False)
    image = pixels.reshape((height, width) if channels == 1 else (height, width, channels))
    if encoding == "mono16":
        return to_eight_bits(image)
    if encoding == "16UC1":
        return np.asarray(image / np.float32(_MILLIMETRES), dtype=np.float32)
    if conversion is None:
        return image.copy()
    try:
        return np.asarray(cv2.cvtColor(image, conversion))
    except cv2.error as error:
        raise DataError(f"a {width}x{height} image cannot be of encoding '{encoding}': {error.err}") from error


def _check_size(height: int, width: int) -> None:
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise DataError(f"an image of {width}x{height} px is not plausible; is the message damaged?")


def _rows(encoding: str, height: int, row_bytes: int, step: int, data: Bytes) -> NDArray[np.uint8]:
    """(height, row_bytes) view of the bytes without the padding of the rows."""
    flat = data if isinstance(data, np.ndarray) else np.frombuffer(data, dtype=np.uint8)
    if step < row_bytes:
        raise DataError(f"the step of a '{encoding}' image is {step} bytes but its rows need {row_bytes}; the message is wrong")
    if flat.size != height * step:
        raise DataError(
            f"a '{encoding}' image holds {flat.size} bytes instead of {height} rows x {step} = {height * step}; is it cut off?"
        )
    return flat.reshape(height, step)[:, :row_bytes]


def to_eight_bits(image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16-bit intensities to 8 bits, full scale to full scale, as cv_bridge does."""
    return np.asarray((image.astype(np.uint32) * 255 + 32767) // 65535, dtype=np.uint8)


def decode_compressed(format: str, data: Bytes) -> Decoded:
    """Decode a ROS CompressedImage: JPEG or PNG images, PNG depth (16UC1), or the ``compressedDepth`` transport.

    Args:
        format: as in the message, for example ``jpeg``, ``bgr8; jpeg compressed bgr8``, ``16UC1; compressedDepth png``.
        data: the compressed bytes.

    Returns:
        A uint8 grey or RGB image, or float32 depth [m].

    Raises:
        DataError: the data is damaged or of another kind; the text names the format.
    """
    raw = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
    _require_png_or_jpeg(raw, format)
    encoding, _, detail = (part.strip() for part in format.partition(";"))
    if "compressedDepth" in detail or "compressedDepth" in encoding:
        return _decode_compressed_depth(encoding, raw)
    image = _decode_file(raw, f"a compressed image of format '{format}'")
    if image.dtype == np.uint16 and encoding == "16UC1":
        return np.asarray(image / np.float32(_MILLIMETRES), dtype=np.float32)
    # image_transport encodes the pixels in the order of the target encoding without saying so to the codec.
    return as_image(image, swap="compressed rgb" not in detail)


def _require_png_or_jpeg(raw: bytes, format: str) -> None:
    """Whoever may publish shall not choose among all decoders of OpenCV: only of these two is the size known before."""
    position = _DEPTH_HEADER if "compressedDepth" in format else 0
    if raw and not raw[position:].startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
        raise DataError(f"a compressed image of format '{format}' is neither JPEG nor PNG; it is damaged or of another kind")


def _decode_compressed_depth(encoding: str, raw: bytes) -> NDArray[np.float32]:
    """After compressed_depth_image_transport: 12 bytes of header, then a 16-bit PNG of millimetres or of inverse depth."""
    if len(raw) <= _DEPTH_HEADER:
        raise DataError(f"a compressedDepth image holds only {len(raw)} bytes; is it cut off?")
    _, depth_quant_a, depth_quant_b = struct.unpack_from("<iff", raw)
    image = _decode_file(raw[_DEPTH_HEADER:], "a compressedDepth image")
    if image.ndim != 2 or image.dtype != np.uint16:
        raise DataError("a compressedDepth image is not 16-bit of one channel")
    if encoding == "16UC1":
        return np.asarray(image / np.float32(_MILLIMETRES), dtype=np.float32)
    if encoding != "32FC1":
        raise DataError(f"unknown encoding '{encoding}' of a compressedDepth image; known: 16UC1, 32FC1")
    divisor = np.where(image > 0, image.astype(np.float32) - np.float32(depth_quant_b), np.float32(np.nan))
    return np.asarray(np.float32(depth_quant_a) / divisor, dtype=np.float32)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W) grey or (H, W, 3) RGB; 16-bit images are scaled to 8 bits, alpha is dropped.

    Raises:
        DataError: the file is missing, truncated, damaged or no image; the text names it.
    """
    with naming(path):
        return as_image(_decode_file(_read_bytes(path), "the image"))


def read_depth(path: Path, scale: float) -> NDArray[np.float32]:
    """Read a 16-bit depth image as (H, W) metres, 0 where unknown.

    Args:
        path: a one-channel 16-bit PNG or TIFF; a float image is taken as metres.
        scale: steps of the file per metre (TUM: 5000; millimetres: 1000).

    Raises:
        DataError: the file is missing, truncated, damaged or no depth image; the text names it.
    """
    with naming(path):
        image = _decode_file(_read_bytes(path), "the depth image")
        if image.ndim == 2 and image.dtype == np.float32:
            return image
        if image.ndim != 2 or image.dtype != np.uint16:
            raise DataError(f"a depth image must be of one channel and 16 bits, not {image.dtype} {image.shape}")
        return np.asarray(image / np.float32(scale), dtype=np.float32)


def as_image(image: Decoded, swap: bool = True) -> NDArray[np.uint8]:
    """An image as OpenCV decodes it, BGR (or with ``swap`` off RGB) with any alpha, as 8-bit grey or RGB.

    Raises:
        DataError: it is neither 8- nor 16-bit, or has another number of channels than 1, 3 and 4.
    """
    if image.dtype == np.uint16:
        image = to_eight_bits(image)
    if image.dtype != np.uint8:
        raise DataError(f"an image must be of 8 or 16 bits, not {image.dtype}")
    if image.ndim == 2:
        return image
    if image.shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if swap else cv2.COLOR_RGBA2RGB), dtype=np.uint8)
    if image.shape[2] != 3:
        raise DataError(f"an image must have 1, 3 or 4 channels, not {image.shape[2]}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8) if swap else image


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error


def _decode_file(raw: bytes, what: str) -> Decoded:
    """Decode the bytes of an image file, unchanged in depth and channels, after a check of its size and that nothing is missing."""
    if not raw:
        raise DataError(f"{what} is empty")
    check_declared_size(raw, what)
    if raw.startswith(PNG_SIGNATURE):
        check_png(raw, what)
    elif raw.startswith(JPEG_SIGNATURE):
        check_jpeg(raw, what)
    try:
        image = cv2.imdecode(np.frombuffer(raw, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DataError(f"{what} cannot be decoded: {error.err}") from error
    if image is None:
        raise DataError(f"{what} cannot be decoded; it is damaged or not an image")
    return np.asarray(image)


def check_png(raw: bytes, what: str) -> None:
    """Check that all chunks of a PNG are there and intact (PNG specification, chapter 5); libpng would fill gaps with grey.

    Raises:
        DataError: a chunk is cut off, its check sum is wrong, or the end is missing.
    """
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(raw):
        (length,) = struct.unpack_from(">I", raw, position)
        end = position + 12 + length
        if end > len(raw):
            break
        kind = raw[position + 4 : position + 8]
        (expected,) = struct.unpack_from(">I", raw, end - 4)
        if zlib.crc32(memoryview(raw)[position + 4 : end - 4]) != expected:
            raise DataError(f"{what} is a damaged PNG: the check sum of its {kind.decode('latin-1')!r} chunk is wrong")
        if kind == b"IEND":
            return
        position = end
    raise DataError(f"{what} is a truncated PNG of {len(raw)} bytes; copy it again")


def check_jpeg(raw: bytes, what: str) -> None:
    """Check that the last scan of a JPEG is closed by an end-of-image marker (ITU T.81, annex B).

    Inside a scan 0xFF is followed by 0x00 or a restart marker only, so a marker after the last start of scan is a real one.

    Raises:
        DataError: it is not.
    """
    scan = raw.rfind(b"\xff\xda")
    if scan < 0 or raw.find(b"\xff\xd9", scan) < 0:
        raise DataError(f"{what} is a truncated JPEG of {len(raw)} bytes; copy it again")
