"""What all trainings on the command line share: arguments, settings, progress and the last words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vloc_ros.commands.common import add_json, emit, number, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from vloc_ros.training.loop import Outcome, Progress

T = TypeVar("T")


def add_run_arguments(sub: argparse.ArgumentParser, kinds: str, parted: str) -> None:
    """Data, folder of the run, start and settings.

    Args:
        sub: parser of the command.
        kinds: kinds of sources, in words.
        parted: the kinds of which one source has a held-out part; empty where none has.
    """
    part = f"; of a {parted} source that is learned from, its held-out part" if parted else ""
    sub.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="KIND:PATH[:WEIGHT]",
        help=f"what to learn from; may be given several times, and is mixed by weight. Kinds: {kinds}",
    )
    sub.add_argument(
        "--held-out",
        action="append",
        default=[],
        metavar="KIND:PATH",
        help=f"what the best epoch is chosen by{part}",
    )
    sub.add_argument("--out", type=Path, metavar="RUN", help="folder of the run; one that is there already goes on")
    sub.add_argument("--start", type=Path, metavar="FILE", help="weights to start from, *.safetensors (default: random ones)")
    sub.add_argument("--licence", default="", help="of the weights, for their card")
    sub.add_argument("--config", type=Path, help="YAML file of settings (--show-settings prints all keys)")
    sub.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, e.g. training.learning_rate=0.0001"
    )
    sub.add_argument("--show-settings", action="store_true", help="print the effective settings as YAML, and do nothing else")
    add_json(sub)


def changed(args: argparse.Namespace, settings: T) -> T:
    """Settings with what --config says, then --set.

    Raises:
        ConfigError: a key is unknown or a value does not fit; the text names it, and the file.
    """
    from vloc_ros.config import load_yaml, parse_assignments, replace
    from vloc_ros.errors import ConfigError

    if args.config is not None:
        try:
            settings = replace(settings, load_yaml(args.config))
        except ConfigError as error:
            raise ConfigError(f"{args.config}: {error}") from error
    return replace(settings, parse_assignments(args.set))


def report(args: argparse.Namespace, outcome: Outcome, first: bool) -> int:
    """Say what came of a training, in the first process; returns the exit status."""
    if not first:
        return 0
    values: dict[str, Any] = {
        "weights": str(args.out / "best.safetensors"),
        "task": outcome.best,
        "epoch": outcome.best_epoch + 1,
        "steps": outcome.steps,
        "skipped": outcome.skipped,
        "ended_early": outcome.ended_early,
        "seconds": round(outcome.seconds, 1),
    }
    emit(args, values, rows((values | {"task": number(outcome.best, "")}).items()))
    return 0


@contextmanager
def step_bar() -> Iterator[Callable[[Progress], None]]:
    """A progress bar of steps on stderr; none when that is not a terminal, or in all but the first process."""
    from tqdm import tqdm

    bar: Any = None

    def follow(done: Progress) -> None:
        nonlocal bar
        if bar is None:
            total, before = done.steps, done.step - 1
            bar = tqdm(total=total, initial=before, desc="training", unit="step", file=sys.stderr, disable=None, leave=True)
        bar.set_postfix(epoch=done.epoch + 1, loss=f"{done.loss:.4g}", refresh=False)
        bar.update(done.step - bar.n)

    try:
        yield follow
    finally:
        if bar is not None:
            bar.close()
