"""Arguments of the fine stage of a search, and of the condition of the images; whatever searches shares them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeVar

from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.retrieval.coarse_to_fine import CoarseToFineSettings
    from vloc_ros.settings import Settings

S = TypeVar("S", bound="Settings")
NAMES = "none, disam_fine, any other descriptor, or a file of weights"
CONDITION = "condition in which the images were taken, where the descriptor knows conditions: inferred from each without it"


def add_fine(parser: argparse.ArgumentParser, several: bool = False, top: bool = True) -> None:
    """--fine and, where that says something, --fine-top; :func:`with_fine` or :func:`fine_stages` reads them."""
    ending = "; several of them separated by commas" if several else ""
    parser.add_argument("--fine", metavar="NAME", help=f"a finer descriptor puts the best found in order: {NAMES}{ending}")
    if top:
        parser.add_argument("--fine-top", type=int, metavar="N", help="how many of the best found it compares (default: 5)")


def add_condition(parser: argparse.ArgumentParser, meaning: str = CONDITION) -> None:
    """--condition; :func:`with_condition` reads it."""
    parser.add_argument("--condition", metavar="NAME", help=meaning)


def fine_stages(args: argparse.Namespace) -> list[CoarseToFineSettings]:
    """What --fine and --fine-top say, for each name in its order; nothing without --fine.

    Raises:
        ConfigError: a number is out of range, or there is one without a name.
    """
    from vloc_ros.config import from_dict
    from vloc_ros.retrieval.coarse_to_fine import CoarseToFineSettings

    _require_name(args)
    top = {} if args.fine_top is None else {"candidates": args.fine_top}
    names = [] if args.fine is None else args.fine.split(",")
    return [from_dict(CoarseToFineSettings, {**top, "fine": name}, "coarse_to_fine.") for name in names]


def with_fine(settings: S, args: argparse.Namespace, section: str) -> S:
    """The settings with --fine and --fine-top in a section, ``loops`` or ``localization``; without them, as they are.

    Raises:
        ConfigError: the number is out of range.
    """
    from vloc_ros.config import replace

    said = {"fine": args.fine, "candidates": args.fine_top}
    return replace(settings, {f"{section}.coarse_to_fine.{key}": value for key, value in said.items() if value is not None})


def with_condition(settings: S, args: argparse.Namespace, section: str) -> S:
    """The settings with --condition in a section, ``loops`` or ``localization``; without it, as they are."""
    from vloc_ros.config import replace

    return settings if args.condition is None else replace(settings, {f"{section}.condition": args.condition})


def _require_name(args: argparse.Namespace) -> None:
    if args.fine is None and args.fine_top is not None:
        raise ConfigError(f"--fine-top is of a fine stage: say with --fine what compares ({NAMES})")
