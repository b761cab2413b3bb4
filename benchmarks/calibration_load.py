#!/usr/bin/env python3
"""What localisation loses while the calibration node trains on the same cores, over the same frames with and without the training.

    python benchmarks/calibration_load.py --out calibration                   a map of its own, 8 Hz and no limit, six rounds
    python benchmarks/calibration_load.py --out calibration --site 2 --rate 5 --rounds 10 --json
    python benchmarks/calibration_load.py --out load --map site.vloc --recording drive --set supervisor.budget.share=2

The nodes are processes, as on a robot: localization, the calibration node with its trainer, and a player that shows the same
stretch of a drive again and again. The trainer is told to stand still or to go on by the services of its node, by turns (A B, B A,
...), so that other work on the machine troubles both alike. At `--rate` the camera does not wait: what is not processed in time is
lost. In lockstep each frame waits for the one before, which shows the rate that the localisation could have. A latency is the time
from the camera_info that comes just before the images to the topic `processed`, transport included. "CPU a frame" is processor time
of the localization's process; what the trainer got is beside it, and then how often its node found the localisation late. The map
is one of `benchmarks/calibration.py`, made when it is not there, or `--map` with a `--recording`; the calibration works on a copy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
from calibration import SHORT, taught
from diagnostic_msgs.msg import DiagnosticArray
from own_node import OwnNode
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tqdm import tqdm

from vloc_ros.calibration.process_table import cpu_seconds
from vloc_ros.config import parse_assignments
from vloc_ros.data.writers import write_recording
from vloc_ros.mapping import MapStore
from vloc_ros.processes import NodeSpec, child_environment, command_of, free_domain_id
from vloc_ros.ros.conversions import stamp_to_ns
from vloc_ros.ros.node_settings import numbers_of_base_T_camera
from vloc_ros.ros.qos import reliable
from vloc_ros.simulation import SimulatedRun
from vloc_ros.simulation.sites import Site, sites

FIRST_SEED = 301
WARM_UP = 8
PAUSED, TRAINING = "paused", "training"
ENDLESS = {"training.epochs": 10000}
HURRIED = {"niceness": 0, "supervisor.niceness": 0, "supervisor.budget.share": 2.0}
CALIBRATION = "calibration: calibration"
PATIENCE_S = 60.0


@dataclass
class Passage:
    """The frames of one play of the drive: when each was shown, and when it was finished (steady clock) [s], by stamp."""

    shown: dict[int, float] = field(default_factory=dict)
    finished: dict[int, float] = field(default_factory=dict)


class Observer(OwnNode):
    """Listens to the nodes in a thread."""

    def __init__(self, domain: int) -> None:
        super().__init__("observer", domain)
        self.passage = Passage()
        self._statuses: dict[str, dict[str, str]] = {}
        self.node.create_subscription(CameraInfo, "left/camera_info", self._shown, reliable(1000))
        self.node.create_subscription(Header, "processed", self._finished, reliable(1000))
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._said, reliable(100))
        self.spin()

    def _shown(self, message: CameraInfo) -> None:
        self.passage.shown[stamp_to_ns(message.header.stamp)] = time.monotonic()

    def _finished(self, message: Header) -> None:
        self.passage.finished[stamp_to_ns(message.stamp)] = time.monotonic()

    def _said(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._statuses[status.name] = {pair.key: pair.value for pair in status.values}

    def said(self, name: str, key: str) -> str:
        """The newest value of a status by the end of its name; empty before there is one."""
        return next((values.get(key, "") for status, values in self._statuses.items() if status.endswith(name)), "")

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait for something; an end of the program with what did not come."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                sys.exit(f"{what} did not come within {timeout_s:g} s; the output of the nodes is in the folder of the work")
            time.sleep(0.05)

    def forget(self) -> None:
        """What was said until now, by nodes that have ended."""
        self._statuses = {}

    def call(self, service: str) -> None:
        """Call a service of the calibration node."""
        client = self.node.create_client(Trigger, f"calibration/{service}")
        self.wait(client.service_is_ready, f"the service {service}")
        answer = client.call_async(Trigger.Request())
        self.wait(answer.done, f"the answer of {service}")
        if not answer.result().success:
            sys.exit(f"calibration/{service}: {answer.result().message}")
        self.node.destroy_client(client)


@contextlib.contextmanager
def node(name: str, parameters: Mapping[str, Any], folder: Path, domain: int) -> Iterator[subprocess.Popen[bytes]]:
    """A node as a process; it is asked to end afterwards."""
    variables = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    command = command_of(NodeSpec(name, name, parameters), folder)
    with (folder / f"{name}.log").open("ab") as output:
        process = subprocess.Popen(
            command, env=child_environment(variables), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Bench:
    """The nodes that run all the time."""

    observer: Observer
    localization: int
    recording: Path
    folder: Path
    domain: int

    def passage(self, trainer: str, lockstep: bool) -> dict[str, Any]:
        """Play the drive once; the figures."""
        observer = self.observer
        observer.call("resume" if trainer == TRAINING else "pause")
        standing = {PAUSED: ("paused",), TRAINING: ("running", "paused")}[trainer]
        observer.wait(lambda: observer.said(CALIBRATION, "state") in standing, f"a trainer that is {trainer}")
        pid = int(observer.said(CALIBRATION, "trainer_pid") or 0)
        late = self._late()
        observer.passage = passage = Passage()
        before = cpu_seconds(self.localization), cpu_seconds(pid)
        began = time.monotonic()
        playing = {"source": str(self.recording), "rectification": "off", "lockstep": lockstep}
        (self.folder / "player.log").unlink(missing_ok=True)
        with node("player", playing, self.folder, self.domain) as player:
            player.wait()
        seconds = time.monotonic() - began
        used = cpu_seconds(self.localization) - before[0], cpu_seconds(pid) - before[1]
        time.sleep(1.2)  # the next diagnostics
        published = re.search(r"(\d+) of \d+ frames published", (self.folder / "player.log").read_text(encoding="utf-8"))
        if published is None:
            sys.exit("the player did not get to its end; see player.log in the folder of the work")
        return figures(passage, int(published[1])) | {
            "trainer": trainer,
            "lockstep": lockstep,
            "cpu_ms_per_frame": 1e3 * used[0] / max(1, len(passage.finished)),
            "trainer_cpu_share": used[1] / seconds,
            "late_messages": self._late() - late,
        }

    def _late(self) -> int:
        return int(self.observer.said(CALIBRATION, "localisation_late_messages") or 0)


def figures(passage: Passage, published: int) -> dict[str, Any]:
    """Of one play: frames published, finished and lost; of those after the first few, the latencies and the rate.

    The first camera_info may be missed, as this program meets each player anew.
    """
    measured = [stamp for stamp in sorted(passage.finished)[WARM_UP:] if stamp in passage.shown]
    latencies = [1e3 * (passage.finished[stamp] - passage.shown[stamp]) for stamp in measured]
    if len(latencies) < 2:
        sys.exit("hardly a frame was processed: does the map fit the recording? See localization.log in the folder of the work")
    span = passage.finished[measured[-1]] - passage.finished[measured[0]]
    return {
        "published": published,
        "finished": len(passage.finished),
        "lost": published - len(passage.finished),
        "latencies_ms": latencies,
        "rate_hz": (len(measured) - 1) / span,
    }


def measure(args: argparse.Namespace, map_path: Path, recording: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """All passages, one after the other."""
    domain = free_domain_id()
    of_map = {"map": str(map_path), "use_sim_time": True}
    with MapStore.open(map_path, read_only=True) as store:
        base_T_camera = numbers_of_base_T_camera(store.base_T_camera)
    base = None if args.base is None else str(args.base)
    calibrating = {**of_map, **flat(SHORT), **ENDLESS, "base": base, "trigger.automatic": False, **parse_assignments(args.set)}
    localizing = {**of_map, "mode": "localize", "qos.reliability": "reliable", "base_T_camera": base_T_camera}
    observer = Observer(domain)
    try:
        with node("calibration", {**calibrating, **HURRIED}, folder, domain):
            observer.call("trigger")
            wait_for_training(observer, args.patience)
        observer.forget()
        with node("localization", localizing, folder, domain) as localization, node("calibration", calibrating, folder, domain):
            wait_for_training(observer, args.patience)  # it goes on where it was
            bench = Bench(observer, localization.pid, recording, folder, domain)
            bench.passage(PAUSED, lockstep=True)  # everything is loaded now
            for number in tqdm(range(args.rounds), desc="rounds", file=sys.stderr):
                for lockstep in (False, True):
                    for trainer in (PAUSED, TRAINING)[:: -1 if number % 2 else 1]:
                        yield {"round": number, **bench.passage(trainer, lockstep)}
    finally:
        observer.close()


def wait_for_training(observer: Observer, patience_s: float) -> None:
    """What comes before the training is not measured."""

    def begun() -> bool:
        ended = observer.said(CALIBRATION, "last_calibration")
        if ended not in ("", "none yet"):
            sys.exit(f"there is nothing to train: {ended}")
        return observer.said(CALIBRATION, "stage") == "training" and observer.said(CALIBRATION, "trainer_step") not in ("", "0")

    observer.wait(begun, "the training", patience_s)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """By dotted keys."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return result


