"""The figures of a calibration: what a place recognition model was before it and what it is after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from vloc_ros.evaluation.confidence_metrics import Binning, reliability
from vloc_ros.evaluation.model_evidence import ModelEvidence
from vloc_ros.evaluation.place_queries import PlaceQueries
from vloc_ros.evaluation.plot_style import BLUE, GREY, INK, ORANGE, PALE, RUN_COLOURS, VERMILION, figure, legend_above
from vloc_ros.evaluation.retrieval_metrics import precision_recall

Array = NDArray[np.float64]
_MOST_PIXELS = 500
_BARS = 50
_MARKERS = "osD^v"


def similarity_matrices(models: Sequence[ModelEvidence]) -> Figure:
    """Each similarity matrix and what it ought to be, on one scale of grey for all, pairs that may not answer left pale."""
    made = figure(4.1)
    panels = np.atleast_1d(made.subplots(1, len(models) + 1))
    shown = [_thinned(np.where(model.queries.allowed, model.queries.similarity, np.nan)) for model in models]
    finite = np.concatenate([values[np.isfinite(values)] for values in shown])
    low, high = np.percentile(finite, (1.0, 99.9)) if len(finite) else (0.0, 1.0)
    for axes, model, values in zip(panels, models, shown, strict=False):
        image = _matrix(axes, model.queries, values, "viridis", float(low), float(high))
        axes.set_title(model.name)
    made.colorbar(image, ax=list(panels[:-1]), shrink=0.8, label="similarity", pad=0.01)
    first = models[0].queries
    truth = _thinned(np.where(first.allowed, first.relevant.astype(np.float64), np.nan), largest=True)
    _matrix(panels[-1], first, truth, "Greys", 0.0, 1.0)
    panels[-1].set_title("one place")
    panels[0].set_ylabel("held-out query")
    return made


def separations(models: Sequence[ModelEvidence]) -> Figure:
    """Histograms of the similarities of pairs of one place and of two, each as a share of its own kind, on one scale."""
    made = figure(3.1)
    panels = np.atleast_1d(made.subplots(1, len(models), sharex=True, sharey=True))
    ends = [values for model in models for values in (model.queries.positives, model.queries.negatives)]
    finite = np.concatenate([values[np.isfinite(values)] for values in ends])
    edges = np.linspace(float(finite.min(initial=1.0)), float(finite.max(initial=0.0)) + 1e-9, _BARS + 1)
    for axes, model in zip(panels, models, strict=True):
        kinds = ((model.queries.negatives, "two places", VERMILION), (model.queries.positives, "one place", BLUE))
        for values, name, colour in kinds:
            usable = values[np.isfinite(values)]
            weights = np.full(len(usable), 100.0 / max(len(usable), 1))
            axes.hist(usable, edges, weights=weights, color=colour, alpha=0.55, label=f"{name} ({len(usable)})")
        axes.set(xlabel="similarity", title=model.name)
        axes.legend(loc="upper left")
    panels[0].set_ylabel("share of such pairs [%]")
    return made


def precision_recall_curves(models: Sequence[ModelEvidence]) -> Figure:
    """The best match over its similarity; the dot marks the best F1."""
    made = figure(3.8)
    axes = made.subplots()
    for model, colour in zip(models, _colours(models), strict=True):
        curve = precision_recall(model.answers)
        if curve is None:
            continue
        axes.step(curve.recall, curve.precision, where="post", color=colour, linewidth=1.8, label=model.name)
        best = int(np.argmax(curve.f1))
        axes.plot(curve.recall[best], curve.precision[best], "o", color=colour, markersize=6)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0.0, 1.02), ylim=(0.0, 1.03), title="Best match over its similarity")
    axes.legend(loc="lower left")
    return made


def reliability_diagrams(models: Sequence[ModelEvidence], bins: int) -> Figure:
    """Precision over confidence with Wilson intervals, above how many queries have which confidence."""
    made = figure(4.6)
    panels = np.asarray(
        made.subplots(2, len(models), sharex=True, sharey="row", gridspec_kw={"height_ratios": (3, 1)}, squeeze=False)
    )
    for column, model in enumerate(models):
        upper, lower = panels[:, column]
        _diagram(upper, lower, model.usable, model.right, bins)
        upper.set_title(model.name)
    panels[0, 0].set_ylabel("precision")
    panels[1, 0].set_ylabel("queries")
    return made


def reliability_diagram(ways: Mapping[str, Array], right: NDArray[np.bool_], bins: int) -> Figure:
    """As :func:`reliability_diagrams`, of the confidences of one set of queries alone, the baseline first."""
    made = figure(4.6)
    upper, lower = made.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    _diagram(upper, lower, ways, right, bins)
    upper.set_ylabel("share of right matches")
    lower.set_ylabel("keyframes")
    return made


def _diagram(upper: Axes, lower: Axes, ways: Mapping[str, Array], right: NDArray[np.bool_], bins: int) -> None:
    upper.plot([0.0, 1.0], [0.0, 1.0], color=GREY, linewidth=1.0, linestyle="--")
    for k, (way, confidence) in enumerate(ways.items()):
        colour = RUN_COLOURS[(k + 1) % len(RUN_COLOURS)] if k else INK
        _reliability(upper, confidence, right, bins, way, colour, _MARKERS[k % len(_MARKERS)])
        counts, edges = np.histogram(confidence, bins, (0.0, 1.0))
        width = 0.9 / bins / len(ways)
        lower.bar(edges[:-1] + 0.05 / bins + (k + 0.5) * width, counts, width, color=colour)
    upper.set(xlim=(0.0, 1.0), ylim=(-0.02, 1.02))
    legend_above(upper)
    lower.set(xlabel="confidence")


def _reliability(axes: Axes, confidence: Array, right: NDArray[np.bool_], bins: int, name: str, colour: str, marker: str) -> None:
    found = reliability(confidence, right, bins, Binning.EQUAL_WIDTH)
    x = np.array([one.confidence for one in found])
    y = np.array([one.precision for one in found])
    # rounding must not make an error bar negative
    below = np.maximum(y - [one.precision_low for one in found], 0.0)
    above = np.maximum([one.precision_high for one in found] - y, 0.0)
    axes.errorbar(x, y, yerr=[below, above], color=colour, marker=marker, markersize=5, linewidth=1.3, capsize=2.5, label=name)


def _matrix(axes: Axes, queries: PlaceQueries, values: Array, colours: str, low: float, high: float) -> AxesImage:
    rows, columns = queries.similarity.shape
    axes.set_facecolor(PALE)
    axes.grid(visible=False)
    axes.set_xlabel("image of the map")
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    return axes.imshow(values, cmap=colours, vmin=low, vmax=high, extent=extent, aspect="auto", interpolation="nearest")


def _thinned(values: Array, *, largest: bool = False) -> Array:
    """At most ``_MOST_PIXELS`` rows and columns, each the mean (or the largest) of those it stands for; NaN where all are."""
    for axis in (0, 1):
        step = -(-values.shape[axis] // _MOST_PIXELS)
        if step > 1:
            starts = np.arange(0, values.shape[axis], step)
            known = np.isfinite(values)
            counts = np.add.reduceat(known, starts, axis=axis, dtype=np.int64)
            filled = np.where(known, values, -np.inf if largest else 0.0)
            merged = np.maximum.reduceat(filled, starts, axis=axis) if largest else np.add.reduceat(filled, starts, axis=axis)
            divisor = np.ones_like(counts) if largest else np.maximum(counts, 1)
            values = np.where(counts > 0, merged / divisor, np.nan)
    return values


def _colours(models: Sequence[ModelEvidence]) -> list[str]:
    """Before in orange, after in blue, as everywhere in this report; others as they come."""
    return ([ORANGE, BLUE] if len(models) == 2 else list(RUN_COLOURS))[: len(models)]
