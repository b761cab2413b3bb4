#!/usr/bin/env python3
"""Four stereo cameras on a small computer: whether queues stay bounded, the newest frame wins, and memory stays flat.

    python benchmarks/load.py --out load                                ten minutes, four cameras of 640 x 480 at 15 Hz
    python benchmarks/load.py --out load --minutes 1 --cameras 2 --rate 30
    python benchmarks/load.py --out load --chart docs/load.png

A robot with four stereo cameras runs a localization for each, in a namespace of its own, on one map; in the first namespace
place_recognition and pose_graph run too, on that map, and are told of its keyframes, one a second, again and again. Each camera
shows a drive along the taught route and back. That is more than two cores can process, which is the point: frames must be dropped,
and those that are processed must be new. The pictures come from this program, which takes its share of the cores: each pair
crosses the wire as two messages of 300 kB.

Once a second it notes the resident memory of each process, how old the frames were when they were finished (their stamp to the
arrival of `processed` here), and what waits and was dropped by `/diagnostics`. The exit code is 1 when one process grew by more
than `--growth` MiB from the middle of the run to its end (medians of a twentieth of the run), when frames at the end are older
than they were before (medians of the second and the last quarter, with half a second and a half for other work on the machine),
when more images wait than a queue may hold, or when a robot was never localised.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from diagnostic_msgs.msg import DiagnosticArray
from load_chart import draw
from load_drive import prepared
from load_record import Record
from nav_msgs.msg import Odometry
from own_node import OwnNode
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tqdm import tqdm

from vloc_ros.mapping import MapStore
from vloc_ros.processes import NodeSpec, child_environment, command_of, free_domain_id
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header, odometry_to_ros, stamp_to_ns
from vloc_ros.ros.images import image_to_ros
from vloc_ros.ros.qos import latched, reliable

START_S = 120.0


class Cameras(OwnNode):
    """Publishes the pictures of all cameras, and hears what becomes of them."""

    def __init__(self, domain: int, count: int, map_path: Path, pictures: Any, record: Record) -> None:
        super().__init__("cameras", domain)
        self._record, self.published = record, 0
        with MapStore.open(map_path, read_only=True) as store:
            self._calibration = camera_info(store.camera, 0, "camera")
            self._keyframes = [
                odometry_to_ros(k.stamp_ns, "map", str(k.id), k.map_T_base, 1e-4 * np.eye(6)) for k in store.keyframes()
            ]
        self._messages = [tuple(image_to_ros(picture, header(0, "camera")) for picture in pair) for pair in pictures]
        self._publishers = [self._of(f"camera{number}", record) for number in range(count)]
        self._told = self.node.create_publisher(Odometry, "camera0/keyframes", latched(10))
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._said, reliable(100))
        self.spin()

    def _of(self, name: str, record: Record) -> list[Any]:
        def finished(message: Header) -> None:
            record.finished(name, 1e-9 * (time.time_ns() - stamp_to_ns(message.stamp)))

        self.node.create_subscription(Header, f"{name}/processed", finished, reliable(100))
        # One deep, as a driver is that does not wait for anybody.
        kinds = ((CameraInfo, "camera_info"), (Image, "image_rect"))
        sides = ("left", "right")
        return [self.node.create_publisher(kind, f"{name}/{side}/{topic}", reliable(1)) for kind, topic in kinds for side in sides]

    def _said(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._record.said(status.name, {pair.key: pair.value for pair in status.values})

    def show(self, number: int) -> None:
        """One pair of each camera, taken now; the cameras are spread over the drive."""
        turn = len(self._messages)
        for camera, publishers in enumerate(self._publishers):
            place = (number + camera * turn // len(self._publishers)) % (2 * turn - 2)
            pair = self._messages[min(place, 2 * turn - 2 - place)]
            stamp = header(time.time_ns(), "camera")
            for publisher, message in zip(publishers, (*self._calibration, *pair), strict=True):
                message.header = stamp
                publisher.publish(message)
            self.published += 1

    def announce(self, number: int) -> None:
        """A keyframe of the map, by name."""
        self._told.publish(self._keyframes[number % len(self._keyframes)])


def specs(cameras: int, path: Path, out: Path) -> list[NodeSpec]:
    """What runs."""
    of_map = {"map": str(path)}
    localizing = {**of_map, "mode": "localize"}
    nodes = [NodeSpec(f"localization{n}", "localization", localizing, namespace=f"camera{n}") for n in range(cameras)]
    others = ("place_recognition", "pose_graph")
    return [*nodes, *(NodeSpec(name, name, of_map, namespace="camera0") for name in others)]


def drive(args: argparse.Namespace, cameras: Cameras, processes: dict[str, psutil.Process], record: Record) -> None:
    """Show the cameras' pictures for the time, and note once a second how things stand."""
    seconds, shown, noted = 60.0 * args.minutes, 0, 0
    begun = time.monotonic()
    with tqdm(total=round(seconds), desc="load", unit="s", file=sys.stderr) as bar:
        while (now := time.monotonic() - begun) < seconds:
            cameras.show(shown)
            shown += 1
            if now >= noted:
                record.note(now, {name: process.memory_info().rss for name, process in processes.items()})
                cameras.announce(noted)
                noted += 1
                bar.update(1)
            ahead = begun + shown / args.rate - time.monotonic()
            if ahead > 0.0:
                time.sleep(ahead)
            elif ahead < -1.0:  # this program is late: it shows less, and says so
                record.late_s -= ahead
                shown = round((time.monotonic() - begun) * args.rate)


