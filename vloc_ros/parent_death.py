"""What the kernel does for a child process whose parent dies. Imports little: processes that start often begin with it."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def ask_for_signal(number: signal.Signals) -> None:
    """Ask the kernel for a signal when the thread that started this process ends (Linux; nothing is asked elsewhere).

    A parent that is dead already sends nothing any more: look at ``os.getppid()`` afterwards.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
