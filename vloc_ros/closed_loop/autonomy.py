"""The table of autonomy: every feature under every condition on every route, each drive a file, resumable."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from vloc_ros import config
from vloc_ros.closed_loop.course import Course, describe, finish_teaching, keyframe_truth
from vloc_ros.closed_loop.drive import DrivePlan
from vloc_ros.closed_loop.judge import DriveSummary, JudgedDrive, judge
from vloc_ros.closed_loop.record import DriveLog, read_drive
from vloc_ros.errors import DataError
from vloc_ros.evaluation.output import write_whole
from vloc_ros.features.frontend import FeatureSettings
from vloc_ros.mapping import MapStore
from vloc_ros.simulation import Condition, Site, StereoRig, named_condition

SUMMARY, SIGNATURE = "summary.json", ".signature"
TEACHING_CONDITION = "noon"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """One drive of the table.

    Attributes:
        site: where.
        features: name of the extractor.
        condition: under what.
        out: folder of the table.
    """

    site: Site
    features: str
    condition: Condition
    out: Path

    @property
    def map_path(self) -> Path:
        """The map that is taught once for each site and extractor."""
        return self.out / "maps" / f"{self.site.name}_{self.label}.vloc"

    @property
    def folder(self) -> Path:
        """Where the drive is recorded."""
        return self.out / "drives" / f"{self.site.name}_{self.condition.name}_{self.label}"

    @property
    def label(self) -> str:
        """What the features are called in tables and names of files: a file of weights by its own name, without its folder."""
        return Path(self.features).stem


def tasks(sites: Sequence[Site], features: Sequence[str], conditions: Sequence[Condition], out: Path) -> list[Task]:
    """All drives of a table, those that share a world one after the other."""
    return [Task(site, name, condition, out) for site in sites for condition in conditions for name in features]


class Autonomy:
    """Drives what is missing in a table.

    Args:
        course: all that the drives have in common; its features are replaced by those of each task.
        scale: resolution of the cameras, relative to 512 x 384.
        jobs: how many drives run side by side, each in a process of its own.
    """

    def __init__(self, course: Course, scale: float, jobs: int) -> None:
        self._course, self._scale, self._jobs = course, scale, jobs

    def finished(self, task: Task) -> DriveSummary | None:
        """The numbers of a drive that was done before with the same settings; None when it is to be driven."""
        path = task.folder / SUMMARY
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("signature") != self._signature(task):
                return None
            return DriveSummary(**values)
        except (ValueError, KeyError, TypeError, OSError) as error:
            _LOG.warning("%s cannot be used (%s); the drive is repeated", path, error)
            return None

    def maps_to_teach(self, wanted: Sequence[Task]) -> list[Task]:
        """One task for each map that is not there, or was taught with other settings."""
        missing: dict[Path, Task] = {}
        for task in wanted:
            note = task.map_path.with_suffix(SIGNATURE)
            known = note.exists() and note.read_text(encoding="utf-8") == self._map_signature(task)
            if not known or not task.map_path.exists():
                missing.setdefault(task.map_path, task)
        return list(missing.values())

    def teach(self, wanted: Sequence[Task]) -> Iterator[Task]:
        """Teach the map of each task; yields the tasks as their maps are done.

        Raises:
            VlocError: a map cannot be made.
        """
        yield from self._side_by_side({task: (_teach, self._of(task), task, self._scale) for task in wanted})

    def drive(self, wanted: Sequence[Task]) -> Iterator[Task]:
        """Drive each task, whose maps must be there; yields the tasks as they end, their numbers lie in their folders.

        Raises:
            VlocError: a record cannot be written, or a map not be read.
        """
        yield from self._side_by_side({task: (_drive, self._of(task), task, self._signature(task)) for task in wanted})

    def _side_by_side(self, work: Mapping[Task, tuple[Any, ...]]) -> Iterator[Task]:
        with ProcessPoolExecutor(self._jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            running = {pool.submit(*call): task for task, call in work.items()}
            try:
                for future in as_completed(running):
                    future.result()
                    yield running[future]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _of(self, task: Task) -> Course:
        return replace(self._course, settings=config.replace(self._course.settings, {"features.name": task.features}))

    def _map_signature(self, task: Task) -> str:
        return _map_signature(self._of(task), task, self._scale)

    def _signature(self, task: Task) -> str:
        return _digest(self._map_signature(task), repr(task.condition))


@functools.cache
def _fingerprint(features: FeatureSettings) -> str:
    """Of the extractor: a file of weights keeps its name when it is trained further."""
    return features.create().fingerprint


def _map_signature(course: Course, task: Task, scale: float) -> str:
    """Of everything that a map depends on."""
    return _digest(
        config.dump_yaml(course.settings),
        describe(task.site),
        _fingerprint(course.settings.features),
        f"{course.seed} {course.detail} {scale}",
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _teach(course: Course, task: Task, scale: float) -> None:
    """Teach the map of a task at noon, replacing what an earlier, interrupted attempt has left."""
    path = task.map_path
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(path.name + "*"):
        leftover.unlink()
    teaching = course.teach(task.site, named_condition(TEACHING_CONDITION), path, StereoRig().scaled(scale))
    for _ in teaching:
        pass
    finish_teaching(teaching)
    write_whole(path.with_suffix(SIGNATURE), _map_signature(course, task, scale))


def _drive(course: Course, task: Task, signature: str) -> DriveSummary:
    """Drive a task, judge it, and keep the numbers beside the record."""
    if task.folder.exists():
        shutil.rmtree(task.folder)
    info = {"site": task.site.name, "condition": task.condition.name, "features": task.label}
    with MapStore.open(task.map_path, read_only=True) as store:
        loop = course.loop(store, task.condition, DrivePlan())
        with DriveLog(task.folder, course.settings, info) as log:
            for step in loop.run():
                log.add(step)
    summary = judged(task).summary
    write_whole(task.folder / SUMMARY, json.dumps({**summary.to_dict(), "signature": signature}, indent=1) + "\n")
    return summary


def judged(task: Task) -> JudgedDrive:
    """A drive of the table, read back and judged.

    Raises:
        DataError: it was not driven.
    """
    if not task.folder.exists():
        raise DataError(f"{task.folder} does not exist: this drive was not made yet")
    with MapStore.open(task.map_path, read_only=True) as store:
        return judge(read_drive(task.folder), store.keyframes(), keyframe_truth(store))
