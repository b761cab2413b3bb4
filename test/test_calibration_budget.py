"""What the trainer may take of the processor, by its account alone."""

from __future__ import annotations

import pytest

from vloc_ros.calibration.cpu_budget import BudgetSettings, CpuBudget, Restraint

TURN_S = 0.05


def run(budget: CpuBudget, begin: float, seconds: float, greed: float = 1.0) -> float:
    """Processor time that a program takes which uses so many cores whenever it may."""
    taken, now = 0.0, begin
    while now < begin + seconds:
        used = 0.0 if budget.restraint() is not None else greed * TURN_S
        now += TURN_S
        budget.spend(now, used)
        taken += used
    return taken


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("greed", [1.0, 2.0])
def test_it_takes_its_share_and_no_more(share: float, greed: float) -> None:
    budget = CpuBudget(BudgetSettings(share=share), 0.0)
    taken = run(budget, 0.0, 100.0, greed)
    assert 0.97 * share * 100.0 <= taken <= 1.03 * share * 100.0 + greed * TURN_S


def test_one_thread_with_the_share_of_a_core_is_never_stopped() -> None:
    budget = CpuBudget(BudgetSettings(share=1.0), 0.0)
    assert run(budget, 0.0, 50.0) == pytest.approx(50.0, abs=2 * TURN_S)


def test_what_was_not_taken_for_long_is_not_taken_at_once() -> None:
    budget = CpuBudget(BudgetSettings(share=0.2), 0.0)
    budget.spend(10_000.0, 0.0)
    assert run(budget, 10_000.0, 10.0) <= 0.2 * 10.0 + 0.2 + TURN_S


def test_the_time_of_an_hour_is_spent_once_and_comes_back_with_the_next() -> None:
    budget = CpuBudget(BudgetSettings(share=1.0, seconds_per_hour=100.0), 0.0)
    assert run(budget, 0.0, 3500.0) == pytest.approx(100.0, abs=2 * TURN_S)
    assert budget.restraint() is Restraint.HOUR and budget.last_hour == pytest.approx(100.0, abs=0.1)
    assert run(budget, 3500.0, 3600.0) == pytest.approx(100.0, abs=0.1)
    # in no hour more than that
    budget = CpuBudget(BudgetSettings(share=1.0, seconds_per_hour=100.0), 0.0)
    assert run(budget, 0.0, 3601.0) <= 102.0


def test_it_stands_still_for_a_while_and_not_every_moment() -> None:
    budget, changes, before, now = CpuBudget(BudgetSettings(share=0.5), 0.0), 0, None, 0.0
    while now < 60.0:
        restraint = budget.restraint()
        changes += restraint is not before
        before, now = restraint, now + TURN_S
        budget.spend(now, 0.0 if restraint else TURN_S)
    assert 20 <= changes <= 160
