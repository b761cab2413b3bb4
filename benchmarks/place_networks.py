#!/usr/bin/env python3
"""How many images a second the networks of place recognition describe, from the camera's image to the vector, by each engine.

    python benchmarks/place_networks.py
    python benchmarks/place_networks.py --networks uncertainty_mobilenetv3 models/place.safetensors --seconds 20 --json

All rows take turns, one image of 640x480 each, so that what else the machine does slows all alike; figures are of medians. Weights
are random where a network is named, which changes nothing of the time. Two cores, as on the robot.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from vloc_ros.data.frame import Image
from vloc_ros.networks.files import load_network
from vloc_ros.retrieval import create_descriptor
from vloc_ros.retrieval.engines import THREADS, PlaceEngine, TorchEngine, engine_of
from vloc_ros.retrieval.network import NetworkDescriptor

NAMED = ("uncertainty_mobilenetv3", "gem_mobilenetv3", "gem_compact_unet", "netvlad_compact_unet", "gem")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NAMED), help=f"names or files (default: {' '.join(NAMED)})")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each row (default: 10)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    rows = {(name, engine.__class__.__name__): engine for name in args.networks for engine in engines_of(name)}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in rows}
    for engine in rows.values():
        engine([image])
    until = time.monotonic() + args.seconds * len(rows)
    while time.monotonic() < until:
        for key, engine in rows.items():
            times[key].append(timed(engine, image))
    for (name, kind), seconds in times.items():
        rate, slow = 1.0 / float(np.median(seconds)), 1e3 * float(np.percentile(seconds, 95))
        if args.json:
            sys.stdout.write(json.dumps({"network": name, "engine": kind, "images_per_s": rate, "ms_p95": slow}) + "\n")
        else:
            sys.stdout.write(f"{name:<28}{kind:<20}{rate:>8.1f} images/s   95 % within {slow:.0f} ms\n")
    return 0


def engines_of(name: str) -> list[PlaceEngine]:
    """torch, and ONNX Runtime where it is installed."""
    descriptor = create_descriptor(name)
    if not isinstance(descriptor, NetworkDescriptor):
        raise SystemExit(f"{name} is not a network")
    network = load_network(Path(name))[0] if name.endswith(".safetensors") else descriptor.engine.network
    both: list[PlaceEngine] = [TorchEngine(network), engine_of(network, descriptor.card.sha256)]
    return both if type(both[0]) is not type(both[1]) else both[:1]


def timed(engine: PlaceEngine, image: Image) -> float:
    """Seconds for one image."""
    begun = time.perf_counter()
    engine([image])
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
