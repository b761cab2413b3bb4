"""What the published training of U is made of, with its numbers, and the choices that depart from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from vloc_ros.config import param


@unique
class Targets(Enum):
    """What a key point of the first image is matched to."""

    DENSE = "dense"
    """Every pixel of the second image."""
    SPARSE = "sparse"
    """The key points of the second image: a matrix of similarities that is 256 times smaller."""


@unique
class Space(Enum):
    """Where a matched point is compared with the true one."""

    PLANE = "plane"
    """(x, y) on the ground under the robot, moved by x, y and heading alone [m]."""
    POINT = "3d"
    """The point in the frame of the camera [m]."""
    PIXEL = "2d"
    """Its position in the image [px]."""


@unique
class PoseLoss(Enum):
    """How an estimated pose is compared with the true one."""

    PLANE = "plane"
    """x, y and heading of the logarithm of their difference, each with its weight."""
    FULL = "full"
    """All elements of translation and rotation matrix."""


@dataclass(frozen=True)
class PublishedSettings:
    """Training of U with matches that a gradient can move. The defaults are the published ones.

    Defects of the published program are put right by default: ``published_sampling``, ``published_planar_pose`` and
    ``first_pair_decides`` bring them back.
    """

    window: int = param(16, "side of the windows with one key point each", unit="px", min=2, max=256)
    detector_temperature: float = param(1.0, "of the softmax over a window", min=0.001, max=100.0)
    match_temperature: float = param(0.01, "of the softmax over the targets of a match", min=0.0001, max=10.0)
    targets: Targets = param(Targets.DENSE, "key points are matched to: dense (all pixels) or sparse (key points)")
    symmetric: bool = param(False, "match the second image to the first as well")
    gate: Space = param(Space.PLANE, "inliers are told from the true pose in: plane, 3d or 2d")
    gate_plane: float = param(3.0, "largest error of an inlier on the ground", unit="m", min=0.01, max=100.0)
    gate_3d: float = param(4.0, "largest error of an inlier in space", unit="m", min=0.01, max=100.0)
    gate_2d: float = param(50.0, "largest error of an inlier in the image", unit="px", min=0.5, max=1000.0)
    min_inliers: int = param(6, "a pair with fewer inliers has no pose", min=3, max=1000)
    first_pose_epoch: int = param(4, "epoch, from 0, that adds the loss of the pose to that of the key points", min=0, max=10000)
    keypoint_loss: Space = param(Space.PLANE, "key points are compared in: plane, 3d or 2d")
    keypoint_plane: float = param(2.5, "weight of key points on the ground", min=0.0, max=1e4)
    keypoint_3d: float = param(1.0, "weight of key points in space", min=0.0, max=1e4)
    keypoint_2d: float = param(0.01, "weight of key points in the image", min=0.0, max=1e4)
    pose_loss: PoseLoss = param(PoseLoss.PLANE, "poses are compared by: plane (x, y, heading) or full")
    translation_x: float = param(1.0, "weight of the pose along the path", min=0.0, max=1e4)
    translation_y: float = param(50.0, "weight of the pose across the path", min=0.0, max=1e4)
    rotation_heading: float = param(10.0, "weight of the heading", min=0.0, max=1e4)
    translation: float = param(1.0, "weight of the translation in a full comparison", min=0.0, max=1e4)
    rotation: float = param(10.0, "weight of the rotation in a full comparison", min=0.0, max=1e4)
    published_sampling: bool = param(False, "sample descriptors and scores up to half a pixel beside the key point, as published")
    published_planar_pose: bool = param(False, "take x, y and heading from the logarithm of the true pose, as published")
    first_pair_decides: bool = param(False, "drop the batch when its first pair has too few inliers, as published")
