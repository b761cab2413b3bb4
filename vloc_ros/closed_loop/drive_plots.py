"""The figures of a drive along its path and over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from vloc_ros.closed_loop.drive_overhead import (
    INTERVENTION_MARKER,
    MODE_COLOURS,
    STOP_MARKER,
    marker,
    mode_legend,
    neighbours,
    numbers,
)
from vloc_ros.closed_loop.drive_spans import Mode, elapsed_s, modes, spans, stops
from vloc_ros.closed_loop.judge import FALSE_POSE_M, JudgedDrive, carried
from vloc_ros.evaluation.plot_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, figure, legend_above, words
from vloc_ros.mapping.state import State
from vloc_ros.path_following import DriveState

Array = NDArray[np.float64]
LOCALISATION_COLOURS = {
    State.UNINITIALISED: GREY,
    State.RELOCALISING: SKY,
    State.LOCALISED: BLUE,
    State.DEAD_RECKONING: ORANGE,
    State.LOST: VERMILION,
}
DRIVING_COLOURS = {
    DriveState.FOLLOWING: GREEN,
    DriveState.SLOWED: "#F0E442",
    DriveState.STOPPED: VERMILION,
    DriveState.ARRIVED: GREY,
}
_LIMIT = (0, (4, 3))
_JUMP_M = 2.0
_SMALLEST_ERROR_M = 1e-3
_WORDY_LABEL = 0.16
_SHORT_LABEL = 0.03
"""Labels of marks nearer than these shares of the path are joined."""
_CORRIDOR_SHOWN_FROM = 0.25
_E = TypeVar("_E", bound=Enum)


def along(drive: JudgedDrive, corridor_m: float) -> Figure | None:
    """Lateral error, inliers, speed and pose error over the station; None without a frame.

    Args:
        drive: what to show.
        corridor_m: how far beside the path the operator steps in [m].
    """
    if len(drive.station) == 0:
        return None
    made = figure(9.6)
    axes = made.subplots(4, 1, sharex=True)
    for one in axes:
        bands = _bands(one, drive)
    _lateral(axes[0], drive, corridor_m)
    _inliers(axes[1], drive)
    speed = _speed(axes[2], drive)
    _pose_error(axes[3], drive)
    legend_above(axes[0], bands)
    legend_above(axes[2], speed)
    axes[3].set_xlabel("distance along the taught path [m]")
    axes[3].set_xlim(0.0, drive.path.length)
    made.align_ylabels()
    return made


def strip(drive: JudgedDrive) -> Figure | None:
    """States of localisation and of driving over time; None without a frame."""
    record = drive.record
    if len(record.states) == 0:
        return None
    made = figure(2.5)
    axes = made.subplots()
    seconds = elapsed_s(record)
    # A stretch lasts until the next frame begins.
    edges = np.append(seconds, seconds[-1] + (np.median(np.diff(seconds)) if len(seconds) > 1 else 1.0))
    localisation = [frame.state for frame in record.run.frames]
    _row(axes, 1, localisation, edges, lambda state: LOCALISATION_COLOURS[state])
    driving = [None if helped else state for state, helped in zip(record.states, record.operator, strict=True)]
    _row(axes, 0, driving, edges, lambda state: PURPLE if state is None else DRIVING_COLOURS[state])
    when = np.array([[seconds[index], 0.0] for index, _ in record.interventions]).reshape(-1, 2)
    axes.plot(when[:, 0], np.full(len(when), 0.5), INTERVENTION_MARKER, color=INK, markersize=7, linestyle="", zorder=4)
    for group in neighbours(when, _SHORT_LABEL * float(edges[-1])):
        label = numbers(group, "I")
        axes.annotate(label, (when[group[-1], 0], 0.5), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks([1.0, 0.0], ["localisation", "driving"])
    axes.set(xlabel="time [s]", ylim=(-0.4, 1.4), xlim=(0.0, float(edges[-1])))
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    _strip_legends(made, localisation, driving, bool(len(when)))
    return made


def _row(axes: Axes, height: int, values: Sequence[_E | None], edges: Array, colour: Callable[[_E], str]) -> None:
    for value, first, last in spans(values):
        axes.barh(height, edges[last + 1] - edges[first], left=edges[first], height=0.56, color=colour(value), linewidth=0)  # type: ignore[arg-type]


def _strip_legends(made: Figure, localisation: Sequence[State], driving: Sequence[DriveState | None], helped: bool) -> None:
    rows: list[list[Patch | Line2D]] = [
        [_patch(LOCALISATION_COLOURS[one], one.value) for one in State if one in localisation],
        [_patch(DRIVING_COLOURS[one], one.value) for one in DriveState if one in driving],
    ]
    if None in driving:
        rows[1].append(_patch(PURPLE, "operator drives"))
    if helped:
        rows[1].append(marker(INTERVENTION_MARKER, "intervention"))
    made.legend(handles=rows[0], loc="outside upper left", ncol=6, title="localisation", alignment="left")
    made.legend(handles=rows[1], loc="outside upper right", ncol=6, title="driving", alignment="left")


def _patch(colour: str, name: str) -> Patch:
    return Patch(color=colour, linewidth=0, label=name.replace("_", " "))


def _bands(axes: Axes, drive: JudgedDrive) -> list[Patch]:
    """Tint where the robot was not localised; returns the legend entries."""
    led = modes(drive.record)
    for mode, first, last in spans(led):
        if mode is Mode.LOCALISED:
            continue
        for begin, end in _unbroken(drive, first, last):
            # A band of a robot that stands has no width; its edge still shows.
            low, high = sorted((drive.station[begin], drive.station[end]))
            axes.axvspan(low, high, facecolor=MODE_COLOURS[mode], edgecolor=MODE_COLOURS[mode], alpha=0.16, linewidth=1.2, zorder=0)
    return [patch for patch in mode_legend(led) if patch.get_label() != Mode.LOCALISED.value]


def _cuts(drive: JudgedDrive) -> NDArray[np.int64]:
    """Frames at which a line over the station begins anew: at the seam of a lap, and where the robot was carried."""
    return np.asarray(1 + np.flatnonzero((np.abs(np.diff(drive.station)) > _JUMP_M) | carried(drive.record)))


def _unbroken(drive: JudgedDrive, first: int, last: int) -> list[tuple[int, int]]:
    """Stretches from ``first`` to ``last`` without a cut."""
    begins = [first, *(cut for cut in _cuts(drive).tolist() if first < cut <= last)]
    return list(zip(begins, [*(cut - 1 for cut in begins[1:]), last], strict=True))


def _broken(drive: JudgedDrive, values: Array) -> tuple[Array, Array]:
    """Stations and values of a line that is interrupted at the cuts."""
    cuts = _cuts(drive)
    return np.insert(drive.station, cuts, np.nan), np.insert(np.asarray(values, dtype=np.float64), cuts, np.nan)


def _lateral(axes: Axes, drive: JudgedDrive, corridor_m: float) -> None:
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.plot(*_broken(drive, drive.lateral), color=INK, linewidth=1.4)
    largest = float(np.abs(drive.lateral).max())
    title = "Lateral error, to the left of the taught path"
    if largest > _CORRIDOR_SHOWN_FROM * corridor_m:
        for side in (-corridor_m, corridor_m):
            axes.axhline(side, color=VERMILION, linewidth=1.0, linestyle=_LIMIT)
        _limit_label(axes, corridor_m, f"corridor: ±{corridor_m:g} m")
        largest = max(largest, 1.15 * corridor_m)
    else:
        title += f"  (corridor of ±{corridor_m:g} m: beyond the axis)"
    axes.set_ylim(-1.15 * max(largest, 0.02), 1.15 * max(largest, 0.02))
    axes.set(ylabel="lateral [m]")
    axes.set_title(title)


def _inliers(axes: Axes, drive: JudgedDrive) -> None:
    axes.plot(drive.station, drive.inliers, ".", color=BLUE, markersize=4)
    missed = ~np.isfinite(drive.inliers)
    if np.any(missed):
        floor = np.zeros(int(missed.sum()))
        axes.plot(drive.station[missed], floor, "|", color=VERMILION, markersize=9, clip_on=False, label="frame without a fix")
    axes.set(ylabel="inliers", title="Inlier matches of each fix")
    axes.set_ylim(0.0, max(1.1 * float(np.nanmax(drive.inliers, initial=0.0)), 10.0))
    legend_above(axes)


def _speed(axes: Axes, drive: JudgedDrive) -> list[Line2D]:
    """Speed, with the stops and interventions; returns the legend entries."""
    axes.plot(*_broken(drive, drive.record.twists[:, 0]), color=INK, linewidth=1.4)
    axes.set(ylabel="speed [m/s]", title="True speed, and why it was not more")
    held = stops(drive)
    why = [" then ".join(words(reason.name) for reason in stop.reasons) for stop in held]
    handles = []
    # Marks stand above the line, in two rows, so that a stop and the help that ended it do not cover one another.
    top = max(float(drive.record.twists[:, 0].max(initial=0.0)), 0.1)
    _mark_row(axes, drive, [stop.last for stop in held], why, 1.14 * top, ("S", STOP_MARKER))
    helped = drive.record.interventions
    _mark_row(axes, drive, [k for k, _ in helped], [words(one.name) for _, one in helped], 1.36 * top, ("I", INTERVENTION_MARKER))
    if held:
        handles.append(marker(STOP_MARKER, "stop"))
    if helped:
        handles.append(marker(INTERVENTION_MARKER, "intervention"))
    rows = 1.08 if not held else 1.28
    axes.set_ylim(min(0.0, float(drive.record.twists[:, 0].min())), (1.5 if helped else rows) * top)
    return handles


def _mark_row(
    axes: Axes, drive: JudgedDrive, frames: Sequence[int], why: Sequence[str], height: float, look: tuple[str, str]
) -> None:
    """Marks at the stations of frames; neighbours share a label that holds each reason once."""
    prefix, kind = look
    station = drive.station[list(frames)]
    face = INK if kind == INTERVENTION_MARKER else "white"
    axes.plot(
        station, np.full(len(station), height), kind, color=INK, markerfacecolor=face, markersize=6, linestyle="", clip_on=False
    )
    for group in neighbours(np.stack([station, np.zeros(len(station))], axis=1), _WORDY_LABEL * drive.path.length):
        shown = group[int(np.argmax(station[group]))]
        left = bool(station[shown] > 0.75 * drive.path.length)
        shown = group[int(np.argmin(station[group]))] if left else shown
        reasons = ", ".join(dict.fromkeys(why[index] for index in group if why[index]))
        axes.annotate(
            f"{numbers(group, prefix)}: {reasons}" if reasons else numbers(group, prefix),
            (station[shown], height),
            xytext=(-7 if left else 7, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=8.5,
        )


def _pose_error(axes: Axes, drive: JudgedDrive) -> None:
    # The logarithm shows millimetres on the way and metres in the frame after a robot was carried.
    station, error = _broken(drive, drive.pose_error)
    axes.plot(station, np.maximum(error, _SMALLEST_ERROR_M), color=BLUE, linewidth=1.4)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set(ylabel="pose error [m]", title="Error of the believed pose against its keyframe; gaps: no believed pose")
    if np.any(drive.pose_error > 0.5 * FALSE_POSE_M):
        axes.axhline(FALSE_POSE_M, color=VERMILION, linewidth=1.0, linestyle=_LIMIT)
        _limit_label(axes, FALSE_POSE_M, f"false pose: {FALSE_POSE_M:g} m")
    largest = float(np.nanmax(drive.pose_error, initial=0.0))
    axes.set_ylim(_SMALLEST_ERROR_M, max(2.0 * largest, 2.0 * FALSE_POSE_M))


def _limit_label(axes: Axes, height: float, text: str) -> None:
    axes.annotate(
        text,
        (1.0, height),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        xytext=(-4, 1),
        textcoords="offset points",
        color=VERMILION,
        fontsize=8.5,
    )
