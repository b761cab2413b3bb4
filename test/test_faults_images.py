"""Images in every encoding, damaged ones, and depth with holes: the same node processes take one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import fault_samples as faults
import numpy as np
import pytest
import ros_samples as samples
from fault_samples import Bench, Sending, message, views
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vloc_ros.ros.conversions import header

Encode = Callable[[int, np.ndarray], Image]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faults.teach(tmp_path_factory.mktemp("site") / "site.vloc")


def whole(running: Bench) -> Iterator[Bench]:
    """In good order before a fault and again after it; no pose between was wrong."""
    yield running
    running.recover()


@pytest.fixture(scope="module")
def raw_running(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with faults.bench({"map": str(site)}, tmp_path_factory.mktemp("raw")) as made:
        made.camera.calibrate()
        made.well()
        yield made


@pytest.fixture
def raw(raw_running: Bench) -> Iterator[Bench]:
    yield from whole(raw_running)


def packed(stamp_ns: int, pixels: np.ndarray, encoding: str, *, padding: int = 0, big: bool = False) -> Image:
    """A message of (H, W) or (H, W, C) pixels as they are, its rows padded with noise."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).reshape(height, -1).view(np.uint8)
    noise = np.random.default_rng(3).integers(0, 256, (height, padding), dtype=np.uint8)
    data = np.hstack([rows, noise])
    made = Image(header=header(stamp_ns, "camera"), height=height, width=width, encoding=encoding)
    made.is_bigendian, made.step, made.data = int(big), data.shape[1], data.tobytes()
    return made


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[:, :, None], 3, axis=2)


def alpha(image: np.ndarray) -> np.ndarray:
    return np.dstack([grey(image), np.full_like(image, 7)])


def with_chroma(image: np.ndarray, luma_first: bool) -> np.ndarray:
    """Two bytes a pixel: luma and a neutral chroma."""
    neutral = np.full_like(image, 128)
    return np.dstack([image, neutral] if luma_first else [neutral, image])


def deep(image: np.ndarray) -> np.ndarray:
    return image.astype(np.uint16) * 257


ENCODINGS: dict[str, Encode] = {
    "mono8": lambda stamp, image: packed(stamp, image, "mono8"),
    "8UC1": lambda stamp, image: packed(stamp, image, "8UC1"),
    "mono16": lambda stamp, image: packed(stamp, deep(image), "mono16"),
    "mono16, big-endian": lambda stamp, image: packed(stamp, deep(image), "mono16", big=True),
    "rgb8": lambda stamp, image: packed(stamp, grey(image), "rgb8"),
    "bgr8": lambda stamp, image: packed(stamp, grey(image), "bgr8"),
    "rgba8": lambda stamp, image: packed(stamp, alpha(image), "rgba8"),
    "bgra8": lambda stamp, image: packed(stamp, alpha(image), "bgra8"),
    "yuv422": lambda stamp, image: packed(stamp, with_chroma(image, False), "yuv422"),
    "uyvy": lambda stamp, image: packed(stamp, with_chroma(image, False), "uyvy"),
    "yuv422_yuy2": lambda stamp, image: packed(stamp, with_chroma(image, True), "yuv422_yuy2"),
    "yuyv": lambda stamp, image: packed(stamp, with_chroma(image, True), "yuyv"),
    # A mosaic of a grey scene is the scene, whatever the pattern; that the patterns are told apart is tested in test_data_images.
    **{
        f"bayer_{pattern}8": (lambda stamp, image, name=f"bayer_{pattern}8": packed(stamp, image, name))
        for pattern in ("rggb", "bggr", "gbrg", "grbg")
    },
    "padded mono8": lambda stamp, image: packed(stamp, image, "mono8", padding=24),
    "padded bgr8": lambda stamp, image: packed(stamp, grey(image), "bgr8", padding=13),
    "padded mono16, big-endian": lambda stamp, image: packed(stamp, deep(image), "mono16", padding=6, big=True),
}


def test_every_encoding_gives_the_pose(raw: Bench) -> None:
    """Each encoding is shown until a pose of it has come; the node is not told of the change."""
    for name, encode in ENCODINGS.items():

        def encoded(_bench: Bench, index: int, stamp_ns: int, encode: Encode = encode) -> Sending:
            return [(0.0, side, encode(stamp_ns, view)) for side, view in zip(("left", "right"), views(index), strict=True)]

        raw.play_to_poses(f"of {name}", encoded)
        assert raw.values["state"] == "localised", name
    raw.judge()
    assert raw.number("dropped_unknown_encoding") == 0 and raw.number("dropped_bad_image") == 0


