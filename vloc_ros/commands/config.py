"""``vloc config``: all settings with their documentation."""

from __future__ import annotations

import argparse
import sys

from vloc_ros.commands.common import Subparsers, add_command, add_settings, load_settings_as

_EXAMPLES = """
  vloc config > my_settings.yaml
  vloc config --config my_settings.yaml --set odometry.window_px=40"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    add_settings(add_command(subparsers, "config", "print the effective settings as YAML", _EXAMPLES, run))


def run(args: argparse.Namespace) -> int:
    """Print them."""
    from dataclasses import dataclass

    from vloc_ros.closed_loop.settings import ClosedLoopSettings
    from vloc_ros.config import dump_yaml
    from vloc_ros.loop_closure.settings import LoopClosureSettings

    @dataclass(frozen=True)
    class Everything(LoopClosureSettings, ClosedLoopSettings):
        """The settings of all commands."""

    sys.stdout.write(dump_yaml(load_settings_as(Everything, args)))
    return 0
