"""``vloc train render-seasons``: a long-term benchmark of the simulated world."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, rows
from vloc_ros.errors import ConfigError

_RENDER = """
  vloc train render-seasons --out seasons
  vloc train render-seasons --out seasons_large --sites 12 --length 240 --train-images 200 --queries 80
  vloc train render-seasons --out at_night --sites 2 --conditions noon,dusk,night --scale 0.5

A folder for each site, laid out as CMU-Seasons: trainNN to learn from (the first part of the route), s1/test00 the database and
s1/testNN the queries (the last part, never learned from), s1/pose_new_s1.txt the poses of both, conditions.txt what NN means.
A rendering that was interrupted goes on when the same command is given again; with more --sites it grows."""


def register_render_seasons(subjects: Subparsers) -> None:
    """Describe ``vloc train render-seasons``."""
    summary = "render a long-term benchmark of the simulated world, laid out as CMU-Seasons"
    sub = add_command(subjects, "render-seasons", summary, _RENDER, _render)
    sub.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the set; what is missing there is rendered"
    )
    sub.add_argument("--sites", type=int, default=6, help="worlds, each with its own route (default: 6)")
    sub.add_argument("--first-seed", type=int, default=4000, help="seed of the first site, the others follow (default: 4000)")
    sub.add_argument("--length", type=float, default=120.0, metavar="METRES", help="of each route (default: 120)")
    sub.add_argument(
        "--conditions",
        default="noon,overcast,dusk,night,fog,snow",
        metavar="NAMES",
        help="names separated by commas, the reference first, or all (default: noon,overcast,dusk,night,fog,snow)",
    )
    sub.add_argument("--train-images", type=int, default=100, help="to learn from, of each site and condition (default: 100)")
    sub.add_argument("--queries", type=int, default=40, help="of each site and condition but the reference (default: 40)")
    sub.add_argument("--spacing", type=float, default=1.0, metavar="METRES", help="of the database along the route (default: 1)")
    sub.add_argument("--train-share", type=float, default=0.7, help="part of the route to learn from (default: 0.7)")
    sub.add_argument("--scale", type=float, default=0.625, help="of the image size, 1 being 512x384 (default: 0.625, 320x240)")
    sub.add_argument("--detail", choices=["full", "fast"], default="fast", help="level of detail of the images (default: fast)")
    sub.add_argument("--force", action="store_true", help="allow the seeds below 1000, with which features are evaluated")
    add_json(sub)


def _render(args: argparse.Namespace) -> int:
    from vloc_ros.simulation import CONDITIONS, sites
    from vloc_ros.training.sources import FIRST_TRAINING_SEED, SeasonsPlan, render_seasons
    from vloc_ros.training.sources.rendering import bytes_of

    if args.sites < 1:
        raise ConfigError("--sites must be 1 or more")
    if args.first_seed < FIRST_TRAINING_SEED and not args.force:
        raise ConfigError(
            f"the sites of seeds below {FIRST_TRAINING_SEED} are those on which features are evaluated, and whoever learns there "
            f"knows the answers: give --first-seed {FIRST_TRAINING_SEED} or more, or --force if nothing is evaluated with them"
        )
    plan = SeasonsPlan(
        conditions=tuple(CONDITIONS) if args.conditions == "all" else tuple(args.conditions.split(",")),
        train_images=args.train_images,
        queries=args.queries,
        spacing_m=args.spacing,
        train_share=args.train_share,
        detail=args.detail,
        scale=args.scale,
    )
    started = time.monotonic()
    chosen = [replace(site, length_m=args.length) for site in sites(args.sites, args.first_seed)]
    count = render_seasons(args.out, chosen, plan)
    seconds, size = round(time.monotonic() - started, 1), bytes_of(args.out)
    values = {"folder": str(args.out), "sites": args.sites, "images": count, "bytes": size, "seconds": seconds}
    text = [("folder", str(args.out)), ("images", f"{count} of {args.sites} sites"), ("size", f"{size / 1e6:.1f} MB")]
    emit(args, values, rows([*text, ("time", f"{seconds} s")]))
    return 0
