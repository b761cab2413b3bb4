"""The training loop: any network, objective and feed; several processes; goes on exactly where it was killed.

Everything a step does follows from the weights, the optimizer's moments and the number of the step, so that a run that was killed
and goes on ends, on a CPU, bit for bit like one that never was. Every process takes its share of each batch and weighs it by
its pairs.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vloc_ros.errors import ConfigError, TrainingError
from vloc_ros.training.batchnorm import synchronise
from vloc_ros.training.checkpoint import restore
from vloc_ros.training.distributed import Group, add_up_gradients
from vloc_ros.training.feed import Feed, Portion
from vloc_ros.training.interruption import Interruption
from vloc_ros.training.outputs import Outputs
from vloc_ros.training.precision import half_inside
from vloc_ros.training.run_folder import Pictures, RunFolder
from vloc_ros.training.run_state import RunState
from vloc_ros.training.schedule import learning_rate, make_optimizer, set_learning_rate
from vloc_ros.training.settings import TrainingSettings

_log = logging.getLogger(__name__)

N = TypeVar("N", bound=nn.Module)
B = TypeVar("B")
N_in = TypeVar("N_in", bound=nn.Module, contravariant=True)
B_in = TypeVar("B_in", contravariant=True)
_LOSS, _WEIGHT, _STOP = "loss", ".weight", ".stop"  # names beside those of terms
WEIGHT = "pairs"
"""Name of a term with which an objective says how many samples of its batch its loss is the mean of; all, when it is not there."""
Validator = Callable[[N], dict[str, float]]
"""Judges a network by what it is for, on held-out data; ``task`` is what counts, and more is better. Equal for equal weights."""
Painter = Callable[[N], Pictures]
"""Shows what a network makes of some images, (H, W, 3) RGB uint8 by name, at the end of an epoch."""


class Learned(Protocol[N_in, B_in]):
    """What :class:`vloc_ros.training.objective.Objective` is for local features."""

    def __call__(self, network: N_in, batch: B_in, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, a mean over its samples, and its terms by name."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands after a step.

    Attributes:
        step: steps done.
        steps: of the whole training.
        epoch: the present one, from 0.
        loss: of the step.
        best: the best task metric so far.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    best: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a training.

    Attributes:
        steps: done in all.
        best: the best task metric, None when nothing was validated.
        best_epoch: the epoch, from 0, that had it.
        skipped: steps that were left out because something was not finite.
        ended_early: whether patience was at an end.
        seconds: of training, over all starts.
    """

    steps: int
    best: float | None
    best_epoch: int
    skipped: int
    ended_early: bool
    seconds: float


