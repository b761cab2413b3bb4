"""``vloc train places``: a network of place recognition learns from places in many conditions."""

from __future__ import annotations

import argparse
import sys

from vloc_ros.commands.common import Subparsers, add_command
from vloc_ros.commands.train_run import add_run_arguments, changed, report, step_bar

_EXAMPLES = """
  vloc train places --data simulated:sim_train --data static:webcams:0.3 --held-out simulated:sim_held_out --out run
  vloc train places --data tree:pitts30k --held-out tree:pitts30k --network vgg16 --head netvlad --out netvlad
  vloc train places --data simulated:sim_train --held-out simulated:sim_held_out --network cct_small --out cct
  vloc train places --start run/best.safetensors --data aligned:summer,winter --set training.learning_rate=0.0002 --out site
  vloc train places --show-settings > settings.yaml
  vloc evaluate retrieval winter/ --database summer/ --layout aligned --descriptors hog,run/best.safetensors

simulated:SET          a folder of `vloc train render`
static:FOLDER          a folder for each fixed camera, with its images at any hour and season
homography:FOLDER      photos of anything, each a place of its own that is seen through random homographies
tree:FOLDER            images/train of VPR-datasets; held out, images/val
aligned:A,B            two traverses of a route whose images correspond by name or order
recording:PATH[,PATH]  frames with poses, of any format that is read: a second drive in the same frame, or one that comes back

A run that was interrupted or killed goes on when the same command is given again. The best weights are RUN/best.safetensors, a
descriptor wherever the name of one is asked for; curves.png, history.jsonl and the event files for TensorBoard show how it went."""
_KINDS = "simulated, static, homography, tree, aligned, recording"


def register_places(subjects: Subparsers) -> None:
    """Describe ``vloc train places``."""
    sub = add_command(subjects, "places", "train a network of place recognition", _EXAMPLES, _places)
    add_run_arguments(sub, _KINDS, "tree or static")
    sub.add_argument(
        "--network",
        choices=["compact_unet", "mobilenetv3", "vgg16", "cct14", "cct_small"],
        default="compact_unet",
        help="backbone: compact_unet (default) and cct_small begin with what the local features have learned, the others at random",
    )
    sub.add_argument(
        "--head",
        choices=["gem", "netvlad", "plain_gem"],
        help="what makes one vector of an image: gem (default), netvlad, or plain_gem, which a cct has always",
    )
    sub.add_argument("--project", type=int, default=0, metavar="N", help="a linear projection to N elements comes last")


def _places(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.config import dump_yaml
    from vloc_ros.errors import ConfigError
    from vloc_ros.networks import Backbone, NetworkKind, backbones_of
    from vloc_ros.training.place_registry import PLACE_SOURCES, default_settings
    from vloc_ros.training.place_training import PlaceJob, train_places
    from vloc_ros.training.registry import DataSpec

    settings = changed(args, default_settings())
    if args.show_settings:
        sys.stdout.write(dump_yaml(settings))
        return 0
    if not args.data or args.out is None:
        raise ConfigError("name what to learn from with --data KIND:PATH and the folder of the run with --out RUN")
    if args.project < 0:
        raise ConfigError("--project must be 1 or more, or 0 for none")
    data, held_out = ([DataSpec.parse(text, PLACE_SOURCES) for text in texts] for texts in (args.data, args.held_out))
    backbone = Backbone(args.network)
    usual = NetworkKind.GEM if backbone in backbones_of(NetworkKind.GEM) else NetworkKind.PLAIN_GEM
    job = PlaceJob(
        NetworkKind(args.head) if args.head else usual,
        backbone,
        settings,
        data,
        held_out,
        projected=args.project,
        start=args.start,
        licence=args.licence,
    )
    with step_bar() as on_step:
        outcome, group = train_places(job, args.out, on_step)
    return report(args, outcome, group.first)
