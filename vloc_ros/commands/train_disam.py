"""``vloc train disam``: images of some conditions are translated into each other, and what stays the same describes the place."""

from __future__ import annotations

import argparse
import sys

from vloc_ros.commands.common import Subparsers, add_command
from vloc_ros.commands.train_run import add_run_arguments, changed, report, step_bar

_EXAMPLES = """
  vloc train disam --stage coarse --data conditions:site --out coarse
  vloc train disam --stage fine --data conditions:site --start coarse/best.safetensors --out fine
  vloc train disam --stage coarse --data conditions:nordland --set images.last=0.75 --set width=64 --set height=32 --out nordland
  vloc train disam --stage coarse --size published --data conditions:cmu/urban --out cmu          with a GPU, for days
  torchrun --nproc-per-node 2 -m vloc_ros train disam --stage coarse --data conditions:site --out coarse
  vloc evaluate retrieval queries/ --database site/ --layout aligned --descriptors coarse/best.safetensors

--size small      (default) 16 channels and 64x48 px, for a CPU; published: 64 channels and 256x256 px
--stage coarse    feature consistency; fine adds that of activation maps, and compares whole latents

conditions:FOLDER      a folder of images for each condition, in any order and of any places: nothing corresponds to anything.
                       Also CMU-Seasons (an area with train00, train01, ...) and folders of such areas
simulated:SET          a folder of `vloc train render`
seasons:AREA           as conditions:AREA; held out, the queries and the database of its slice, by their poses

A run that was interrupted or killed goes on when the same command is given again. The best weights are RUN/best.safetensors;
translations.png shows what becomes of some images in each condition."""


def register_disam(subjects: Subparsers) -> None:
    """Describe ``vloc train disam``."""
    what = "train descriptors that ignore season and light, from images of several conditions (DISAM)"
    sub = add_command(subjects, "disam", what, _EXAMPLES, _disam)
    add_run_arguments(sub, "conditions, simulated, seasons", "conditions")
    sub.add_argument("--stage", choices=["coarse", "fine"], required=True, help="which of the two models")
    sub.add_argument("--size", choices=["small", "published"], default="small", help="of the network (default: small)")
    sub.add_argument(
        "--conditions", metavar="NAME,NAME,...", default="", help="those to learn, the reference first (default: all there are)"
    )


def _disam(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.config import dump_yaml
    from vloc_ros.errors import ConfigError
    from vloc_ros.networks.disam_form import Stage
    from vloc_ros.training.disam_registry import KINDS, settings_of
    from vloc_ros.training.disam_training import DisamJob, train_disam
    from vloc_ros.training.registry import DataSpec

    stage = Stage(args.stage)
    settings = changed(args, settings_of(args.size, stage))
    if args.show_settings:
        sys.stdout.write(dump_yaml(settings))
        return 0
    if not args.data or args.out is None:
        raise ConfigError("name what to learn from with --data KIND:PATH and the folder of the run with --out RUN")
    data, held_out = ([DataSpec.parse(text, KINDS) for text in texts] for texts in (args.data, args.held_out))
    names = [name for name in args.conditions.split(",") if name]
    job = DisamJob(stage, settings, data, held_out, names, args.start, args.licence)
    with step_bar() as on_step:
        outcome, group = train_disam(job, args.out, on_step)
    return report(args, outcome, group.first)
