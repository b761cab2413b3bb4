#!/usr/bin/env python3
"""From the start of the localization node to its first believed pose, on a map of 2000 keyframes, and where the time goes.

    python benchmarks/startup.py --out startup                    the map (made once: some 20 minutes), then five starts
    python benchmarks/startup.py --out startup --runs 9 --json
    python benchmarks/startup.py --out startup --keyframes 200    a smaller map
    python benchmarks/startup.py --out startup --plain-camera     a camera that knows nothing of this package

A robot stands somewhere on the route, lost, and its camera publishes at `--rate` all the while. The node is started as a process
and finds itself in the whole map. All is timed from the exec of that process; the phases are those that the node itself tells of in
its log, by the wall clock, and "imports" is another process, just before, which only imports what the node does. The images of the
map are not needed for that: the bytes that the process read from files are beside their size (`rchar` of /proc/PID/io; a page that
the system holds in memory counts too). Between the runs the map is dropped from that memory with `--cold`.
The camera's process uses the Fast DDS profile of this package, as the player does, unless `--plain-camera` is given: with Fast DDS
as it is, an image does not fit its shared memory, and while they cross the wire in pieces the processes may find each other late.

The pose is judged by the truth of the keyframes at the end: within half a metre of the frame that was shown.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from own_node import OwnNode
from sensor_msgs.msg import CameraInfo, Image
from startup_map import Place, places, taught

from vloc_ros.mapping import MapStore
from vloc_ros.processes import NodeSpec, child_environment, command_of, dds_profile, free_domain_id
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header, pose_from_ros
from vloc_ros.ros.images import image_to_ros
from vloc_ros.ros.qos import reliable

PHASES = ("imports", "node and map", "camera heard", "ready", "first pose")
WANTED_S, PATIENCE_S, RIGHT_M = 5.0, 60.0, 0.5
_LINE = re.compile(r"^(\d+\.\d+) (.*)$")


class Robot(OwnNode):
    """Stands at a place: publishes its pictures, and waits for a pose."""

    def __init__(self, domain: int, place: Place, camera: Any, rate_hz: float) -> None:
        super().__init__("robot", domain)
        self._images = [self.node.create_publisher(Image, f"{side}/image_rect", reliable(2)) for side in ("left", "right")]
        self._infos = [self.node.create_publisher(CameraInfo, f"{side}/camera_info", reliable(2)) for side in ("left", "right")]
        self._pictures = [image_to_ros(picture, header(0, "camera")) for picture in place.pictures]
        self._calibrations = camera_info(camera, 0, "camera")
        self.found: list[tuple[float, PoseWithCovarianceStamped]] = []
        self.node.create_subscription(PoseWithCovarianceStamped, "pose", self._take, reliable())
        self.node.create_timer(1.0 / rate_hz, self._show)
        self.spin()

    def _take(self, message: PoseWithCovarianceStamped) -> None:
        self.found.append((time.time(), message))

    def _show(self) -> None:
        stamp = header(time.time_ns(), "camera")
        for publishers, messages in ((self._infos, self._calibrations), (self._images, self._pictures)):
            for publisher, message in zip(publishers, messages, strict=True):
                message.header = stamp
                publisher.publish(message)


@contextmanager
def robot(*values: Any) -> Iterator[Robot]:
    """A robot that is switched off afterwards."""
    standing = Robot(*values)
    try:
        yield standing
    finally:
        standing.close()


def imports(environment: dict[str, str]) -> float:
    """Seconds that a process takes which only imports what the node does."""
    begun = time.time()
    subprocess.run([sys.executable, "-c", "import vloc_ros.nodes.localization"], env=environment, check=True)
    return time.time() - begun


def bytes_read(pid: int) -> int:
    """What a process has read from files so far."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


