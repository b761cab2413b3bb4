"""``vloc train vpr``: retrieval, and the homographies that re-rank what it finds, learn together."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command
from vloc_ros.commands.train_run import add_run_arguments, changed, report, step_bar

_EXAMPLES = """
  vloc train vpr --reranker homography --start dhe/best.safetensors --data simulated:sim_train --held-out simulated:held --out run
  vloc train vpr --reranker homography --start places/best.safetensors --dhe dhe/best.safetensors --data tree:pitts30k --out run
  vloc train vpr --start gem/best.safetensors --data aligned:summer,winter --out site        the triplet loss of descriptors alone
  vloc train vpr --reranker homography --start models/cct.safetensors --data map:site.vloc --data homography:photos:0.3 --out site
  torchrun --nproc-per-node 2 -m vloc_ros train vpr --reranker homography --start dhe/best.safetensors --data tree:msls --out run \\
      --set mining.mining=weighted --set training.epochs=2 --set training.samples=10000
  vloc train vpr --show-settings > settings.yaml
  vloc evaluate retrieval pitts30k/ --layout tree --descriptors run/best.safetensors --rerank run/best.safetensors

tree:FOLDER            VPR-datasets: images/train with queries and database (or gallery); held out, images/val
simulated:SET          a folder of `vloc train render`
static:FOLDER          a folder for each fixed camera, with its images at any hour and season
aligned:A,B            two traverses of a route whose images correspond by name or order
recording:PATH[,PATH]  frames with poses, of any format that is read: a second drive in the same frame, or one that comes back
map:FILE               keyframes of a map, by the training tuples that its labelled loop closures yield
homography:FOLDER      photos of anything, each paired with itself through random homographies

Settings begin as published for DHE-VPR. A run that was interrupted or killed goes on, with the tuples that it had mined, when the
same command is given again. The best weights are RUN/best.safetensors, for descriptor and re-ranker; curves.png, history.jsonl and
the event files for TensorBoard show how it went."""
_KINDS = "tree, simulated, static, aligned, recording, map, homography"


def register_vpr(subjects: Subparsers) -> None:
    """Describe ``vloc train vpr``."""
    sub = add_command(subjects, "vpr", "train retrieval and its re-ranking together", _EXAMPLES, _vpr)
    add_run_arguments(sub, _KINDS, "tree or static")
    sub.add_argument(
        "--reranker",
        choices=["none", "homography"],
        default="none",
        help="homography learns to re-rank, too, and needs weights of both stages; none (default) learns descriptors alone",
    )
    sub.add_argument(
        "--dhe", type=Path, metavar="FILE", help="weights whose second stage is taken, where --start has none or another is wanted"
    )


def _vpr(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.config import dump_yaml
    from vloc_ros.errors import ConfigError
    from vloc_ros.training.registry import DataSpec
    from vloc_ros.training.vpr_registry import VPR_SOURCES
    from vloc_ros.training.vpr_settings import default_settings
    from vloc_ros.training.vpr_training import VprJob, train_vpr

    settings = changed(args, default_settings())
    if args.show_settings:
        sys.stdout.write(dump_yaml(settings))
        return 0
    if not args.data or args.start is None or args.out is None:
        raise ConfigError(
            "name what to learn from with --data KIND:PATH, the weights to begin with with --start FILE, and the folder of the run "
            "with --out RUN"
        )
    data, held_out = ([DataSpec.parse(text, VPR_SOURCES) for text in texts] for texts in (args.data, args.held_out))
    job = VprJob(args.start, settings, data, held_out, args.reranker == "homography", args.dhe, args.licence)
    with step_bar() as on_step:
        outcome, group = train_vpr(job, args.out, on_step)
    return report(args, outcome, group.first)