def showing(change: Callable[[int, np.ndarray], Image], side: str = "left") -> Callable[..., Sending]:
    """Frames of which one side is not as it should be."""

    def make(_bench: Bench, index: int, stamp_ns: int) -> Sending:
        images = dict(zip(("left", "right"), views(index), strict=True))
        return [(0.0, name, (change if name == side else message)(stamp_ns, image)) for name, image in images.items()]

    return make


REFUSED: dict[str, tuple[Encode, str, str]] = {
    "an encoding that nobody knows": (
        lambda stamp, image: packed(stamp, with_chroma(image, True), "nv21"),
        "dropped_unknown_encoding",
        "unknown image encoding",
    ),
    "depth instead of an image": (
        lambda stamp, image: packed(stamp, image.astype(np.float32), "32FC1"),
        "dropped_unknown_encoding",
        "is the encoding of a depth image",
    ),
    "cut off": (lambda stamp, image: message(stamp, image, data=bytes(1000)), "dropped_bad_image", "is it cut off?"),
    "empty": (lambda stamp, image: message(stamp, image, data=b""), "dropped_bad_image", "is it cut off?"),
    "a step below the bytes of a row": (
        lambda stamp, image: message(stamp, image, step=image.shape[1] - 1),
        "dropped_bad_image",
        "the message is wrong",
    ),
    "of no size": (lambda stamp, image: Image(header=header(stamp, "camera")), "dropped_wrong_size", "but camera_info describes"),
    "of another size": (
        lambda stamp, image: message(stamp, np.ascontiguousarray(image[:120])),
        "dropped_wrong_size",
        "use the camera_info of the same",
    ),
}


def test_damaged_images_are_refused_with_a_reason(raw: Bench) -> None:
    """On either side; between them the node finds its way again by itself."""
    for number, (name, (change, counter, reason)) in enumerate(REFUSED.items()):
        side = ("left", "right")[number % 2]
        before = raw.number(counter)
        raw.play(
            lambda counter=counter, before=before, reason=reason: (
                raw.number(counter) > before and reason in raw.problems.get("problem_bad_frame", "")
            ),
            f"the refusal of an image that is {name}",
            showing(change, side),
        )
    raw.judge()


def test_blank_images_are_no_pose(raw: Bench) -> None:
    """As of a covered camera; and pixels all white."""
    for value in (0, 255):
        covered = showing(lambda stamp, image, value=value: message(stamp, np.full_like(image, value)))
        raw.play(lambda: raw.values["reason"] == "BLANK_IMAGE", "the reason", covered)
    raw.judge()


def test_camera_info_with_nan_in_flight(raw: Bench) -> None:
    """It is refused, and so are the frames, until it is as before."""
    for value in (np.nan, np.inf):

        def spoil(info: CameraInfo, value: float = value) -> None:
            info.p[0] = value

        raw.camera.calibrate(change=spoil)
        reason = "holds values that are not numbers"
        raw.play(lambda reason=reason: reason in raw.problems.get("problem_bad_calibration", ""), "the reason")
        dropped, poses = raw.number("dropped_calibration_changed"), len(raw.poses)
        raw.play(lambda dropped=dropped: raw.number("dropped_calibration_changed") > dropped, "the refusal of frames")
        assert len(raw.poses) <= poses + 1, "one may have been under way"
        raw.camera.calibrate()
        raw.play(lambda: not raw.problems, "the end of it")
    raw.judge()


# --- compressed images


