"""Writing recordings: any reader to any format, for conversion and for simulated data."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from vloc_ros.data.output import output_folder
from vloc_ros.data.reader import DatasetReader
from vloc_ros.data.writers import euroc, image_folder, kitti, tum, utias
from vloc_ros.data.writers.selection import Progress, Selection
from vloc_ros.errors import DataError

_log = logging.getLogger(__name__)


def _write_mcap(selection: Selection, folder: Path) -> None:
    # What reads and writes bags takes a tenth of the time in which a node starts, and hardly a node needs it.
    from vloc_ros.data.writers import mcap

    mcap.write(selection, folder)


_WRITERS: dict[str, Callable[[Selection, Path], None]] = {
    "kitti": kitti.write,
    "utias": utias.write,
    "euroc": euroc.write,
    "tum": tum.write,
    "images": image_folder.write,
    "mcap": _write_mcap,
}


def writable_formats() -> list[str]:
    """Names of the formats that :func:`write_recording` writes."""
    return list(_WRITERS)


def write_recording(
    reader: DatasetReader,
    out: Path,
    format: str,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write (a part of) a recording in another format: images without loss, calibration, stamps, and the truth where known.

    Nothing appears in ``out`` under its final name before all of it is written.

    Args:
        reader: the recording.
        out: a folder that is empty or not there yet.
        format: kitti, utias, euroc (stereo only), tum (needs depth: of the frames, or of a method ``depth(index)`` of the
            reader that gives (H, W) float32 metres), images or mcap (either).
        start: first frame to write; negative from the end, as in a slice.
        stop: frame after the last one, as in a slice; None for all.
        step: every how many frames, >= 1.
        progress: called with the number of frames written and to be written.

    Returns:
        The folder, which ``open_recording`` opens.

    Raises:
        DataError: the format is unknown or does not fit the recording, no frame is chosen, ``out`` is not empty, or it cannot
            be written (disk full, read-only).
    """
    if format not in _WRITERS:
        raise DataError(f"cannot write the format '{format}'; known: {', '.join(_WRITERS)}")
    if step < 1:
        raise DataError(f"step {step} must be at least 1")
    chosen = range(len(reader))[start:stop:step]
    if len(chosen) == 0:
        raise DataError(f"no frame is chosen: the recording has {len(reader)}, start is {start}, stop is {stop}")
    out = Path(out)
    with output_folder(out) as scratch:
        _WRITERS[format](Selection(reader, chosen, progress), scratch)
    _log.info("wrote %d frames to %s as %s", len(chosen), out, format)
    return out
