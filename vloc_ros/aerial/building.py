"""Building an aerial map: each level of a raster is described once, by a global descriptor tile by tile and by local features."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.contract import Level
from vloc_ros.aerial.ground import Ground, Surface, square
from vloc_ros.aerial.map_header import MapHeader
from vloc_ros.aerial.map_writer import MapWriter, require_new
from vloc_ros.aerial.raster import Raster
from vloc_ros.aerial.tiling import MARGIN, Block, Place, blocks_of, levels_of, places_of
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.config import to_dict
from vloc_ros.data.frame import Image, to_grey
from vloc_ros.errors import DataError
from vloc_ros.features import FeatureExtractor, Features
from vloc_ros.retrieval import GlobalDescriptor, Needs, View

OVERVIEW = 2048
"""Longest side of the picture of the whole map [px]."""
_BATCH = 8
"""Places whose views go to the descriptor together."""
_BLANK = 2.0
"""Deviation of grey levels below which a tile shows nothing (open water, cloud)."""
_FROM_UNKNOWN = 8
"""A feature nearer than this to what is not known is one of its outline [px]."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Built:
    """What a map has become.

    Attributes:
        area_m2: of its bounds, less what is not known.
        levels: of it.
        tiles: how many, each at all headings.
        left_out: tiles without enough ground, or that show nothing.
        features: how many on all levels.
        size_bytes: of the file.
        seconds: that it took.
    """

    area_m2: float
    levels: tuple[Level, ...]
    tiles: int
    left_out: int
    features: int
    size_bytes: int
    seconds: float


def build_aerial(
    path: Path,
    raster: Raster,
    extractor: FeatureExtractor,
    descriptor: GlobalDescriptor,
    settings: TilingSettings | None = None,
    on_progress: Progress | None = None,
) -> Built:
    """Build the map file ``path``; nothing of it is there before all of it is.

    Args:
        path: of the file to make.
        raster: the map.
        extractor: of the local features of blocks; ``settings.max_features`` should be what it was made with.
        descriptor: of tiles.
        settings: how to cut.
        on_progress: is told how much of how much is done.

    Raises:
        MapError: the file exists or cannot be written.
        DataError: the raster is smaller than a tile, or shows nothing.
    """
    begun, settings = time.perf_counter(), settings or TilingSettings()
    require_new(path)
    ground = Ground.of(raster)
    levels = levels_of(settings, ground.bounds, raster.metres_per_pixel)
    places = {level.index: places_of(level, ground.bounds, settings.overlap) for level in levels}
    blocks = {level.index: blocks_of(level, ground.bounds) for level in levels}
    count = sum(len(part) for part in places.values())
    total, done, tiles, features = count + sum(len(part) for part in blocks.values()), 0, 0, 0
    header = _header(raster, ground, extractor, settings)
    with MapWriter(path, header, descriptor.card, levels) as writer:
        surface = ground.surface
        for level in levels:
            surface = surface.shrunk(level.ground_per_pixel)
            for block in blocks[level.index]:
                features += _add_block(writer, surface, block, extractor)
                done += 1
                _tell(on_progress, done, total)
            for batch in _batches(places[level.index]):
                tiles += _add_tiles(writer, surface, batch, descriptor, extractor, settings, header.headings)
                done += len(batch)
                _tell(on_progress, done, total)
        if not tiles:
            raise DataError(f"no tile of {raster.name or 'the map'} shows anything: it is blank or without data")
        writer.add_overview(_overview(surface, ground))
    area = float((ground.bounds[1] - ground.bounds[0]).prod()) * share_known(surface, ground)
    return Built(area, levels, tiles, count - tiles, features, path.stat().st_size, time.perf_counter() - begun)


def _header(raster: Raster, ground: Ground, extractor: FeatureExtractor, settings: TilingSettings) -> MapHeader:
    return MapHeader(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        source=raster.name,
        raster=raster.georeference,
        size=raster.size,
        frame=ground.frame,
        bounds=ground.bounds,
        accuracy_m=settings.accuracy_m,
        headings=np.arange(settings.headings, dtype=np.float32) * np.float32(360.0 / settings.headings),
        settings=to_dict(settings),
        features=extractor.name,
        fingerprint=extractor.fingerprint,
        metric=extractor.metric,
        dimension=extractor.descriptor_size,
    )


