"""What tests of sources of training pairs share: pictures, a short drive, and what a pair must be."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from vloc_ros.data.frame import Image, to_grey
from vloc_ros.data.reader import Trajectory
from vloc_ros.geometry import se3
from vloc_ros.simulation import Layout, RouteShape, SimulatedRun, Site, StereoRig
from vloc_ros.training.pairs import TrainingPair
from vloc_ros.training.sources import FIRST_TRAINING_SEED

SITE = Site("tiny", FIRST_TRAINING_SEED, 60.0, RouteShape.LOOP, Layout.MIXED)


@cache
def drive() -> SimulatedRun:
    """Two metres of the site, half a metre apart."""
    return SimulatedRun(SITE.build(), step_m=0.5, stop_m=2.0, rig=StereoRig().scaled(0.5), detail="fast")


class WithDepth(SimulatedRun):
    """The same drive with a depth camera."""

    def __init__(self, run: SimulatedRun, poses: bool = True) -> None:
        self.__dict__.update(run.__dict__)
        self._has_poses = poses

    def frame(self, index: int):  # type: ignore[no-untyped-def]
        return replace(super().frame(index), right=None, depth=self.depth(index))

    @property
    def ground_truth(self) -> Trajectory | None:  # type: ignore[override]
        return super().ground_truth if self._has_poses else None


def textured(seed: int, width: int = 200, height: int = 150, colours: int = 3) -> Image:
    """A smooth random picture: its grey levels tell positions apart, and interpolating between its pixels is right."""
    noise = np.random.default_rng(seed).random((height, width, colours)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.asarray(20.0 + 210.0 * smooth, dtype=np.uint8).reshape(height, width, colours).squeeze()


def same(a: TrainingPair, b: TrainingPair) -> bool:
    """Whether two pairs are equal to the last bit."""
    images = np.array_equal(a.image_a, b.image_a) and np.array_equal(a.image_b, b.image_b)
    return images and np.array_equal(a.warp, b.warp, equal_nan=True) and a.tag == b.tag


def similarity(pair: TrainingPair) -> float:
    """Correlation of the grey levels of a with those of b where the warp says that they show the same."""
    warp = pair.warp.astype(np.float32)
    seen = cv2.remap(to_grey(pair.image_b), warp[..., 0], warp[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    known = np.isfinite(warp[..., 0])
    return float(np.corrcoef(to_grey(pair.image_a)[known], seen[known])[0, 1])


def check_stereo(pair: TrainingPair) -> None:
    """Where there is stereo truth, the warp is what the camera makes of disparity and pose."""
    stereo = pair.stereo
    if stereo is None:
        return
    rows, columns = np.nonzero(np.isfinite(pair.warp[..., 0]))
    points = stereo.camera.back_project(np.stack([columns, rows], axis=1).astype(np.float64), stereo.disparity_a[rows, columns])
    projected = stereo.camera.project(se3.transform(stereo.b_T_a, points))
    assert np.abs(projected[:, :2] - pair.warp[rows, columns]).max() <= 0.01
    nearest = np.rint(pair.warp[rows, columns]).astype(int)
    error = np.abs(stereo.disparity_b[nearest[:, 1], nearest[:, 0]] - projected[:, 2])
    assert np.nanmedian(error) <= 0.25
