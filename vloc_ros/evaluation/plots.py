"""The figures of a report over time and over runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vloc_ros.evaluation.plot_style import (
    BLUE,
    GREY,
    INK,
    RUN_COLOURS,
    SKY,
    VERMILION,
    figure,
    legend_above,
    state_bands,
    words,
)
from vloc_ros.evaluation.report_run import ReportRun
from vloc_ros.evaluation.summary import frame_time_ms
from vloc_ros.evaluation.trajectories import Array

_SMALLEST_ERROR_M = 1e-3


def inliers(item: ReportRun) -> Figure:
    """Inlier matches over time, on bands of the state."""
    made = figure(2.6)
    axes = made.subplots()
    times, label = item.times()
    frames = item.run.frames
    bands = state_bands(axes, times, item.states) if item.run.seeks_map else []
    odometry = np.array([np.nan if frame.odom_T_base is None else frame.odometry_inliers for frame in frames])
    lines: list[Line2D] = []
    if np.any(odometry > 0):
        lines += axes.plot(times, odometry, color=GREY, linewidth=1.0, label="odometry")
    name = "map" if item.follows_map and item.summary.fixes else "last keyframe"
    counts = np.array([frame.inliers for frame in frames], dtype=np.float64)
    if np.any(counts > 0):
        lines += axes.plot(times, counts, color=BLUE, linewidth=1.6, label=name)
    refused = np.array([frame.reason is not None for frame in frames])
    if np.any(refused):
        floor = np.zeros(int(refused.sum()))
        lines += axes.plot(times[refused], floor, "|", color=VERMILION, markersize=9, clip_on=False, label="refused")
    axes.set(xlabel=label, ylabel="inlier matches", title="Inliers")
    axes.set_ylim(bottom=0.0)
    _whole_run(axes, times)
    legend_above(axes, [*lines, *bands])
    return made


def errors(item: ReportRun) -> Figure | None:
    """Position and heading error over time; None without a known error."""
    judged = item.errors
    if judged is None or not np.any(np.isfinite(judged.position_m)):
        return None
    made = figure(4.2)
    above, below = made.subplots(2, 1, sharex=True)
    times, label = item.times()
    bands = state_bands(above, times, item.states)
    state_bands(below, times, item.states)
    lines = above.plot(times, judged.position_m, color=BLUE, linewidth=1.6, label="position")
    lines += above.plot(times, np.abs(judged.lateral_m), color=INK, linewidth=0.9, alpha=0.7, label="of it lateral")
    limit = item.summary.false_fix_threshold_m
    if np.nanmax(judged.position_m) > 0.5 * limit:
        above.axhline(limit, color=VERMILION, linewidth=1.0, linestyle=(0, (4, 3)))
        above.annotate(
            f"false fix: {limit:g} m",
            (1.0, limit),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            xytext=(-4, 2),
            textcoords="offset points",
            color=VERMILION,
            fontsize=8.5,
        )
    above.set(ylabel="position error [m]", title="Error against the truth")
    above.set_ylim(bottom=0.0)
    legend_above(above, [*lines, *bands])
    below.axhline(0.0, color=GREY, linewidth=0.8)
    below.plot(times, np.degrees(judged.heading_rad), color=BLUE, linewidth=1.4)
    below.set(xlabel=label, ylabel="heading error [deg]")
    _whole_run(below, times)
    made.align_ylabels()
    return made


def latency(item: ReportRun) -> Figure | None:
    """Processing time of each frame, and of each stage; None without timings."""
    frames = item.run.frames
    spent = np.array([frame_time_ms(frame) if frame.timings_ms else np.nan for frame in frames])
    if not np.any(np.isfinite(spent)):
        return None
    stages = item.summary.stages_ms
    made = figure(max(2.6, 1.2 + 0.24 * len(stages)))
    left, right = made.subplots(1, 2, gridspec_kw={"width_ratios": (3, 2)})
    times, label = item.times()
    left.plot(times, spent, color=BLUE, linewidth=1.2)
    for name, dashes in (("p50", (0, ())), ("p99", (0, (4, 3)))):
        value = item.summary.latency_ms[name]
        assert value is not None
        left.axhline(value, color=INK, linewidth=0.9, linestyle=dashes, label=f"{name} {value:.0f} ms")
    left.set(xlabel=label, ylabel="time per frame [ms]", title="Processing time")
    left.set_ylim(bottom=0.0)
    _whole_run(left, times)
    legend_above(left)
    _stage_bars(right, stages)
    return made


def comparison(items: Sequence[ReportRun]) -> Figure | None:
    """Share of all frames localised within an error, for each run; None without a known error."""
    known = [(item, item.errors) for item in items if item.errors is not None and np.any(np.isfinite(item.errors.position_m))]
    if not known:
        return None
    made = figure(3.0)
    axes = made.subplots()
    largest = max(float(np.nanmax(judged.position_m)) for _, judged in known)
    for (item, judged), colour in zip(known, cycle(RUN_COLOURS), strict=False):
        position = np.sort(judged.position_m[np.isfinite(judged.position_m)])
        share = 100.0 * np.arange(1, len(position) + 1) / np.count_nonzero(judged.judged)
        # On to the right end, level: frames without a pose are never within any error.
        x = np.maximum([*position, 1.5 * largest], _SMALLEST_ERROR_M)
        axes.step(x, [*share, share[-1]], where="post", color=colour, linewidth=1.8, label=item.name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="position error [m]", ylabel="share of all frames [%]", ylim=(0.0, 102.0), title="Localised within")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return made


def _whole_run(axes: Axes, times: Array) -> None:
    if len(times) > 1:
        axes.set_xlim(float(times.min()), float(times.max()))


def _stage_bars(axes: Axes, stages: dict[str, dict[str, float]]) -> None:
    names = list(stages)
    rows = np.arange(len(names))
    p50 = np.array([stages[name]["p50"] for name in names])
    p99 = np.array([stages[name]["p99"] for name in names])
    axes.barh(rows, p99, height=0.62, color=SKY, alpha=0.45, label="p99")
    axes.barh(rows, p50, height=0.62, color=BLUE, label="p50")
    for row, (middle, high) in enumerate(zip(p50, p99, strict=True)):
        axes.annotate(
            f"{middle:.1f} / {high:.1f}", (high, row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    axes.set_yticks(rows, [words(name) for name in names])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="time [ms]", title="Stages")
    legend_above(axes)