def _add_block(writer: MapWriter, surface: Surface, block: Block, extractor: FeatureExtractor) -> int:
    """Features of a block, seen with a margin so that those at its edge are what they would be in one large picture."""
    low, high = block.box()
    found = features_of(surface, block, extractor)
    if found is not None and len(found):
        writer.add_block(block.level.index, low, high, found.keypoints, found.descriptors)
    return 0 if found is None else len(found)


def features_of(surface: Surface, block: Block, extractor: FeatureExtractor) -> Features | None:
    """Features whose key points are in a block, in its own pixels; None where none of it is known."""
    (west, south), (east, north) = block.box(MARGIN)
    size = block.high - block.low
    corners = np.array([[west, north], [east, north], [east, south], [west, south]])
    image, known = surface.view(corners, (int(size[0]) + 2 * MARGIN, int(size[1]) + 2 * MARGIN))
    if not known[MARGIN:-MARGIN, MARGIN:-MARGIN].any():
        return None
    found = extractor.extract(image)
    pixels = found.keypoints - np.float32(MARGIN)
    inside: NDArray[np.bool_] = np.all((pixels >= -0.5) & (pixels < size - 0.5), axis=1)
    if not known.all():
        side = 2 * _FROM_UNKNOWN + 1
        sure = cv2.erode(known.astype(np.uint8), np.ones((side, side), np.uint8))
        column, row = np.rint(found.keypoints).astype(int).T
        inside &= sure[np.clip(row, 0, sure.shape[0] - 1), np.clip(column, 0, sure.shape[1] - 1)] > 0
    kept = found.select(inside)
    return Features(pixels[inside], kept.scores, kept.sizes, kept.descriptors, kept.disparity)


def _add_tiles(
    writer: MapWriter,
    surface: Surface,
    places: Sequence[Place],
    descriptor: GlobalDescriptor,
    extractor: FeatureExtractor,
    settings: TilingSettings,
    headings: NDArray[np.float32],
) -> int:
    """Describe places at all headings; returns how many had something to describe."""
    shown = [place for place in places if _shows(*_view(surface, place, settings.tile, 0.0), settings.min_known)]
    views = [_view(surface, place, settings.tile, float(heading))[0] for place in shown for heading in headings]
    if not views:
        return 0
    by_features = descriptor.needs is Needs.FEATURES
    vectors = descriptor.describe_many([View(image, extractor.extract(image) if by_features else None) for image in views])
    vectors = vectors.reshape(len(shown), len(headings), -1)
    added = 0
    for place, rows in zip(shown, vectors, strict=True):
        if (np.linalg.norm(rows, axis=1) > 0.5).all():
            writer.add_tile(place.level.index, place.name, place.centre, rows)
            added += 1
    return added


def _view(surface: Surface, place: Place, side: int, heading: float) -> tuple[Image, NDArray[np.bool_]]:
    return surface.view(square(place.centre, place.level.tile_m, heading), (side, side))


def _shows(image: Image, known: NDArray[np.bool_], min_known: float) -> bool:
    return bool(known.mean() >= min_known and to_grey(image)[known].std() >= _BLANK)


def _overview(surface: Surface, ground: Ground) -> Image:
    extent = ground.bounds[1] - ground.bounds[0]
    step = max(float(extent.max()) / OVERVIEW, surface.georeference.metres_per_pixel(np.array(surface.image.shape[1::-1]) / 2.0))
    width, height = np.maximum(np.rint(extent / step), 1.0).astype(int)
    (west, south), (east, north) = ground.bounds
    corners = np.array([[west, north], [east, north], [east, south], [west, south]])
    return surface.shrunk(step).view(corners, (int(width), int(height)))[0]


def share_known(surface: Surface, ground: Ground) -> float:
    """Of the ground within the bounds, how much of it a surface shows, 0 to 1."""
    (west, south), (east, north) = ground.bounds
    corners = np.array([[west, north], [east, north], [east, south], [west, south]])
    # A large one is shrunk first: OpenCV warps no image of more than 32767 pixels along a side.
    step = float((ground.bounds[1] - ground.bounds[0]).max()) / 16384.0
    return float(surface.shrunk(step).view(corners, (512, 512))[1].mean())


def _batches(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    return (places[first : first + _BATCH] for first in range(0, len(places), _BATCH))


def _tell(on_progress: Progress | None, done: int, total: int) -> None:
    if on_progress is not None:
        on_progress(done, total)