class Training(Generic[N, B]):
    """One run: a network, what it learns and from what, and the folder that keeps it."""

    def __init__(
        self,
        network: N,
        objective: Learned[N, B],
        feed: Feed[B],
        settings: TrainingSettings,
        folder: RunFolder[N],
        group: Group,
        validator: Validator[N] | None = None,
        on_step: Callable[[Progress], None] | None = None,
        painter: Painter[N] | None = None,
    ) -> None:
        """Put it together; a run that the folder holds is taken up.

        Args:
            network: with the weights to begin with, which are those of the first process in all of them.
            objective: what it learns.
            feed: from what.
            settings: of the loop.
            folder: of the run.
            group: the processes.
            validator: called by the first process; without one the best network is that with the lowest held-out loss.
            on_step: told of every step, in the first process.
            painter: called by the first process at the end of each epoch.

        Raises:
            ConfigError: the folder holds a run with other settings.
            TrainingError: its check points are damaged.
        """
        self.network = network.to(group.device)
        self.settings = settings
        self._objective, self._feed, self._folder, self._group = objective, feed, folder, group
        self._validator, self._on_step, self._painter = validator, on_step, painter
        self._outputs = Outputs(self.network)
        synchronise(self.network, group)
        if settings.mixed_precision:
            half_inside(self.network, group.device, settings.cpu_bfloat16)
        self._optimizer = make_optimizer(self.network, settings)
        checkpoint = folder.open(self.network, self._optimizer, group)
        self.state = RunState.from_dict(checkpoint.state)
        self.resumed = self.state.step > 0
        restore(checkpoint, self.network, self._optimizer)
        self._started = time.monotonic() - self.state.seconds

    def run(self) -> Outcome:
        """Train to the end.

        Raises:
            TrainingError: a loss or gradient is not finite more often than the settings allow; the check point before it is kept.
            VlocError: a sample cannot be made, or a file not be written.
            KeyboardInterrupt: it was interrupted (SIGINT, SIGTERM); a check point of the last step has been written.
        """
        settings = self.settings
        if self._at_epoch_end():
            self._finish_epoch()  # it was ended between the last step of an epoch and the end of its validation
        batches = self._feed.batches(self.state.step, settings.steps, self._group)
        while not self._ended():
            with Interruption() as interruption:
                self._train(batches, interruption)
            self._save()
            self._finish_epoch()
        state = self.state
        early = state.step < settings.steps
        return Outcome(state.step, state.best, state.best_epoch, state.skipped, early, state.seconds)

    def _train(self, batches: Iterator[Portion[B]], interruption: Interruption) -> None:
        """To the end of the epoch."""
        self.network.train()
        first, each = self.state.step, self.settings.steps_per_epoch
        last = (first // each + 1) * each
        for step in range(first, last):
            portion = next(batches)
            loss, stop = self._step(step, portion, interruption.requested)
            if self._on_step is not None and self._group.first:
                self._on_step(Progress(step + 1, self.settings.steps, step // each, loss, self.state.best))
            if stop:
                self._save()
                raise KeyboardInterrupt
            if (step + 1) % self.settings.checkpoint_every == 0 and step + 1 < last:
                self._save()

    def _step(self, step: int, portion: Portion[B], interrupted: bool) -> tuple[float, bool]:
        """Learn from one batch; returns the loss over all processes, and whether any of them is to stop."""
        settings, group = self.settings, self._group
        seed = np.random.SeedSequence([settings.seed, step, group.rank]).generate_state(1)
        torch.manual_seed(int(seed[0]))
        set_learning_rate(self._optimizer, learning_rate(step, settings))
        self._optimizer.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self.network.buffers()] if settings.bad_steps else []
        with self._outputs.watched(group.size > 1):
            loss, terms = self._objective(self.network, portion.content, step // settings.steps_per_epoch)
        # What has no gradient teaches nothing and weighs nothing, in however many processes.
        weight = float(terms.pop(WEIGHT, portion.count)) if loss.requires_grad else 0.0
        told = group.told({_LOSS: float(loss.detach()), _WEIGHT: weight, _STOP: float(interrupted)} | terms)
        total = sum(values[_WEIGHT] for values in told)
        mean = sum(values[_LOSS] * values[_WEIGHT] for values in told) / total if total > 0.0 else 0.0
        self._backward(loss * (weight / total if total > 0.0 else 0.0))
        norm = self._gradient_norm()
        if np.isfinite(mean) and np.isfinite(norm):
            if total > 0.0:
                self._optimizer.step()
            for values in told:
                self.state.add({name: (value, values[_WEIGHT]) for name, value in values.items() if name not in (_WEIGHT, _STOP)})
        else:
            self._leave_out(step, portion, float(loss.detach()), norm, before)
        self.state.step = step + 1
        return mean, any(values[_STOP] > 0.0 for values in told)

    def _backward(self, loss: Tensor) -> None:
        loss = self._outputs.tie(loss)
        if loss.requires_grad:
            loss.backward()
        add_up_gradients(self.network, self._group)

    def _gradient_norm(self) -> float:
        """Norm of the gradient before it is clipped, of which the clipping is done here."""
        learned = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        limit = self.settings.gradient_clip or float("inf")
        return float(nn.utils.clip_grad_norm_(learned, limit)) if learned else 0.0

    def _leave_out(self, step: int, portion: Portion[B], loss: float, norm: float, before: list[Tensor]) -> None:
        tags = ", ".join(portion.tags) or "without names"
        what = f"step {step}: the loss is {loss:g} and the norm of its gradient {norm:g}; pairs: {tags}"
        self.state.skipped += 1
        if self.state.skipped > self.settings.bad_steps:
            raise TrainingError(
                f"{what}: look at these pairs, lower training.learning_rate, or allow some such steps with training.bad_steps "
                f"(now {self.settings.bad_steps})"
            )
        _log.warning("%s; left out (%d so far)", what, self.state.skipped)
        with torch.no_grad():
            for buffer, value in zip(self.network.buffers(), before, strict=True):
                buffer.copy_(value)

    def _at_epoch_end(self) -> bool:
        """Whether all steps of an epoch are done and its row is not written yet."""
        done, more = divmod(self.state.step, self.settings.steps_per_epoch)
        return more == 0 and done > len(self.state.history)

    def _finish_epoch(self) -> None:
        """Validate, keep the best, write the row of the epoch; the first process does, and all know what came of it."""
        state, settings, group = self.state, self.settings, self._group
        epoch = len(state.history)
        row: dict[str, Any] = {"epoch": epoch, "step": state.step, "learning_rate": learning_rate(state.step - 1, settings)}
        row |= state.take_means()
        last = epoch + 1 == settings.epochs
        if group.first and ((epoch + 1) % settings.validate_every == 0 or last):
            row |= self._validated(epoch)
            task = row.get("task")
            if task is None:
                self._folder.save_best(self.network, None, epoch)  # nothing to choose by: the newest
            elif np.isfinite(task) and (state.best is None or task > state.best):
                state.best, state.best_epoch = task, epoch
                row["best"] = True
                self._folder.save_best(self.network, task, epoch)
        state.seconds = time.monotonic() - self._started
        row["seconds"] = round(state.seconds, 1)
        state.history.append(row)
        self.state = state = RunState.from_dict(json.loads(group.broadcast(json.dumps(state.to_dict()).encode())))
        self._save()
        if group.first:
            self._folder.show(state, self._ended())
            self._paint()

    def _paint(self) -> None:
        if self._painter is not None:
            self.network.eval()
            with torch.no_grad():
                self._folder.show_images(self.state.step, self._painter(self.network))
            self.network.train()

    def _validated(self, epoch: int) -> dict[str, float]:
        """Held-out loss and terms under ``validation_*``, and the task metric with whatever the validator says besides."""
        self.network.eval()
        sums = RunState()
        torch.manual_seed(self.settings.seed)
        with torch.no_grad():
            for portion in self._feed.held_out(self._group):
                loss, terms = self._objective(self.network, portion.content, epoch)
                weight = float(terms.pop(WEIGHT, portion.count))
                sums.add({name: (value, weight) for name, value in ({"loss": float(loss)} | terms).items()})
            found = {f"validation_{name}": value for name, value in sums.take_means().items()}
            if self._validator is not None:
                judged = self._validator(self.network)
                if "task" not in judged:
                    raise ConfigError(f"the validator gives no 'task' but {', '.join(judged) or 'nothing'}")
                found |= {name: float(value) for name, value in judged.items()}
            elif "validation_loss" in found:
                found["task"] = -found["validation_loss"]
        self.network.train()
        return found

    def _ended(self) -> bool:
        settings, state = self.settings, self.state
        if state.step >= settings.steps and not self._at_epoch_end():
            return True
        waited = len(state.history) - 1 - state.best_epoch
        return bool(settings.patience and state.best is not None and waited >= settings.patience)

    def _save(self) -> None:
        self.state.seconds = time.monotonic() - self._started
        if self._group.first:
            self._folder.save(self.network, self._optimizer, self.state)
