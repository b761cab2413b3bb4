"""Writing results: one typed error for every way a disk can refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vloc_ros.errors import VlocError


class OutputError(VlocError):
    """A result cannot be written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into a sentence.

    Raises:
        OutputError: something within the block raised an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {why}; check the free space and the permissions, or name another folder"
        ) from error


def make_folder(folder: Path) -> Path:
    """Create an output folder with its parents; it may exist already.

    Raises:
        OutputError: it cannot be created.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_whole(path: Path, content: str) -> None:
    """Write a text file so that a reader sees either the old file or the whole new one.

    Raises:
        OutputError: it cannot be written.
    """
    unfinished = path.with_name(path.name + ".part")
    with writing(path):
        try:
            unfinished.write_text(content, encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
