"""Images, maps, weights and names from others: nothing fills the memory, nothing becomes a path, everything is one sentence."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_ros.data.image_headers import MAX_PIXELS, MAX_SIDE, declared_size
from vloc_ros.data.images import decode_compressed, read_image
from vloc_ros.data.weights import card_path, load_card, load_weights
from vloc_ros.errors import ConfigError, DataError, MapError, WeightsError
from vloc_ros.features.automatic import chosen
from vloc_ros.interfaces import SERVICES
from vloc_ros.mapping import codec
from vloc_ros.mapping.keyframe import KeyframeId

MODELS = Path(__file__).resolve().parent.parent / "models"
MODELS = Path(__file__).resolve().parent.parent / "models"
PICTURE = np.random.default_rng(3).integers(0, 255, (48, 64, 3), dtype=np.uint8)
SIZE = (64, 48)
HUGE = [(65535, 65535), (MAX_SIDE + 1, 10), (10, MAX_SIDE + 1), (MAX_SIDE, MAX_PIXELS // MAX_SIDE + 1), (0, 48), (64, 0)]


def jpeg(*options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", PICTURE, options)[1])


def png() -> bytes:
    return bytes(cv2.imencode(".png", PICTURE)[1])


def jpeg_of(width: int, height: int, *options: int) -> bytes:
    """A small JPEG whose header claims another size."""
    raw = bytearray(jpeg(*options))
    at = next(raw.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in raw)
    raw[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(raw)


def png_of(width: int, height: int) -> bytes:
    """A small PNG whose header claims another size, with its check sum."""
    raw = bytearray(png())
    raw[16:24] = struct.pack(">II", width, height)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    return bytes(raw)


PROGRESSIVE = (int(cv2.IMWRITE_JPEG_PROGRESSIVE), 1)


def with_thumbnail() -> bytes:
    """A JPEG that carries a smaller one, and some fill bytes, before its own header."""
    inner = bytes(cv2.imencode(".jpg", PICTURE[:16, :16])[1])
    raw = jpeg()
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner + b"\xff\xff" + raw[2:]


@pytest.mark.parametrize("raw", [jpeg(), jpeg(*PROGRESSIVE), with_thumbnail(), png()], ids=["jpeg", "progressive", "thumb", "png"])
def test_the_size_is_read_before_the_pixels(raw):
    assert declared_size(raw) == SIZE
    assert decode_compressed("png" if raw.startswith(b"\x89") else "jpeg", raw).shape == (48, 64, 3)


@pytest.mark.parametrize("size", HUGE, ids=str)
@pytest.mark.parametrize("make", [jpeg_of, png_of, lambda w, h: jpeg_of(w, h, *PROGRESSIVE)], ids=["jpeg", "png", "progressive"])
def test_an_image_that_claims_to_be_huge_is_not_decoded(make, size, tmp_path, monkeypatch):
    if make is not png_of and max(size) > 65535:
        pytest.skip("a JPEG cannot even claim that")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was handed to the decoder"))
    raw = make(*size)
    claim = f"{size[0]}x{size[1]} px"
    with pytest.raises(DataError, match=claim):
        decode_compressed("jpeg", raw)
    if make is png_of:
        with pytest.raises(DataError, match=claim):
            decode_compressed("16UC1; compressedDepth png", bytes(12) + raw)
    (tmp_path / "image.png").write_bytes(raw)
    with pytest.raises(DataError, match=claim) as error:
        read_image(tmp_path / "image.png")
    assert "image.png" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(MapError, match=claim):
        codec.decode_image(raw, *SIZE, "keyframe s1/k2")


def test_a_keyframe_of_another_size_is_not_decoded(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was handed to the decoder"))
    for raw in (jpeg(), b"no image", b""):
        with pytest.raises(MapError, match="s1/k2 is damaged"):
            codec.decode_image(raw, 640, 480, "keyframe s1/k2")


@pytest.mark.parametrize("ending", [".bmp", ".tiff", ".webp", ".pgm", ".jp2"])
def test_a_message_cannot_choose_another_decoder(ending):
    raw = bytes(cv2.imencode(ending, PICTURE[..., 0] if ending == ".pgm" else PICTURE)[1])
    with pytest.raises(DataError, match="neither JPEG nor PNG"):
        decode_compressed("jpeg", raw)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", jpeg()[:30], png()[:20]]), st.binary(max_size=200))
def test_any_bytes_are_a_size_or_none(head, tail):
    size = declared_size(head + tail)
    assert size is None or len(size) == 2
    with pytest.raises(DataError):
        decode_compressed("jpeg", head + tail)


# --- names


def copied_weights(folder: Path) -> Path:
    """The shipped weights under another name."""
    for ending in (".safetensors", ".json"):
        shutil.copy(MODELS / f"unet{ending}", folder / f"theirs{ending}")
    load_weights(folder / "theirs.safetensors")
    return folder / "theirs.safetensors"


def test_the_features_that_a_map_names_are_never_a_file(tmp_path):
    weights = copied_weights(tmp_path)
    for name in (str(weights), "../models/unet.safetensors", "~/x.safetensors", ""):
        with pytest.raises(ConfigError, match="not known here"):
            chosen("auto", name)
    assert chosen(str(weights), "unet") == str(weights), "whoever runs it may name a file"


def test_a_hash_that_is_a_path_is_refused(tmp_path):
    weights = copied_weights(tmp_path)
    card = dataclasses.replace(load_card(weights), sha256="../../elsewhere")
    card_path(weights).write_text(json.dumps(dataclasses.asdict(card)))
    with pytest.raises(WeightsError):
        load_weights(weights)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "s1/k2/../..", "s1/k2\n", "/s1/k2", "s-1/k2", "s1/k9999999999", "s1\\k2"])
def test_keyframes_in_messages_are_numbers(name):
    with pytest.raises(MapError, match="is not a keyframe name"):
        KeyframeId.parse(name)


def test_no_service_takes_a_text():
    """What a caller sends is one bit at most, so that nothing of it can become a path."""
    assert {service.type for service in SERVICES.values()} == {"std_srvs/srv/Trigger", "std_srvs/srv/SetBool"}
