"""What stands around a training: ``vloc train render`` and ``preview`` make and show its data, ``curves`` shows how it went."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, rows
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.training.pairs import TrainingPair
    from vloc_ros.training.sources import SetPlan

_RENDER = """
  vloc train render --out sim_train --sites 24
  vloc train render --out sim_held_out --sites 6 --first-seed 2000 --places 2 --views 2      to validate on
  vloc train render --out at_night --sites 6 --conditions noon,dusk,night --detail full
  vloc train preview --data simulated:sim_train --out sheet.png                              look at it

A rendering that was interrupted goes on when the same command is given again; with more --sites it grows."""
_PREVIEW = """
  vloc train preview --data simulated:sim_train --out sheet.png
  vloc train preview --data static:webcams --data homography:photos --pairs 4 --out sheet.png
  vloc train preview --data static:webcams --set 'static.exclude=tilde_*' --as-trained --out sheet.png

Rings of one colour are one point of the scene; red is what the second image does not show. If rings lie on different things, the
data are wrong, and so is what is learned from them."""

_CURVES = """
  vloc train curves run
  vloc train curves run --out docs/training.png --title unet"""


def register_render(subjects: Subparsers) -> None:
    """Describe ``vloc train render``."""
    sub = add_command(
        subjects, "render", "render places of the simulated world in many conditions, to learn from", _RENDER, _render
    )
    sub.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the set; what is missing there is rendered"
    )
    sub.add_argument("--sites", type=int, default=24, help="worlds, each with its own route (default: 24)")
    sub.add_argument(
        "--first-seed",
        type=int,
        default=1000,
        help="seed of the first site, the others follow (default: 1000; use 2000 for a set to validate on)",
    )
    sub.add_argument("--places", type=int, default=5, help="places along each route (default: 5)")
    sub.add_argument("--views", type=int, default=3, help="camera poses at each place, 2 or more (default: 3)")
    sub.add_argument("--per-view", type=int, help="conditions in which each pose is seen (default: 5, or all if they are fewer)")
    sub.add_argument("--conditions", default="all", metavar="NAMES", help="all (default), or names separated by commas")
    sub.add_argument("--scale", type=float, default=1.0, help="of the image size, 1 being 512x384 (default: 1)")
    sub.add_argument("--detail", choices=["full", "fast"], default="fast", help="level of detail of the images (default: fast)")
    sub.add_argument("--force", action="store_true", help="allow the seeds below 1000, with which features are evaluated")
    add_json(sub)


def register_preview(subjects: Subparsers) -> None:
    """Describe ``vloc train preview``."""
    sub = add_command(subjects, "preview", "draw pairs of images with their true correspondences", _PREVIEW, _preview)
    sub.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="KIND:PATH",
        help="where pairs are from, as in `vloc train features`; may be given several times",
    )
    sub.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture to write, *.png")
    sub.add_argument("--pairs", type=int, default=8, help="pairs of each source (default: 8)")
    sub.add_argument("--columns", type=int, default=2, help="pairs in a row (default: 2)")
    sub.add_argument("--seed", type=int, default=0, help="which pairs (default: 0)")
    sub.add_argument("--as-trained", action="store_true", help="cropped and altered at random, as a network gets to see them")
    sub.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, as in `vloc train features`"
    )
    add_json(sub)


def register_curves(subjects: Subparsers) -> None:
    """Describe ``vloc train curves``."""
    sub = add_command(subjects, "curves", "draw losses and task of a run from its history.jsonl", _CURVES, _curves)
    sub.add_argument("folder", type=Path, metavar="RUN", help="folder of a run; it may still be going on")
    sub.add_argument("--out", type=Path, metavar="FILE", help="picture to write, *.png (default: RUN/curves.png)")
    sub.add_argument("--title", help="name in the picture (default: that of the folder)")
    add_json(sub)


def _render(args: argparse.Namespace) -> int:
    from vloc_ros.simulation import sites
    from vloc_ros.training.sources import FIRST_TRAINING_SEED, render_training_set
    from vloc_ros.training.sources.rendering import bytes_of

    if args.sites < 1 or args.views < 2:
        raise ConfigError("--sites must be 1 or more and --views 2 or more: a pair is two views of one place")
    if args.first_seed < FIRST_TRAINING_SEED and not args.force:
        raise ConfigError(
            f"the sites of seeds below {FIRST_TRAINING_SEED} are those on which features are evaluated, and whoever learns there "
            f"knows the answers: give --first-seed {FIRST_TRAINING_SEED} or more, or --force if nothing is evaluated with them"
        )
    started = time.monotonic()
    count = render_training_set(args.out, sites(args.sites, args.first_seed), _plan(args))
    seconds, size = round(time.monotonic() - started, 1), bytes_of(args.out)
    values = {"folder": str(args.out), "sites": args.sites, "images": count, "bytes": size, "seconds": seconds}
    text = [("folder", str(args.out)), ("images", f"{count} of {args.sites} sites"), ("size", f"{size / 1e6:.1f} MB")]
    emit(args, values, rows([*text, ("time", f"{seconds} s")]))
    return 0


def _plan(args: argparse.Namespace) -> SetPlan:
    """The plan of the command line; of the groups that each view is seen in, what was asked for."""
    from vloc_ros.simulation import CONDITIONS
    from vloc_ros.training.sources import SetPlan

    plan = SetPlan()
    names = tuple(CONDITIONS) if args.conditions == "all" else tuple(dict.fromkeys(args.conditions.split(",")))
    groups = (tuple(name for name in group if name in names) for group in plan.always)
    per_view = min(plan.per_view, len(names)) if args.per_view is None else args.per_view
    return SetPlan(
        conditions=names,
        always=tuple(group for group in groups if group),
        places=args.places,
        views=args.views,
        per_view=per_view,
        detail=args.detail,
        scale=args.scale,
    )


def _preview(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train preview")
    from vloc_ros.data.output import write_image
    from vloc_ros.training.preview import pair_sheet

    if args.pairs < 1:
        raise ConfigError("--pairs must be 1 or more")
    _require_png(args.out)
    pairs = _chosen(args)
    sheet = pair_sheet(pairs, args.columns, scale=1.0 if args.as_trained else 0.5)
    write_image(args.out, sheet)
    emit(args, {"file": str(args.out), "pairs": len(pairs)}, rows([("file", str(args.out)), ("pairs", len(pairs))]))
    return 0


def _chosen(args: argparse.Namespace) -> list[TrainingPair]:
    """Pairs of all sources, in turn."""
    from vloc_ros.config import parse_assignments, replace
    from vloc_ros.training.preview import as_trained, random_pairs
    from vloc_ros.training.registry import DataSpec, open_source, settings_class

    settings = replace(settings_class("contrastive")(), parse_assignments(args.set))
    found: list[TrainingPair] = []
    for text in args.data:
        pairs = random_pairs(open_source(DataSpec.parse(text), settings), args.pairs, args.seed)
        found += as_trained(pairs, settings.images, settings.augmentation, args.seed) if args.as_trained else pairs
    return found


def _curves(args: argparse.Namespace) -> int:
    from vloc_ros.training.curves import CURVES_NAME, read_history, write_curves

    out = args.out or args.folder / CURVES_NAME
    _require_png(out)
    history = read_history(args.folder)
    write_curves(out, history, args.title or args.folder.resolve().name)
    emit(args, {"file": str(out), "epochs": len(history)}, rows([("file", str(out)), ("epochs", len(history))]))
    return 0


def _require_png(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--out {path} must be the name of a picture that ends in .png")
