"""The picture of a training: its losses, their terms, the task on held-out pairs, and who solves how much of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from vloc_ros.data.files import read_text
from vloc_ros.data.output import write_bytes
from vloc_ros.errors import DataError
from vloc_ros.evaluation import plot_style
from vloc_ros.training.history import HISTORY_NAME, Row

CURVES_NAME = "curves.png"
_HELD_OUT = "validation_"
_SHARES = {"/solved": "solved pairs", "/recall_1": "Recall@1"}
"""Shares that validations give for each group, and what they are called."""
_NO_TERMS = {"epoch", "step", "learning_rate", "loss", "task", "best", "seconds", "skipped"}


def read_history(folder: Path) -> list[Row]:
    """The rows of the epochs of a run.

    Raises:
        DataError: the folder has no history, or it is damaged.
    """
    path = folder / HISTORY_NAME
    rows: list[Row] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number} is not JSON ({error}); a run writes it anew after each epoch") from error
        if not isinstance(row, dict) or not isinstance(row.get("epoch"), int):
            raise DataError(f"{path}:{number} is no row of a training; name the folder of a run of `vloc train features`")
        rows.append(row)
    if not rows:
        raise DataError(f"{path} is empty: the run has not finished an epoch yet")
    return rows


def write_curves(path: Path, rows: list[Row], title: str) -> None:
    """Draw a run; epochs are counted from 1.

    Args:
        path: PNG to write.
        rows: of the epochs, one or more.
        title: name of the run.

    Raises:
        DataError: the picture cannot be written.
    """
    with plot_style.style():
        made = plot_style.figure(7.2)
        axes = made.subplot_mosaic([["loss", "terms"], ["task", "groups"]])
        _losses(axes["loss"], rows, title)
        _terms(axes["terms"], rows)
        _task(axes["task"], rows)
        _groups(made, axes["groups"], rows)
        for one in axes.values():
            one.set_xlim(0.5, rows[-1]["epoch"] + 1.5)
            one.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        for name in ("task", "groups"):
            axes[name].set_xlabel("epoch")
        buffer = io.BytesIO()
        made.savefig(buffer, format="png", facecolor="white")
    write_bytes(path, buffer.getvalue())


def _losses(axes: Any, rows: list[Row], title: str) -> None:
    _curve(axes, rows, "loss", "training", plot_style.BLUE)
    _curve(axes, rows, "validation_loss", "held out", plot_style.ORANGE)
    axes.set_title(f"{title}: loss")
    plot_style.legend_above(axes)


def _terms(axes: Any, rows: list[Row]) -> None:
    """What the objective says besides, on a logarithmic scale: shares and losses differ by orders of magnitude."""
    for name, colour in zip(terms_of(rows), plot_style.RUN_COLOURS, strict=False):
        _curve(axes, rows, name, name, colour)
        _curve(axes, rows, _HELD_OUT + name, None, colour, "--")
    axes.set_title("terms")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_xlabel("dashed: held out")
    plot_style.legend_above(axes)


def _task(axes: Any, rows: list[Row]) -> None:
    _curve(axes, rows, "task", "held out", plot_style.GREEN)
    best = [row for row in rows if row.get("best")]
    if best:
        axes.plot(best[-1]["epoch"] + 1, best[-1]["task"], "o", color=plot_style.VERMILION, label="best", clip_on=False, zorder=3)
    axes.set_title(f"task: {_share(rows)}" if groups_of(rows) else "task")
    if groups_of(rows):
        axes.set_ylim(0.0, 1.0)
    plot_style.legend_above(axes)


def _groups(made: Any, axes: Any, rows: list[Row]) -> None:
    """One line of squares for each kind of pairs and each condition."""
    groups = groups_of(rows)
    axes.grid(False)
    if not groups:
        axes.set_axis_off()
        return
    axes.set_title(f"{_share(rows)} by source and condition")
    shares = np.full((len(groups), rows[-1]["epoch"] + 1), np.nan)
    for line, members in enumerate(groups.values()):
        for row in rows:
            known = [row[name] for name in members if row.get(name) is not None]
            shares[line, row["epoch"]] = np.mean(known) if known else np.nan
    extent = (0.5, shares.shape[1] + 0.5, len(groups) - 0.5, -0.5)
    image = axes.imshow(shares, cmap=plot_style.INLIER_MAP, vmin=0.0, vmax=1.0, aspect="auto", extent=extent, interpolation="none")
    axes.set_yticks(range(len(groups)), [plot_style.words(name) for name in groups])
    made.colorbar(image, ax=axes, fraction=0.05, pad=0.02).outline.set_visible(False)


def terms_of(rows: list[Row]) -> list[str]:
    """Names of the terms of the loss that the rows have."""
    named = dict.fromkeys(name for row in rows for name in row)
    return [name for name in named if name not in _NO_TERMS and "/" not in name and not name.startswith(_HELD_OUT)]


def groups_of(rows: list[Row]) -> dict[str, list[str]]:
    """For each source without conditions, and for each condition on either side of a pair: the figures it is the mean of."""
    groups: dict[str, list[str]] = {}
    for figure in _figures(rows):
        kind, _, conditions = figure.rpartition("/")[0].partition(":")
        for name in dict.fromkeys(conditions.split(">") if conditions else [kind]):
            groups.setdefault(name, []).append(figure)
    return groups


def _figures(rows: list[Row]) -> list[str]:
    """Names of the shares that the rows have."""
    return list(dict.fromkeys(name for row in rows for name in row if name.endswith(tuple(_SHARES))))


def _share(rows: list[Row]) -> str:
    """What they are shares of."""
    return " and ".join(text for ending, text in _SHARES.items() if any(name.endswith(ending) for name in _figures(rows)))


def _curve(axes: Any, rows: list[Row], name: str, label: str | None, colour: str, line: str = "-") -> None:
    points = [(row["epoch"] + 1, row[name]) for row in rows if row.get(name) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), line, color=colour, label=label, marker="." if len(points) < 60 else None)
