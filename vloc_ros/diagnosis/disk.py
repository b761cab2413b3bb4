"""Whether there is room for the map to grow."""

from __future__ import annotations

import shutil
from pathlib import Path

from vloc_ros.diagnosis.finding import Check, Finding, error, fine, warning

FULL_BYTES, NEARLY_FULL_BYTES = 50_000_000, 1_000_000_000
"""A keyframe takes about 0.1 MB, and SQLite needs room for its journal."""


def check_disk(path: Path) -> Finding:
    """Whether the file system of a map, or of the folder where one is to be, is nearly full."""
    folder = next(folder for folder in (path.expanduser().absolute(), *path.expanduser().absolute().parents) if folder.is_dir())
    try:
        free = shutil.disk_usage(folder).free
    except OSError as problem:
        return warning(Check.DISK, f"the room left at {folder} cannot be told ({problem.strerror})", "look after the disk")
    return judge_room(folder, free)


def judge_room(folder: Path, free: int) -> Finding:
    """What so many free bytes mean."""
    room = f"{free / 1e9:.1f} GB" if free >= NEARLY_FULL_BYTES else f"{free / 1e6:.0f} MB"
    if free < FULL_BYTES:
        return error(
            Check.DISK, f"the disk is full where the map lies: {room} left at {folder}", "make room, or keep the map elsewhere"
        )
    if free < NEARLY_FULL_BYTES:
        return warning(Check.DISK, f"the disk is nearly full where the map lies: {room} left at {folder}", "make room")
    return fine(Check.DISK, f"{room} left at {folder}")
