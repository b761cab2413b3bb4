"""The trainer as a child process: its budget, pauses, deaths and the end of its owner, with a small program in its place."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from vloc_ros.calibration import process_table
from vloc_ros.calibration.cpu_budget import BudgetSettings, Restraint
from vloc_ros.calibration.supervisor import Ending, JobOutcome, Pause, Supervisor, SupervisorSettings, TrainerState
from vloc_ros.errors import TrainingError
from vloc_ros.processes import child_environment

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the trainer is stopped and charged as Linux does it")
TRAINER = Path(__file__).parent / "slow_trainer.py"
QUICK = {"niceness": 0, "back_off": 0.05}
"""Not in the idle class: on a busy machine that gets nothing, and a test cannot wait for it."""


def program(folder: Path, *arguments: object) -> list[str]:
    return [sys.executable, str(TRAINER), str(folder), *map(str, arguments)]


@contextmanager
def supervising(share: float = 1.0, seconds_per_hour: float = 0.0, **settings: object) -> Iterator[Supervisor]:
    budget = BudgetSettings(share=share, seconds_per_hour=seconds_per_hour)
    supervisor = Supervisor(SupervisorSettings(budget=budget, **(QUICK | settings)))  # type: ignore[arg-type]
    try:
        yield supervisor
    finally:
        supervisor.close()


def until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


def outcome_of(supervisor: Supervisor) -> JobOutcome:
    outcome = supervisor.wait(30.0)
    assert outcome is not None, supervisor.status
    return outcome


def child_of(supervisor: Supervisor) -> psutil.Process:
    until(lambda: supervisor.status.stage == "training", "the training")
    pid = supervisor.status.pid
    assert pid is not None
    return psutil.Process(pid)


def test_a_job_runs_to_its_end(tmp_path: Path) -> None:
    with supervising() as supervisor:
        assert supervisor.poll() is None and supervisor.status.state is TrainerState.IDLE
        supervisor.start(program(tmp_path, "--garbage"), tmp_path / "log")
        with pytest.raises(RuntimeError, match="there is a job"):
            supervisor.start(program(tmp_path), tmp_path / "log")
        outcome = outcome_of(supervisor)
        assert outcome == JobOutcome(Ending.DONE, {"version": 3, "begun_at": 0}, "")
        status = supervisor.status
        assert (status.stage, status.share, status.figures, status.starts) == ("training", 1.0, {"loss": 1.0 / 20}, 1)
        assert status.state is TrainerState.IDLE and status.pid is None and status.unreadable == 3
        assert 0.4 <= status.cpu_seconds < 5.0 and status.cpu_last_hour == pytest.approx(status.cpu_seconds)
        assert not supervisor.busy
        supervisor.start(program(tmp_path), tmp_path / "log")
        assert outcome_of(supervisor).values["begun_at"] == 20


def test_it_gives_way_to_everything(tmp_path: Path) -> None:
    with supervising(niceness=19) as supervisor:
        supervisor.start(program(tmp_path, "--steps", 10000), tmp_path / "log")
        until(lambda: supervisor.status.pid is not None, "the child")
        child = psutil.Process(supervisor.status.pid)
        until(lambda: child.nice() == 19, "the niceness")
        until(lambda: os.sched_getscheduler(child.pid) == os.SCHED_IDLE, "the idle class")
        group = Path(f"/proc/{child.pid}/autogroup")
        if group.exists():  # without it the trainer, which has a session of its own, takes as much as a whole launch of nodes
            until(lambda: group.read_text().split()[1:] == ["nice", "19"], "the niceness of its session")
            mine = Path("/proc/self/autogroup").read_text()  # empty where this process is in no group of its own
            assert group.read_text().split()[0] not in mine.split()


def test_a_pause_stops_it_and_the_end_of_the_pause_lets_it_go_on(tmp_path: Path) -> None:
    with supervising() as supervisor:
        supervisor.start(program(tmp_path, "--steps", 100000), tmp_path / "log")
        child = child_of(supervisor)
        supervisor.pause(Pause.LATE)
        supervisor.pause(Pause.USER)
        until(lambda: supervisor.status.state is TrainerState.PAUSED, "the pause")
        assert child.status() == psutil.STATUS_STOPPED
        spent = sum(child.cpu_times()[:2])
        supervisor.resume(Pause.LATE)
        time.sleep(0.3)
        assert sum(child.cpu_times()[:2]) == spent and supervisor.status.pauses == (Pause.USER,)
        supervisor.resume(Pause.USER)
        until(lambda: sum(child.cpu_times()[:2]) > spent, "more work")
        assert supervisor.status.state is TrainerState.RUNNING and supervisor.status.starts == 1


def test_nothing_is_started_during_a_pause(tmp_path: Path) -> None:
    with supervising() as supervisor:
        supervisor.pause(Pause.USER)
        supervisor.start(program(tmp_path), tmp_path / "log")
        time.sleep(0.3)
        assert supervisor.status.state is TrainerState.PAUSED and supervisor.status.starts == 0
        supervisor.resume(Pause.USER)
        assert outcome_of(supervisor).ending is Ending.DONE


def test_it_takes_no_more_than_its_share(tmp_path: Path) -> None:
    with supervising(share=0.2) as supervisor:
        supervisor.start(program(tmp_path, "--steps", 100000), tmp_path / "log")
        child = child_of(supervisor)
        time.sleep(1.0)
        begun, before = time.monotonic(), sum(child.cpu_times()[:2])
        time.sleep(4.0)
        share = (sum(child.cpu_times()[:2]) - before) / (time.monotonic() - begun)
        assert 0.02 < share < 0.3, "a fifth of a core, and the slack of a busy machine"
        assert supervisor.status.cpu_seconds == pytest.approx(sum(child.cpu_times()[:2]), abs=0.3)


def test_its_time_for_an_hour_is_used_up(tmp_path: Path) -> None:
    with supervising(seconds_per_hour=0.5) as supervisor:
        supervisor.start(program(tmp_path, "--steps", 100000), tmp_path / "log")
        child = child_of(supervisor)
        until(lambda: supervisor.status.restraint is Restraint.HOUR, "the limit")
        until(lambda: supervisor.status.state is TrainerState.PAUSED, "the pause")
        assert child.status() == psutil.STATUS_STOPPED and 0.5 <= supervisor.status.cpu_last_hour < 1.5
        # Another limit counts at once, for the child that stands still, too.
        supervisor.tune(BudgetSettings(share=1.0))
        until(lambda: supervisor.status.state is TrainerState.RUNNING, "going on")
        supervisor.tune(BudgetSettings(share=1.0, seconds_per_hour=0.5))
        until(lambda: supervisor.status.state is TrainerState.PAUSED, "the pause again")


def test_a_trainer_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with supervising() as supervisor:
        supervisor.start(program(tmp_path, "--steps", 60), tmp_path / "log")
        for kills in range(1, 6):
            child = child_of(supervisor)
            reached = int((tmp_path / "step").read_text())
            until(lambda least=reached + 3: int((tmp_path / "step").read_text()) >= least, "some steps")
            child.kill()
            until(lambda number=kills: supervisor.status.starts > number, "another start")
        outcome = outcome_of(supervisor)
        assert outcome.ending is Ending.DONE and outcome.values["begun_at"] >= 15
        assert "was ended by signal SIGKILL" in supervisor.status.last_death
    assert len((tmp_path / "starts").read_text().split()) == supervisor.status.starts >= 6


def test_a_trainer_that_dies_at_once_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    with supervising(deaths=3) as supervisor:
        supervisor.start(program(tmp_path, "--die-at", 4), tmp_path / "log")
        outcome = outcome_of(supervisor)
        assert outcome.ending is Ending.GAVE_UP and "died 3 times in a row without any progress" in outcome.text
        assert "signal SIGKILL: the memory is full" in outcome.text
        # the first death came after progress, which then came no more
        assert supervisor.status.starts == 3 and supervisor.status.deaths == 3


def test_each_restart_waits_longer(tmp_path: Path) -> None:
    with supervising(deaths=4, back_off=0.3) as supervisor:
        begun = time.monotonic()
        supervisor.start([sys.executable, "-c", "import sys; sys.exit('no torch here')"], tmp_path / "log")
        outcome = outcome_of(supervisor)
        assert time.monotonic() - begun > 0.3 + 0.6 + 1.2
        assert "ended with exit code 1 and without a last word: no torch here" in outcome.text


def test_what_the_trainer_refuses_is_not_tried_again(tmp_path: Path) -> None:
    with supervising() as supervisor:
        supervisor.start(program(tmp_path, "--steps", 1, "--error", "the map holds no inliers"), tmp_path / "log")
        assert outcome_of(supervisor) == JobOutcome(Ending.ERROR, {}, "the map holds no inliers")
        assert supervisor.status.starts == 1


def test_a_program_or_a_folder_that_does_not_work_is_said(tmp_path: Path) -> None:
    with supervising(deaths=2) as supervisor:
        supervisor.start([str(tmp_path / "nothing")], tmp_path / "log")
        assert "No such file" in outcome_of(supervisor).text
        (tmp_path / "file").write_text("no folder")
        supervisor.start(program(tmp_path), tmp_path / "file" / "log")
        assert "cannot be started" in outcome_of(supervisor).text
    with pytest.raises(RuntimeError, match="closed"):
        supervisor.start(program(tmp_path), tmp_path / "log")
    assert issubclass(TrainingError, Exception)


def test_closing_ends_it_though_it_stands_still(tmp_path: Path) -> None:
    with supervising() as supervisor:
        supervisor.start(program(tmp_path, "--steps", 100000), tmp_path / "log")
        child = child_of(supervisor)
        supervisor.pause(Pause.INACTIVE)
        until(lambda: child.status() == psutil.STATUS_STOPPED, "the pause")
        begun = time.monotonic()
        supervisor.close()
        assert time.monotonic() - begun < 2.0 and not child.is_running()


OWNER = """
import sys, time
from pathlib import Path
from vloc_ros.calibration.supervisor import Pause, Supervisor, SupervisorSettings
supervisor = Supervisor(SupervisorSettings(niceness=0))
supervisor.start(sys.argv[2:], Path(sys.argv[1]))
while True:
    time.sleep(0.02)
    if supervisor.status.stage == "training" and "stop" in sys.argv[1]:
        supervisor.pause(Pause.USER)
