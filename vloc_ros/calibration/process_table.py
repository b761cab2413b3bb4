"""What Linux tells of a process: the processor time it took with its descendants, and whether it holds up a map."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
# Bytes that SQLite locks exclusively while it writes: of the index of the write-ahead log (write, checkpoint, recover, read
# marks, and the one for making it), and of the database itself (pending, reserved, shared).
_INDEX_BYTES = range(120, 129)
_DATABASE_BYTES = range(0x40000000, 0x40000000 + 512)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, of the children that it waited for, and of its living descendants [s]; 0 of one that is gone."""
    own = _cpu_of(pid)
    return own + sum(cpu_seconds(child) for child in _children(pid))


def holds_map_lock(pid: int) -> bool:
    """Whether a process is writing to an SQLite file just now, so that stopping it would make every other writer wait.

    False where the kernel does not tell (no ``/proc/locks``).
    """
    try:
        lines = (_PROC / "locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any(_is_map_lock(line.split(), pid) for line in lines)


def _is_map_lock(words: list[str], pid: int) -> bool:
    """Words such as ``3: POSIX ADVISORY WRITE 26653 fe:00:3571831 120 120``; those of waiters have an arrow after the number."""
    if len(words) != 8 or words[1] != "POSIX" or words[3] != "WRITE" or words[4] != str(pid):
        return False
    first = int(words[6])
    return first in _INDEX_BYTES or first in _DATABASE_BYTES


def _cpu_of(pid: int) -> float:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    # The name, in brackets, may hold anything; after it come the state and the numbers (proc(5)): utime is field 14.
    numbers = text.rpartition(")")[2].split()
    return sum(int(ticks) for ticks in numbers[11:15]) * _TICK_S


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for tasks in (_PROC / str(pid) / "task").glob("*/children"):
        try:
            found += [int(number) for number in tasks.read_text(encoding="ascii").split()]
        except OSError:  # the thread has ended
            continue
    return found
