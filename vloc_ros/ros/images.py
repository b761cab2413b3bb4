"""Between sensor_msgs/Image or CompressedImage and arrays.

Our own decoder goes first, because it checks every message and runs with any numpy; an encoding that it does not know is tried
with cv_bridge, where that is installed.
"""

from __future__ import annotations

import array
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vloc_ros.data.images import decode_compressed, decode_image
from vloc_ros.errors import DataError

_MILLIMETRE = 0.001


class UnknownEncodingError(DataError):
    """The encoding of an image message is supported neither here nor by cv_bridge."""


def image_from_ros(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """(H, W) grey or (H, W, 3) RGB uint8 image.

    Raises:
        UnknownEncodingError: the encoding is not supported, or is that of a depth image.
        DataError: the data is damaged or contradicts its description.
    """
    image = _decode(message)
    if image.dtype != np.uint8:
        raise UnknownEncodingError(
            f"'{encoding_of(message)}' is the encoding of a depth image, where a grey or colour image is expected"
        )
    return np.asarray(image, dtype=np.uint8)


def depth_from_ros(message: Image | CompressedImage, scale: float = _MILLIMETRE) -> NDArray[np.float32]:
    """(H, W) float32 depth [m]; 0, NaN or infinite where unknown.

    Args:
        message: of encoding 16UC1 or 32FC1, or compressedDepth.
        scale: metres per unit of 16UC1.

    Raises:
        UnknownEncodingError: the encoding is not one of depth.
        DataError: the data is damaged or contradicts its description.
    """
    depth = _decode(message)
    if depth.dtype != np.float32:
        raise UnknownEncodingError(
            f"'{encoding_of(message)}' is no encoding of depth (16UC1, 32FC1, compressedDepth); check its remapping"
        )
    if "16UC1" in encoding_of(message) and scale != _MILLIMETRE:
        depth = depth * np.float32(scale / _MILLIMETRE)
    return np.asarray(depth, dtype=np.float32)


def encoding_of(message: Image | CompressedImage) -> str:
    """The encoding, or the format of a compressed image."""
    return str(message.format if isinstance(message, CompressedImage) else message.encoding)


def size_of(message: Image | CompressedImage) -> tuple[int, int] | None:
    """(width, height) [px] without decoding; None for a compressed image."""
    return None if isinstance(message, CompressedImage) else (message.width, message.height)


def image_to_ros(image: NDArray[Any], header: Header) -> Image:
    """Message of an (H, W) grey (mono8) or (H, W, 3) RGB (rgb8) uint8 image, or of (H, W) float32 depth (32FC1).

    Raises:
        DataError: the array is none of these.
    """
    if image.dtype == np.uint8 and image.ndim == 2:
        encoding = "mono8"
    elif image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        encoding = "rgb8"
    elif image.dtype == np.float32 and image.ndim == 2:
        encoding = "32FC1"
    else:
        raise DataError(f"an image message cannot hold an array of {image.dtype} {image.shape}")
    contiguous = np.ascontiguousarray(image)
    height, width = image.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=contiguous.nbytes // height,
        data=byte_array(contiguous),
    )


def byte_array(values: NDArray[Any]) -> array.array[int]:
    """The bytes of an array as rclpy takes them at once: an ndarray would be checked and copied item by item."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data


def _decode(message: Image | CompressedImage) -> NDArray[Any]:
    if isinstance(message, CompressedImage):
        return decode_compressed(message.format, np.frombuffer(message.data, dtype=np.uint8))
    try:
        return decode_builtin(message)
    except DataError as error:
        if not str(error).startswith("unknown image encoding"):
            raise
        return _decode_unknown(message, error)


def decode_builtin(message: Image) -> NDArray[Any]:
    """Decode with our own decoder.

    Raises:
        DataError: the encoding is unknown, or the data contradicts its description.
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    return decode_image(message.encoding, message.height, message.width, message.step, data, bool(message.is_bigendian))


def decode_cv_bridge(message: Image) -> NDArray[Any]:
    """Decode with cv_bridge: to depth for 16UC1 and 32FC1, to grey for one channel, else to RGB.

    Raises:
        ImportError: it is not installed.
        DataError: it cannot decode the message.
    """
    from cv_bridge import CvBridge, CvBridgeError

    bridge = CvBridge()
    try:
        if message.encoding in ("16UC1", "32FC1"):
            depth = bridge.imgmsg_to_cv2(message, "passthrough").astype(np.float32)
            return np.asarray(depth * np.float32(_MILLIMETRE) if message.encoding == "16UC1" else depth, dtype=np.float32)
        if message.encoding == "8UC1":
            return np.asarray(bridge.imgmsg_to_cv2(message, "passthrough"))
        target = "mono8" if message.encoding.startswith("mono") else "rgb8"
        return np.asarray(bridge.imgmsg_to_cv2(message, target))
    except (CvBridgeError, TypeError, ValueError) as error:
        raise DataError(f"cv_bridge cannot decode an image of encoding '{message.encoding}': {error}") from error


def _decode_unknown(message: Image, error: DataError) -> NDArray[Any]:
    try:
        return decode_cv_bridge(message)
    except ImportError:
        raise UnknownEncodingError(str(error)) from error
    except DataError as second:
        raise UnknownEncodingError(str(second)) from second
