"""Maps in memory, and photos of them whose place is known because they were cut from them."""

from __future__ import annotations

import cv2
import numpy as np

from vloc_ros.aerial.contract import GroundFeatures, GroundMap, Level, Tiles
from vloc_ros.aerial.georeference import LatLon, LocalFrame
from vloc_ros.aerial.photo import Lens, Photo, Tilt
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import View, create_descriptor

ORIGIN = LatLon(47.0, 8.4)
FOCAL = 400.0


def landscape(side: int, seed: int) -> np.ndarray:
    """(side, side, 3) RGB fields, roads and houses, none like another."""
    rng = np.random.default_rng(seed)
    fields = cv2.resize(rng.integers(60, 190, (side // 90 + 2, side // 90 + 2, 3)).astype(np.uint8), (side, side), interpolation=0)
    image = fields.astype(np.float32)
    for octave in (4, 16, 64):
        grain = rng.normal(0.0, 1.0, (side // octave + 2, side // octave + 2)).astype(np.float32)
        image += 12.0 * cv2.resize(grain, (side, side), interpolation=cv2.INTER_CUBIC)[..., None]
    image = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(side // 60):
        ends = rng.integers(0, side, (2, 2)).tolist()
        cv2.line(image, ends[0], ends[1], rng.integers(80, 230, 3).tolist(), int(rng.integers(2, 7)), cv2.LINE_AA)
    for _ in range(side * side // 2500):
        centre, size = rng.integers(0, side, 2).tolist(), rng.uniform(5, 22, 2).tolist()
        corners = cv2.boxPoints((centre, size, float(rng.uniform(0, 90))))
        cv2.fillConvexPoly(image, corners.astype(np.int32), rng.integers(20, 255, 3).tolist(), cv2.LINE_AA)
    return image


class MemoryMap(GroundMap):
    """A north-up raster whose middle is the origin, described when it is made."""

    def __init__(self, raster, ground_per_pixel, *, levels=1, tile=160, headings=8, features="sift", descriptor="thumbnail"):
        self.raster, self._g0 = raster, ground_per_pixel
        self._names = features, descriptor
        self._levels = tuple(Level(k, ground_per_pixel * 2**k, tile * ground_per_pixel * 2**k) for k in range(levels))
        extractor, describer = create_extractor(features, 200_000), create_descriptor(descriptor)
        names, where, ups, centres, self._features, views = [], [], [], [], [], []
        for level in self._levels:
            size = (raster.shape[1] >> level.index, raster.shape[0] >> level.index)
            image = cv2.resize(raster, size, interpolation=cv2.INTER_AREA)
            found = extractor.extract(image)
            self._features.append(GroundFeatures(self.metres(found.keypoints, level), found.descriptors))
            for v in range(tile // 2, size[1] - tile // 2 + 1, tile // 2):
                for u in range(tile // 2, size[0] - tile // 2 + 1, tile // 2):
                    for up in np.arange(headings) * 360.0 / headings:
                        names.append(f"level {level.index}, {up:.0f} deg, {u} {v}")
                        where.append(level.index)
                        ups.append(up)
                        at = np.array([u - 0.5, v - 0.5])
                        centres.append(self.metres(at[None], level)[0])
                        views.append(View(cut(image, at, -up, 1.0, (tile, tile))))
        self._tiles = Tiles(tuple(names), np.array(where, np.int32), np.array(ups, np.float32), np.array(centres))
        self._vectors = describer.describe_many(views)

    def metres(self, pixels, level):
        """East and north of pixels of a level."""
        size = np.array([self.raster.shape[1], self.raster.shape[0]]) >> level.index
        return (np.asarray(pixels, np.float64) - (size - 1) / 2.0) * level.ground_per_pixel * np.array([1.0, -1.0])

    frame = property(lambda self: LocalFrame(ORIGIN))
    accuracy_m = property(lambda self: 0.1)
    levels = property(lambda self: self._levels)
    tiles = property(lambda self: self._tiles)
    vectors = property(lambda self: self._vectors)
    features = property(lambda self: self._names[0])
    descriptor = property(lambda self: self._names[1])

    @property
    def bounds(self):
        half = 0.5 * self._g0 * np.array([self.raster.shape[1], self.raster.shape[0]])
        return np.array([-half, half])

    def features_in(self, level, low, high):
        points = self._features[level].points
        inside = ((points >= low) & (points <= high)).all(axis=1)
        return GroundFeatures(points[inside], self._features[level].descriptors[inside])


def cut(raster, at, turn_deg, step, size):
    """Pixels of a raster around one of them, each ``step`` of it apart, turned clockwise."""
    c, s = np.cos(np.deg2rad(turn_deg)) / step, np.sin(np.deg2rad(turn_deg)) / step
    matrix = np.array([[c, -s, 0.0], [s, c, 0.0]])
    matrix[:, 2] = (np.array(size) - 1) / 2.0 - matrix[:, :2] @ at
    small = cv2.GaussianBlur(raster, (0, 0), 0.4 * step) if step > 1.2 else raster
    return cv2.warpAffine(small, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def seen_from(ground, east_north, height, heading=0.0, tilt=None, size=(320, 240), focal=FOCAL, gain=1.0, stamp_ns=None, **known):
    """A photo of the plane of a map by ray casting, written out without the code of the package.

    The airframe (forward, right, down) is yawed, pitched and rolled in this order; the camera looks along its down axis, and
    its nose is up in the image. ``known`` overrides what the photo says of itself.
    """
    roll, pitch = (tilt.roll, tilt.pitch) if tilt else (0.0, 0.0)
    yaw = np.deg2rad(heading)
    v, u = np.mgrid[: size[1], : size[0]]
    x, y = (u - (size[0] - 1) / 2.0) / focal, (v - (size[1] - 1) / 2.0) / focal
    forward, right, down = -y, x, np.ones_like(x)
    right, down = right * np.cos(roll) - down * np.sin(roll), right * np.sin(roll) + down * np.cos(roll)
    forward, down = forward * np.cos(pitch) + down * np.sin(pitch), -forward * np.sin(pitch) + down * np.cos(pitch)
    north, east = forward * np.cos(yaw) - right * np.sin(yaw), forward * np.sin(yaw) + right * np.cos(yaw)
    reach = height / down
    metres = np.stack([east_north[0] + reach * east, east_north[1] + reach * north], axis=-1)
    pixels = metres / ground._g0 * np.array([1.0, -1.0]) + (np.array(ground.raster.shape[1::-1]) - 1) / 2.0
    step = height / focal / ground._g0
    small = cv2.GaussianBlur(ground.raster, (0, 0), 0.4 * step) if step > 1.2 else ground.raster
    image = cv2.remap(small, pixels.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    image = np.clip(image * gain, 0, 255).astype(np.uint8)
    said = {"lens": Lens(focal), "height_m": height, "heading_deg": heading, "tilt": tilt, "stamp_ns": stamp_ns} | known
    return Photo(image, **said)


def degrees(roll, pitch):
    """A tilt."""
    return Tilt(float(np.deg2rad(roll)), float(np.deg2rad(pitch)))
