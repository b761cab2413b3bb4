"""Starts a program that gives way to others and ends with its parent.

``python -m vloc_ros.calibration.background PARENT NICENESS COMMAND...``. It becomes the program
(exec), as setting this up between fork and exec is unsafe in a process that has threads.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from vloc_ros import parent_death
from vloc_ros.priority import give_way

_MODULE = "vloc_ros.calibration.background"


def command(program: Sequence[str], niceness: int) -> list[str]:
    """Command line that runs a program in the background of this process.

    Args:
        program: an executable with its arguments.
        niceness: 0 to 19; at 19 it runs only where the processor is idle.
    """
    return [sys.executable, "-m", _MODULE, str(os.getpid()), str(niceness), *program]


def main(arguments: list[str] | None = None) -> None:
    """Give way, end with the parent, and become the program."""
    parent, niceness, *program = sys.argv[1:] if arguments is None else arguments
    give_way(int(niceness))
    # Anything milder than SIGKILL does not reach a process that is stopped, as one without budget is.
    parent_death.ask_for_signal(signal.SIGKILL)
    if os.getppid() != int(parent):  # it died in between
        sys.exit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
