from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import texture
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_ros.data.images import decode_compressed, decode_image, read_depth, read_image
from vloc_ros.errors import DataError

GREY = texture(1)
RGB = texture(2, colour=True)
BGR = np.ascontiguousarray(RGB[:, :, ::-1])
ALPHA = np.full((48, 64, 1), 77, dtype=np.uint8)


def _raw(encoding: str, image: np.ndarray, **changes: object) -> np.ndarray:
    arguments = {"step": image.strides[0], "data": image.tobytes(), "height": image.shape[0], "width": image.shape[1]} | changes
    return decode_image(encoding, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("encoding", "stored", "expected"),
    [
        ("mono8", GREY, GREY),
        ("8UC1", GREY, GREY),
        ("rgb8", RGB, RGB),
        ("bgr8", BGR, RGB),
        ("8UC3", BGR, RGB),
        ("rgba8", np.dstack([RGB, ALPHA]), RGB),
        ("bgra8", np.dstack([BGR, ALPHA]), RGB),
    ],
)
def test_raw_encodings_keep_every_pixel(encoding: str, stored: np.ndarray, expected: np.ndarray) -> None:
    decoded = _raw(encoding, np.ascontiguousarray(stored))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_recover_the_colour(pattern: str) -> None:
    colour = {"r": 200, "g": 120, "b": 30}
    mosaic = np.zeros((48, 64), dtype=np.uint8)
    for place, letter in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = colour[letter]
    inner = _raw(f"bayer_{pattern}8", mosaic)[4:-4, 4:-4]
    np.testing.assert_array_equal(inner, np.broadcast_to([200, 120, 30], inner.shape))


@pytest.mark.parametrize("encoding", ["yuv422", "yuv422_yuy2"])
def test_yuv_of_a_grey_picture_is_grey(encoding: str) -> None:
    luma, chroma = np.full((48, 64), 126, dtype=np.uint8), np.full((48, 64), 128, dtype=np.uint8)
    packed = np.dstack([chroma, luma] if encoding == "yuv422" else [luma, chroma])
    assert np.ptp(_raw(encoding, packed)) == 0


@pytest.mark.parametrize("order", [">", "<"])
def test_sixteen_bits_in_both_byte_orders(order: str) -> None:
    steps = np.array([[0, 1000, 65535], [2500, 1, 257]], dtype=f"{order}u2")
    depth = _raw("16UC1", steps, is_bigendian=order == ">")
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[0, 1.0, 65.535], [2.5, 0.001, 0.257]], rtol=1e-6)
    np.testing.assert_array_equal(_raw("mono16", steps, is_bigendian=order == ">"), [[0, 4, 255], [10, 0, 1]])


@pytest.mark.parametrize("order", [">", "<"])
def test_float_depth_keeps_nan(order: str) -> None:
    metres = np.array([[0.5, np.nan], [np.inf, 7.25]], dtype=f"{order}f4")
    np.testing.assert_array_equal(_raw("32FC1", metres, is_bigendian=order == ">"), metres.astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5))
def test_padding_of_rows_is_removed(height: int, width: int, padding: int) -> None:
    image = texture(3, colour=True, size=(width, height))
    padded = np.hstack([image.reshape(height, -1), np.full((height, padding), 99, dtype=np.uint8)])
    decoded = decode_image("rgb8", height, width, padded.shape[1], padded.tobytes())
    np.testing.assert_array_equal(decoded, image)
    assert decoded.flags.owndata and decoded.flags.writeable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoding": "bayer_rggb12"}, "unknown image encoding 'bayer_rggb12'"),
        ({"step": 60}, "step of a 'mono8' image is 60 bytes but its rows need 64"),
        ({"step": 80}, "holds 3072 bytes instead of"),
        ({"data": GREY.tobytes()[:-1]}, "holds 3071 bytes instead of"),
        ({"data": b""}, "holds 0 bytes"),
        ({"height": 0}, "not plausible"),
        ({"width": -64}, "not plausible"),
        ({"height": 10**9}, "not plausible"),
    ],
)
def test_contradictions_of_a_raw_image_are_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"encoding": "mono8", **changes}
    with pytest.raises(DataError, match=message):
        _raw(str(arguments.pop("encoding")), GREY, **arguments)