def driven(args: argparse.Namespace, site: Site) -> Path:
    """A recording of a drive along the beginning of a site's route, in the light it was taught in; made once."""
    path = args.out / f"{site.name}_{args.frames}_frames_{args.rate:g}_hz"
    if not path.exists():
        drive = SimulatedRun(site.build(), step_m=args.step / 2.0, lateral_wander_m=0.2, rate_hz=args.rate, seed=17, detail="fast")
        with tqdm(total=args.frames, desc=f"{site.name} drive", file=sys.stderr) as bar:
            write_recording(drive, path, "kitti", stop=args.frames, progress=lambda done, _: bar.update(done - bar.n))
    return path


def main() -> int:
    """Measure, and print both side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the map and the drive; those that are there are used")
    parser.add_argument("--site", type=int, default=1, help="which of the sites of benchmarks/calibration.py (default: 1)")
    parser.add_argument("--map", type=Path, help="a map with labelled loops in place of a simulated site")
    parser.add_argument("--recording", type=Path, help="to localise on --map")
    parser.add_argument("--frames", type=int, default=100, help="of a passage (default: 100)")
    parser.add_argument("--rate", type=float, default=8.0, help="of the simulated camera [Hz] (default: 8)")
    parser.add_argument("--length", type=float, default=120.0, help="of the route [m] (default: 120)")
    parser.add_argument("--step", type=float, default=0.5, help="between frames of the map [m] (default: 0.5)")
    parser.add_argument("--conditions", nargs="+", default=["night", "snow"], help="of later drives (default: night snow)")
    parser.add_argument("--base", type=Path, help="weights to begin with (default: those that are shipped)")
    parser.add_argument("--rounds", type=int, default=6, help="(default: 6)")
    parser.add_argument("--patience", type=float, default=1800.0, help="for the training to begin [s] (default: 1800)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="parameter of the calibration node")
    parser.add_argument("--json", action="store_true", help="one JSON object per passage, too")
    args = parser.parse_args()
    if (args.map is None) != (args.recording is None):
        parser.error("--map and --recording belong together")
    args.out.mkdir(parents=True, exist_ok=True)
    map_path, recording = args.map, args.recording
    if map_path is None:
        site = changed(sites(args.site, FIRST_SEED)[-1], length_m=args.length)
        map_path, recording = taught(args, site), driven(args, site)
    rows = []
    with tempfile.TemporaryDirectory(dir=args.out, prefix="load_") as folder:
        copy = Path(folder) / "site.vloc"
        shutil.copyfile(map_path, copy)
        for row in measure(args, copy, recording, Path(folder)):
            rows.append(row)
            if args.json:
                brief = {key: value for key, value in row.items() if key != "latencies_ms"}
                sys.stdout.write(json.dumps(brief | percentiles([row])) + "\n")
                sys.stdout.flush()
    show(args, rows)
    return 0


def percentiles(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of the latencies of passages [ms]."""
    latencies = np.concatenate([row["latencies_ms"] for row in rows])
    return {"latency_ms_p50": float(np.median(latencies)), "latency_ms_p95": float(np.percentile(latencies, 95))}


