"""``vloc train glvl``: places seen from above and points on the ground, found again in another season, by one network (GLVL)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command
from vloc_ros.commands.train_run import add_run_arguments, changed, report, step_bar

_EXAMPLES = """
  vloc train render-aerial --out aerial                                    sites in several conditions, to learn from
  vloc train render-aerial --out aerial_held_out --sites 3 --first-seed 7900
  vloc train glvl --data aerial:aerial --held-out aerial:aerial_held_out --out run
  vloc train glvl --data aerial:aerial:2 --data map:village.tif --start run/best.safetensors --out village
  vloc train glvl --data aerial:aerial --teacher run/superpoint.safetensors --out second
  vloc train glvl --size published --balance alternate --data aerial:orthophotos --out published     with a GPU, for days
  torchrun --nproc-per-node 2 -m vloc_ros train glvl --data aerial:aerial --out run

--size small         (default) 16 channels and 192x192 px, for a CPU; published: ResNet-50 (25,945,732 weights) and 512x512 px
--balance gradients  (default) the sum of all losses, each of which moves the shared stem as much as the others; uncertainty: with
                     learned variances; sum: as it is; alternate: as published, an epoch of retrieval and five of local features

aerial:SET      a folder for each site with an image of each condition, all aligned to the pixel, as `vloc train render-aerial`
                makes them and as orthophotos of several years are; an image beside such folders is a site in one condition
map:FILE        a picture of the ground, such as the one that a map was built from

A run that was interrupted or killed goes on when the same command is given again. The best weights are RUN/best.safetensors, a
global descriptor and both halves to go on learning with, and RUN/superpoint.safetensors, local features (--features FILE).
matches.png shows held-out views beside the map with the matches that agree: on the left of SIFT, on the right of the network."""


def register_glvl(subjects: Subparsers) -> None:
    """Describe ``vloc train glvl``."""
    what = "train global and local features of the ground seen from above, together (GLVL)"
    sub = add_command(subjects, "glvl", what, _EXAMPLES, _glvl)
    add_run_arguments(sub, "aerial, map", "")
    sub.add_argument("--size", choices=["small", "published"], default="small", help="of the network (default: small)")
    sub.add_argument(
        "--balance",
        choices=["gradients", "uncertainty", "sum", "alternate"],
        help="how the losses are learned together (default: gradients; published: alternate)",
    )
    sub.add_argument(
        "--teacher", type=Path, metavar="FILE", help="weights of local features whose key points are learned (default: corners)"
    )


def _glvl(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.config import dump_yaml, replace
    from vloc_ros.errors import ConfigError
    from vloc_ros.training.glvl_registry import settings_of
    from vloc_ros.training.glvl_training import GlvlJob, train_glvl
    from vloc_ros.training.ground_sites import KINDS
    from vloc_ros.training.registry import DataSpec

    settings = settings_of(args.size)
    if args.balance is not None:
        settings = replace(settings, {"objective": {"balance": args.balance}})
    settings = changed(args, settings)
    if args.show_settings:
        sys.stdout.write(dump_yaml(settings))
        return 0
    if not args.data or args.out is None:
        raise ConfigError("name what to learn from with --data KIND:PATH and the folder of the run with --out RUN")
    data, held_out = ([DataSpec.parse(text, KINDS) for text in texts] for texts in (args.data, args.held_out))
    job = GlvlJob(settings, data, held_out, args.start, args.teacher, args.licence)
    with step_bar() as on_step:
        outcome, group = train_glvl(job, args.out, on_step)
    return report(args, outcome, group.first)
