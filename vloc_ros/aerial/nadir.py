"""A photo as a camera that looks straight down would have taken it, turned and scaled as the map is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.fix import AerialReject
from vloc_ros.aerial.photo import Lens, Photo, Tilt
from vloc_ros.data.frame import Image

Array = NDArray[np.float64]
_FORWARD_RIGHT_DOWN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""From an optical frame that looks down (right, back, down) to an airframe whose nose is up in the image."""
_STEEPEST = 0.17
"""Cosine to straight down of the rays that are kept at least: 80 degrees, where the ground of a pixel is 33 times as large."""


@dataclass(frozen=True, slots=True)
class NadirView:
    """A photo on level ground, as seen from straight above.

    Attributes:
        image: (H, W) grey or (H, W, 3) RGB; what the photo does not show is filled by reflection.
        valid: (H, W) where the photo shows it.
        view_H_photo: (3, 3) homography from pixels of the photo to those of the view.
        nadir: (2,) pixel straight below the camera.
        centre: (2,) pixel of the middle of the photo.
        scale: pixels of the view to one of an untilted photo.
        turned_deg: how far it is turned, clockwise.
    """

    image: Image
    valid: NDArray[np.bool_]
    view_H_photo: Array
    nadir: Array
    centre: Array
    scale: float
    turned_deg: float

    def of_photo(self, pixels: Array) -> Array:
        """(N, 2) pixels of the view for (N, 2) pixels of the photo."""
        return apply(self.view_H_photo, pixels)


def apply(homography: Array, points: Array) -> Array:
    """(N, 2) images of (N, 2) points under a (3, 3) homography; not finite where they are at infinity."""
    mapped = np.atleast_2d(points) @ homography[:, :2].T + homography[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        made: Array = mapped[:, :2] / mapped[:, 2:]
    return made


def level_R_camera(tilt: Tilt) -> Array:
    """(3, 3) rotation from the tilted optical frame to one whose axis points straight down, with the same heading.

    The nose of the airframe is up in the image: yaw, pitch and roll are taken in this order (ZYX), as autopilots do.
    """
    cr, sr, cp, sp = np.cos(tilt.roll), np.sin(tilt.roll), np.cos(tilt.pitch), np.sin(tilt.pitch)
    roll = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    pitch = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    made: Array = _FORWARD_RIGHT_DOWN.T @ pitch @ roll @ _FORWARD_RIGHT_DOWN
    return made


def off_nadir(tilt: Tilt) -> float:
    """Angle between the optical axis and straight down [rad]."""
    return float(np.arccos(np.clip(np.cos(tilt.roll) * np.cos(tilt.pitch), -1.0, 1.0)))


def principal_point(lens: Lens | None, width: int, height: int) -> Array:
    """(2,) pixel of the optical axis: that of the lens, or the middle of the image."""
    if lens is None or lens.centre is None:
        return np.array([(width - 1) / 2.0, (height - 1) / 2.0])
    return np.array(lens.centre, dtype=np.float64)


def corners_of(width: int, height: int) -> Array:
    """(4, 2) outer corners of an image, from top left clockwise."""
    right, bottom = width - 0.5, height - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])


def level_H_photo(photo: Photo) -> Array | None:
    """(3, 3) homography K R K^-1 from the photo to what it would be without tilt; the identity where tilt or lens are not known.

    None when a corner of the photo sees the ground too obliquely, or not at all.
    """
    if photo.tilt is None or photo.lens is None:
        return np.eye(3)
    height, width = photo.image.shape[:2]
    u, v = principal_point(photo.lens, width, height)
    focal = photo.lens.focal
    camera = np.array([[focal, 0.0, u], [0.0, focal, v], [0.0, 0.0, 1.0]])
    corners = np.column_stack([corners_of(width, height), np.ones(4)])
    rays = level_R_camera(photo.tilt) @ np.linalg.inv(camera) @ corners.T
    if (rays[2] < _STEEPEST * np.linalg.norm(rays, axis=0)).any():
        return None
    made: Array = camera @ level_R_camera(photo.tilt) @ np.linalg.inv(camera)
    return made


def nadir_view(
    photo: Photo, scale: float, turn_deg: float, max_tilt_deg: float = 30.0, max_side: int = 4096
) -> NadirView | AerialReject:
    """Level, turn and scale a photo.

    Args:
        photo: whose tilt is taken out where it and the lens are known.
        scale: pixels of the view to one of the untilted photo.
        turn_deg: clockwise; the heading of the photo gives a view with north up.
        max_tilt_deg: a photo that was taken with more is refused.
        max_side: of the view [px]; of a larger one, what is around the middle of the photo is kept.

    Returns:
        The view, or TOO_OBLIQUE.
    """
    if photo.tilt is not None and np.rad2deg(off_nadir(photo.tilt)) > max_tilt_deg:
        return AerialReject.TOO_OBLIQUE
    level = level_H_photo(photo)
    if level is None:
        return AerialReject.TOO_OBLIQUE
    height, width = photo.image.shape[:2]
    axis = principal_point(photo.lens, width, height)
    turned = _similarity(scale, turn_deg) @ _shift(-axis) @ level
    middle = apply(turned, principal_point(None, width, height))[0]
    corners = apply(turned, corners_of(width, height))
    low = np.maximum(corners.min(axis=0), middle - 0.5 * max_side)
    high = np.minimum(corners.max(axis=0), middle + 0.5 * max_side)
    size = np.maximum(np.ceil(high - low - 1e-6), 1.0).astype(int)
    homography = _shift(-low - 0.5) @ turned
    image, valid = _warped(photo.image, homography, scale, (int(size[0]), int(size[1])))
    return NadirView(image, valid, homography, -low - 0.5, middle - low - 0.5, scale, turn_deg)


def square(view: NadirView, side: int) -> Image:
    """(side, side) pixels around the middle of the photo: what a global descriptor sees. What is missing is reflected.

    Where the view is smaller, the largest square of it is enlarged.
    """
    height, width = view.image.shape[:2]
    covered = max(1, min(side, height, width))
    corner = np.round(view.centre - (covered - 1) / 2.0).astype(int)
    left, top = np.clip(corner, 0, [width - covered, height - covered])
    part = view.image[top : top + covered, left : left + covered]
    if covered == side:
        return np.ascontiguousarray(part)
    return np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _warped(image: Image, homography: Array, scale: float, size: tuple[int, int]) -> tuple[Image, NDArray[np.bool_]]:
    """The image under a homography, shrunk first where it gets much smaller, so that it is not undersampled."""
    height, width = image.shape[:2]
    step = np.eye(3)
    if scale < 0.75:
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        step = np.diag([small[0] / width, small[1] / height, 1.0])
        step[:2, 2] = 0.5 * np.diagonal(step)[:2] - 0.5
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    matrix = homography @ np.linalg.inv(step)
    warped = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    there = np.full(image.shape[:2], 255, dtype=np.uint8)
    seen = cv2.warpPerspective(there, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(warped, dtype=np.uint8), np.asarray(seen) > 0


def _similarity(scale: float, turn_deg: float) -> Array:
    """(3, 3) scaling, and turning clockwise as it is seen: v points down."""
    c, s = scale * np.cos(np.deg2rad(turn_deg)), scale * np.sin(np.deg2rad(turn_deg))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _shift(by: Array) -> Array:
    moved = np.eye(3)
    moved[:2, 2] = by
    return moved