def run(args: argparse.Namespace, path: Path, pictures: Any, record: Record) -> int:
    """Start the nodes, load them, end them; how many pairs were published."""
    domain = free_domain_id()
    variables = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    with tempfile.TemporaryDirectory(dir=args.out, prefix="load_") as name, contextlib.ExitStack() as ends:
        folder, processes = Path(name), {}
        copy = folder / "site.vloc"
        copy.write_bytes(path.read_bytes())
        cameras = Cameras(domain, args.cameras, copy, pictures, record)
        ends.callback(cameras.close)
        for spec in specs(args.cameras, copy, folder):
            output = ends.enter_context((folder / f"{spec.name}.log").open("wb"))
            process = psutil.Popen(
                command_of(spec, folder), env=child_environment(variables), stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
            ends.callback(end, process)
            processes[spec.name] = process
        wait_for_the_first(cameras, args, record)
        drive(args, cameras, processes, record)
        for name, process in processes.items():
            if process.poll() is not None:
                sys.exit(f"{name} ended with {process.returncode}:\n{(folder / f'{name}.log').read_text(errors='replace')[-3000:]}")
        return cameras.published


def wait_for_the_first(cameras: Cameras, args: argparse.Namespace, record: Record) -> None:
    """Starting is not what is measured."""
    deadline = time.monotonic() + START_S
    while record.cameras_heard < args.cameras:
        if time.monotonic() > deadline:
            sys.exit(f"only {record.cameras_heard} of {args.cameras} cameras were heard within {START_S:g} s")
        cameras.show(0)
        time.sleep(0.5)
    record.forget_ages()
    cameras.published = 0


def end(process: psutil.Popen) -> None:
    """As Ctrl-C does, and harder if need be."""
    process.terminate()
    try:
        process.wait(30.0)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    """Load, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the map and the pictures; what is there is used")
    parser.add_argument("--minutes", type=float, default=10.0, help="(default: 10)")
    parser.add_argument("--cameras", type=int, default=4, help="stereo cameras, each with its localization (default: 4)")
    parser.add_argument("--rate", type=float, default=15.0, help="pairs a second of each (default: 15)")
    parser.add_argument("--growth", type=float, default=20.0, help="MiB that a process may grow by (default: 20)")
    parser.add_argument("--chart", type=Path, help="PNG of memory and ages over the time")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object, too")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path, pictures = prepared(args.out)
    record = Record()
    published = run(args, path, pictures, record)
    figures = record.figures()
    late = f", {record.late_s:.0f} s of pictures left out because this program came too late" if record.late_s else ""
    size = f"{pictures.shape[3]} x {pictures.shape[2]}"
    sys.stdout.write(
        f"{args.cameras} stereo cameras of {size} at {args.rate:g} Hz for {args.minutes:g} minutes on "
        f"{len(os.sched_getaffinity(0))} cores: {published} pairs published{late}\n{record.table()}"
    )
    if args.json:
        sys.stdout.write(json.dumps({"published": published, **figures}) + "\n")
    if args.chart is not None:
        draw(record, args.chart)
    faults = record.faults(args.growth, args.cameras)
    sys.stdout.write("".join(f"FAULT: {fault}\n" for fault in faults) or "queues bounded, frames new, memory flat\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
