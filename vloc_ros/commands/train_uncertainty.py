"""``vloc train uncertainty``: a network of place recognition learns how sure it is of each descriptor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command, add_json
from vloc_ros.commands.train_run import changed, report, step_bar

_EXAMPLES = """
  vloc loops --map site.vloc                                                        labels to learn from
  vloc train uncertainty --map site.vloc --start gem/best.safetensors --out run     the variance head, descriptors as they are
  vloc train uncertainty --map a.vloc --map b.vloc --held-out c.vloc --start gem/best.safetensors --out run
  vloc train uncertainty --map site.vloc --start gem/best.safetensors --out run --set part=published
  vloc train uncertainty --show-settings > settings.yaml

Tuples are those that the labels of each map yield; a map that has none is mined first, which takes a while. A run that was
interrupted or killed goes on when the same command is given again. The weights are RUN/best.safetensors."""


def register_uncertainty(subjects: Subparsers) -> None:
    """Describe ``vloc train uncertainty``."""
    sub = add_command(subjects, "uncertainty", "train how uncertain descriptors are", _EXAMPLES, _uncertainty)
    sub.add_argument("--map", action="append", type=Path, default=[], help="map to learn from; may be given several times")
    sub.add_argument("--held-out", action="append", type=Path, default=[], metavar="MAP", help="map to choose the best epoch by")
    sub.add_argument("--start", type=Path, metavar="FILE", help="weights to begin with, of gem or uncertainty, *.safetensors")
    sub.add_argument("--out", type=Path, metavar="RUN", help="folder of the run; one that is there already goes on")
    sub.add_argument("--licence", default="", help="of the weights, for their card")
    sub.add_argument("--config", type=Path, help="YAML file of settings (--show-settings prints all keys)")
    sub.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, e.g. training.learning_rate=0.0001"
    )
    sub.add_argument("--show-settings", action="store_true", help="print the effective settings as YAML, and do nothing else")
    add_json(sub)


def _uncertainty(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.config import dump_yaml
    from vloc_ros.errors import ConfigError
    from vloc_ros.training.map_training import VarianceJob, default_settings, train_variance

    settings = changed(args, default_settings())
    if args.show_settings:
        sys.stdout.write(dump_yaml(settings))
        return 0
    if not args.map or args.start is None or args.out is None:
        raise ConfigError("name what to learn from with --map, the weights with --start, and the folder of the run with --out")
    job = VarianceJob(args.map, args.start, settings, args.held_out, args.licence)
    with step_bar() as on_step:
        outcome, group = train_variance(job, args.out, on_step)
    return report(args, outcome, group.first)
