"""How a process of this package gives way to others."""

from __future__ import annotations

import errno
import logging
import os
import time
from pathlib import Path

_log = logging.getLogger(__name__)
_AUTOGROUP = Path("/proc/self/autogroup")
_IDLE_FROM = 19
_TRIES, _AGAIN_S = 5, 0.12


def give_way(niceness: int) -> None:
    """Make this process at least as nice as this, 0 to 19; at 19 it runs only where the processor is idle (SCHED_IDLE, Linux).

    Linux shares the processor between sessions first (``kernel.sched_autogroup_enabled``, sched(7)), and the niceness of a
    process counts only within its own. So a process that leads a session makes the whole of it so nice: else one that was
    started in a session of its own would get as much as all nodes of a launch together.
    """
    os.nice(max(0, niceness - os.nice(0)))
    if niceness >= _IDLE_FROM and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if niceness > 0 and os.getsid(0) == os.getpid():
        _session_gives_way(niceness)


def _session_gives_way(niceness: int) -> None:
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(niceness), encoding="ascii")
            return
        except FileNotFoundError:  # a kernel without such groups
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:
                _log.warning("the niceness of the session cannot be set: %s", error)
                return
        time.sleep(_AGAIN_S)  # the kernel allows this ten times a second on the whole machine
    _log.warning("the niceness of the session cannot be set: the kernel was asked for that too often")
