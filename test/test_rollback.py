"""The watch over a promoted model: rolls a bad one back, keeps a good one, and is not fooled by chance or by being killed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vloc_ros.calibration.rollback import Expectation, Outcome, RollbackMonitor, RollbackSettings, Watch
from vloc_ros.errors import DataError

QUICK = RollbackSettings(resamples=300)


def seen(share: float, count: int, seed: int) -> list[bool]:
    """Verified or not, with stretches of ten that are easier or harder than others."""
    rng = np.random.default_rng(seed)
    hard = np.repeat(rng.uniform(-0.15, 0.15, -(-count // 10)), 10)[:count]
    return [bool(one) for one in rng.random(count) < np.clip(share + hard, 0.0, 1.0)]


def run(monitor: RollbackMonitor, verified: list[bool]) -> Watch:
    for one in verified:
        monitor.observe(one)
    return monitor.watch


def test_a_model_that_loses_half_is_rolled_back_at_the_first_look() -> None:
    expected = Expectation.of(seen(0.7, 300, 0), 10)
    watch = run(RollbackMonitor(expected, QUICK), seen(0.35, 100, 1))
    assert watch.outcome is Outcome.ROLL_BACK and watch.queries == 100
    assert watch.least_loss is not None and watch.most_loss is not None and 0.0 < watch.least_loss < watch.most_loss
    assert json.loads(json.dumps(watch.to_dict()))["outcome"] == "roll_back"


def test_a_model_that_finds_nothing_is_rolled_back() -> None:
    assert run(RollbackMonitor(Expectation.of(seen(0.3, 300, 0), 10), QUICK), [False] * 100).outcome is Outcome.ROLL_BACK


def test_nothing_is_said_before_the_window_is_full() -> None:
    watch = run(RollbackMonitor(Expectation.of(seen(0.7, 300, 0), 10), QUICK), [False] * 99)
    assert watch.outcome is Outcome.UNDECIDED and watch.least_loss is None and watch.share == 0.0 and watch.queries == 99


def test_a_better_model_is_kept_and_a_decision_is_final() -> None:
    monitor = RollbackMonitor(Expectation.of(seen(0.5, 300, 0), 10), QUICK)
    assert run(monitor, seen(0.9, 100, 1)).outcome is Outcome.KEEP
    assert run(monitor, [False] * 300).outcome is Outcome.KEEP and monitor.watch.queries == 100


def test_a_rare_find_that_does_not_happen_is_no_proof() -> None:
    """One in fifty was expected, none in a hundred seen: that is chance in one case of seven."""
    assert run(RollbackMonitor(Expectation(0.02, 0.002, 5000), QUICK), [False] * 100).outcome is not Outcome.ROLL_BACK
    assert run(RollbackMonitor(Expectation(0.2, 0.002, 5000), QUICK), [False] * 100).outcome is Outcome.ROLL_BACK


def test_an_equal_model_is_seldom_rolled_back() -> None:
    """First looks at 200 models that are as good: about one in twenty at most, as the window before is uncertain, too."""
    settings = RollbackSettings(windows=1, resamples=200)
    outcomes = [
        run(RollbackMonitor(Expectation.of(seen(0.6, 200, 2 * k), 10), settings), seen(0.6, 100, 2 * k + 1)) for k in range(200)
    ]
    assert sum(watch.outcome is Outcome.ROLL_BACK for watch in outcomes) <= 20


def test_it_looks_again_and_then_stops() -> None:
    monitor = RollbackMonitor(Expectation(0.5, 0.2, 20), RollbackSettings(window=20, stretch=5, windows=3, resamples=200))
    levels = []
    for k in range(100):
        watch = monitor.observe(k % 2 == 0)
        if watch.level is not None:
            levels.append(watch.level)
    assert watch.outcome is Outcome.UNDECIDED and watch.queries == 60
    assert sorted(set(levels), reverse=True) == pytest.approx([0.05, 0.05 / 4, 0.05 / 9])


def test_a_killed_watch_goes_on_where_it_was() -> None:
    expected, verified = Expectation.of(seen(0.7, 300, 0), 10), seen(0.45, 300, 1)
    whole = RollbackMonitor(expected, QUICK, seed=3)
    for count, one in enumerate(verified, start=1):
        whole.observe(one)
        if count in (50, 130):
            copy = RollbackMonitor.from_dict(json.loads(json.dumps(whole.to_dict())), QUICK)
            assert copy.watch == whole.watch and copy.to_dict() == whole.to_dict()
    with pytest.raises(DataError, match="cannot be read"):
        RollbackMonitor.from_dict({"expected": {}, "verified": [], "seed": 0})


def test_expectation_by_hand() -> None:
    found = Expectation.of([True, False] * 50, 10)
    assert found.share == 0.5 and found.queries == 100 and found.standard_error == pytest.approx(0.05)
    assert Expectation.of([True] * 100, 10).standard_error > 0.0
    with pytest.raises(DataError, match="two blocks"):
        Expectation.of([True] * 5, 10)
    with pytest.raises(DataError, match="two stretches"):
        RollbackMonitor(found, RollbackSettings(window=10, stretch=10))
