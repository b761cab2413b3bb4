"""What the commands that drive in closed loop share."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from vloc_ros.commands.common import add_search, add_settings, load_settings_as, with_search
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.closed_loop import Course
    from vloc_ros.simulation import Condition, Site


def add_course(parser: argparse.ArgumentParser) -> None:
    """Settings, and what the simulation is like."""
    add_search(parser)
    add_settings(parser)
    parser.add_argument("--seed", type=int, default=1, help="of slip, odometry errors and noise (default: 1)")
    parser.add_argument("--scale", type=float, default=1.0, help="resolution of the cameras, 1 being 512x384 (default: 1)")
    parser.add_argument("--detail", choices=["full", "fast"], default="fast", help="level of detail of the images (default: fast)")


def add_light(parser: argparse.ArgumentParser) -> None:
    """--condition and --hour."""
    parser.add_argument("--condition", default="noon", metavar="NAME", help="noon (default), dusk, night, fog, snow, ...")
    parser.add_argument("--hour", type=float, help="another hour of the day, 0 to 24, in the same weather, e.g. 6.5")


def chosen_condition(args: argparse.Namespace) -> Condition:
    """The condition named on the command line.

    Raises:
        ConfigError: it is unknown, or the hour out of range.
    """
    from vloc_ros.simulation import named_condition

    return named_condition(args.condition, args.hour)


def chosen_site(number: int, length_m: float) -> Site:
    """The site of a number, from 1, with a route of a length.

    Raises:
        ConfigError: the number is not positive.
    """
    from vloc_ros.simulation import sites

    if number < 1:
        raise ConfigError(f"--site {number} must be 1 or more")
    return replace(sites(number)[-1], length_m=length_m)


def course_of(args: argparse.Namespace, threads: int = 2) -> Course:
    """What the command line says of robot, localisation and images.

    Raises:
        ConfigError: a key is unknown or out of range.
    """
    from vloc_ros.closed_loop import ClosedLoopSettings, Course

    settings = with_search(load_settings_as(ClosedLoopSettings, args), args, "localization")
    return Course(settings, args.seed, args.detail, threads)
