"""The trainer's process: ``python -m vloc_ros.calibration.child --map M --work W --settings FILE.json [--base FILE]``.

It does one calibration of a map, tells how far it is on stdout, and ends. Each line is a JSON object. While it works::

    {"stage": "training", "share": 0.31, "loss": 0.124, "epoch": 4, "step": 31, "steps": 100}

The stages are ``mining``, ``training``, ``evaluating`` and ``storing``, in this order; ``share`` is how much of the stage is done,
and what else there is depends on it. The last line is ``{"done": {...}}`` with exit code 0, whether there is a new version or a
reason why not (see :meth:`vloc_ros.calibration.run.Calibrated.to_dict`), or ``{"error": "sentence"}`` with exit code 1.

It may be killed at any moment: the same command goes on from the last check point in the work folder, and ends with the same
weights. It may be stopped (SIGSTOP) at any moment but one: between ``"writing": true`` and ``"writing": false`` it holds the lock
of the map, which lasts for milliseconds. The line is written before the lock is taken, so who has stopped the process reads what
it has written, and lets it go on (SIGCONT) when the last of these words was true. While it trains, SIGINT and SIGTERM end it after
the present step, with a check point; else at once.

It runs when nobody else has anything to do (SCHED_IDLE, nice 19) unless it is ``--eager``, on as many cores as
``learning.threads`` says (one), and ends with the process that started it where that asks for it
(:func:`vloc_ros.processes.end_with_parent`). ``--settings`` holds what differs from
:func:`vloc_ros.calibration.settings.default_settings`, nested or by dotted keys.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from vloc_ros.calibration.stage import Stage

_EVERY_S = 0.2
"""Lines that only say how far it is are at least so far apart."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Lines:
    """Writes the lines; the last word of each stage, and what is about the lock of the map, is never left out."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told: tuple[Stage | None, float] = None, -_EVERY_S

    def progress(self, stage: Stage, share: float, more: dict[str, Any]) -> None:
        """As :data:`vloc_ros.calibration.stage.Progress`."""
        now = time.monotonic()
        before, at = self._told
        if stage is before and share < 1.0 and "writing" not in more and now - at < _EVERY_S:
            return
        self._told = stage, now
        self.write({"stage": stage.value, "share": round(share, 4)} | more)

    def write(self, values: dict[str, Any]) -> None:
        """One line, at once."""
        self._out.write(json.dumps(values) + "\n")
        self._out.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vloc_ros.calibration.child", description="Calibrate a map, once.")
    parser.add_argument("--map", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the work, where it goes on when it was killed")
    parser.add_argument("--settings", type=Path, required=True, help="JSON file of what differs from the default settings")
    parser.add_argument("--base", type=Path, help="file of weights to begin with (default: those in use)")
    parser.add_argument("--eager", action="store_true", help="do not let everybody else run first")
    args = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    lines = Lines(sys.stdout)
    _step_back(args.eager)
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, "1")  # before NumPy is loaded
    from vloc_ros.calibration.run import calibrate
    from vloc_ros.calibration.settings import default_settings
    from vloc_ros.config import replace
    from vloc_ros.errors import VlocError

    try:
        settings = replace(default_settings(), _read(args.settings))
        found = calibrate(args.map, args.work, args.base, settings, lines.progress)
    except VlocError as error:
        lines.write({"error": str(error)})
        return 1
    except KeyboardInterrupt:
        lines.write({"error": "interrupted: the same command goes on"})
        return 1
    lines.write({"done": found.to_dict()})
    return 0


def _step_back(eager: bool) -> None:
    """End with the process that started this one and, unless eager, let everybody else run first."""
    from vloc_ros.priority import give_way
    from vloc_ros.processes import end_with_parent

    end_with_parent()
    if eager:
        return
    give_way(19)


def _read(path: Path) -> dict[str, Any]:
    from vloc_ros.errors import ConfigError

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the settings {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the settings {path} must be an object of keys and values, not {values!r:.40}")
    return values


if __name__ == "__main__":
    sys.exit(main())
