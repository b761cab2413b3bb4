"""``vloc calibrate``: the place recognition of a map learns from the map's own loop closures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, rows

if TYPE_CHECKING:
    from vloc_ros.calibration.run import Calibrated
    from vloc_ros.calibration.stage import Progress, Stage
    from vloc_ros.mapping import MapStore

NOT_PROMOTED = 3
"""Exit code when there is no version that is better than what is in use."""
_EXAMPLES = """
  vloc loops --map site.vloc                                     what is learned from: loop closures with their labels
  vloc calibrate --map site.vloc --promote                       a new version, used if it is better on held-out stretches
  vloc calibrate --map site.vloc --base run/best.safetensors     begin with these weights, not with those in use
  vloc calibrate --map site.vloc --set learning.objective=triplet_then_variance --set training.epochs=5
  vloc models list --map site.vloc                               the versions that there are

What was interrupted or killed goes on when the same command is given again. The exit code is 3 when the new version is not better,
or when there is nothing to learn from; the reasons are printed."""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "calibrate", "tune place recognition to a map by what the map knows of itself", _EXAMPLES, run)
    parser.add_argument("--map", type=Path, help="map file, *.vloc, with loop closures and images")
    parser.add_argument("--base", type=Path, metavar="FILE", help="weights to begin with (default: those in use, else shipped)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of work and report (default: beside the map)")
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument("--promote", action="store_true", help="use the new version if it is better; keyframes are described anew")
    switch.add_argument("--keep", action="store_true", help="keep using what is in use now, and do not ask")
    parser.add_argument("--config", type=Path, help="YAML file of settings (--show-settings prints all keys)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, e.g. training.epochs=5"
    )
    parser.add_argument("--show-settings", action="store_true", help="print the effective settings as YAML, and do nothing else")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrate, and switch to the new version if that is wanted."""
    from vloc_ros.calibration.run import calibrate
    from vloc_ros.calibration.settings import default_settings
    from vloc_ros.commands.train_run import changed
    from vloc_ros.config import dump_yaml
    from vloc_ros.errors import ConfigError

    settings = changed(args, default_settings())
    if args.show_settings:
        sys.stdout.write(dump_yaml(settings))
        return 0
    if args.map is None:
        raise ConfigError("name the map with --map site.vloc")
    work = args.out or args.map.with_suffix(".calibration")
    with _bars() as told:
        found = calibrate(args.map, work, args.base, settings, told)
    promoted = found.won and _wanted(args, found) and _promote(args, found)
    emit(args, {"map": str(args.map), **found.to_dict(), "promoted": promoted}, _text(args, found, promoted))
    return 0 if found.won else NOT_PROMOTED


def _wanted(args: argparse.Namespace, found: Calibrated) -> bool:
    """What the command line says; on a terminal, else, what the user says."""
    if args.promote or args.keep or args.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return bool(args.promote)
    name = "" if found.version is None else found.version.name
    sys.stderr.write(f"{found.decision}\nuse {name} from now on, and describe all keyframes anew? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _promote(args: argparse.Namespace, found: Calibrated) -> bool:
    from vloc_ros.mapping import MapStore
    from vloc_ros.mapping.model_versions import number_in_use

    assert found.version is not None and found.decision is not None
    with MapStore.open(args.map) as store:
        if number_in_use(store) == found.version.number:
            return True
        return _switch(store, found)


def _switch(store: MapStore, found: Calibrated) -> bool:
    from vloc_ros.commands.common import progress
    from vloc_ros.mapping.model_versions import SwitchReason, ask_switch
    from vloc_ros.retrieval.switching import end_switch

    assert found.version is not None and found.decision is not None
    switch = ask_switch(store, found.version.number, SwitchReason.PROMOTED, found.decision.figures)
    return end_switch(store, switch, lambda ids: progress(ids, len(ids), "describe", "keyframe"))


def _text(args: argparse.Namespace, found: Calibrated, promoted: bool) -> str:
    if found.version is None:
        return f"{args.map} is not calibrated: {found.refusal}"
    name = found.version.name
    use = f"vloc models promote {found.version.number} --map {args.map}"
    lines: list[tuple[str, Any]] = [
        ("version", f"{name}, in the map {args.map}"),
        ("promotion test", found.decision),
        ("match probability", "learned" if found.version.probability is not None else found.version.card.notes or "none"),
        ("in use", f"{name}, from now on" if promoted else f"as before; {use} changes that"),
        ("report", found.report),
    ]
    return rows(line for line in lines if line[1] is not None)


@contextmanager
def _bars() -> Iterator[Progress]:
    """A progress bar for each stage on stderr; none when that is not a terminal."""
    from tqdm import tqdm

    bars: dict[Stage, Any] = {}

    def told(stage: Stage, share: float, more: dict[str, Any]) -> None:
        if stage not in bars:
            for earlier in bars.values():
                earlier.close()
            form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
            bars[stage] = tqdm(total=1.0, desc=stage.value, file=sys.stderr, disable=None, leave=True, bar_format=form)
        if more.get("loss") is not None:
            bars[stage].set_postfix(epoch=more["epoch"], loss=f"{more['loss']:.4g}", refresh=False)
        bars[stage].update(max(0.0, share - bars[stage].n))

    try:
        yield told
    finally:
        for bar in bars.values():
            bar.close()
