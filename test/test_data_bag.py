from __future__ import annotations

import gc
import struct
import threading
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_samples import KINDS, LEFT, RIGHT, SECOND, BagBuilder, one_pair, stereo_bag
from data_samples import CAMERA, metres, texture

from vloc_ros.data import BagReader, open_recording
from vloc_ros.data.bag_topics import CAMERA_INFO, COMPRESSED, IMAGE, choose_topics
from vloc_ros.errors import DataError
from vloc_ros.geometry import se3


@pytest.mark.parametrize("kind", KINDS)
def test_stereo_of_every_kind_of_bag(tmp_path: Path, kind: str) -> None:
    reader = open_recording(stereo_bag(kind).write(tmp_path / "recording"))
    assert isinstance(reader, BagReader)
    np.testing.assert_array_equal(reader.stamps_ns, 100 * SECOND + np.arange(4) * (SECOND // 10))
    assert reader.camera.baseline == pytest.approx(CAMERA.baseline) and reader.camera.fx == CAMERA.fx
    for index in (3, 0, 2, 1, 1, 3):
        frame = reader.frame(index)
        assert frame.right is not None and frame.stamp_ns == reader.stamps_ns[index]
        np.testing.assert_array_equal(frame.left, texture(2 * index))
        np.testing.assert_array_equal(frame.right, texture(2 * index + 1))
    assert reader.ground_truth is None
    np.testing.assert_array_equal(reader.base_T_camera, se3.BASE_T_OPTICAL)


@pytest.mark.parametrize("kind", KINDS)
def test_many_messages_of_one_time_and_crosswise_pairs(tmp_path: Path, kind: str) -> None:
    """All left images are recorded before all right ones, at one time each: positions, not times, must tell them apart."""
    builder = BagBuilder(kind)
    builder.stereo_infos()
    for k in range(40):
        builder.image(LEFT, SECOND * (k + 1), texture(2 * k), "mono8", log_ns=7)
    for k in range(40):
        builder.image(RIGHT, SECOND * (k + 1), texture(2 * k + 1), "mono8", log_ns=8)
    reader = open_recording(builder.write(tmp_path / "recording"))
    for index in (*range(40), 5, 39, 0):
        frame = reader.frame(index)
        assert frame.right is not None
        np.testing.assert_array_equal(frame.left, texture(2 * index))
        np.testing.assert_array_equal(frame.right, texture(2 * index + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bag_file_without_its_folder(tmp_path: Path, kind: str) -> None:
    path = stereo_bag(kind).write(tmp_path / "recording")
    file = path if path.is_file() else next(child for child in path.iterdir() if child.suffix == f".{kind}")
    lone = tmp_path / "elsewhere" / file.name
    lone.parent.mkdir()
    file.rename(lone)
    assert len(open_recording(lone)) == 4
    assert len(open_recording(lone.parent)) == 4


def test_a_bag_of_ros1_in_parts(tmp_path: Path) -> None:
    whole = stereo_bag("bag", 6)
    for part in range(2):
        builder = BagBuilder(
            "bag", [m for m in whole.messages if m[2] == 5 or (m[2] >= 10 * SECOND + 3 * SECOND // 10) == bool(part)]
        )
        builder.write(tmp_path / f"part_{part}")
    reader = open_recording(tmp_path)
    assert len(reader) == 6
    np.testing.assert_array_equal(reader.frame(5).left, texture(10))


def _without_index(path: Path, out: Path) -> Path:
    """The mcap of a folder as a recorder writes it that keeps no chunks and no index (rosbag2's fastwrite)."""
    data = next(path.glob("*.mcap")).read_bytes()
    records, position, end = [], 8, len(data) - 8
    while position < end:
        kind, length = data[position], struct.unpack_from("<Q", data, position + 1)[0]
        body = data[position + 9 : position + 9 + length]
        position += 9 + length
        if kind == 0x0F:
            break
        if kind == 0x06:
            compression = struct.unpack_from("<I", body, 28)[0]
            assert compression == 0
            records.append(body[40:])
        elif kind in (0x01, 0x03, 0x04):
            records.append(data[position - 9 - length : position])
    magic = b"\x89MCAP0\r\n"
    closing = b"\x0f" + struct.pack("<QI", 4, 0) + b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0)
    out.write_bytes(magic + b"".join(records) + closing + magic)
    return out


def test_an_mcap_without_index_is_read_once_when_going_forward(tmp_path: Path) -> None:
    path = _without_index(stereo_bag("mcap", 30).write(tmp_path / "recording"), tmp_path / "plain.mcap")
    reader = open_recording(path)
    assert isinstance(reader, BagReader)
    started: list[int | None] = []
    messages = reader._source._reader.messages

    def counted(*arguments: Any, **named: Any) -> Any:
        started.append(named.get("start"))
        return messages(*arguments, **named)

    reader._source._reader.messages = counted  # type: ignore[method-assign]
    for index, frame in enumerate(reader):
        np.testing.assert_array_equal(frame.left, texture(2 * index))
    assert started == []  # Opening left the cursor at the first frame.
    np.testing.assert_array_equal(reader.frame(3).left, texture(6))
    assert len(started) == 1


def test_reading_from_several_threads(tmp_path: Path) -> None:
    for kind in KINDS:
        reader = open_recording(stereo_bag(kind, 10).write(tmp_path / kind))
        wrong: list[int] = []

        def read(order: list[int], reader: Any = reader, wrong: list[int] = wrong) -> None:
            wrong.extend(index for index in order if not np.array_equal(reader.frame(index).left, texture(2 * index)))

        threads = [threading.Thread(target=read, args=(list(np.random.default_rng(seed).permutation(10)),)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


RGB = texture(3, colour=True)


@pytest.mark.parametrize("kind", ["bag", "mcap"])
@pytest.mark.parametrize(
    ("encoding", "stored", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[:, :, ::-1], RGB),
        ("bgra8", np.dstack([RGB[:, :, ::-1], RGB[:, :, 0]]), RGB),
        ("mono16", (RGB[:, :, 0].astype("<u2") * 257), RGB[:, :, 0]),
    ],
)
def test_encodings(tmp_path: Path, kind: str, encoding: str, stored: np.ndarray, expected: np.ndarray) -> None:
    reader = open_recording(one_pair(BagBuilder(kind), stored, encoding).write(tmp_path / "recording"))
    np.testing.assert_array_equal(reader.frame(0).left, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_padded_rows(tmp_path: Path, kind: str) -> None:
    image = texture(5)
    padded = np.hstack([image, np.zeros((48, 13), dtype=np.uint8)])
    reader = open_recording(one_pair(BagBuilder(kind), padded, "mono8", width=64).write(tmp_path / "recording"))
    np.testing.assert_array_equal(reader.frame(0).left, image)


@pytest.mark.parametrize("kind", KINDS)
def test_compressed_images(tmp_path: Path, kind: str) -> None:
    builder = BagBuilder(kind)
    builder.stereo_infos()
    for number, topic in enumerate((LEFT, RIGHT)):
        data = cv2.imencode(".png", np.ascontiguousarray(texture(number, True)[:, :, ::-1]))[1].reshape(-1)
        builder.compressed(f"{topic}/compressed", SECOND, "rgb8; png compressed bgr8", data)
    frame = open_recording(builder.write(tmp_path / "recording")).frame(0)
    assert frame.right is not None
    np.testing.assert_array_equal(frame.left, texture(0, True))
    np.testing.assert_array_equal(frame.right, texture(1, True))


@pytest.mark.parametrize("kind", ["bag", "db3"])
@pytest.mark.parametrize(
    ("encoding", "stored", "changes"),
    [
        ("32FC1", metres(1), {}),
        ("32FC1", metres(1).astype(">f4"), {"is_bigendian": 1}),
        ("16UC1", np.round(metres(1) * 1000).astype("<u2"), {}),
        ("mono16", np.round(metres(1) * 1000).astype("<u2"), {}),
    ],
)
def test_colour_and_aligned_depth(tmp_path: Path, kind: str, encoding: str, stored: np.ndarray, changes: dict[str, Any]) -> None:
    builder = BagBuilder(kind)
    builder.info("/camera/color/camera_info", CAMERA.projection_matrices[0])
    builder.image("/camera/color/image_raw", SECOND, RGB, "rgb8")
    builder.image("/camera/depth/image_rect_raw", SECOND, np.zeros((48, 64), dtype="<u2"), "16UC1")
    builder.image("/camera/aligned_depth_to_color/image_raw", SECOND + 2_000_000, stored, encoding, **changes)
    reader = open_recording(builder.write(tmp_path / "recording"))
    frame = reader.frame(0)
    assert frame.depth is not None and frame.right is None
    np.testing.assert_array_equal(frame.left, RGB)
    np.testing.assert_allclose(frame.depth, metres(1), atol=1e-6)
    assert (reader.camera.fx, reader.camera.baseline) == (CAMERA.fx, 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_within_the_slop(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    builder = stereo_bag(kind, right_late_ns=3_000_000)
    builder.image(LEFT, 99 * SECOND, texture(50), "mono8")
    path = builder.write(tmp_path / "recording")
    reader = open_recording(path)
    assert len(reader) == 4
    assert "4 pairs; 1 images have no partner within 5 ms" in caplog.text
    with pytest.raises(DataError, match=r"none of the 5 messages of .*left.* and 4 of .*right.* within 2 ms"):
        BagReader(path, slop_ns=2_000_000)


def test_stamps_that_the_driver_left_empty(tmp_path: Path) -> None:
    builder = BagBuilder("mcap")
    builder.stereo_infos()
    for k in range(3):
        builder.image(LEFT, 0, texture(2 * k), "mono8", log_ns=SECOND * (k + 1))
        builder.image(RIGHT, 0, texture(2 * k + 1), "mono8", log_ns=SECOND * (k + 1) + 1000)
    np.testing.assert_array_equal(open_recording(builder.write(tmp_path / "r")).stamps_ns, SECOND * np.arange(1, 4))


def test_raw_images_are_rectified_by_their_camera_info(tmp_path: Path) -> None:
    """A scene at infinity, seen by a turned and distorted camera, appears where the rectified camera sees it."""
    K = np.array([[52.0, 0, 33.0], [0, 51.0, 23.0], [0, 0, 1]])
    D = np.array([-0.2, 0.03, 0.001, -0.001, 0.0])
    turn = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
    v, u = np.mgrid[0:48, 0:64].astype(np.float32)
    # The pixel of the rectified image is written into each pixel of the raw one.
    raw = cv2.undistortPoints(np.stack([u.ravel(), v.ravel()], axis=1)[:, None], K, D, R=turn, P=CAMERA.matrix).reshape(48, 64, 2)
    builder = BagBuilder("mcap")
    P_left, P_right = CAMERA.projection_matrices
    for side, P in (("left", P_left), ("right", P_right)):
        builder.info(f"/stereo/{side}/camera_info", P, k=K.reshape(9), d=D, r=turn.reshape(9))
        builder.image(f"/stereo/{side}/image_raw", SECOND, np.clip(3.0 * raw[:, :, 0] + 20, 0, 255).astype(np.uint8), "mono8")
    path = builder.write(tmp_path / "recording")
    frame = BagReader(path).frame(0)
    assert frame.right is not None
    for image in (frame.left, frame.right):
        error = image[6:-6, 6:-6].astype(float) - (3.0 * u + 20)[6:-6, 6:-6]
        assert np.abs(error).max() < 2.0
    untouched = BagReader(path, rectified=True).frame(0).left
    assert np.abs(untouched.astype(float) - (3.0 * u + 20)).max() > 8.0


def test_named_topics_win_over_guesses(tmp_path: Path) -> None:
    builder = stereo_bag("mcap")
    P_left, P_right = CAMERA.projection_matrices
    builder.image("/eyes/a", SECOND, texture(70), "mono8")
    builder.image("/eyes/b", SECOND, texture(71), "mono8")
    builder.info("/calibration/a", P_left)
    builder.info("/calibration/b", P_right)
    path = builder.write(tmp_path / "recording")
    names = {"left": "/eyes/a", "right": "/eyes/b", "left_info": "/calibration/a", "right_info": "/calibration/b"}
    reader = BagReader(path, topics=names)
    np.testing.assert_array_equal(reader.frame(0).left, texture(70))
    with pytest.raises(DataError, match=r"no camera_info is beside '/eyes/a'"):
        BagReader(path, topics={"left": "/eyes/a", "right": "/eyes/b"})
    with pytest.raises(DataError, match=r"has no topic '/nose'; the bag holds: /calibration/a \(CameraInfo\)"):
        BagReader(path, topics={"left": "/nose"})
    with pytest.raises(DataError, match="unknown role 'middle' of a topic; known: left"):
        BagReader(path, topics={"middle": "/eyes/a"})
    with pytest.raises(DataError, match="holds sensor_msgs/msg/CameraInfo, not images"):
        BagReader(path, topics={**names, "left": "/calibration/a"})
    with pytest.raises(DataError, match="holds sensor_msgs/msg/Image, not camera_info"):
        BagReader(path, topics={**names, "right_info": "/eyes/a"})
    with pytest.raises(DataError, match="not both"):
        BagReader(path, topics={"right": RIGHT, "depth": RIGHT})


def _types(*images: str, compressed: tuple[str, ...] = (), infos: tuple[str, ...] = ()) -> dict[str, str]:
    return dict.fromkeys(images, IMAGE) | dict.fromkeys(compressed, COMPRESSED) | dict.fromkeys(infos, CAMERA_INFO)


def test_guesses_for_the_drivers_of_common_cameras() -> None:
    realsense = _types(
        "/camera/camera/infra1/image_rect_raw", "/camera/camera/infra2/image_rect_raw", "/camera/camera/color/image_raw",
        "/camera/camera/depth/image_rect_raw", "/camera/camera/aligned_depth_to_color/image_raw",
        infos=tuple(f"/camera/camera/{name}/camera_info" for name in ("infra1", "infra2", "color", "depth")),
    )  # fmt: skip
    chosen = choose_topics(realsense, {})
    assert (chosen.left, chosen.right) == ("/camera/camera/infra1/image_rect_raw", "/camera/camera/infra2/image_rect_raw")
    assert chosen.right_info == "/camera/camera/infra2/camera_info"
    only_depth = {topic: kind for topic, kind in realsense.items() if "infra" not in topic}
    chosen = choose_topics(only_depth, {})
    assert (chosen.left, chosen.depth) == ("/camera/camera/color/image_raw", "/camera/camera/aligned_depth_to_color/image_raw")
    assert (
        choose_topics(realsense, {"depth": "/camera/camera/aligned_depth_to_color/image_raw"}).left
        == "/camera/camera/color/image_raw"
    )
    zed = _types(
        "/zed/zed_node/left/image_rect_color", "/zed/zed_node/right/image_rect_color", "/zed/zed_node/left_raw/image_raw_color",
        "/zed/zed_node/right_raw/image_raw_color", "/zed/zed_node/depth/depth_registered",
        compressed=("/zed/zed_node/left/image_rect_color/compressed", "/zed/zed_node/right/image_rect_color/compressed"),
        infos=tuple(f"/zed/zed_node/{name}/camera_info" for name in ("left", "right", "left_raw", "right_raw", "depth")),
    )  # fmt: skip
    chosen = choose_topics(zed, {})
    assert (chosen.left, chosen.left_info) == ("/zed/zed_node/left/image_rect_color", "/zed/zed_node/left/camera_info")
    tum = _types("/camera/rgb/image_color", "/camera/depth/image", infos=("/camera/rgb/camera_info", "/camera/depth/camera_info"))
    assert choose_topics(tum, {}).depth == "/camera/depth/image"


@pytest.mark.parametrize("kind", ["bag", "db3", "mcap"])
def test_a_bag_that_nobody_closes_closes_its_file_whatever_the_collector_meets_first(tmp_path: Path, kind: str) -> None:
    reader = open_recording(stereo_bag(kind, 3).write(tmp_path / "recording"))
    reader.frame(0)
    reader.itself = reader  # type: ignore[attr-defined]  # A cycle: the collector may finalise the file before its reader.
    before = _open_files(tmp_path)
    del reader
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        gc.collect()
    assert before > 0 and _open_files(tmp_path) == 0 and not complaints


def _open_files(folder: Path) -> int:
    links = (_target(link) for link in Path("/proc/self/fd").iterdir())
    return sum(target.startswith(str(folder)) for target in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""
