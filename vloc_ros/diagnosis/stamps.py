"""What the stamps of images tell: skew between the sides, the clock they are of, and the rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vloc_ros.diagnosis.facts import ClockFacts, StreamFacts
from vloc_ros.diagnosis.finding import Check, Finding, error, fine, warning

ENOUGH_UNPAIRED = 3
"""So many images of each side without a pair are no accident."""
FAR_S = 2.0
"""Stamps further from the clock than this are not of it: no camera takes so long."""
LOWEST_HZ = 3.0
"""Below this a robot at walking speed goes on by half a metre between two frames."""
_NS = 1_000_000_000
_SOON_S = 365.0 * 86400.0


def difference_s(left_ns: Sequence[int], right_ns: Sequence[int]) -> float | None:
    """Median signed difference from each left stamp to the nearest right one [s]; None when a side has none."""
    if not left_ns or not right_ns:
        return None
    right = np.sort(np.asarray(right_ns, dtype=np.int64))
    left = np.asarray(left_ns, dtype=np.int64)
    at = np.clip(np.searchsorted(right, left), 1, max(1, len(right) - 1)) if len(right) > 1 else np.zeros(len(left), np.int64)
    before, after = left - right[at - 1], left - right[at]
    return float(np.median(np.where(np.abs(before) < np.abs(after), before, after))) / _NS


def check_skew(names: Sequence[str], streams: Sequence[StreamFacts], slop_s: float, paired: bool) -> Finding | None:
    """Whether the two images of a frame carry stamps near enough; None while too few have come."""
    left, right = (stream.stamps_ns for stream in streams)
    apart = difference_s(left, right)
    if apart is None or min(len(left), len(right)) < ENOUGH_UNPAIRED:
        return None
    if paired or abs(apart) <= slop_s:
        return fine(Check.SKEW, f"the stamps of {names[0]} and {names[1]} differ by {abs(apart):.4f} s (sync.slop is {slop_s:g} s)")
    return error(
        Check.SKEW,
        f"{names[0]} and {names[1]} images arrive, but no two stamps within sync.slop = {slop_s:g} s "
        f"(their newest stamps differ by {apart:.3f} s)",
        "synchronise the cameras or raise sync.slop",
    )


def check_clock(clock: ClockFacts, streams: Sequence[StreamFacts]) -> Finding | None:
    """Whether the stamps are of the clock in use; None before the first image.

    Compared are the stamp of each image and the clock when it came.
    """
    if clock.use_sim_time and clock.now_ns == 0:
        who = "nobody publishes /clock" if not clock.publishers else "nothing has come on /clock"
        return error(
            Check.CLOCK,
            f"use_sim_time is set, but {who}: time stands still",
            "play the recording with its clock, or unset use_sim_time",
        )
    heard = [stream for stream in streams if stream.stamps_ns]
    if not heard:
        return None
    far = [(stream, lag) for stream in heard if abs(lag := float(np.median(stream.lags_s))) > FAR_S]
    which = "/clock (use_sim_time is set)" if clock.use_sim_time else "the clock of this machine (use_sim_time is not set)"
    if not far:
        lag = float(np.median([lag for stream in heard for lag in stream.lags_s]))
        return fine(Check.CLOCK, f"the stamps are of {which}: images come {lag:.2f} s after them")
    stream, lag = far[0]
    newest = stream.stamps_ns[-1]
    if newest == 0:
        return error(Check.CLOCK, f"the images of {stream.topic} have no stamp (it is 0)", "let the driver set header.stamp")
    when = f"{lengthy(abs(lag))} {'before' if lag > 0.0 else 'after'}"
    return error(Check.CLOCK, f"the stamps of {stream.topic} lie {when} {which}", _clock_remedy(clock, newest))


def _clock_remedy(clock: ClockFacts, stamp_ns: int) -> str:
    if clock.use_sim_time:
        return "unset use_sim_time for a live camera; let one node only publish /clock"
    if clock.publishers:
        return "/clock is published, so set use_sim_time to true"
    if stamp_ns < _SOON_S * _NS:
        return "they count from another epoch, such as the start of the camera: let the driver use the time of the host"
    return "synchronise the clocks (chrony, PTP), or for a recording publish /clock and set use_sim_time to true"


def lengthy(seconds: float) -> str:
    """A duration in a unit that suits it, so that the same trouble makes the same text for a while."""
    for unit, length in (("years", _SOON_S), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def check_rate(names: Sequence[str], streams: Sequence[StreamFacts]) -> Finding | None:
    """Whether images come often enough, by their stamps; None while too few have come."""
    rates = []
    for name, stream in zip(names, streams, strict=True):
        steps = np.diff(np.unique(np.asarray(stream.stamps_ns, dtype=np.int64)))
        if len(steps):
            rates.append((name, _NS / float(np.median(steps))))
    if not rates:
        return None
    slowest, rate = min(rates, key=lambda entry: entry[1])
    if rate >= LOWEST_HZ:
        return fine(Check.RATE, f"images come at {rate:.1f} Hz")
    return warning(
        Check.RATE,
        f"{slowest} images come at {rate:.2g} Hz, which is too low for a robot that moves (at least {LOWEST_HZ:g} Hz)",
        "raise the rate of the camera, or look for what holds its images up (network, exposure)",
    )
