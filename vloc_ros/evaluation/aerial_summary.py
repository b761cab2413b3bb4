"""How well photos were located on a map: shares of all of them, a failure being a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vloc_ros.aerial.georeference import LatLon, LocalFrame, great_circle_m
from vloc_ros.aerial.locating import Located

WITHIN_M = (5.0, 10.0, 25.0)


@dataclass(frozen=True, slots=True)
class AerialSummary:
    """Numbers of a run; what nobody knows is None.

    Attributes:
        photos: all of them.
        located: those with a position.
        reasons: how often each reason was given, the most frequent first.
        judged: photos whose truth is known, located or not.
        median_error_m: of those located.
        mean_error_m: of those located.
        largest_error_m: of those located.
        within: share [%] of all judged photos that are located and no farther off than so many metres.
        within_ellipse: share [%] of those located whose error lies within the 95 % ellipse of their covariance.
        seconds_p50: time for a photo, the median.
        seconds_p95: the 95th percentile.
    """

    photos: int
    located: int
    reasons: dict[str, int]
    judged: int
    median_error_m: float | None
    mean_error_m: float | None
    largest_error_m: float | None
    within: dict[str, float | None]
    within_ellipse: float | None
    seconds_p50: float | None
    seconds_p95: float | None

    @property
    def failure_percent(self) -> float | None:
        """Share of photos without a position."""
        return 100.0 * (self.photos - self.located) / self.photos if self.photos else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"failure_percent": self.failure_percent}


def errors_of(results: Sequence[Located], truth: Mapping[str, LatLon]) -> list[float | None]:
    """Distance [m] of each position from the truth; None without either."""
    found: list[float | None] = []
    for result in results:
        known = truth.get(result.name)
        position = None if result.fix is None else result.fix.position
        if known is None or position is None:
            found.append(None)
        else:
            found.append(float(great_circle_m(np.array([position]), np.array([known]))[0]))
    return found


def summarise(results: Sequence[Located], truth: Mapping[str, LatLon]) -> AerialSummary:
    """The numbers of a run."""
    errors = [error for error in errors_of(results, truth) if error is not None]
    judged = sum(result.name in truth for result in results)
    seconds = [result.fix.seconds for result in results if result.fix is not None]
    inside = [_in_ellipse(result, truth[result.name]) for result in results if result.success and result.name in truth]
    return AerialSummary(
        photos=len(results),
        located=sum(result.success for result in results),
        reasons=dict(Counter(result.reason for result in results if not result.success).most_common()),
        judged=judged,
        median_error_m=float(np.median(errors)) if errors else None,
        mean_error_m=float(np.mean(errors)) if errors else None,
        largest_error_m=max(errors) if errors else None,
        within={f"{limit:g} m": 100.0 * sum(error <= limit for error in errors) / judged if judged else None for limit in WITHIN_M},
        within_ellipse=100.0 * float(np.mean(inside)) if inside else None,
        seconds_p50=float(np.percentile(seconds, 50)) if seconds else None,
        seconds_p95=float(np.percentile(seconds, 95)) if seconds else None,
    )


def _in_ellipse(result: Located, truth: LatLon) -> bool:
    """Whether the truth lies within the 95 % ellipse: chi-square with two degrees of freedom, 5.99."""
    assert result.fix is not None and result.fix.position is not None and result.fix.covariance is not None
    off = LocalFrame(result.fix.position).metres(np.array([truth]))[0]
    return bool(off @ np.linalg.solve(result.fix.covariance, off) <= 5.99)
