"""Small recordings with known contents, for the tests of readers and writers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_ros.data import DatasetReader, StereoFrame, Trajectory
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera

DEVELOPMENT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CAMERA = StereoCamera(64, 48, 50.25, 49.75, 31.5, 24.125, 0.12)


def development_data(name: str) -> Path:
    """A folder of the development data; skips the test where there is none."""
    path = DEVELOPMENT_DATA / name
    if not path.exists():
        pytest.skip(f"the development data {name} is not beside the project")
    return path


def texture(seed: int, colour: bool = False, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A (H, W) or (H, W, 3) random uint8 image."""
    shape = (size[1], size[0], 3) if colour else (size[1], size[0])
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class SyntheticReader(DatasetReader):
    """Random images along a curved path; truth at twice the rate of the frames, base and camera tilted against each other."""

    name = "synthetic"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return False

    def __init__(self, count: int = 5, *, colour: bool = True, rgbd: bool = False, with_truth: bool = True) -> None:
        self.count, self.colour, self.rgbd, self.with_truth = count, colour, rgbd, with_truth
        self.all_stamps = 1_700_000_000_123_456_789 + np.arange(2 * count - 1, dtype=np.int64) * 50_000_017

    @property
    def camera(self) -> StereoCamera:
        return CAMERA

    @property
    def base_T_camera(self) -> np.ndarray:
        tilted = se3.from_rotation_translation(
            Rotation.from_euler("xyz", [0.02, 0.3, -0.05]).as_matrix(), np.array([0.2, 0.05, 0.9])
        )
        return tilted @ se3.BASE_T_OPTICAL

    @property
    def stamps_ns(self) -> np.ndarray:
        return self.all_stamps[::2]

    @property
    def ground_truth(self) -> Trajectory | None:
        if not self.with_truth:
            return None
        poses = [
            se3.from_rotation_translation(
                Rotation.from_euler("xyz", [0.01 * k, -0.02 * k, 0.1 * k]).as_matrix(), np.array([0.3 * k, 0.02 * k * k, 1.0])
            )
            @ self.base_T_camera
            for k in range(len(self.all_stamps))
        ]
        return Trajectory(self.all_stamps, np.array(poses))

    @property
    def truth_at_frames(self) -> np.ndarray:
        truth = self.ground_truth
        assert truth is not None
        return truth.poses[::2]

    def frame(self, index: int) -> StereoFrame:
        left, stamp = texture(2 * index, self.colour), int(self.stamps_ns[index])
        if self.rgbd:
            return StereoFrame(stamp, left, depth=metres(index))
        return StereoFrame(stamp, left, right=texture(2 * index + 1, self.colour))


class StereoWithDepth(SyntheticReader):
    """A stereo recording that also knows the depth, as the simulator does."""

    def depth(self, index: int) -> np.ndarray:
        return metres(index)


def metres(seed: int) -> np.ndarray:
    """(48, 64) float32 depth: whole millimetres up to 10 m, with some pixels unknown."""
    steps = np.random.default_rng(seed).integers(0, 10_000, (48, 64))
    steps[steps < 500] = 0
    return (steps / np.float32(1000.0)).astype(np.float32)


def assert_poses_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-7) -> None:
    """Compare poses element by element, which bounds metres and radians alike."""
    np.testing.assert_allclose(actual, expected, atol=tolerance, rtol=0)
