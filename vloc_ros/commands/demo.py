"""``vloc demo``: teach and repeat through the ROS nodes, with nothing but this package."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, add_settings, emit, load_settings
from vloc_ros.errors import DataError, VlocError

if TYPE_CHECKING:
    from vloc_ros.data import DatasetReader

_EXAMPLES = """
  vloc demo --out demo                                a simulated route: taught at noon, repeated in the late afternoon
  vloc demo --out demo_00 --data kitti/sequences/00   a recording: taught on every second frame, repeated on the others
  vloc demo --out demo_lab --data lab.mcap --split half"""
_PARTS = ("noon", "late_afternoon", "teach", "repeat", "site.vloc", "site.truth.tum", "report.html", "report.json")
WORLD_SEED, ROUTE_M, STEP_M = 7, 70.0, 0.5


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "demo", "teach and repeat through the ROS nodes, and write a report", _EXAMPLES, run)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to make (default: demo)")
    parser.add_argument("--data", type=Path, help="recording to use instead of the simulated world")
    parser.add_argument(
        "--split",
        choices=["alternate", "half"],
        default="alternate",
        help="with --data: teach every second frame and repeat the others, or teach the first half and repeat the rest",
    )
    parser.add_argument("--open", action="store_true", help="open the report in a browser")
    add_settings(parser)
    add_json(parser)


@dataclass(frozen=True, slots=True)
class _Part:
    """Some frames of a recording."""

    reader: DatasetReader
    source: Path
    start: int = 0
    stop: int | None = None
    step: int = 1

    @property
    def count(self) -> int:
        return len(range(len(self.reader))[self.start : self.stop : self.step])


def run(args: argparse.Namespace) -> int:
    """Make or open the recording, teach, repeat, report."""
    from vloc_ros import runs
    from vloc_ros.commands.record import write_reports
    from vloc_ros.commands.repeat import describe

    settings = load_settings(args)
    _prepare(args.out)
    taught, repeated = _simulate(args.out) if args.data is None else _split(args.data, args.split)
    site = args.out / "site.vloc"
    _through_nodes("teach", taught, site, args.out / "teach", settings)
    runs.save_keyframe_truth(taught.reader, site)
    _through_nodes("repeat", repeated, site, args.out / "repeat", settings)
    judged = [
        runs.Judged("repeat", args.out / "repeat", repeated.reader, site),
        runs.Judged("teach", args.out / "teach", taught.reader, site),
    ]
    title = "Teach and repeat in a simulated world" if args.data is None else f"Teach and repeat: {args.data.name}"
    report, teach = write_reports(args.out, title, judged)
    values: dict[str, Any] = {"report": str(args.out / "report.html"), "repeat": report.summary.to_dict()}
    emit(args, {**values, "teach": teach.summary.to_dict()}, describe(report.summary, args.out))
    if args.open:
        webbrowser.open((args.out / "report.html").resolve().as_uri())
    return 0


def _prepare(out: Path) -> None:
    """An output folder without the parts of an earlier demo; whatever else lies in it stays.

    Raises:
        DataError: it cannot be made or cleared.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (*_PARTS, "site.vloc-wal", "site.vloc-shm"):
            part = out / name
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"the output folder {out} cannot be made or cleared: {error.strerror}") from error


def _simulate(out: Path) -> tuple[_Part, _Part]:
    """Render a drive at noon, and one in the late afternoon from another start with some wander."""
    from vloc_ros.commands.convert import progress_bar
    from vloc_ros.data import open_recording, write_recording
    from vloc_ros.simulation import SimulatedRun, World

    _say("the renderer is compiled on its first use (about half a minute, once)")
    world = World.generate(WORLD_SEED, ROUTE_M)
    start = ROUTE_M / 4.0
    drives = {
        "noon": SimulatedRun(world, condition="noon", step_m=STEP_M),
        "late_afternoon": SimulatedRun(
            world,
            condition="late_afternoon",
            step_m=STEP_M,
            start_m=start,
            stop_m=start + 0.9 * world.route.length_m,
            lateral_wander_m=0.3,
            seed=1,
        ),
    }
    parts = []
    for name, drive in drives.items():
        with progress_bar(f"render {name}") as advance:
            write_recording(drive, out / name, "images", progress=advance)
        parts.append(_Part(open_recording(out / name, "images"), out / name))
    return parts[0], parts[1]


def _split(source: Path, how: str) -> tuple[_Part, _Part]:
    from vloc_ros.data import open_recording

    reader = open_recording(source)
    if len(reader) < 4:
        raise DataError(f"{source} has {len(reader)} frames; the demo needs at least 4")
    if how == "half":
        middle = len(reader) // 2
        return _Part(reader, source, 0, middle), _Part(reader, source, middle)
    return _Part(reader, source, 0, None, 2), _Part(reader, source, 1, None, 2)


def _through_nodes(mode: str, part: _Part, site: Path, out: Path, settings: Any) -> None:
    """Play a part of a recording to the localization node, as two processes over real topics.

    Raises:
        VlocError: a node failed.
    """
    from vloc_ros.commands.nodes import localization_parameters
    from vloc_ros.processes import NodeSpec, free_domain_id, run_nodes

    parameters = localization_parameters(mode, site, out, settings, part.source, part.reader)
    stop = -1 if part.stop is None else part.stop
    specs = [
        NodeSpec("localization", "localization", parameters),
        NodeSpec(
            "player",
            "player",
            {"source": str(part.source), "start": part.start, "stop": stop, "step": part.step, "lockstep": True, "rate": 0.0},
        ),
    ]
    environment = {"ROS_DOMAIN_ID": str(free_domain_id()), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    lines: list[str] = []
    with _watching(out / "frames.jsonl", part.count, f"{mode} (ROS nodes)"):
        code = run_nodes(specs, until="player", environment=environment, output=lines.append)
    if code:
        sys.stderr.write("\n".join(lines[-20:]) + "\n")
        raise VlocError(f"the nodes failed while they were to {mode} (exit code {code}); their last lines are above")


@contextlib.contextmanager
def _watching(log: Path, total: int, label: str) -> Iterator[None]:
    """A progress bar of the frames that a node has logged."""
    from tqdm import tqdm

    done = threading.Event()
    bar = tqdm(total=total, desc=label, unit="frame", file=sys.stderr, disable=None)

    def poll() -> None:
        while not done.wait(0.3):
            advance()

    def advance() -> None:
        if log.exists():
            bar.update(log.read_bytes().count(b"\n") - bar.n)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        advance()
        bar.close()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
