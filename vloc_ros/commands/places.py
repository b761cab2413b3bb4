"""Arguments that name images and the truth of place recognition; ``retrieve``, ``evaluate`` and ``vocabulary`` share them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.errors import ConfigError, DataError

if TYPE_CHECKING:
    from vloc_ros.data.places import PlaceDataset
    from vloc_ros.data.vpr_folder import PlaceTruth
    from vloc_ros.features import FeatureExtractor

LAYOUTS = ("tree", "aligned", "route", "pairs", "poses", "seasons")
_RADIUS_M, _ANGLE_DEG = 25.0, 180.0
_SEASONS_RADIUS_M, _SEASONS_ANGLE_DEG = 5.0, 10.0


def add_extractor(parser: argparse.ArgumentParser) -> None:
    """--features, --max-features."""
    parser.add_argument("--features", default="sift_fast", help="local features of vlad: sift_fast (default), sift, orb")
    parser.add_argument("--max-features", type=int, default=600, help="at most so many per image (default: 600)")


def extractor_of(args: argparse.Namespace) -> FeatureExtractor:
    """The extractor named on the command line.

    Raises:
        ConfigError: it is unknown, or the number is not positive.
    """
    from vloc_ros.features import create_extractor

    if args.max_features < 1:
        raise ConfigError(f"--max-features {args.max_features} leaves no features; give 1 or more")
    return create_extractor(args.features, args.max_features)


def add_assets(parser: argparse.ArgumentParser) -> None:
    """--assets."""
    parser.add_argument(
        "--assets",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="weights or vocabulary of a descriptor; without one, the vocabulary of vlad is learned from the database",
    )


def assets_of(args: argparse.Namespace) -> dict[str, bytes]:
    """Contents of the files of --assets by descriptor.

    Raises:
        ConfigError: an argument is not NAME=FILE, or names no descriptor.
        DataError: a file cannot be read.
    """
    from vloc_ros.retrieval import descriptors

    found = {}
    for text in args.assets:
        name, separator, file = text.partition("=")
        if not separator or name not in descriptors():
            raise ConfigError(f"--assets {text} is not of the form NAME=FILE with one of: {', '.join(descriptors())}")
        found[name] = read_assets(Path(file))
    return found


def read_assets(path: Path) -> bytes:
    """Contents of a file of weights or of a vocabulary.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def add_places(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """QUERIES, of which there may be several, --database, --layout, and what counts as the same place."""
    what = "folder of images, VPR-datasets tree, recording, or area of a long-term benchmark"
    what += "; several are judged as one, and each on its own" if several else ""
    parser.add_argument("queries", type=Path, metavar="QUERIES", help=what, nargs="+" if several else None)
    parser.add_argument("--database", type=Path, help="folder or recording of the database, where QUERIES does not hold it too")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        required=True,
        help="tree: VPR-datasets with @UTM@ names; aligned: two folders of one route; route: one folder, every n-th image is "
        "the database; pairs: two folders and a list; poses: recordings with ground truth; seasons: CMU-Seasons, RobotCar-Seasons "
        "and what vloc train render-seasons writes",
    )
    parser.add_argument("--split", default="test", help="tree: train, val or test (default)")
    parser.add_argument(
        "--radius", type=float, help="tree, poses, seasons: same place within this distance [m] (default: 25, seasons: 5)"
    )
    parser.add_argument("--angle", type=float, help="poses, seasons: and within this angle [deg] (default: any, seasons: 10)")
    parser.add_argument("--tolerance", type=int, default=0, help="aligned, route: same place within so many frames (default: 0)")
    parser.add_argument("--min-brightness", type=float, default=0.0, help="aligned, route: leave out darker images (default: none)")
    parser.add_argument("--every", type=int, default=8, help="route: spacing of the database [frames] (default: 8)")
    parser.add_argument("--share", type=float, default=0.5, help="route: part of it that is the database's (default: 0.5)")
    parser.add_argument("--pairs", type=Path, help="pairs: file of lines 'query,database' of images of the same place")
    parser.add_argument("--format", help="poses: format of the recordings, when it is not recognised")


def places_of(args: argparse.Namespace) -> PlaceDataset:
    """The data set named on the command line.

    Raises:
        ConfigError: an option is missing or out of range.
        DataError: the data are not of that layout, or are several data sets.
    """
    found = all_places_of(args)
    if len(found) != 1:
        raise ConfigError(
            f"{args.queries} is {len(found)} data sets, and one is needed here: vloc evaluate retrieval takes several"
        )
    return found[0]


def all_places_of(args: argparse.Namespace) -> list[PlaceDataset]:
    """The data sets named on the command line; those of a long-term benchmark are one for each slice, camera and condition.

    Raises:
        ConfigError: an option is missing or out of range.
        DataError: the data are not of that layout.
    """
    named = args.queries if isinstance(args.queries, list) else [args.queries]
    if args.layout != "seasons":
        return [_opened(args, queries) for queries in named]
    from vloc_ros.data.place_poses import places_of_seasons
    from vloc_ros.data.seasons import open_all_seasons

    truth = _truth(args)
    benchmarks = [benchmark for root in named for benchmark in open_all_seasons(root)]
    return [places for one in benchmarks for places in places_of_seasons(one, truth.radius_m, truth.angle_deg)]


def _opened(args: argparse.Namespace, queries: Path) -> PlaceDataset:
    from vloc_ros.data import vpr_folder

    truth = _truth(args)
    if args.layout == "tree":
        return vpr_folder.open_tree(queries, args.split, truth)
    if args.layout == "route":
        return vpr_folder.open_route(queries, args.every, args.share, truth)
    if args.layout == "poses":
        return vpr_folder.open_poses(queries, args.database, args.format, truth)
    if args.layout == "pairs":
        if args.pairs is None:
            raise ConfigError("--layout pairs needs --pairs FILE, a list of lines 'query,database'")
        return vpr_folder.open_pairs(queries, args.database or queries, args.pairs)
    if args.database is None:
        raise ConfigError("--layout aligned needs --database FOLDER, the other traverse of the route")
    return vpr_folder.open_aligned(queries, args.database, truth)


def _truth(args: argparse.Namespace) -> PlaceTruth:
    from vloc_ros.config import from_dict
    from vloc_ros.data.vpr_folder import PlaceTruth

    radius, angle = (_SEASONS_RADIUS_M, _SEASONS_ANGLE_DEG) if args.layout == "seasons" else (_RADIUS_M, _ANGLE_DEG)
    values = {
        "radius_m": radius if args.radius is None else args.radius,
        "angle_deg": angle if args.angle is None else args.angle,
        "tolerance": args.tolerance,
        "min_brightness": args.min_brightness,
    }
    return from_dict(PlaceTruth, values)
