"""Pooling the numbers of several drives into one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vloc_ros.closed_loop.judge import DriveSummary, JudgedDrive, percent_alone
from vloc_ros.errors import DataError

Array = NDArray[np.float64]
Key = tuple[str, str]
"""(condition, features)."""
Inliers = Mapping[Key, Array]
"""Inliers of all fixes of all drives by condition and features."""


def pool(rows: Sequence[DriveSummary], inliers: Array | None = None) -> DriveSummary:
    """The numbers of several drives as if they were one.

    Autonomy is 100 (1 - sum of operator metres / sum of driven metres). The squares of lateral distance and heading are averaged
    with the frames driven alone as weights. Distances, interventions, fixes, frames and false poses are summed; lateral maximum
    and memory growth are those of the worst drive; rate is all frames by all time of localisation.

    Args:
        rows: of the drives; their site, condition and features are kept where all agree, and counted as in "3 sites" otherwise.
        inliers: of all fixes of these drives, for their median; without it the median of several drives is unknown.

    Raises:
        DataError: there is no row.
    """
    if not rows:
        raise DataError("there is no drive to pool; drive at least once")
    driven, operator = sum(row.driven_m for row in rows), sum(row.operator_m for row in rows)
    fixes, frames = sum(row.fixes for row in rows), sum(row.frames for row in rows)
    seconds = [row.frames / row.rate_hz for row in rows if row.rate_hz]
    timed = sum(row.frames for row in rows if row.rate_hz)
    return DriveSummary(
        site=_shared([row.site for row in rows], "sites"),
        condition=_shared([row.condition for row in rows], "conditions"),
        features=_shared([row.features for row in rows], "kinds of features"),
        path_m=sum(row.path_m for row in rows),
        driven_m=driven,
        operator_m=operator,
        autonomy_percent=percent_alone(driven, operator),
        interventions=sum(row.interventions for row in rows),
        lateral_rms_m=_rms((row.lateral_rms_m, row.frames_alone) for row in rows),
        lateral_max_m=_largest(row.lateral_max_m for row in rows),
        heading_rms_deg=_rms((row.heading_rms_deg, row.frames_alone) for row in rows),
        fixes_per_m=fixes / driven if driven > 0.0 else 0.0,
        median_inliers=_median(rows, inliers),
        false_poses=sum(row.false_poses for row in rows),
        localised_percent=100.0 * fixes / frames if frames else 0.0,
        rate_hz=timed / sum(seconds) if seconds else None,
        frames=frames,
        frames_alone=sum(row.frames_alone for row in rows),
        fixes=fixes,
        memory_mib_per_hour=_largest(row.memory_mib_per_hour for row in rows),
    )


def groups(rows: Iterable[DriveSummary]) -> dict[Key, list[DriveSummary]]:
    """Rows by condition and features: conditions in the order in which they first appear, features likewise within each."""
    listed = list(rows)
    made: dict[Key, list[DriveSummary]] = {}
    for condition in dict.fromkeys(row.condition for row in listed):
        for features in dict.fromkeys(row.features for row in listed):
            found = [row for row in listed if (row.condition, row.features) == (condition, features)]
            if found:
                made[condition, features] = found
    return made


def pooled_rows(rows: Iterable[DriveSummary], inliers: Inliers | None = None) -> list[DriveSummary]:
    """One row for each condition and features, all sites together; see :func:`pool`."""
    known = inliers or {}
    return [pool(found, known.get(key)) for key, found in groups(rows).items()]


def inliers_of(drives: Iterable[JudgedDrive]) -> dict[Key, Array]:
    """Inliers of all fixes of the drives by condition and features."""
    made: dict[Key, Array] = {}
    for drive in drives:
        key = (drive.summary.condition, drive.summary.features)
        found = drive.inliers[np.isfinite(drive.inliers)]
        made[key] = np.concatenate([made.get(key, np.empty(0)), found])
    return made


def _shared(values: Sequence[str], plural: str) -> str:
    different = set(values)
    return values[0] if len(different) == 1 else f"{len(different)} {plural}"


def _rms(values: Iterable[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in values if value is not None and weight > 0]
    total = sum(weight for _, weight in known)
    return float(np.sqrt(sum(weight * value**2 for value, weight in known) / total)) if known else None


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _median(rows: Sequence[DriveSummary], inliers: Array | None) -> float | None:
    if inliers is not None:
        return float(np.median(inliers)) if len(inliers) else None
    fixed = [row for row in rows if row.fixes]
    return fixed[0].median_inliers if len(fixed) == 1 else None
