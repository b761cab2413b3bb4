"""What the calibration node must remember when it is killed: which labels it has learned from, the job at hand, and its orders."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vloc_ros.data.output import write_text
from vloc_ros.mapping.closures import Closure
from vloc_ros.pose_graph import Label

_log = logging.getLogger(__name__)
_FILE, _FORMAT, _JOB = "node.json", "vloc calibration node 1", "job-"
_JOBS_KEPT = 3
Labels = dict[str, str]


def labels_of(closures: Iterable[Closure]) -> Labels:
    """The decided labels by pair of keyframes; what is undecided teaches nothing."""
    decided = (closure for closure in closures if closure.verdict.label is not Label.UNDECIDED)
    return {f"{closure.a} {closure.b}": closure.verdict.label.value for closure in decided}


@dataclass
class NodeMemory:
    """Kept in the file ``node.json`` of the work folder, and in the folders of the jobs beside it.

    Attributes:
        folder: of all the work of the node.
        job: number of the newest job, from 1; 0 before the first.
        running: the newest job has not ended.
        paused: somebody asked for a pause.
        learned: labels at the begin of the newest job that came to an end.
        learning: labels at the begin of the job that runs.
        last: how the newest job that ended did end, as plain values.
    """

    folder: Path
    job: int = 0
    running: bool = False
    paused: bool = False
    learned: Labels = field(default_factory=dict)
    learning: Labels = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> NodeMemory:
        """From a work folder; a new one where there is none, or where it cannot be read (which is logged)."""
        memory = cls(folder)
        try:
            text = (folder / _FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return memory
        except (OSError, ValueError) as error:
            _log.warning("%s cannot be read, and begins anew: %s", folder / _FILE, error)
            return memory
        try:
            memory._take(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("%s cannot be read, and begins anew: %r", folder / _FILE, error)
            memory = cls(folder, job=memory._newest_folder())
        return memory

    def _take(self, values: Mapping[str, Any]) -> None:
        if values["format"] != _FORMAT:
            raise ValueError("it is of another release")
        labels = [{str(pair): str(label) for pair, label in values[name].items()} for name in ("learned", "learning")]
        last = dict(values["last"])
        self.job, self.running, self.paused = int(values["job"]), bool(values["running"]), bool(values["paused"])
        (self.learned, self.learning), self.last = labels, last

    def _newest_folder(self) -> int:
        names = (path.name[len(_JOB) :] for path in self.folder.glob(f"{_JOB}*"))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def write(self) -> None:
        """Replace the file, all or nothing.

        Raises:
            DataError: it cannot be written.
        """
        values = {
            "format": _FORMAT,
            "job": self.job,
            "running": self.running,
            "paused": self.paused,
            "learned": self.learned,
            "learning": self.learning,
            "last": self.last,
        }
        write_text(self.folder / _FILE, json.dumps(values) + "\n")

    @property
    def job_folder(self) -> Path:
        """Of the newest job."""
        return self.folder / f"{_JOB}{self.job}"

    def begin(self, labels: Labels) -> None:
        """A new job begins; folders of old ones go, but for the last few with their reports.

        Raises:
            DataError: the file cannot be written.
        """
        self.job, self.running, self.learning = self.job + 1, True, dict(labels)
        self.write()
        for number in range(1, self.job - _JOBS_KEPT + 1):
            old = self.folder / f"{_JOB}{number}"
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old, ignore_errors=True)

    def end(self, result: Mapping[str, Any], *, learned: bool) -> None:
        """The job has ended.

        Args:
            result: how, as plain values.
            learned: whether it came to a result, so that its labels are no news.

        Raises:
            DataError: the file cannot be written.
        """
        if learned:
            self.learned = self.learning
        self.running, self.learning, self.last = False, {}, dict(result)
        self.write()

    def news(self, labels: Labels) -> int:
        """How many pairs have another label than at the begin of the last job, or are new or gone."""
        return sum(self.learned.get(pair) != labels.get(pair) for pair in self.learned.keys() | labels.keys())
