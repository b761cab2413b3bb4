"""``vloc build-ortho``: photos of a survey flight become a map image."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from vloc_ros.aerial.ortho_settings import OrthoSettings
from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, rows
from vloc_ros.errors import ConfigError, DataError

_EXAMPLES = """
  vloc build-ortho survey/ --gps survey/gps.csv --out ortho.tif        then: vloc map build-aerial ortho.tif --map area.vloc
  vloc build-ortho survey/ --gps gps.csv --out ortho.png --step 2      every second photo; ortho.pgw says where it is
  vloc build-ortho survey/ --gps gps.csv --out ortho.tif --report report.jpg      how the photos fit, as a picture
  vloc build-ortho survey/ --gps gps.csv --out ortho.tif --resolution 0.1

gps.csv has a line for each photo: columns file, lat and lon, and if they are known rel_alt (above the ground) and others,
which are not used. Photos must look straight down, and overlap by half."""
_OPTIONS = {
    "resolution_m": ("--resolution", "M"),
    "max_features": ("--max-features", "N"),
    "feature_size": ("--feature-size", "PX"),
    "max_tilt_deg": ("--max-tilt", "DEG"),
    "max_gps_m": ("--max-gps", "M"),
    "max_error": ("--max-error", "SHARE"),
    "min_share": ("--min-share", "SHARE"),
}


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "build-ortho", "make a map image of photos that look straight down", _EXAMPLES, run)
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos")
    parser.add_argument("--gps", type=Path, required=True, metavar="CSV", help="where they were taken: file, lat, lon, rel_alt")
    parser.add_argument("--out", type=Path, required=True, help="map image to make: *.tif (GeoTIFF), or *.png with a world file")
    parser.add_argument("--report", type=Path, metavar="JPG", help="picture of the photos' outlines and positions to write as well")
    parser.add_argument("--start", type=int, default=0, help="first photo of the table (default: 0)")
    parser.add_argument("--step", type=int, default=1, help="use every n-th photo (default: 1)")
    for field in fields(OrthoSettings):
        option, metavar = _OPTIONS[field.name]
        unit = f" [{field.metadata['unit']}]" if field.metadata["unit"] else ""
        shown = f"{field.metadata['doc']}{unit} (default: {field.default})"
        parser.add_argument(option, dest=field.name, type=type(field.default), metavar=metavar, help=shown)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Make the image, and say what it is made of."""
    from tqdm import tqdm

    from vloc_ros.aerial.blending import blend
    from vloc_ros.aerial.ortho import assemble
    from vloc_ros.aerial.survey import read_survey
    from vloc_ros.config import from_dict
    from vloc_ros.features import create_extractor

    if args.out.suffix.lower() not in (".tif", ".tiff", ".png"):
        raise ConfigError(f"--out {args.out} must end in .tif or .png")
    if args.report is not None and args.report.suffix.lower() not in (".jpg", ".jpeg"):
        raise ConfigError(f"--report {args.report} must end in .jpg")
    if args.start < 0 or args.step < 1:
        raise ConfigError("--start must be 0 or more, and --step 1 or more")
    settings = from_dict(OrthoSettings, {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None})
    survey = read_survey(args.photos, args.gps)
    for path in filter(None, (args.out, args.report)):
        if path.resolve() in {photo.path.resolve() for photo in survey}:
            raise ConfigError(f"{path} is one of the photos: name another file to make")
    photos = survey[args.start :: args.step]
    with tqdm(desc="match", unit="piece", disable=None, leave=True) as bar:

        def shown(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        mosaic = assemble(photos, create_extractor("sift", settings.max_features), settings, shown)
    with tqdm(desc="draw", unit="photo", total=len(mosaic.photos), disable=None, leave=True) as bar:
        picture = blend(mosaic, settings.resolution_m, bar.update)
    _write(args.out, picture)
    if args.report is not None:
        _write_report(args.report, mosaic, picture)
    height, width = picture.known.shape
    step = settings.resolution_m or mosaic.ground_per_pixel
    values: dict[str, Any] = {
        "out": str(args.out),
        "photos": len(mosaic.photos),
        "rejected": mosaic.rejected,
        "pairs": mosaic.pairs,
        "size": [width, height],
        "ground_per_pixel_m": step,
        "area_m2": float(picture.known.sum()) * step**2,
        "match_error_px": mosaic.error_px,
        "from_gps_m": mosaic.from_gps_m,
        "focal_px": mosaic.placement.focal,
    }
    text = rows(
        [
            ("map image", f"{args.out}, {width}x{height} px of {step:.3g} m"),
            ("area", f"{values['area_m2']:.0f} m2"),
            ("photos", f"{len(mosaic.photos)} of {len(photos)}, {mosaic.pairs} pairs"),
            *((f"  not {name}", reason) for name, reason in mosaic.rejected.items()),
            ("matches", f"{mosaic.error_px:.2f} px apart (median)"),
            (
                "positions",
                f"{mosaic.from_gps_m:.2f} m from where the photos fit (rms, each axis): give build-aerial --accuracy this",
            ),
        ]
    )
    emit(args, values, text)
    return 0


def _write_report(path: Path, mosaic: Any, picture: Any) -> None:
    from vloc_ros.aerial.ortho_report import draw_report
    from vloc_ros.data.output import write_jpeg

    write_jpeg(path, draw_report(mosaic, picture))


def _write(path: Path, picture: Any) -> None:
    import cv2
    import numpy as np

    from vloc_ros.aerial.geotiff_write import write_geotiff
    from vloc_ros.aerial.world_file import write_world_file
    from vloc_ros.data.output import write_bytes

    where = picture.georeference
    if path.suffix.lower() != ".png":
        write_geotiff(path, picture.image, picture.known, where.affine, where.crs)
        return
    alpha = np.where(picture.known, 255, 0).astype(np.uint8)
    _, png = cv2.imencode(".png", cv2.cvtColor(np.dstack([picture.image, alpha]), cv2.COLOR_RGBA2BGRA))
    write_bytes(path, png.tobytes())
    try:
        write_world_file(path.with_suffix(".pgw"), where.affine)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
