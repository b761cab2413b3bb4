"""What the sub-commands share: arguments, configuration, progress, output."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vloc_ros.commands.fine import add_fine, with_fine
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.data import DatasetReader
    from vloc_ros.settings import Settings

T = TypeVar("T")
S = TypeVar("S", bound="Settings")
Subparsers = Any


def add_command(subparsers: Subparsers, name: str, summary: str, examples: str, run: Any) -> argparse.ArgumentParser:
    """A sub-command with its examples below its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples.rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_source(parser: argparse.ArgumentParser, *, slicing: bool = True, optional: bool = False) -> None:
    """SOURCE, --format, and which frames of it."""
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="folder or file of a recording", nargs="?" if optional else None
    )
    parser.add_argument("--format", help="format of SOURCE, when it is not recognised: kitti, utias, euroc, tum, bag, images")
    parser.add_argument(
        "--rectification",
        choices=["auto", "off"],
        default="auto",
        help="auto: correct a stereo pair that is measurably not well rectified (looks at a few pairs first)",
    )
    if slicing:
        parser.add_argument("--start", type=int, default=0, help="first frame (default: 0)")
        parser.add_argument("--stop", type=int, help="frame to stop before (default: the end)")
        parser.add_argument("--step", type=int, default=1, help="use every n-th frame (default: 1)")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--features, --config, --set."""
    parser.add_argument(
        "--features",
        help="local features: sift_fast, sift, orb, unet, or a file of weights (default: those of the map, unet for a new one)",
    )
    parser.add_argument("--config", type=Path, help="YAML file of settings (vloc config prints all keys)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, e.g. odometry.window_px=40"
    )


def add_search(parser: argparse.ArgumentParser) -> None:
    """--descriptor, --fine, --fine-top and --rerank; :func:`with_search` reads them."""
    parser.add_argument("--descriptor", help="global descriptor that proposes: auto (default), site, site-2, place, hog, vlad, ...")
    add_fine(parser)
    add_rerank(parser)


def with_search(settings: S, args: argparse.Namespace, section: str) -> S:
    """The settings with what :func:`add_search` says in a section, ``loops`` or ``localization``; without it, as they are.

    Raises:
        ConfigError: a number is out of range.
    """
    from vloc_ros.config import replace

    said = {"descriptor": args.descriptor, "rerank.reranker": args.rerank}
    chosen = {f"{section}.{key}": value for key, value in said.items() if value is not None}
    return with_fine(replace(settings, chosen), args, section)


def add_rerank(parser: argparse.ArgumentParser) -> None:
    """--rerank of a command that searches in a map."""
    parser.add_argument(
        "--rerank",
        metavar="NAME",
        help="what orders the places that a search finds: none (default), homography, ransac, or a file of weights",
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """--out."""
    parser.add_argument("--out", type=Path, help="folder for the trajectory, the log of each frame and the report")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout, and nothing else there")


def add_remap(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Option ``--remap`` with a word on what is renamed; :func:`remappings` reads it."""
    parser.add_argument("--remap", action="append", default=[], metavar="TOPIC:=NAME", help=meaning)


def remappings(rules: Iterable[str]) -> dict[str, str]:
    """``["a:=b"]`` to ``{"a": "b"}``.

    Raises:
        ConfigError: a rule is of another form.
    """
    found: dict[str, str] = {}
    for rule in rules:
        topic, separator, name = rule.partition(":=")
        if not separator or not topic or not name:
            raise ConfigError(f"--remap {rule} is not of the form TOPIC:=NAME, for example left/image_rect:=/cam/left/image_rect")
        found[topic] = name
    return found


def load_settings(args: argparse.Namespace) -> Settings:
    """Settings of localisation from --config, --set and --features, in this order of precedence.

    Raises:
        ConfigError: a key is unknown or out of range.
    """
    from vloc_ros.settings import Settings

    return load_settings_as(Settings, args)


def load_settings_as(cls: type[S], args: argparse.Namespace) -> S:
    """Settings of a class from --config, --set and --features, in this order of precedence.

    Raises:
        ConfigError: a key is unknown or out of range.
    """
    from vloc_ros.config import from_dict, load_yaml, parse_assignments, replace
    from vloc_ros.features import chosen, require_known

    settings = cls()
    if args.config is not None:
        try:
            settings = from_dict(cls, _only_keys_of(cls, load_yaml(args.config)))
        except ConfigError as error:
            raise ConfigError(f"{args.config}: {error}") from error
    settings = replace(settings, parse_assignments(args.set))
    if args.features is not None:
        settings = replace(settings, {"features.name": args.features})
    require_known(chosen(settings.features.name))
    return settings


def _only_keys_of(cls: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    """Settings of a file that serves nodes and drives too: what only they have (topics, frames, QoS, robot) is left out."""
    from dataclasses import fields

    from vloc_ros.ros.node_settings import LocalizationNodeSettings

    others = {field.name for field in fields(LocalizationNodeSettings)} | {
        "base_T_camera",
        "use_sim_time",
        "drive",
        "loops",
        "gnc",
        "labels",
    }
    others -= {field.name for field in fields(cls)}
    return {name: value for name, value in values.items() if name.partition(".")[0] not in others}


def open_source(args: argparse.Namespace) -> DatasetReader:
    """The recording named on the command line, its rectification corrected when that is asked for and needed.

    Raises:
        DataError: it cannot be opened.
        CalibrationError: its calibration is missing or inconsistent.
    """
    from vloc_ros.data import open_recording
    from vloc_ros.mapping.self_calibration import RectificationMode, refine_rectification

    reader = open_recording(args.source, args.format)
    reader, report = refine_rectification(reader, RectificationMode(args.rectification))
    if report is not None:
        logging.getLogger("vloc").info("rectification: %s", report)
    return reader


def progress(items: Iterable[T], total: int, label: str, unit: str = "frame") -> Iterator[T]:
    """The items with a progress bar on stderr; without one when stderr is not a terminal."""
    from tqdm import tqdm

    bar: Iterator[T] = iter(tqdm(items, total=total, desc=label, unit=unit, file=sys.stderr, disable=None, leave=True))
    return bar


def emit(args: argparse.Namespace, values: dict[str, Any], text: str) -> None:
    """Print the result: JSON with --json, else the text for people."""
    sys.stdout.write((json.dumps(values, allow_nan=False) if args.json else text.rstrip()) + "\n")


def rows(pairs: Iterable[tuple[str, Any]]) -> str:
    """Lines of a name and a value, aligned; None is shown as unknown."""
    shown = [(name, "unknown" if value is None else str(value)) for name, value in pairs]
    width = max(len(name) for name, _ in shown)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in shown)


def number(value: float | None, unit: str, digits: int = 3) -> str | None:
    """A number with its unit, None when unknown."""
    return None if value is None else f"{value:.{digits}f} {unit}".rstrip()
