"""``vloc train render-aerial``: orthophotos of the simulated world."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, rows
from vloc_ros.errors import ConfigError

_RENDER = """
  vloc train render-aerial --out aerial --sites 14
  vloc train render-aerial --out aerial_held_out --sites 3 --first-seed 7900
  vloc train render-aerial --out fine --sites 4 --conditions noon,snow --resolution 0.1 --length 300

A folder for each site, with a north-up picture of it in each condition, all of them aligned to the pixel. A rendering that was
interrupted goes on when the same command is given again; with more --sites or --conditions it grows."""


def register_render_aerial(subjects: Subparsers) -> None:
    """Describe ``vloc train render-aerial``."""
    summary = "render orthophotos of the simulated world in several conditions, to learn from"
    sub = add_command(subjects, "render-aerial", summary, _RENDER, _render)
    sub.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the set; what is missing there is rendered"
    )
    sub.add_argument("--sites", type=int, default=14, help="worlds, each of another layout and shape (default: 14)")
    sub.add_argument("--first-seed", type=int, default=7000, help="seed of the first site, the others follow (default: 7000)")
    sub.add_argument(
        "--length", type=float, default=700.0, metavar="METRES", help="of the route that a site is built around (default: 700)"
    )
    sub.add_argument(
        "--conditions", metavar="NAMES", help="names separated by commas, or all (default: those that differ most from above)"
    )
    sub.add_argument("--resolution", type=float, default=0.2, metavar="METRES", help="side of a pixel (default: 0.2)")
    sub.add_argument("--force", action="store_true", help="allow the seeds below 1000, with which features are evaluated")
    add_json(sub)


def _render(args: argparse.Namespace) -> int:
    from vloc_ros.simulation import sites
    from vloc_ros.training.sources import FIRST_TRAINING_SEED, AerialPlan, render_aerial
    from vloc_ros.training.sources.aerial_rendering import FROM_ABOVE, usable
    from vloc_ros.training.sources.rendering import bytes_of

    if args.sites < 1:
        raise ConfigError("--sites must be 1 or more")
    if args.first_seed < FIRST_TRAINING_SEED and not args.force:
        raise ConfigError(
            f"the sites of seeds below {FIRST_TRAINING_SEED} are those on which features are evaluated, and whoever learns there "
            f"knows the answers: give --first-seed {FIRST_TRAINING_SEED} or more, or --force if nothing is evaluated with them"
        )
    names = FROM_ABOVE if args.conditions is None else tuple(args.conditions.split(","))
    plan = AerialPlan(usable() if args.conditions == "all" else names, args.resolution)
    started = time.monotonic()
    chosen = [replace(site, length_m=args.length) for site in sites(args.sites, args.first_seed)]
    count = render_aerial(args.out, chosen, plan)
    seconds, size = round(time.monotonic() - started, 1), bytes_of(args.out)
    values = {"folder": str(args.out), "sites": args.sites, "images": count, "bytes": size, "seconds": seconds}
    text = [("folder", str(args.out)), ("images", f"{count} of {args.sites} sites"), ("size", f"{size / 1e6:.1f} MB")]
    emit(args, values, rows([*text, ("time", f"{seconds} s")]))
    return 0
