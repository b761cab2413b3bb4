"""What a training has come to so far: one row per epoch, as JSON lines, as event files of TensorBoard, and as a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from vloc_ros.data.output import write_bytes, write_text
from vloc_ros.evaluation import plot_style

HISTORY_NAME = "history.jsonl"
CURVES_NAME = "curves.png"
Row = dict[str, Any]


def write_history(folder: Path, rows: list[Row]) -> None:
    """Write the rows, one JSON object a line; what is not finite becomes null.

    Raises:
        DataError: they cannot be written.
    """
    write_text(folder / HISTORY_NAME, "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows))


def _finite(row: Row) -> Row:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}


def write_curves(folder: Path, rows: list[Row], title: str) -> None:
    """Draw losses and task over the epochs, the learning rate below.

    Raises:
        DataError: the picture cannot be written.
    """
    import io

    with plot_style.style():
        made = plot_style.figure(6.4)
        losses, task = made.subplots(2, 1, sharex=True)
        for name, label, colour in (
            ("loss", "training", plot_style.BLUE),
            ("validation_loss", "held out", plot_style.ORANGE),
        ):
            _curve(losses, rows, name, label, colour)
        losses.set_title(f"{title}: loss")
        plot_style.legend_above(losses)
        _curve(task, rows, "task", "task, held out", plot_style.GREEN)
        best = [row for row in rows if row.get("best")]
        if best:
            task.plot(best[-1]["epoch"], best[-1]["task"], "o", color=plot_style.VERMILION, label="best")
        task.set_title("task")
        task.set_xlabel("epoch")
        plot_style.legend_above(task)
        buffer = io.BytesIO()
        made.savefig(buffer, format="png", facecolor="white")
    write_bytes(folder / CURVES_NAME, buffer.getvalue())


def _curve(axes: Any, rows: list[Row], name: str, label: str, colour: str) -> None:
    points = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, marker="." if len(points) < 60 else None)
