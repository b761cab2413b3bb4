"""What a calibration learns from, kept in its work folder: who goes on after a kill learns from the same."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vloc_ros.calibration.settings import CalibrationSettings
from vloc_ros.calibration.tuples import TupleSet, dumps, loads
from vloc_ros.config import to_dict
from vloc_ros.data.files import read_text
from vloc_ros.data.output import write_text
from vloc_ros.errors import DataError, VlocError
from vloc_ros.training.run_state import FREE_KEYS

_log = logging.getLogger(__name__)
_PLAN, _TUPLES, _RUN = "plan.json", "tuples.json", "run-"
_A_RUN = re.compile(f"{_RUN}[0-9a-f]{{12}}")
_DECIDING = ("mining", "stretches", "learning", "triplet", "uncertainty", "training")
"""Sections of the settings that decide which weights come out; what judges them may change in between."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is learned from, and with what.

    Attributes:
        key: hash of the weights to begin with and of all settings that matter.
        revision: of the pose graph that the tuples were mined from.
        tuples: of training stretches, all of keyframes with an image.
    """

    key: str
    revision: int
    tuples: TupleSet

    @property
    def name(self) -> str:
        """Of the folder of the run: it differs for other tuples."""
        return _RUN + hashlib.sha256(f"{self.key}\n{dumps(self.tuples)}".encode()).hexdigest()[:12]


def key_of(settings: CalibrationSettings, base_sha256: str) -> str:
    """The key of a plan."""
    values = {name: part for name, part in to_dict(settings).items() if name in _DECIDING}
    values["training"] = {name: value for name, value in values["training"].items() if f"training.{name}" not in FREE_KEYS}
    return hashlib.sha256(json.dumps([base_sha256, values], sort_keys=True).encode()).hexdigest()


def read_plan(work: Path) -> Plan | None:
    """The plan in a work folder; None when there is none, or one that was cut off or is of another release."""
    if not (work / _PLAN).is_file():
        return None
    try:
        values: Any = json.loads(read_text(work / _PLAN))
        text = read_text(work / _TUPLES)
        if hashlib.sha256(text.encode()).hexdigest() != values["tuples_sha256"]:
            raise DataError(f"{work / _TUPLES} is not that of the plan")
        return Plan(str(values["key"]), int(values["revision"]), loads(text, str(work / _TUPLES)))
    except (VlocError, KeyError, TypeError, ValueError) as error:
        _log.warning("the work in %s begins anew: %s", work, error)
        return None


def write_plan(work: Path, plan: Plan) -> None:
    """Put a plan in the place of the one before, and remove the runs of others.

    Raises:
        DataError: it cannot be written.
    """
    text = dumps(plan.tuples)
    write_text(work / _TUPLES, text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_text(work / _PLAN, json.dumps({"key": plan.key, "revision": plan.revision, "tuples_sha256": digest}, indent=1) + "\n")
    for folder in work.iterdir():
        if _A_RUN.fullmatch(folder.name) and folder.name != plan.name and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


def stands(plan: Plan, held: TupleSet) -> bool:
    """Whether a map still holds all tuples and pairs of a plan: one whose label was flipped must not be learned from."""
    ends = {(item.anchor, item.positive) for item in held.tuples}
    pairs = {(pair.query, pair.negative) for pair in held.pairs}
    return all((item.anchor, item.positive) in ends for item in plan.tuples.tuples) and all(
        (pair.query, pair.negative) in pairs for pair in plan.tuples.pairs
    )
