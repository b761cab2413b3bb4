#!/usr/bin/env python3
"""Local features: the published algorithm of U beside ours with the same weights, and every extractor's time and memory.

    python benchmarks/features.py
    python benchmarks/features.py --weights models/mine.safetensors --engine torch
    python benchmarks/features.py --extractors sift sift_fast orb unet xfeat.onnx --json

First table: extraction, matching and pose of one pair of stereo frames at 512x384, whose disparities are given. The published
algorithm (the transcription that the tests compare ours with) makes a descriptor for every pixel of both images and matches each
key point to all of them; ours samples descriptors at the key points. Without ``--weights`` the network is random, with logits
that have peaks: times and memory do not depend on what it has learned, poses do, and none is judged here.

Second table: extraction and matching apart, at 640x480 with 1000 key points.

Each row is a process of its own with its own peak memory, on two cores; all rows of a table take turns, one pair each, so that
what else the machine does slows all of them alike. Times are medians. ``at start`` is the memory before the first image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.features import (
    LearnedSettings,
    Matcher,
    MatchSettings,
    StereoMethod,
    StereoSettings,
    create_extractor,
    dense_disparity,
    extractors,
    match,
)
from vloc_ros.features.learned_settings import EngineKind
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.pnp import PnpSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "test"))

PAIR = StereoCamera(512, 384, 388.425, 388.425, 253.502, 196.822, 0.239946)
VGA = StereoCamera(640, 480, 450.0, 450.0, 319.5, 239.5, 0.12)
CORES = "2"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
Inputs = dict[str, NDArray[Any]]
Turn = Callable[[], dict[str, float]]


# --- in the process of a row


def published(inputs: Inputs, weights: Path) -> Turn:
    """The published algorithm, in torch."""
    import published_unet
    import torch
    from safetensors.torch import load_file

    from vloc_ros.networks.unet_checkpoint import published_names

    torch.set_num_threads(int(CORES))
    tensors: Any = published_names(load_file(weights))  # type: ignore[arg-type]  # only names are looked at
    camera = published_unet.Camera(PAIR.fx, PAIR.cx, PAIR.cy, PAIR.baseline)
    choices = published_unet.Choices()

    @torch.inference_mode()
    def turn() -> dict[str, float]:
        start = time.perf_counter()
        images = [torch.from_numpy(inputs[name]).permute(2, 0, 1)[None].float() / 255.0 for name in ("image_a", "image_b")]
        disparities = [torch.from_numpy(inputs[name])[None, None] for name in ("disparity_a", "disparity_b")]
        found = published_unet.matched(*images, tensors, choices)
        published_unet.pose_of(found, *disparities, camera, choices)
        return {"total": time.perf_counter() - start}

    return turn


def ours(inputs: Inputs, weights: Path, matcher: Matcher, engine: EngineKind) -> Turn:
    """The same weights as an extractor of ours, with one key point per window, as published."""
    from vloc_ros.features import Detection, Features
    from vloc_ros.mapping.registration import Registrar

    learned = LearnedSettings(engine=engine, threads=int(CORES), detection=Detection.WINDOW)
    extractor = create_extractor(str(weights), 768, learned)
    registrar = Registrar(PAIR, extractor.metric, MatchSettings(matcher=matcher), PnpSettings())

    def described(image: NDArray[np.uint8], disparity: NDArray[np.float32]) -> Features:
        found = extractor.extract(image)
        columns, rows = (np.rint(found.keypoints).astype(int).clip(0, np.array([PAIR.width, PAIR.height]) - 1)).T
        values = np.where(disparity[rows, columns] > 0.0, disparity[rows, columns], np.float32(np.nan))
        return Features(found.keypoints, found.scores, found.sizes, found.descriptors, values)

    def turn() -> dict[str, float]:
        start = time.perf_counter()
        a, b = (described(inputs[f"image_{side}"], inputs[f"disparity_{side}"]) for side in "ab")
        extracted = time.perf_counter()
        registrar.register(a, b)
        end = time.perf_counter()
        return {"total": end - start, "extract": extracted - start, "match + pose": end - extracted}

    return turn


def extraction(inputs: Inputs, name: str, engine: EngineKind) -> Turn:
    """One extractor: of one image, and its matching with another."""
    extractor = create_extractor(name, 1000, LearnedSettings(engine=engine, threads=int(CORES)))
    other = extractor.extract(inputs["image_b"])

    def turn() -> dict[str, float]:
        start = time.perf_counter()
        found = extractor.extract(inputs["image_a"])
        extracted = time.perf_counter()
        match(found, other, extractor.metric, MatchSettings())
        end = time.perf_counter()
        return {"extract": extracted - start, "match": end - extracted, "points": float(len(found))}

    return turn


def child(spec: dict[str, Any]) -> int:
    """Take a turn for every line of standard input, then tell the memory."""
    with np.load(spec["inputs"], allow_pickle=False) as stored:
        inputs = {name: stored[name] for name in stored.files}
    engine = EngineKind(spec["engine"])
    if spec["kind"] == "published":
        turn = published(inputs, Path(spec["weights"]))
    elif spec["kind"] == "ours":
        turn = ours(inputs, Path(spec["weights"]), Matcher(spec["matcher"]), engine)
    else:
        turn = extraction(inputs, spec["name"], engine)
    before = peak_mb()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(turn()) + "\n")
        sys.stdout.flush()
    sys.stdout.write(json.dumps({"peak_mb": peak_mb(), "start_mb": before}) + "\n")
    return 0


def peak_mb() -> float:
    """Largest resident memory of this process so far [MB]; getrusage() would count that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024.0


# --- in the process that asks