def show(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Both side by side, and what the training costs, passage by passage of the same round."""
    sys.stdout.write(
        f"{'camera':<10}{'trainer':<10}{'frames':>8}{'lost':>6}{'latency p50 / p95 [ms]':>24}{'rate [Hz]':>11}"
        f"{'CPU a frame [ms]':>18}{'trainer [cores]':>17}{'late':>6}\n"
    )
    for lockstep in (False, True):
        of_camera = [row for row in rows if row["lockstep"] is lockstep]
        for trainer in (PAUSED, TRAINING):
            chosen = [row for row in of_camera if row["trainer"] == trainer]
            latency = percentiles(chosen)
            sys.stdout.write(
                f"{camera(args, lockstep):<10}{trainer:<10}{total(chosen, 'published'):>8}{total(chosen, 'lost'):>6}"
                f"{latency['latency_ms_p50']:>15.1f} /{latency['latency_ms_p95']:>7.1f}{median(chosen, 'rate_hz'):>11.2f}"
                f"{median(chosen, 'cpu_ms_per_frame'):>18.1f}{median(chosen, 'trainer_cpu_share'):>17.2f}"
                f"{total(chosen, 'late_messages'):>6}\n"
            )
    for lockstep in (False, True):
        gains = [
            100.0 * (both[TRAINING]["rate_hz"] / both[PAUSED]["rate_hz"] - 1.0)
            for number in range(args.rounds)
            for both in [{row["trainer"]: row for row in rows if row["round"] == number and row["lockstep"] is lockstep}]
        ]
        sys.stdout.write(
            f"{camera(args, lockstep)}: the rate while it trains, beside that of the same round: median {np.median(gains):+.1f} % "
            f"(from {min(gains):+.1f} to {max(gains):+.1f} %, {len(gains)} rounds)\n"
        )


def camera(args: argparse.Namespace, lockstep: bool) -> str:
    """What paces the frames."""
    if lockstep:
        return "lockstep"
    return f"{args.rate:g} Hz" if args.recording is None else "real time"


def total(rows: list[dict[str, Any]], name: str) -> int:
    """Over all passages."""
    return sum(row[name] for row in rows)


def median(rows: list[dict[str, Any]], name: str) -> float:
    """Of the passages."""
    return float(np.median([row[name] for row in rows]))


if __name__ == "__main__":
    sys.exit(main())
