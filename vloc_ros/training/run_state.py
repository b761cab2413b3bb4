"""Where a training stands, and whether a folder holds a run that may go on."""

from __future__ import annotations

import dataclasses
import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vloc_ros.errors import ConfigError, DataError, TrainingError
from vloc_ros.training.history import Row

FREE_KEYS = frozenset(
    {
        "training.workers",
        "training.device",
        "training.checkpoint_every",
        "training.patience",
        "training.bad_steps",
        "recording.cache",
        "images.cache_mb",
    }
)
"""Settings that a run may go on with otherwise: none of them changes what a step does. So may the number of processes."""
_EPOCHS = "training.epochs"
_SCHEDULE = "training.schedule"


@dataclass
class RunState:
    """Where a training stands.

    Attributes:
        step: steps done.
        sums: sums, over the steps of the epoch so far, of loss and terms times pairs, and of pairs.
        history: a row per epoch.
        best: the best task metric, None before the first validation.
        best_epoch: the epoch (from 0) that had it.
        skipped: steps that were left out because something was not finite.
        seconds: of training so far, over all starts.
    """

    step: int = 0
    sums: dict[str, list[float]] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = -1
    skipped: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunState:
        """From plain values.

        Raises:
            TrainingError: they are not those of a state of this release.
        """
        if set(values) != {entry.name for entry in dataclasses.fields(cls)}:
            raise TrainingError("the check point is of another release of vloc_ros: name another folder")
        return cls(**values)

    def add(self, values: Mapping[str, tuple[float, float]]) -> None:
        """Count the (value, weight) of the terms of one step."""
        for name, (value, weight) in values.items():
            entry = self.sums.setdefault(name, [0.0, 0.0])
            entry[0] += value * weight
            entry[1] += weight

    def take_means(self) -> dict[str, float]:
        """Weighted means since the last call."""
        means = {name: total / weight for name, (total, weight) in self.sums.items() if weight > 0.0}
        self.sums = {}
        return means


def require_same(folder: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Make sure that a run may go on with the present settings.

    Args:
        folder: where the run is.
        then: its settings, by dotted keys.
        now: the present ones.

    Raises:
        ConfigError: some differ; the text names them.
    """
    same_start = then.get(_SCHEDULE) == now.get(_SCHEDULE) and now.get(_SCHEDULE) in ("constant", "step")
    free = FREE_KEYS | ({_EPOCHS} if same_start else set())
    differing = [key for key in (*then, *(set(now) - set(then))) if then.get(key) != now.get(key) and key not in free]
    if differing:
        shown = ", ".join(f"{key} {then.get(key)!r} there and {now.get(key)!r} here" for key in sorted(differing)[:6])
        more = f" and {len(differing) - 6} more" if len(differing) > 6 else ""
        raise ConfigError(
            f"{folder} holds a run with other settings ({shown}{more}): repeat those to go on, or name another folder"
        )


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make the folder of a run and keep other trainings out of it; the lock goes when this process does.

    Raises:
        TrainingError: another training writes there.
        DataError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    with file:
        try:
            # A lock of this process alone: one of flock() would live on in its workers when it is killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(f"another training writes to {folder}: wait for its end, or name another folder") from error
        yield