class Row:
    """A process that takes turns."""

    def __init__(self, label: str, spec: dict[str, Any]) -> None:
        self.label = label
        self.turns: list[dict[str, float]] = []
        command = [sys.executable, __file__, "--child", json.dumps(spec)]
        environment = (
            os.environ | dict.fromkeys(THREADS, CORES) | {"OPENBLAS_THREAD_TIMEOUT": "4"}
        )  # as `vloc` and the nodes set it
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self._expect("ready")

    def turn(self, counts: bool) -> None:
        """Let it do its work once."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        times = json.loads(self._line())
        if counts:
            self.turns.append(times)

    def result(self) -> dict[str, Any]:
        """Medians and memory, after its last turn."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        memory = json.loads(self._line())
        self._process.wait()
        return {"what": self.label, **{k: float(np.median([t[k] for t in self.turns])) for k in self.turns[0]}, **memory}

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of '{self.label}' ended with {self._process.wait()}; see above")
        return line

    def _expect(self, text: str) -> None:
        while self._line().strip() != text:
            pass


def measure(specs: dict[str, dict[str, Any]], turns: int) -> list[dict[str, Any]]:
    """All rows, taking turns; the first turn of each warms up and does not count."""
    rows = [Row(label, spec) for label, spec in specs.items()]
    for number in range(turns + 1):
        for row in rows:
            row.turn(number > 0)
    return [row.result() for row in rows]


def render(camera: StereoCamera, path: Path) -> None:
    """Two stereo frames half a metre apart, with their disparities, in a file."""
    from vloc_ros.simulation import SimulatedRun, StereoRig, World  # not in the processes of the rows: it needs much memory

    world = World.generate(7, 60.0)
    run = SimulatedRun(world, condition="noon", step_m=0.5, rig=StereoRig(camera=camera), seed=1)
    settings = StereoSettings(method=StereoMethod.SGBM)
    arrays: Inputs = {}
    for side, index in (("a", 12), ("b", 13)):
        frame = run.frame(index)
        arrays[f"image_{side}"] = frame.left
        arrays[f"disparity_{side}"] = dense_disparity(frame, frame.left_grey, camera, settings)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def random_weights(path: Path, inputs: Path, width: int) -> None:
    """A network whose batch normalisations have seen the pair, and whose logits have peaks."""
    import torch

    from vloc_ros.networks.local_files import save_local_network
    from vloc_ros.networks.unet import UNet

    torch.manual_seed(0)
    network = UNet(width)
    with np.load(inputs, allow_pickle=False) as stored:
        images = torch.stack([torch.from_numpy(stored[f"image_{side}"]).permute(2, 0, 1).float() / 255.0 for side in "ab"])
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        for head in (network.detector.head, network.scorer.head):
            head.weight.mul_(60.0)
        network(images)
    save_local_network(path, network.eval(), "nothing: random weights, for timing")


def text(rows: list[dict[str, Any]], against: str | None = None) -> str:
    """A table; times in milliseconds, with the ratio to one row."""
    reference = next((row for row in rows if row["what"] == against), None)
    stages = list(dict.fromkeys(k for row in rows for k in row if k not in {"what", "peak_mb", "start_mb", "points"}))
    lines = [f"{'':24}" + "".join(f"{s + ' ms':>16}" for s in stages) + f"{'peak MB':>10}{'at start':>10}"]
    for row in rows:
        times = "".join(f"{1e3 * row[s]:16.1f}" if s in row else f"{'':16}" for s in stages)
        line = f"{row['what']:24}{times}{row['peak_mb']:10.0f}{row['start_mb']:10.0f}"
        if reference is not None and row is not reference:
            faster, smaller = reference["total"] / row["total"], reference["peak_mb"] / row["peak_mb"]
            grown = (reference["peak_mb"] - reference["start_mb"]) / max(row["peak_mb"] - row["start_mb"], 1e-3)
            line += f"   {faster:.1f} x faster, 1/{smaller:.1f} of the memory (1/{grown:.0f} of what is added to the start)"
        if "points" in row:
            line += f"   {row['points']:.0f} points"
        lines.append(line)
    return "\n".join(lines)


def main() -> int:
    """Run both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a network of U, *.safetensors (default: random)")
    parser.add_argument("--width", type=int, default=16, help="of a random network (default: 16)")
    parser.add_argument("--engine", choices=[kind.value for kind in EngineKind], default="auto", help="(default: auto)")
    parser.add_argument("--extractors", nargs="*", help="names or files (default: every name that is known)")
    parser.add_argument("--pairs", type=int, default=5, help="turns of the first table (default: 5)")
    parser.add_argument("--images", type=int, default=15, help="turns of the second table (default: 15)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(json.loads(args.child))
    values: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        common = {"inputs": str(Path(folder) / "inputs.npz"), "engine": args.engine}
        if args.pairs:
            render(PAIR, Path(common["inputs"]))
            weights = args.weights or Path(folder) / "random.safetensors"
            if args.weights is None:
                random_weights(weights, Path(common["inputs"]), args.width)
            common["weights"] = str(weights)
            specs = {"published": {**common, "kind": "published"}}
            specs |= {f"ours, {m.value}": {**common, "kind": "ours", "matcher": m.value} for m in (Matcher.SOFT, Matcher.NEAREST)}
            values["pair 512x384"] = measure(specs, args.pairs)
        if args.images:
            render(VGA, Path(common["inputs"]))
            names = extractors() if args.extractors is None else args.extractors
            values["extractors 640x480"] = measure({n: {**common, "kind": "extractor", "name": n} for n in names}, args.images)
    if args.json:
        sys.stdout.write(json.dumps(values, allow_nan=False) + "\n")
    else:
        for title, rows in values.items():
            sys.stdout.write(f"== {title}\n{text(rows, 'published')}\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
