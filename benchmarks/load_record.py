"""What benchmarks/load.py notes while it runs, and its judgement."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

MIB = 2**20
DEPTH = {"images_waiting": 10, "candidates_waiting": 5000, "keyframes_waiting": 1000}
"""How much may wait: two queues of the synchroniser, and the bounds of the nodes."""
_SHARE = 0.05
_OLDER, _OLDER_S = 1.5, 0.5


@dataclass(frozen=True)
class Second:
    """One second of the run: memory by process [bytes], ages of the frames finished in it by camera [s], and what waits."""

    at: float
    memory: dict[str, int]
    ages: dict[str, list[float]]
    waiting: dict[str, int]


class Record:
    """Filled by the threads of the benchmark."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds: list[Second] = []
        self.late_s = 0.0
        self._ages: dict[str, list[float]] = {}
        self._said: dict[str, dict[str, str]] = {}
        self._localised: set[str] = set()

    def finished(self, camera: str, age_s: float) -> None:
        """A frame of a camera was finished, so long after it was taken."""
        with self._lock:
            self._ages.setdefault(camera, []).append(age_s)

    def said(self, status: str, values: dict[str, str]) -> None:
        """A status of the diagnostics."""
        with self._lock:
            self._said[status] = values
            if values.get("state") == "localised":
                self._localised.add(status)

    @property
    def cameras_heard(self) -> int:
        """Of how many cameras frames have been finished."""
        with self._lock:
            return len(self._ages)

    def forget_ages(self) -> None:
        """Of what came before the run."""
        with self._lock:
            self._ages = {}

    def note(self, at: float, memory: dict[str, int]) -> None:
        """A second is over."""
        with self._lock:
            waiting = {
                f"{status}: {key}": int(values[key]) for status, values in self._said.items() for key in DEPTH if key in values
            }
            self.seconds.append(Second(at, memory, self._ages, waiting))
            self._ages = {}

    def ages(self, begin: float, end: float) -> list[float]:
        """Of all frames finished in a part of the run, given by shares of it [s]."""
        chosen = self.seconds[round(begin * len(self.seconds)) : round(end * len(self.seconds))]
        return [age for second in chosen for ages in second.ages.values() for age in ages]

    def memory(self, process: str, share: float) -> float:
        """Median resident memory of a process around a share of the run [MiB]."""
        count = len(self.seconds)
        width = max(1, round(_SHARE * count))
        begin = min(max(round(share * count) - width // 2, 0), count - width)
        return float(np.median([second.memory[process] for second in self.seconds[begin : begin + width]])) / MIB

    @property
    def processes(self) -> list[str]:
        """Their names."""
        return list(self.seconds[0].memory)

    def figures(self) -> dict[str, Any]:
        """Memory by process, ages by quarter, drops by reason."""
        quarters = [self.ages(0.25 * k, 0.25 * (k + 1)) for k in range(4)]
        return {
            "memory_mib": {name: [self.memory(name, share) for share in (0.05, 0.5, 1.0)] for name in self.processes},
            "age_s": [[float(np.percentile(ages, p)) if ages else None for p in (50, 95, 100)] for ages in quarters],
            "finished": sum(map(len, quarters)),
            "drops": self.drops(),
            "most_waiting": self.most_waiting(),
        }

    def drops(self) -> dict[str, int]:
        """Of all localizations together, by reason."""
        total: dict[str, int] = {}
        for values in self._said.values():
            for key, value in values.items():
                if key.startswith("dropped_") or key in ("images_lost", "images_unpaired"):
                    total[key] = total.get(key, 0) + int(value)
        return total

    def most_waiting(self) -> dict[str, int]:
        """The longest that each queue ever was, of all nodes."""
        most: dict[str, int] = {}
        for second in self.seconds:
            for name, count in second.waiting.items():
                key = name.rsplit(": ", 1)[1]
                most[key] = max(most.get(key, 0), count)
        return most

    def table(self) -> str:
        """For people."""
        figures = self.figures()
        lines = [f"{'memory [MiB]':<24}{'start':>9}{'middle':>9}{'end':>9}"]
        lines += [f"{name:<24}" + "".join(f"{v:>9.1f}" for v in values) for name, values in figures["memory_mib"].items()]
        lines.append(f"{'age of frames [s]':<24}{'median':>9}{'95 %':>9}{'oldest':>9}")
        for k, ages in enumerate(figures["age_s"]):
            lines.append(f"{f'quarter {k + 1}':<24}" + "".join("        -" if v is None else f"{v:>9.3f}" for v in ages))
        lines.append(f"frames finished: {figures['finished']}; " + ", ".join(f"{k} {v}" for k, v in figures["drops"].items()))
        lines.append("longest queues: " + ", ".join(f"{k} {v}" for k, v in figures["most_waiting"].items()))
        return "\n".join(lines) + "\n"

    def faults(self, growth_mib: float, cameras: int) -> list[str]:
        """What is not as it should be, a sentence each."""
        found = []
        for name in self.processes:
            grown = self.memory(name, 1.0) - self.memory(name, 0.5)
            if grown > growth_mib:
                found.append(f"{name} grew by {grown:.1f} MiB in the second half")
        before, after = self.ages(0.25, 0.5), self.ages(0.75, 1.0)
        if not before or not after:
            found.append("no frames were finished in a quarter of the run")
        elif np.median(after) > _OLDER * np.median(before) + _OLDER_S:
            found.append(f"frames grew old: {np.median(before):.2f} s in the second quarter, {np.median(after):.2f} s in the last")
        found += [f"{count} {key}, more than a queue may hold" for key, count in self.most_waiting().items() if count > DEPTH[key]]
        if len(self._localised) < cameras:
            found.append(f"only {len(self._localised)} of {cameras} cameras were ever localised")
        return found
