"""The folder of a run: check points, history, the best weights. The first process alone writes it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from vloc_ros.data.frame import Image
from vloc_ros.data.output import write_image
from vloc_ros.errors import TrainingError, VlocError
from vloc_ros.training import checkpoint as files
from vloc_ros.training.checkpoint import Checkpoint
from vloc_ros.training.curves import CURVES_NAME, write_curves
from vloc_ros.training.distributed import Group
from vloc_ros.training.events import EventFile
from vloc_ros.training.history import write_history
from vloc_ros.training.run_state import RunState, only_writer, require_same

N = TypeVar("N", bound=nn.Module)
_DRAW_EVERY_S = 30.0
BEST_NAME = "best.safetensors"
PICTURES_NAME = "translations.png"
_WHITE, _GAP_PX = 255, 8
Pictures = Mapping[str, Image]
"""(H, W, 3) RGB by name."""
SaveBest = Callable[[Path, N, str], Any]
"""Writes a network and its card to a file, with what it has learned from, in words."""


class RunFolder(Generic[N]):
    """See the module."""

    def __init__(
        self, path: Path, settings: Mapping[str, Any], save_best: SaveBest[N], learned_from: str, pictures: str = PICTURES_NAME
    ) -> None:
        """Name it; nothing is read or written yet.

        Args:
            path: the folder, which is made.
            settings: everything that decides what is learned, by dotted keys with values that JSON has.
            save_best: writes the best network.
            learned_from: for its card: the data, in words.
            pictures: name of the file of pictures of what is learned.
        """
        self.path = path
        self._settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        self._save_best, self._learned_from, self._pictures = save_best, learned_from, pictures
        self._events: EventFile | None = None
        self._drawn = time.monotonic()

    @contextmanager
    def claimed(self, group: Group) -> Iterator[None]:
        """Make the folder and keep others out.

        Raises:
            TrainingError: another training writes there.
            DataError: it cannot be made.
        """
        if not group.first:
            yield
            return
        with only_writer(self.path):
            yield

    def open(self, network: nn.Module, optimizer: torch.optim.Optimizer, group: Group) -> Checkpoint:
        """The check point to go on from, the same in all processes: the last of the run here, else of this very moment.

        Raises:
            ConfigError: the folder holds a run with other settings.
            TrainingError: its check points are damaged.
        """
        problem, content = "", b""
        if group.first:
            try:
                content = self._found(network, optimizer).to_bytes()
            except VlocError as error:
                if group.size == 1:
                    raise
                problem = f"{error}"
        problem = group.broadcast(problem.encode()).decode() if group.size > 1 else ""
        if problem:
            raise TrainingError(problem)
        found = Checkpoint.from_bytes(group.broadcast(content))
        return Checkpoint(found.tensors, found.state["run"])

    def _found(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Checkpoint:
        found = files.read(self.path)
        if found is None:
            return self._checkpoint(network, optimizer, RunState())
        if "settings" not in found.state or "run" not in found.state:
            raise TrainingError(f"{self.path / files.FILE_NAME} is of another release of vloc_ros: name another folder")
        require_same(self.path, found.state["settings"], self._settings)
        return found

    def _checkpoint(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: RunState) -> Checkpoint:
        return files.collect(network, optimizer, {"settings": self._settings, "run": state.to_dict()})

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: RunState) -> None:
        """Write a check point.

        Raises:
            DataError: it cannot be written.
        """
        files.write(self.path, self._checkpoint(network, optimizer, state))

    def save_best(self, network: N, task: float | None, epoch: int) -> None:
        """Write the best weights and their card.

        Raises:
            DataError: they cannot be written.
        """
        judged = "not validated" if task is None else f"task {task:.4f}"
        self._save_best(self.path / BEST_NAME, network, f"{self._learned_from}; epoch {epoch + 1}, {judged}")

    def show(self, state: RunState, finished: bool) -> None:
        """Write history and curves, and the last row for TensorBoard.

        Raises:
            DataError: they cannot be written.
        """
        write_history(self.path, state.history)
        now = time.monotonic()
        if finished or now - self._drawn > _DRAW_EVERY_S:
            self._drawn = now
            write_curves(self.path / CURVES_NAME, state.history, self.path.resolve().name)
        row = state.history[-1]
        shown = {name: float(value) for name, value in row.items() if isinstance(value, float) and name != "seconds"}
        self._open_events().write(row["step"], shown)

    def show_images(self, step: int, images: Pictures) -> None:
        """Write pictures of what is learned for TensorBoard, and the newest ones, below each other, as a file.

        Raises:
            ConfigError: one of them is not (H, W, 3) RGB uint8.
            DataError: they cannot be written.
        """
        if images:
            self._open_events().write_images(step, images)
            write_image(self.path / self._pictures, _below_each_other(list(images.values())))

    def _open_events(self) -> EventFile:
        if self._events is None:
            self._events = EventFile(self.path)
        return self._events


def _below_each_other(images: list[Image]) -> Image:
    width = max(image.shape[1] for image in images)
    rows = [np.pad(image, ((0, _GAP_PX), (0, width - image.shape[1]), (0, 0)), constant_values=_WHITE) for image in images]
    return np.concatenate(rows)[:-_GAP_PX]
