"""One look for all figures: colours that colour-blind readers can tell apart, quiet axes, no global state."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from vloc_ros.mapping.state import State

# Okabe and Ito, "Color Universal Design", 2008.
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
INK, GREY, PALE = "#1F2933", "#7B8794", "#D3D9E0"
RUN_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, INK)
STATE_COLOURS = {
    State.UNINITIALISED: GREY,
    State.RELOCALISING: PURPLE,
    State.LOCALISED: BLUE,
    State.DEAD_RECKONING: ORANGE,
    State.LOST: VERMILION,
}
INLIER_MAP = "cividis"
WIDTH_IN = 10.8
DPI = 150

# Keyed by texts that matplotlib's type stubs know one by one.
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": PALE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#EBEEF2",
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.solid_capstyle": "round",
}


@contextmanager
def style() -> Iterator[None]:
    """The look, for the figures made within the block."""
    with matplotlib.rc_context(_STYLE):
        yield


def figure(height_in: float) -> Figure:
    """An empty figure of the width of the page; not registered with pyplot, so nothing has to be closed."""
    made = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(made)
    return made


def png_uri(made: Figure) -> str:
    """The figure as a ``data:`` address."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", facecolor="white")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def legend_above(axes: Axes, handles: Sequence[Artist] | None = None) -> None:
    """A legend in one row at the right above the axes, where it covers no data."""
    shown = axes.get_legend_handles_labels()[0] if handles is None else handles
    if shown:
        axes.legend(
            handles=list(shown),
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncol=len(shown),
            borderaxespad=0.2,
            handlelength=1.4,
            columnspacing=1.3,
            handletextpad=0.5,
        )


def state_bands(axes: Axes, times: NDArray[np.float64], states: Sequence[State]) -> list[Patch]:
    """Tint the background by state; returns legend entries of the states that occur."""
    if len(states) == 0:
        return []
    changes = [0, *(k for k in range(1, len(states)) if states[k] is not states[k - 1]), len(states)]
    # A band reaches half-way to the neighbouring frames.
    edges = np.concatenate([[times[0]], 0.5 * (times[1:] + times[:-1]), [times[-1]]])
    for first, last in pairwise(changes):
        axes.axvspan(edges[first], edges[last], color=STATE_COLOURS[states[first]], alpha=0.13, linewidth=0, zorder=0)
    present = [state for state in State if state in set(states)]
    return [Patch(color=STATE_COLOURS[state], alpha=0.35, linewidth=0, label=words(state.value)) for state in present]


def words(name: str) -> str:
    """``dead_reckoning`` to ``dead reckoning``."""
    return name.replace("_", " ").lower()
