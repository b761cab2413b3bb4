#!/usr/bin/env python3
"""Time and memory of every stage of teaching and repeating, and of odometry against a plain one, in one run.

    python benchmarks/run.py                          the simulated world, at 512x384 and 1226x370
    python benchmarks/run.py --data PATH              also odometry of a recording, beside plain SIFT odometry
    python benchmarks/run.py --frames 60 --json

Each row is a process of its own, so that its peak memory is its own. Rendering and reading are not timed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from plain_odometry import plain_odometry

from vloc_ros import runs
from vloc_ros.blas import let_threads_sleep
from vloc_ros.config import replace
from vloc_ros.data import DatasetReader, StereoFrame, open_recording
from vloc_ros.evaluation import kitti_drift
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.mapping import FrameResult, MapStore
from vloc_ros.mapping.self_calibration import RectificationMode, refine_rectification
from vloc_ros.settings import Settings
from vloc_ros.simulation import SimulatedRun, StereoRig, World

CAMERAS = {
    "512x384": StereoCamera(512, 384, 388.425, 388.425, 253.502, 196.822, 0.239946),
    "1226x370": StereoCamera(1226, 370, 707.0912, 707.0912, 601.8873, 183.1104, 0.537904),
}
WARM_UP = 5


class Loaded:
    """A recording whose frames have been read before the clock starts."""

    def __init__(self, reader: DatasetReader, count: int | None = None) -> None:
        self.camera, self.base_T_camera = reader.camera, reader.base_T_camera
        self.frames: list[StereoFrame] = [reader.frame(i) for i in range(len(reader))[:count]]

    def __len__(self) -> int:
        return len(self.frames)

    def frame(self, index: int) -> StereoFrame:
        """One frame."""
        return self.frames[index]


def stages(results: Sequence[FrameResult]) -> dict[str, dict[str, float]]:
    """Median and 99th percentile of every stage [ms], the first frames left out."""
    names = {name for result in results for name in result.timings_ms}
    table = {}
    for name in sorted(names):
        times = [result.timings_ms.get(name, 0.0) for result in results[WARM_UP:]]
        table[name] = {"p50": float(np.median(times)), "p99": float(np.percentile(times, 99))}
    return table


def measure(size: str, features: str, frames: int) -> Iterator[dict[str, object]]:
    """Teach and repeat a simulated route in this process."""
    rig = StereoRig(camera=CAMERAS[size])
    world = World.generate(7, 80.0)
    drives = [
        Loaded(SimulatedRun(world, condition=light, step_m=0.25, rig=rig, seed=k), frames)
        for k, light in enumerate(("noon", "noon"))
    ]
    settings = replace(Settings(), {"features.name": features})
    before = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.vloc"
        with runs.new_map(path, drives[0], settings) as store:
            taught = list(runs.teach(drives[0], store, settings))
        with MapStore.open(path, read_only=True) as store:
            repeated = list(runs.repeat(drives[1], store, settings))
    for job, results in (("teach", taught), ("repeat", repeated)):
        total = [result.timings_ms["total"] for result in results[WARM_UP:]]
        yield {
            "size": size,
            "features": features,
            "job": job,
            "rate_hz": 1e3 / float(np.mean(total)),
            "stages_ms": stages(results),
            "peak_mb": peak_mb(),
            "of_which_input_mb": before,
        }


def compare(data: Path) -> Iterator[dict[str, object]]:
    """Odometry of a recording by this package and by the plain method."""
    reader, _ = refine_rectification(open_recording(data), RectificationMode.AUTO)
    loaded, truth = Loaded(reader), runs.truth_of(reader)
    for name in ("plain SIFT", "vloc_ros"):
        start = time.perf_counter()
        if name == "vloc_ros":
            poses = [result.odom_T_base for result in runs.odometry(loaded, Settings())]
            estimate = np.stack([np.full((4, 4), np.nan) if pose is None else pose for pose in poses])
        else:
            estimate = plain_odometry(loaded)
        seconds = (time.perf_counter() - start) / len(loaded)
        row: dict[str, object] = {"data": data.name, "method": name, "seconds_per_frame": seconds}
        if truth is not None and np.isfinite(estimate).all():
            drift = kitti_drift(estimate, truth.poses)
            if drift is not None:
                row |= {
                    "translation_drift_percent": drift.translation_percent,
                    "rotation_drift_deg_per_m": drift.rotation_deg_per_m,
                }
        yield row


def peak_mb() -> float:
    """Largest resident memory of this process so far [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> int:
    """Run each row in a process of its own and print the table."""
    let_threads_sleep()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="stereo recording for the comparison of odometry")
    parser.add_argument("--frames", type=int, default=80, help="frames of each simulated drive (default: 80)")
    parser.add_argument(
        "--features", nargs="+", default=["unet", "sift_fast", "orb", "sift"], help="default: unet sift_fast orb sift"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    parser.add_argument("--row", nargs=2, metavar=("SIZE", "FEATURES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        for row in measure(args.row[0], args.row[1], args.frames):
            sys.stdout.write(json.dumps(row) + "\n")
        return 0
    for size in CAMERAS:
        for features in args.features:
            command = [sys.executable, __file__, "--frames", str(args.frames), "--row", size, features]
            for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
                show(json.loads(line), args.json)
    if args.data is not None:
        for row in compare(args.data):
            show(row, args.json)
    return 0


def show(row: dict[str, object], as_json: bool) -> None:
    """Print one row."""
    if as_json:
        sys.stdout.write(json.dumps(row) + "\n")
    elif "method" in row:
        numbers = ", ".join(f"{key} {value:.4f}" for key, value in row.items() if isinstance(value, float))
        sys.stdout.write(f"{row['data']} {row['method']:<11} {numbers}\n")
    else:
        table = row["stages_ms"]
        assert isinstance(table, dict)
        parts = ", ".join(f"{name} {value['p50']:.0f}/{value['p99']:.0f}" for name, value in table.items())
        sys.stdout.write(
            f"{row['size']:<9} {row['features']:<10} {row['job']:<7} {row['rate_hz']:5.1f} Hz  "
            f"p50/p99 ms: {parts};  peak {row['peak_mb']:.0f} MB ({row['of_which_input_mb']:.0f} before the job)\n"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
