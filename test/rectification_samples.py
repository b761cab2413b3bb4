"""A stereo rig with a known rectification error in scenes of known shape: as points, and rendered."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.reader import DatasetReader
from vloc_ros.errors import DataError
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.rectification import RectificationCorrection
from vloc_ros.geometry.rectification_fit import StereoTracks

Array = NDArray[np.float64]
CAMERA = StereoCamera(480, 320, 360.0, 360.0, 236.0, 164.0, 0.25)
ERROR = RectificationCorrection(pitch=0.0012, yaw=-0.003, roll=0.002, scale=0.001, shift_x=2.1, radial=0.002, p1=-0.001, p2=0.0015)
"""Up to 2.4 px on the camera of the samples, in rows and in disparities."""


def largest_difference(camera: StereoCamera, a: RectificationCorrection, b: RectificationCorrection) -> float:
    """Of the displacements over the image [px]."""
    columns, rows = np.linspace(0.0, camera.width - 1.0, 21), np.linspace(0.0, camera.height - 1.0, 21)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    return float(np.abs(a.shift(camera, grid) - b.shift(camera, grid)).max())


def drive(rng: np.random.Generator, metres: float) -> Array:
    """(4, 4) after_T_before of a robot that drives ``metres`` ahead and turns and sways a little."""
    return se3.exp(np.concatenate([rng.normal(0.0, 0.02, 2), [-metres], rng.normal(0.0, 0.008, 3)]))


def point_tracks(
    camera: StereoCamera,
    error: RectificationCorrection,
    rng: np.random.Generator,
    after_T_before: Array,
    *,
    depth: tuple[float, float] = (2.0, 40.0),
    count: int = 250,
    noise_px: float = 0.15,
    outliers: float = 0.1,
) -> StereoTracks:
    """Points anywhere in the view at log-uniform depths, recorded by a rig with a rectification error; some are mismatched."""
    z = np.exp(rng.uniform(*np.log(depth), 6 * count))
    pixels = rng.uniform([0.0, 0.0], [camera.width - 1.0, camera.height - 1.0], (6 * count, 2))
    before = camera.back_project(pixels, camera.disparity_of_depth(z))
    views = [_recorded(camera, error, points) for points in (before, se3.transform(after_T_before, before))]
    seen = np.all([camera.contains(pixels) for view in views for pixels in view], axis=0)
    sides = [pixels[seen][:count] + rng.normal(0.0, noise_px, (min(count, int(seen.sum())), 2)) for v in views for pixels in v]
    for pixels in sides[1:]:
        wrong = rng.random(len(pixels)) < outliers / 3.0
        pixels[wrong] += rng.uniform(-12.0, 12.0, (int(wrong.sum()), 2))
    return StereoTracks(*sides, np.concatenate([sides[0], sides[2]]), np.concatenate([sides[1], sides[3]]))


def _recorded(camera: StereoCamera, error: RectificationCorrection, points: Array) -> tuple[Array, Array]:
    projected = camera.project(points)
    left = projected[:, :2]
    right = left - np.column_stack([projected[:, 2], np.zeros(len(left))])
    return left, right + error.shift(camera, right)


class BoardRoom(DatasetReader):
    """A drive towards textured boards at 3 to 40 m, ray-cast on reading, through a right camera with a rectification error."""

    name: ClassVar[str] = "boards"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return False

    def __init__(self, error: RectificationCorrection, frames: int = 9, step_m: float = 0.35, damaged: int | None = None) -> None:
        self._error, self._frames, self._step_m, self._damaged = error, frames, step_m, damaged

    @property
    def camera(self) -> StereoCamera:
        return CAMERA

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        return np.arange(self._frames, dtype=np.int64) * 100_000_000

    def frame(self, index: int) -> StereoFrame:
        if index == self._damaged:
            raise DataError(f"image {index} is damaged")
        camera_T_world = _camera_T_world(self._step_m, index)
        return StereoFrame(
            int(self.stamps_ns[index]), _left_image(self._step_m, index), right=_right_image(self._error, camera_T_world.tobytes())
        )


def _camera_T_world(step_m: float, index: int) -> Array:
    motion = drive(np.random.default_rng(7), step_m) if step_m else np.eye(4)
    return np.linalg.matrix_power(motion, index)


@lru_cache(maxsize=64)  # tests look at the same drive again and again
def _left_image(step_m: float, index: int) -> NDArray[np.uint8]:
    return _render(_camera_T_world(step_m, index), _grid())


@lru_cache(maxsize=64)
def _right_image(error: RectificationCorrection, camera_T_world: bytes) -> NDArray[np.uint8]:
    right_T_left = se3.from_rotation_translation(np.eye(3), np.array([-CAMERA.baseline, 0.0, 0.0]))
    return _render(right_T_left @ np.frombuffer(camera_T_world).reshape(4, 4), error.ideal(CAMERA, _grid()))


def _grid() -> Array:
    return np.stack(np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height)), axis=-1).reshape(-1, 2).astype(np.float64)


def _render(camera_T_world: Array, pixels: Array) -> NDArray[np.uint8]:
    """The view along the (H * W, 2) pixels of an ideal camera."""
    world_T_camera = se3.inverse(camera_T_world)
    rays = np.column_stack([(pixels - [CAMERA.cx, CAMERA.cy]) / [CAMERA.fx, CAMERA.fy], np.ones(len(pixels))])
    rays = (rays @ world_T_camera[:3, :3].T).reshape(CAMERA.height, CAMERA.width, 3)
    image = np.full((CAMERA.height, CAMERA.width), 90.0, dtype=np.float32)
    for board in _boards():  # from far to near
        board.paint(image, world_T_camera[:3, 3], rays)
    return np.rint(np.clip(image, 0.0, 255.0)).astype(np.uint8)


@lru_cache(maxsize=1)
def _boards() -> list[_Board]:
    rng = np.random.default_rng(7)
    return [_Board(rng, depth) for depth in (40.0, 20.0, 14.0, 10.0, 8.0, 6.5, 5.5, 5.0)]


class _Board:
    """A slanted rectangle with a random texture whose grain is about two pixels wide when seen from the start."""

    def __init__(self, rng: np.random.Generator, depth: float) -> None:
        size = 1024 if depth >= 40.0 else int(rng.integers(60, 130))
        texture = sum(
            cv2.resize(rng.normal(0.0, 1.0, (size // s, size // s)), (size, size), interpolation=cv2.INTER_CUBIC) for s in (2, 4, 8)
        )
        self._texture = (128.0 + 38.0 * np.asarray(texture)).astype(np.float32)
        self._grain = depth / CAMERA.fx
        spread = 0.0 if depth >= 40.0 else 0.42
        u, v = rng.uniform(-spread, spread), rng.uniform(-spread, spread) * 0.7
        self._centre = depth * np.array([u, v, 1.0])
        slant = se3.exp(np.concatenate([np.zeros(3), rng.normal(0.0, 0.25, 3)]))[:3, :3]
        self._right, self._down, self._normal = slant.T

    def paint(self, image: NDArray[np.float32], origin: Array, rays: Array) -> None:
        """Draw what the (H, W, 3) rays from an origin, all in the world frame, see of it."""
        axes = np.stack([self._right, self._down, self._normal], axis=1)
        start, along = (origin - self._centre) @ axes, rays @ axes
        if start[2] >= 0.0:
            return  # the camera has driven past it
        # Where the ray meets the plane: start + t along, whose third coordinate vanishes; t > 0 means in front.
        t = -start[2] / np.maximum(along[..., 2], 1e-6)
        middle = (self._texture.shape[0] - 1) / 2.0
        column, row = ((start[k] + t * along[..., k]) / self._grain + middle for k in (0, 1))
        inside = (along[..., 2] > 1e-6) & (np.abs(column - middle) < middle) & (np.abs(row - middle) < middle)
        seen = cv2.remap(self._texture, column.astype(np.float32), row.astype(np.float32), cv2.INTER_CUBIC)
        image[inside] = seen[inside]


class Still(BoardRoom):
    """The same frame again and again."""

    def __init__(self, frame: StereoFrame) -> None:
        super().__init__(RectificationCorrection(), frames=12)
        self._frame = frame

    def frame(self, index: int) -> StereoFrame:
        return self._frame


def blank() -> NDArray[np.uint8]:
    """A black image of the samples' camera."""
    return np.zeros((CAMERA.height, CAMERA.width), dtype=np.uint8)


def alignment(ideal: NDArray[np.uint8], other: NDArray[np.uint8]) -> Array:
    """(N, 2) displacements [px] of corners of one image in another that is nearly equal, away from the border."""
    corners = cv2.goodFeaturesToTrack(ideal[12:-12, 12:-12], 500, 0.02, 8) + np.float32(12.0)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(ideal, other, corners, None, winSize=(15, 15), maxLevel=1)
    return (moved - corners).reshape(-1, 2)[found.ravel() == 1]