"""


@pytest.mark.parametrize("log", ["run", "stop"])
def test_it_does_not_outlive_its_owner_running_or_stopped(tmp_path: Path, log: str) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / log), *program(tmp_path, "--steps", 100000)]
    with subprocess.Popen(command, env=child_environment({})) as owner:
        until(lambda: (tmp_path / "step").exists(), "the training")
        child = psutil.Process(int((tmp_path / "starts").read_text()))
        if log == "stop":
            until(lambda: child.status() == psutil.STATUS_STOPPED, "the pause")
        owner.send_signal(signal.SIGKILL)
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the end of the child", 5.0)


def test_nobody_who_writes_to_the_map_waits_for_one_that_stands_still(tmp_path: Path) -> None:
    """The trainer holds the write lock for most of its time; were it stopped then, others would wait as long as the pause lasts."""
    path = tmp_path / "map.db"
    connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE note (text TEXT)")
    with supervising() as supervisor:
        supervisor.start(program(tmp_path, "--steps", 100000, "--map", path, "--hold", 0.25, "--cpu", 0.01), tmp_path / "log")
        child_of(supervisor)
        longest = 0.0
        for _ in range(8):
            supervisor.pause(Pause.LATE)
            until(lambda: supervisor.status.state is TrainerState.PAUSED, "the pause")
            assert supervisor.status.pid is not None and not process_table.holds_map_lock(supervisor.status.pid)
            begun = time.monotonic()
            connection.execute("INSERT INTO note VALUES ('robot')")
            longest = max(longest, time.monotonic() - begun)
            supervisor.resume(Pause.LATE)
            time.sleep(0.15)
        assert longest < 0.2, "nobody holds the lock while the trainer stands still"
    connection.close()


def test_one_that_said_its_last_word_and_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vloc_ros.calibration.supervisor._END_S", 0.5)
    with supervising() as supervisor:
        supervisor.start(program(tmp_path, "--steps", 1, "--hang"), tmp_path / "log")
        assert outcome_of(supervisor).values["version"] == 3
        child = int((tmp_path / "starts").read_text())
        assert not psutil.pid_exists(child)
