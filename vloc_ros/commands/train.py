"""``vloc train``: networks learn; what can be trained are commands below it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from vloc_ros.commands.common import Subparsers, add_command
from vloc_ros.commands.train_aerial import register_render_aerial
from vloc_ros.commands.train_compress import register_compress
from vloc_ros.commands.train_data import register_curves, register_preview, register_render
from vloc_ros.commands.train_dhe import register_dhe
from vloc_ros.commands.train_disam import register_disam
from vloc_ros.commands.train_glvl import register_glvl
from vloc_ros.commands.train_match import register_match
from vloc_ros.commands.train_places import register_places
from vloc_ros.commands.train_run import add_run_arguments, changed, report, step_bar
from vloc_ros.commands.train_seasons import register_render_seasons
from vloc_ros.commands.train_uncertainty import register_uncertainty
from vloc_ros.commands.train_vpr import register_vpr

_STEPS = """
  vloc train render --out sim_train --sites 24                                what to learn from
  vloc train render --out sim_held_out --sites 6 --first-seed 2000            what to judge by while it learns
  vloc train preview --data simulated:sim_train --out sheet.png               look at it
  vloc train features --data simulated:sim_train --held-out simulated:sim_held_out --out run
  vloc teach noon/ --map site.vloc --features run/best.safetensors            use it"""
_EXAMPLES = """
  vloc train features --data simulated:sim_train --data static:webcams:0.5 --held-out simulated:sim_held_out --out run
  vloc train features --data homography:photos --out quick --set training.epochs=5 --set images.width=256
  vloc train features --data utias:multiseason --held-out utias:multiseason --network unet --objective published --out u
  torchrun --nproc-per-node 2 -m vloc_ros train features --data simulated:sim_train --out run
  vloc train features --data static:my_webcams --data simulated:sim_train --start models/unet.safetensors --out site
  vloc train features --objective published --show-settings > settings.yaml

simulated:SET       a folder of `vloc train render`
static:FOLDER       a folder for each fixed camera, with its images at any hour and season
homography:FOLDER   photos of anything, each seen through two random homographies
recording:PATH      stereo or RGB-D frames with poses, of any format that is read
utias:FOLDER        the runs of a path of the UTIAS data

A run that was interrupted or killed goes on when the same command is given again. The best weights are RUN/best.safetensors;
curves.png, history.jsonl and the event files for TensorBoard show how it went."""
_KINDS = "simulated, static, homography, recording, utias"
_WIDTHS = {"compact_unet": 16, "unet": 16}


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "train", "train a network, and make and look at what it learns from", _STEPS, None)
    what = "render|render-seasons|render-aerial|preview|features|places|disam|compress|dhe|vpr|glvl|match|uncertainty|curves"
    subjects = parser.add_subparsers(dest="subject", required=True, metavar=what)
    register_render(subjects)
    register_render_seasons(subjects)
    register_render_aerial(subjects)
    register_preview(subjects)
    register_curves(subjects)
    register_places(subjects)
    register_disam(subjects)
    register_compress(subjects)
    register_vpr(subjects)
    register_glvl(subjects)
    register_match(subjects)
    register_uncertainty(subjects)
    register_dhe(subjects)
    sub: argparse.ArgumentParser = add_command(subjects, "features", "train a network of local features", _EXAMPLES, _features)
    add_run_arguments(
        sub,
        f"{_KINDS}; recordings whose poses are in one frame of reference can be joined with commas",
        "utias or static",
    )
    sub.add_argument(
        "--network",
        choices=sorted(_WIDTHS),
        default="compact_unet",
        help="compact_unet (default) is the small one that is shipped, unet that of U",
    )
    sub.add_argument("--width", type=int, help="scales its channels (default: 16)")
    sub.add_argument("--descriptor-size", type=int, default=128, help="length of descriptors of compact_unet (default: 128)")
    sub.add_argument("--objective", default="contrastive", help="contrastive (default) or published")


def _features(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.config import dump_yaml
    from vloc_ros.errors import ConfigError
    from vloc_ros.training.features import FeatureJob, train_features
    from vloc_ros.training.registry import DataSpec

    settings = _settings(args)
    if args.show_settings:
        sys.stdout.write(dump_yaml(settings))
        return 0
    if not args.data or args.out is None:
        raise ConfigError("name what to learn from with --data KIND:PATH and the folder of the run with --out RUN")
    width = _WIDTHS[args.network] if args.width is None else args.width
    data, held_out = ([DataSpec.parse(text) for text in texts] for texts in (args.data, args.held_out))
    job = FeatureJob(args.network, width, args.descriptor_size, args.objective, settings, data, held_out, args.start, args.licence)
    with step_bar() as on_step:
        outcome, group = train_features(job, args.out, on_step)
    return report(args, outcome, group.first)


def _settings(args: argparse.Namespace) -> Any:
    """Settings of the objective: its preset, then --config, then --set."""
    from vloc_ros.config import replace
    from vloc_ros.training.registry import preset, settings_class

    return changed(args, replace(settings_class(args.objective)(), preset(args.objective)))