def start(args: argparse.Namespace, path: Path, place: Place) -> dict[str, Any]:
    """One start; what it took [s], from the exec of the process."""
    domain = free_domain_id()
    variables = {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "RCUTILS_CONSOLE_OUTPUT_FORMAT": "{time} {message}",
    }
    with MapStore.open(path, read_only=True) as store:
        camera = store.camera
    if args.cold:
        forget(path)
    environment = child_environment(variables)
    importing = imports(environment)
    with tempfile.TemporaryDirectory() as name, robot(domain, place, camera, args.rate) as standing:
        folder = Path(name)
        command = command_of(NodeSpec("localization", "localization", {"map": str(path), "mode": "localize"}), folder)
        with (folder / "log").open("wb") as output:
            begun = time.time()
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            while not standing.found and time.time() < begun + PATIENCE_S and process.poll() is None:
                time.sleep(0.005)
            read = bytes_read(process.pid) if process.poll() is None else 0
        finally:
            process.terminate()
            process.wait()
        log = (folder / "log").read_text(encoding="utf-8", errors="replace")
    if not standing.found:
        sys.exit(f"no pose came within {PATIENCE_S:g} s; the node said:\n{log}")
    came, message = standing.found[0]
    instants = [importing, *(instant - begun for instant in told(log)), came - begun]
    error = float(np.linalg.norm(pose_from_ros(message.pose.pose)[:3, 3] - place.map_T_base[:3, 3]))
    return {"station_m": place.station_m, **dict(zip(PHASES, instants, strict=True)), "error_m": error, "bytes_read": read}


def told(log: str) -> list[float]:
    """When the node listened, when it had heard the camera, and when it was ready, by its own log (wall clock) [s]."""
    lines = [match.groups() for match in map(_LINE.match, log.splitlines()) if match]
    listening = next(float(instant) for instant, text in lines if "waiting for images" in text)
    ready, text = next((float(instant), text) for instant, text in lines if "is ready" in text)
    prepared = re.search(r"after ([\d.]+) s", text)
    assert prepared is not None
    return [listening, ready - float(prepared[1]), ready]


def forget(path: Path) -> None:
    """Ask the system to forget the pages of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sizes(path: Path) -> dict[str, int]:
    """Keyframes of a map, and bytes of it and of the images in it."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    images = int(connection.execute("SELECT sum(length(jpeg)) FROM image").fetchone()[0])
    keyframes = int(connection.execute("SELECT count(*) FROM keyframe").fetchone()[0])
    connection.close()
    return {"keyframes": keyframes, "map_bytes": path.stat().st_size, "image_bytes": images}


def main() -> int:
    """Make the map, start again and again, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the map and the pictures; what is there is used")
    parser.add_argument("--keyframes", type=int, default=2000, help="of the map (default: 2000)")
    parser.add_argument("--runs", type=int, default=5, help="starts, each at another place (default: 5)")
    parser.add_argument("--rate", type=float, default=10.0, help="of the camera [Hz] (default: 10)")
    parser.add_argument("--cold", action="store_true", help="the system forgets the map before each start")
    parser.add_argument("--plain-camera", action="store_true", help="the camera's process uses Fast DDS without a profile")
    parser.add_argument("--json", action="store_true", help="one JSON object per start, too")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.plain_camera:
        os.environ.update(dds_profile())
    path = taught(args.out / f"startup_{args.keyframes}.vloc", args.keyframes)
    rows = []
    for place in places(path, args.out, args.keyframes, args.runs):
        rows.append(start(args, path, place))
        if args.json:
            sys.stdout.write(json.dumps(rows[-1]) + "\n")
            sys.stdout.flush()
    show(sizes(path), rows)
    within = max(row["first pose"] for row in rows) < WANTED_S
    right = all(row["error_m"] < RIGHT_M for row in rows)
    return 0 if within and right else 1


def show(size: dict[str, int], rows: list[dict[str, Any]]) -> None:
    """The phases of every start, the median and the worst."""
    sys.stdout.write(
        f"map of {size['keyframes']} keyframes, {size['map_bytes'] / 1e6:.0f} MB of which {size['image_bytes'] / 1e6:.0f} MB are "
        f"images; seconds from the start of the process\n"
    )
    sys.stdout.write(f"{'station [m]':<12}" + "".join(f"{name:>14}" for name in PHASES) + f"{'read [MB]':>11}{'error [m]':>11}\n")
    for row in rows:
        sys.stdout.write(f"{row['station_m']:<12.1f}{cells(row)}{row['bytes_read'] / 1e6:>11.1f}{row['error_m']:>11.3f}\n")
    for name, of in (("median", np.median), ("worst", np.max)):
        sys.stdout.write(f"{name:<12}{cells({phase: float(of([row[phase] for row in rows])) for phase in PHASES})}\n")


def cells(row: dict[str, Any]) -> str:
    """The phases."""
    return "".join(f"{row[name]:>14.2f}" for name in PHASES)


if __name__ == "__main__":
    sys.exit(main())