@pytest.fixture(scope="module")
def compressed_running(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    topics = ("left/image_rect/compressed", "right/image_rect/compressed")
    parameters = {"map": str(site), "camera.transport": "compressed"}
    with faults.bench(parameters, tmp_path_factory.mktemp("compressed"), CompressedImage, topics) as made:
        made.camera.calibrate()
        yield made


def files(kind: str, length: float = 1.0, format: str = "") -> Callable[..., Sending]:
    """Frames of compressed images, of which only a part comes."""

    def make(_bench: Bench, index: int, stamp_ns: int) -> Sending:
        sending: Sending = []
        for side, image in zip(("left", "right"), views(index), strict=True):
            data = cv2.imencode(f".{kind}", image)[1].tobytes()
            made = CompressedImage(header=header(stamp_ns, "camera"), format=format or f"mono8; {kind} compressed mono8")
            made.data = data[: int(length * len(data))]
            sending.append((0.0, side, made))
        return sending

    return make


def test_compressed_images_whole_and_cut_off(compressed_running: Bench) -> None:
    bench = compressed_running
    for kind, length, reason in (
        ("jpg", 0.5, "truncated JPEG"),
        ("png", 0.9, "truncated PNG"),
        ("jpg", 0.0, "is empty"),
        ("bmp", 1.0, "is neither JPEG nor PNG"),
    ):
        bench.play_to_poses(f"before {kind}", files("png" if kind == "png" else "jpg"))
        dropped = bench.number("dropped_bad_image")
        bench.play(
            lambda reason=reason, dropped=dropped: (
                reason in bench.problems.get("problem_bad_frame", "") and bench.number("dropped_bad_image") > dropped
            ),
            f"the reason of {kind}",
            files(kind, length),
        )
    bench.play_to_poses("in the end", files("jpg", format="jpeg"))
    bench.play(lambda: not bench.problems, "the end of it", files("jpg", format="jpeg"))
    assert bench.judge() > 0


# --- an RGB-D camera


@pytest.fixture(scope="module")
def rgbd_running(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    topics = ("rgb/image_rect", "depth/image_rect")
    parameters = {"map": str(site), "camera.type": "rgbd", "camera.baseline": samples.CAMERA.baseline}
    with faults.bench(parameters, tmp_path_factory.mktemp("rgbd"), Image, topics) as made:
        made.camera.calibrate(change=lambda info: info.p.__setitem__(5, np.nan))
        made.probe.wait(lambda: "holds values that are not numbers" in made.problems.get("problem_bad_calibration", ""), "it", 60.0)
        made.camera.calibrate()
        yield made


def seen(change: Callable[[int, np.ndarray], Image]) -> Callable[..., Sending]:
    """A grey image and its depth [m], as a message that is made of it."""

    def make(_bench: Bench, index: int, stamp_ns: int) -> Sending:
        image, depth = faults.depth_view(index)
        return [(0.0, "left", message(stamp_ns, image)), (0.0, "right", change(stamp_ns, depth))]

    return make


def millimetres(depth: np.ndarray) -> np.ndarray:
    return np.rint(1000.0 * depth).astype(np.uint16)


def holed(depth: np.ndarray) -> np.ndarray:
    """NaN, infinite, zero and negative in half of the pixels."""
    marked = depth.copy()
    draws = np.random.default_rng(5).random(depth.shape)
    for value, low in ((np.nan, 0.0), (np.inf, 0.2), (0.0, 0.3), (-1.0, 0.4)):
        marked[(draws >= low) & (draws < low + 0.1 + 0.1 * (low == 0.0))] = value
    return marked


DEPTHS: dict[str, Encode] = {
    "32FC1": lambda stamp, depth: packed(stamp, depth, "32FC1"),
    "32FC1, big-endian, padded": lambda stamp, depth: packed(stamp, depth, "32FC1", padding=8, big=True),
    "16UC1": lambda stamp, depth: packed(stamp, millimetres(depth), "16UC1"),
    "16UC1, big-endian, padded": lambda stamp, depth: packed(stamp, millimetres(depth), "16UC1", padding=10, big=True),
    "32FC1 with holes": lambda stamp, depth: packed(stamp, holed(depth), "32FC1"),
}


def test_depth_in_every_encoding_with_holes_and_none(rgbd_running: Bench) -> None:
    bench = rgbd_running
    for name, encode in DEPTHS.items():
        bench.play_to_poses(f"of {name}", seen(encode))
    assert bench.judge() > 0
    nothing = seen(lambda stamp, depth: packed(stamp, np.full_like(depth, np.nan), "32FC1"))
    bench.play(lambda: bench.values["reason"] == "TOO_FEW_STEREO_POINTS", "the reason of no depth", nothing)
    image = seen(lambda stamp, depth: packed(stamp, millimetres(depth).astype(np.uint8), "mono8"))
    bench.play(lambda: "is no encoding of depth" in bench.problems.get("problem_bad_frame", ""), "the reason of no depth", image)
    bench.play_to_poses("in the end", seen(DEPTHS["16UC1"]))
    bench.play(lambda: not bench.problems, "the end of it", seen(DEPTHS["16UC1"]))
    assert bench.judge() > 0
