"""Pictures of a training: in event files, decoded here as the public definitions say, and beside them in the folder of the run."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from training_samples import train_toy  # noqa: E402

from vloc_ros.data.images import read_image  # noqa: E402
from vloc_ros.errors import ConfigError  # noqa: E402
from vloc_ros.training import run_folder  # noqa: E402
from vloc_ros.training.events import EventFile  # noqa: E402
from vloc_ros.training.run_folder import PICTURES_NAME  # noqa: E402


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)


def messages(path: Path) -> Iterator[bytes]:
    """Of the records of a file."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + length]
        data = data[16 + length :]


def fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """Numbers and contents of the fields of a message, whose own messages are left encoded."""
    found: list[tuple[int, int | bytes]] = []
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            found.append((number, varint()))
            continue
        length = {1: 8, 5: 4}.get(kind) or varint()
        found.append((number, message[place : place + length]))
        place += length
    return found


def pictures(path: Path) -> list[tuple[int, str, np.ndarray]]:
    """Step, name and pixels of all pictures: Event.step is 2, Event.summary 5, Summary.value 1, Value.tag 1 and Value.image 4."""
    found = []
    for event in (dict(fields(message)) for message in messages(path)):
        for number, content in fields(event.get(5, b"")):
            assert number == 1
            value = dict(fields(content))
            if 4 not in value:
                continue
            image = dict(fields(value[4]))
            pixels = cv2.imdecode(np.frombuffer(image[4], dtype=np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            assert (image[1], image[2], image[3]) == pixels.shape  # height, width, and RGB
            found.append((event[2], value[1].decode(), pixels))
    return found


def test_pictures_are_what_tensorboard_reads(tmp_path):
    """Checked against the public definitions, and against TensorBoard's own messages where it is installed."""
    rng = np.random.default_rng(4)
    images = {"a to b": rng.integers(0, 256, (24, 200, 3), dtype=np.uint8), "b": np.full((130, 3, 3), (255, 0, 7), dtype=np.uint8)}
    EventFile(tmp_path).write_images(70_000, images)
    (path,) = tmp_path.iterdir()
    for (step, name, pixels), expected in zip(pictures(path), images, strict=True):
        assert (step, name) == (70_000, expected)
        np.testing.assert_array_equal(pixels, images[expected])
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2", reason="TensorBoard is not installed")
    values = event_pb2.Event.FromString(list(messages(path))[1]).summary.value
    assert [(v.tag, v.image.height, v.image.width) for v in values] == [("a to b", 24, 200), ("b", 130, 3)]


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(tmp_path, image):
    with pytest.raises(ConfigError, match="the picture x must be"):
        EventFile(tmp_path).write_images(1, {"x": image})


def test_a_training_shows_pictures_once_per_epoch(tmp_path):
    shades = iter((10, 200))
    learning = []

    def paint(network):
        learning.append(network.training)
        shade = next(shades)
        return {"wide": np.full((4, 9, 3), shade, np.uint8), "small": np.full((2, 3, 3), (shade, 0, 0), np.uint8)}

    train_toy(tmp_path / "run", {"epochs": 2}, painter=paint)
    (path,) = (tmp_path / "run").glob("events.*")
    shown = pictures(path)
    steps = sorted({step for step, _, _ in shown})
    assert [name for _, name, _ in shown] == ["wide", "small"] * 2 and len(steps) == 2 and steps[1] == 2 * steps[0]
    assert [int(pixels[0, 0, 0]) for _, _, pixels in shown] == [10, 10, 200, 200]
    assert learning == [False, False]
    newest = read_image(tmp_path / "run" / PICTURES_NAME)
    assert newest.shape == (4 + 8 + 2, 9, 3)
    assert (newest[:4] == 200).all() and (newest[4:12] == 255).all()
    assert (newest[12:, :3] == (200, 0, 0)).all() and (newest[12:, 3:] == 255).all()


def test_a_training_with_pictures_learns_the_same(tmp_path):
    def paint(network):
        return {"noise": (255 * torch.rand(4, 4, 3)).to(torch.uint8).numpy()}

    for name, painter in (("with", paint), ("without", None)):
        train_toy(tmp_path / name, {"epochs": 2}, painter=painter)
    weights = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("with", "without")]
    assert weights[0] == weights[1]
