"""``vloc train dhe``: the homography network of a re-ranker, and the local descriptors that it compares."""

from __future__ import annotations

import argparse
import sys

from vloc_ros.commands.common import Subparsers, add_command
from vloc_ros.commands.train_run import add_run_arguments, changed, report, step_bar

_EXAMPLES = """
  vloc train dhe --recipe dense --data simulated:sim_train --data static:webcams:0.5 --held-out simulated:sim_held_out --out run
  vloc train dhe --recipe dense --data homography:photos --out quick --set training.epochs=5
  vloc train dhe --network cct14 --start cct14_msls.safetensors --data tree:msls --held-out tree:msls --out dhe
  torchrun --nproc-per-node 2 -m vloc_ros train dhe --recipe dense --data simulated:sim_train --out run
  vloc evaluate retrieval queries/ --database site/ --layout aligned --descriptors cct --rerank run/best.safetensors

--recipe published  the homography network alone learns (--start: the descriptors), from the re-projection error of its inliers
--recipe dense      all of it learns, from correspondences that are known; the default where there is no --start

simulated:SET          a folder of `vloc train render`
static:FOLDER          a folder for each fixed camera, with its images at any hour and season
homography:FOLDER      photos of anything, each seen through two random homographies
recording:PATH         stereo or RGB-D frames with poses, of any format that is read
tree:FOLDER            images/train of VPR-datasets, with `database` or `gallery`; held out, images/val; without correspondences
aligned:A,B            two traverses of a route whose images correspond by name or order; without correspondences
map:FILE               keyframes of a map, by the tuples that its labelled loop closures yield; without correspondences

A run that was interrupted or killed goes on when the same command is given again. The best weights are RUN/best.safetensors, a
descriptor and a re-ranker in one; `vloc train vpr --reranker homography --start RUN/best.safetensors` goes on with both."""


def register_dhe(subjects: Subparsers) -> None:
    """Describe ``vloc train dhe``."""
    what = "train the homography network of a re-ranker (stage 1 of DHE-VPR)"
    sub = add_command(subjects, "dhe", what, _EXAMPLES, _dhe)
    add_run_arguments(sub, "simulated, static, homography, recording, tree, aligned, map", "tree or static")
    sub.add_argument("--network", choices=["cct_small", "cct14"], default="cct_small", help="backbone (default: cct_small)")
    sub.add_argument("--recipe", choices=["published", "dense"], help="settings to begin with (default: published with --start)")


def _dhe(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.config import dump_yaml
    from vloc_ros.errors import ConfigError
    from vloc_ros.networks import Backbone
    from vloc_ros.training.homography_registry import KINDS, settings_of
    from vloc_ros.training.homography_training import HomographyJob, train_homographies
    from vloc_ros.training.registry import DataSpec

    settings = changed(args, settings_of(args.recipe or ("dense" if args.start is None else "published")))
    if args.show_settings:
        sys.stdout.write(dump_yaml(settings))
        return 0
    if not args.data or args.out is None:
        raise ConfigError("name what to learn from with --data KIND:PATH and the folder of the run with --out RUN")
    data, held_out = ([DataSpec.parse(text, KINDS) for text in texts] for texts in (args.data, args.held_out))
    job = HomographyJob(Backbone(args.network), settings, data, held_out, args.start, args.licence)
    with step_bar() as on_step:
        outcome, group = train_homographies(job, args.out, on_step)
    return report(args, outcome, group.first)
