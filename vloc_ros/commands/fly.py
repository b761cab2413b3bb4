"""``vloc fly``: a simulated drone flies over a map by its own localisation."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, number, progress, rows
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.aerial.flown import FlightFigures
    from vloc_ros.aerial.georeference import LocalFrame
    from vloc_ros.simulation import GroundArea, Site, World

_EXAMPLES = """
  vloc fly --map sim_area.vloc --condition late_afternoon --out flight    (maps the site at noon first, if there is no map)
  vloc fly --map sim_area.vloc --condition snow --cover 100:30            (lens covered after 100 s for 30 s)
  vloc fly --map sim_area.vloc --pressure --set flight.drone.wind=6 --set flight.instruments.barometer_bias=-5

The node aerial runs as a process of its own, and is asked over real topics; the drone steers by what it answers."""
_EDGE_M = 55.0
"""So far from the rim of the map the drone keeps: its photos lie on it."""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "fly", "let a simulated drone fly over a map by its own localisation", _EXAMPLES, run)
    parser.add_argument("--map", type=Path, required=True, help="map file, *.vloc; made at noon first if it does not exist")
    parser.add_argument("--site", type=int, default=1, help="number of the site (default: 1)")
    parser.add_argument("--length", type=float, default=700.0, help="of the route the site is built around [m] (default: 700)")
    parser.add_argument("--map-condition", default="noon", metavar="NAME", help="light of the map (default: noon)")
    parser.add_argument("--resolution", type=float, default=0.2, metavar="M", help="side of a pixel of the map (default: 0.2)")
    parser.add_argument("--features", default="superpoint", help="local features of a map to make (default: superpoint)")
    parser.add_argument("--descriptor", default="glvl", help="global descriptor of a map to make (default: glvl)")
    parser.add_argument(
        "--condition", default="late_afternoon", metavar="NAME", help="light of the flight (default: late_afternoon)"
    )
    parser.add_argument("--spacing", type=float, default=50.0, metavar="M", help="of the lines that are flown (default: 50)")
    parser.add_argument("--rounds", type=int, default=2, help="to and fro, then across, and so on (default: 2)")
    parser.add_argument(
        "--cover", action="append", metavar="AT:SECONDS", help="cover the lens; may be given several times (default: 100:30)"
    )
    parser.add_argument("--seconds", type=float, default=900.0, help="the flight ends after so long (default: 900)")
    parser.add_argument("--photo-seconds", type=float, default=1.0, metavar="S", help="between two photos (default: 1)")
    parser.add_argument("--pressure", action="store_true", help="height by the barometer; else by the laser")
    parser.add_argument("--seed", type=int, default=1, help="of wind, instruments and noise (default: 1)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the flight (flight.drone.wind) or of the node"
    )
    parser.add_argument("--out", type=Path, help="folder for track.jpg, flight.json and photos.csv")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Map if need be, fly, judge."""
    from vloc_ros.aerial.flown import judge_flight
    from vloc_ros.closed_loop.events import parse_cover
    from vloc_ros.commands.closed_loop import chosen_site
    from vloc_ros.processes import free_domain_id
    from vloc_ros.ros.drone_topics import DroneTopics
    from vloc_ros.ros.flight_loop import FlightLoop, FlightPlan, aerial_node, wait_until_heard
    from vloc_ros.simulation import GroundArea, named_condition
    from vloc_ros.simulation.autopilot import survey_lines
    from vloc_ros.simulation.flight import Flight

    for option in ("resolution", "spacing", "seconds", "photo_seconds"):
        if not 0.0 < getattr(args, option) < math.inf:
            raise ConfigError(f"--{option.replace('_', '-')} {getattr(args, option):g} is not more than 0")
    flight_settings, node = _settings(args)
    site, condition = chosen_site(args.site, args.length), named_condition(args.condition)
    covers = [(cover.at_s, cover.seconds) for cover in map(parse_cover, args.cover or ["100:30"])]
    world = site.build()
    area, frame = GroundArea.of_world(world, args.resolution), _frame()
    _map(args, site, world, area, frame)
    lines = survey_lines(area.low + _EDGE_M, area.high - _EDGE_M, args.spacing, args.rounds)
    plan = FlightPlan(lines, covers, args.photo_seconds, args.seconds)
    flight, domain = Flight(world, condition, flight_settings, seed=args.seed), free_domain_id()
    with aerial_node(node, domain) as process, DroneTopics(domain, flight.camera, laser=not args.pressure) as topics:
        wait_until_heard(topics, process)
        loop = FlightLoop(flight, plan, topics, frame, args.seed, lambda: process.poll() is None)
        photos = list(progress(loop.run(), round(args.seconds / args.photo_seconds), condition.name, "photo"))
        if not photos:
            raise ConfigError(f"a flight of {args.seconds:g} s ends before the first photo; give more --seconds")
        refusals = topics.refusals()
    figures = judge_flight(photos)
    if args.out is not None:
        _write(args, photos, figures, area, lines)
    values = {"map": str(args.map), "site": site.name, "condition": condition.name, "refusals": refusals, **figures.to_dict()}
    emit(args, values, describe(figures, refusals, loop.autopilot.finished, args.out))
    return 0