def test_decoding_does_not_share_memory_with_the_message() -> None:
    data = np.array(GREY).reshape(-1)
    decoded = decode_image("mono8", 48, 64, 64, data)
    data[:] = 0
    np.testing.assert_array_equal(decoded, GREY)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (GREY, GREY),
        (BGR, RGB),
        (np.dstack([BGR, ALPHA]), RGB),
        ((GREY.astype(np.uint16) * 257), GREY),
        ((np.dstack([BGR] * 1).astype(np.uint16) * 257), RGB),
    ],
)
def test_png_files_are_read_without_loss(tmp_path: Path, image: np.ndarray, expected: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


def _smooth() -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(cv2.resize(RGB, (640, 480)), (0, 0), 9))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.1, 0.01])
def test_truncated_files_are_never_half_grey(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), _smooth())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match=rf"{path}: the image is a truncated (PNG|JPEG)"):
        read_image(path)


@pytest.mark.parametrize("missing", range(1, 14))
def test_a_png_without_its_last_bytes_is_refused(tmp_path: Path, missing: int) -> None:
    path = tmp_path / "cut.png"
    cv2.imwrite(str(path), GREY)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(DataError, match="truncated PNG"):
        read_image(path)


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "flipped.png"
    cv2.imwrite(str(path), GREY)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="check sum"):
        read_image(path)


@pytest.mark.parametrize(("contents", "message"), [(b"", "empty"), (b"hello", "not an image"), (None, "No such file")])
def test_what_is_no_image_is_refused(tmp_path: Path, contents: bytes | None, message: str) -> None:
    path = tmp_path / "odd.png"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(DataError, match=f"odd.png.*{message}"):
        read_image(path)


def test_depth_files(tmp_path: Path) -> None:
    steps = np.array([[0, 5000], [65535, 1]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "depth.png"), steps)
    np.testing.assert_allclose(read_depth(tmp_path / "depth.png", 5000.0), [[0, 1], [13.107, 0.0002]], rtol=1e-6)
    cv2.imwrite(str(tmp_path / "eight.png"), GREY)
    with pytest.raises(DataError, match=r"eight\.png.*16 bits"):
        read_depth(tmp_path / "eight.png", 5000.0)


@pytest.mark.parametrize(
    "format", ["jpeg", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8", "rgb8; jpeg compressed rgb8"]
)
def test_compressed_jpeg_has_the_right_colours(format: str) -> None:
    pixels = _smooth() if format.endswith("compressed rgb8") else _smooth()[:, :, ::-1]
    data = cv2.imencode(".jpg", np.ascontiguousarray(pixels))[1].tobytes()
    assert np.abs(decode_compressed(format, data).astype(int) - _smooth()).max() <= 12


def test_compressed_png_is_lossless_and_depth_is_metres() -> None:
    png = cv2.imencode(".png", BGR)[1]
    np.testing.assert_array_equal(decode_compressed("png", png), RGB)
    steps = np.array([[1500, 0]], dtype=np.uint16)
    depth = decode_compressed("16UC1; png compressed", cv2.imencode(".png", steps)[1].tobytes())
    np.testing.assert_allclose(depth, [[1.5, 0.0]])


def test_compressed_depth_transport() -> None:
    steps = np.array([[1500, 0]], dtype=np.uint16)
    png = cv2.imencode(".png", steps)[1].tobytes()
    header = struct.pack("<iff", 0, 0.0, 0.0)
    np.testing.assert_allclose(decode_compressed("16UC1; compressedDepth png", header + png), [[1.5, 0.0]])
    # Inverse depth: 100 / (v - 1.5) metres.
    inverse = struct.pack("<iff", 1, 100.0, 1.5) + png
    decoded = decode_compressed("32FC1; compressedDepth png", inverse)
    assert decoded[0, 0] == pytest.approx(100.0 / 1498.5)
    assert np.isnan(decoded[0, 1])


@pytest.mark.parametrize("format", ["jpeg", "png", "16UC1; compressedDepth png", "8UC1; compressedDepth png"])
@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", bytes(40)])
def test_damaged_compressed_images_are_refused(format: str, data: bytes) -> None:
    with pytest.raises(DataError):
        decode_compressed(format, data)
