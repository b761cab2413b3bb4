"""``vloc map build-aerial``, and what ``vloc map info`` and ``check`` say of such a map."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import add_json, emit, rows
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.aerial.georeference import LatLon
    from vloc_ros.aerial.tiling_settings import TilingSettings

DESCRIPTION = "Build a map of the ground from a geo-referenced image, for vloc locate."
EXAMPLES = """examples:
  vloc map build-aerial ortho.tif --map area.vloc                             a GeoTIFF of WGS84, UTM or web Mercator
  vloc map build-aerial ortho.tif --map area.vloc --resolution 0.3 --levels 2 --accuracy 2
  vloc map build-aerial map.png --corners 47.0592,8.3937 47.0706,8.4217 --map village.vloc     bottom left and top right
  vloc map build-aerial map.jpg --crs EPSG:32632 --map area.vloc              with map.jgw beside it, in metres of UTM 32 north
  vloc map build-aerial ortho.tif --map area.vloc --features sift --descriptor place"""
_OPTIONS = {
    "resolution_m": ("--resolution", "M"),
    "levels": ("--levels", "N"),
    "ratio": ("--ratio", "X"),
    "tile": ("--tile", "PX"),
    "overlap": ("--overlap", "SHARE"),
    "headings": ("--headings", "N"),
    "min_known": ("--min-known", "SHARE"),
    "max_features": ("--max-features", "N"),
    "accuracy_m": ("--accuracy", "M"),
}


def add_build(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    from vloc_ros.aerial.tiling_settings import TilingSettings

    # Southern and western corners begin with a minus; argparse takes them for options unless told what a number looks like.
    parser._negative_number_matcher = re.compile(r"-\d")
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("image", type=Path, metavar="IMAGE", help="GeoTIFF; PNG, JPEG or TIFF with --corners or a world file")
    parser.add_argument("--map", type=Path, required=True, help="map file to make, *.vloc")
    parser.add_argument(
        "--corners", nargs="+", metavar="LAT,LON",
        help="outer corners of the image: bottom left and top right of one that is north-up, or 3 or 4 from top left clockwise",
    )  # fmt: skip
    parser.add_argument("--crs", metavar="EPSG:N", help="reference system of a world file, or instead of what a GeoTIFF says")
    parser.add_argument("--features", default="superpoint", help="local features, or a file of weights (default: superpoint)")
    parser.add_argument("--descriptor", default="glvl", help="global descriptor of tiles, or a file of weights (default: glvl)")
    for field in fields(TilingSettings):
        option, metavar = _OPTIONS[field.name]
        unit = f" [{field.metadata['unit']}]" if field.metadata["unit"] else ""
        shown = f"{field.metadata['doc']}{unit} (default: {field.default})"
        parser.add_argument(option, dest=field.name, type=type(field.default), metavar=metavar, help=shown)
    add_json(parser)
    parser.set_defaults(run=build)


def build(args: argparse.Namespace) -> int:
    """Build the map, and say what it has become."""
    from tqdm import tqdm

    from vloc_ros.aerial.building import build_aerial
    from vloc_ros.aerial.map_writer import require_new
    from vloc_ros.aerial.raster import read_raster
    from vloc_ros.features import create_extractor
    from vloc_ros.retrieval import create_descriptor, takes_assets

    require_new(args.map)  # before anything that takes time
    settings = _settings(args)
    if takes_assets(args.descriptor):
        raise ConfigError(
            f"the descriptor '{args.descriptor}' needs a vocabulary of a taught route: use a network's, hog or thumbnail"
        )
    extractor, descriptor = create_extractor(args.features, settings.max_features), create_descriptor(args.descriptor)
    raster = read_raster(args.image, _corners(args.corners), args.crs)
    with tqdm(desc="build", unit="piece", disable=None, leave=True) as bar:

        def shown(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        built = build_aerial(args.map, raster, extractor, descriptor, settings, shown)
    values: dict[str, Any] = {
        "map": str(args.map),
        "area_m2": built.area_m2,
        "levels_m": [level.ground_per_pixel for level in built.levels],
        "tiles": built.tiles,
        "left_out": built.left_out,
        "features": built.features,
        "size_bytes": built.size_bytes,
        "seconds": built.seconds,
    }
    text = rows(
        [
            ("map", args.map),
            ("area", _area(built.area_m2)),
            ("levels", ", ".join(f"{level.ground_per_pixel:.3g} m/px" for level in built.levels)),
            ("tiles", f"{built.tiles} at {settings.headings} headings each; {built.left_out} blank or without data were left out"),
            ("features", f"{built.features} of {extractor.name}; tiles by {descriptor.card.name}"),
            ("size", f"{built.size_bytes / 1e6:.1f} MB"),
            ("time", f"{built.seconds:.0f} s"),
        ]
    )
    emit(args, values, text)
    return 0


def info(args: argparse.Namespace) -> int:
    """``vloc map info`` of an aerial map."""
    from vloc_ros.aerial.map_file import AerialMap
    from vloc_ros.mapping.inspection import file_size

    with AerialMap.open(args.map) as area:
        (south, west), (north, east) = area.frame.latlon(area.bounds)
        extent, header, size = area.bounds[1] - area.bounds[0], area.header, file_size(args.map)
        tiles = len(area.tiles) // max(len(header.headings), 1)
        values: dict[str, Any] = {
            "map": str(args.map),
            "kind": "aerial",
            "size_bytes": size,
            "created": header.created,
            "source": header.source,
            "crs": header.raster.crs,
            "corners": [[south, west], [north, east]],
            "extent_m": extent.tolist(),
            "accuracy_m": area.accuracy_m,
            "levels": [{"ground_per_pixel": level.ground_per_pixel, "tile_m": level.tile_m} for level in area.levels],
            "tiles": tiles,
            "headings": header.headings.tolist(),
            "feature_count": area.feature_count,
            "features": area.features,
            "descriptor": area.descriptor,
        }
        text = rows(
            [
                ("map", f"{args.map} (aerial, made {header.created} of {header.source or 'an image'}, {header.raster.crs})"),
                ("size", f"{size / 1e6:.2f} MB"),
                ("corners", f"{south:.6f},{west:.6f} to {north:.6f},{east:.6f}"),
                ("extent", f"{extent[0]:.0f} x {extent[1]:.0f} m, known to {area.accuracy_m:g} m"),
                ("levels", ", ".join(f"{level.ground_per_pixel:.3g} m/px" for level in area.levels)),
                ("tiles", f"{tiles} at {len(header.headings)} headings each, described by {area.descriptor}"),
                ("features", f"{area.feature_count} of {area.features}"),
            ]
        )
    emit(args, values, text)
    return 0


def check(args: argparse.Namespace) -> int:
    """``vloc map check`` of an aerial map."""
    from vloc_ros.aerial.map_file import AerialMap
    from vloc_ros.errors import MapError

    try:
        with AerialMap.open(args.map) as area:
            problems = area.problems()
    except MapError as error:
        problems = [str(error)]
    values = {"map": str(args.map), "healthy": not problems, "problems": problems, "unfinished": None}
    emit(args, values, "\n".join(problems) or f"{args.map} is healthy")
    return 1 if problems else 0


def _settings(args: argparse.Namespace) -> TilingSettings:
    from vloc_ros.aerial.tiling_settings import TilingSettings
    from vloc_ros.config import from_dict

    given = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    return from_dict(TilingSettings, given)


def _corners(texts: list[str] | None) -> list[LatLon] | None:
    """``["47.05,8.39"]`` as positions.

    Raises:
        ConfigError: a text is of another form.
    """
    from vloc_ros.aerial.georeference import LatLon

    if texts is None:
        return None
    found = []
    for text in texts:
        try:
            lat, lon = map(float, text.split(","))
        except ValueError:
            raise ConfigError(f"--corners {text} is not of the form LAT,LON in degrees, for example 47.0592,8.3937") from None
        found.append(LatLon(lat, lon))
    return found


def _area(square_metres: float) -> str:
    return f"{square_metres / 1e6:.2f} km2" if square_metres >= 1e5 else f"{square_metres:.0f} m2"