def describe(figures: FlightFigures, refusals: dict[str, int], arrived: bool, out: Path | None) -> str:
    """The numbers of a flight that people ask for first."""
    share = None if figures.share_fixed is None else f"{100.0 * figures.share_fixed:.1f} % of the photos of an uncovered lens"
    sure = None if figures.within_two_sigma is None else f"{100.0 * figures.within_two_sigma:.0f} % (86 % should be)"
    return rows(
        [
            (
                "flown",
                f"{figures.flown_m:.0f} m, {figures.photos} photos" + ("" if arrived else "; the last waypoint was not reached"),
            ),
            ("positions", f"{figures.fixes}: {share or 'none'}"),
            ("refused", ", ".join(f"{count} {reason}" for reason, count in refusals.items()) or "none"),
            ("error, RMS", number(figures.rms_m, "m", 2)),
            ("error, median", number(figures.median_m, "m", 2)),
            ("error, largest", number(figures.largest_m, "m", 1)),
            ("false positions", figures.false_fixes),
            ("within two sigma", sure),
            ("longest without", f"{figures.longest_without_s:.1f} s, the lens covered for {figures.covered_s:.1f} s"),
            ("recovered after", number(figures.recovery_s, "s", 1)),
            ("autopilot's error", f"{figures.autopilot_rms_m:.1f} m RMS, {figures.autopilot_largest_m:.1f} m at most"),
            ("time per answer", number(figures.answer_ms, "ms, median", 0)),
            ("unanswered", figures.unanswered),
            ("record", "not kept (give --out DIR)" if out is None else out),
        ]
    )


def _frame() -> LocalFrame:
    """Metres of the simulated world: its origin is put at the place whose sun it has."""
    from vloc_ros.aerial.georeference import LatLon, LocalFrame
    from vloc_ros.simulation.conditions import LATITUDE_DEG

    return LocalFrame(LatLon(LATITUDE_DEG, 8.4))


def _settings(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Settings of the flight, and parameters of the node."""
    from vloc_ros.config import parse_assignments, replace, to_flat_dict
    from vloc_ros.ros.aerial_settings import AerialNodeSettings
    from vloc_ros.simulation.flight import FlightSettings

    given, prefix = parse_assignments(args.set), "flight."
    of_flight = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
    fitting: dict[str, Any] = {"map": str(args.map), "instruments.height": "range"}
    if args.pressure:
        from vloc_ros.aerial.attitude import standard_pressure_pa
        from vloc_ros.ros.drone_topics import GROUND_M

        fitting |= {"instruments.height": "pressure", "instruments.reference_pressure": standard_pressure_pa(GROUND_M)}
    of_node = {name: value for name, value in given.items() if not name.startswith(prefix)}
    node = replace(AerialNodeSettings(), {**fitting, **of_node})
    return replace(FlightSettings(), of_flight), to_flat_dict(node)


def _map(args: argparse.Namespace, site: Site, world: World, area: GroundArea, frame: LocalFrame) -> None:
    """Make the map, or make sure that the one that is there is of this site.

    Raises:
        ConfigError: it is of another one.
    """
    from vloc_ros.aerial.map_file import AerialMap

    source = f"simulated {site.name}, {site.length_m:g} m, {args.map_condition}, {args.resolution:g} m/px"
    if args.map.exists():
        with AerialMap.open(args.map) as ground:
            if ground.header.source != source:
                raise ConfigError(f"{args.map} is a map of '{ground.header.source}', not of '{source}'; name another file")
        return
    _build(args, source, world, area, frame)


def _build(args: argparse.Namespace, source: str, world: World, area: GroundArea, frame: LocalFrame) -> None:
    import numpy as np

    from vloc_ros.aerial.building import build_aerial
    from vloc_ros.aerial.georeference import Georeference, LatLon
    from vloc_ros.aerial.map_writer import require_new
    from vloc_ros.aerial.raster import Raster
    from vloc_ros.aerial.tiling_settings import TilingSettings
    from vloc_ros.features import create_extractor
    from vloc_ros.retrieval import create_descriptor
    from vloc_ros.simulation import named_condition, orthophoto

    require_new(args.map)
    settings = TilingSettings(levels=2, accuracy_m=0.2)
    extractor, descriptor = create_extractor(args.features, settings.max_features), create_descriptor(args.descriptor)
    image = orthophoto(world, named_condition(args.map_condition), area)
    edges = area.metres(np.array([[-0.5, area.height - 0.5], [area.width - 0.5, -0.5]]))
    corners = [LatLon(*corner) for corner in frame.latlon(edges)]
    raster = Raster(image, None, Georeference.of_corners(corners, area.width, area.height), source)
    built = build_aerial(args.map, raster, extractor, descriptor, settings)
    if not args.json:
        sys.stdout.write(f"map of {source}: {built.tiles} tiles, {built.features} features, {built.seconds:.0f} s\n")


def _write(args: argparse.Namespace, photos: list[Any], figures: FlightFigures, area: GroundArea, lines: Any) -> None:
    """The record of a flight."""
    from vloc_ros.aerial.flown import draw_track
    from vloc_ros.aerial.map_file import AerialMap
    from vloc_ros.data.output import write_jpeg, write_text

    with AerialMap.open(args.map) as ground:
        overview, where = ground.overview
        frame = _frame()
        picture = draw_track(overview, lambda metres: where.pixels(frame.latlon(metres)), photos, lines)
    write_jpeg(args.out / "track.jpg", picture, 90)
    write_text(args.out / "flight.json", json.dumps(figures.to_dict(), indent=1) + "\n")
    head = "seconds,east_m,north_m,believed_east_m,believed_north_m,fix_east_m,fix_north_m,covered,wall_s"
    table = [
        ",".join(
            [
                f"{photo.seconds:.2f}",
                *(f"{value:.3f}" for value in (*photo.truth, *photo.believed)),
                *(["", ""] if photo.fix is None else [f"{value:.3f}" for value in photo.fix]),
                str(int(photo.covered)),
                "" if photo.wall_s is None else f"{photo.wall_s:.3f}",
            ]
        )
        for photo in photos
    ]
    write_text(args.out / "photos.csv", "\n".join([head, *table]) + "\n")
