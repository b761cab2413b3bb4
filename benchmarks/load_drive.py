"""The map of benchmarks/load.py and the pictures of a drive on it: a short simulated route, seen with 640 x 480."""

from __future__ import annotations

import sys
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vloc_ros import runs
from vloc_ros.mapping import MapStore
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.redescribe import redescribe
from vloc_ros.settings import Settings
from vloc_ros.simulation import SimulatedRun, StereoRig
from vloc_ros.simulation.sites import SITES

WIDTH, ROUTE_M, STEP_M = 640, 40.0, 0.25
Pixels = NDArray[np.uint8]


def drive(seed: int, lateral_m: float) -> SimulatedRun:
    """Along the whole route."""
    rig = StereoRig()
    world = changed(SITES[0], length_m=ROUTE_M).build()
    return SimulatedRun(
        world, step_m=STEP_M, seed=seed, lateral_offset_m=lateral_m, detail="fast", rig=rig.scaled(WIDTH / rig.camera.width)
    )


def prepared(folder: Path) -> tuple[Path, Pixels]:
    """The map, and the (N, 2, H, W) grey pictures of another drive; made once."""
    path, pictures = folder / "load.vloc", folder / "load.npy"
    if not pictures.exists():
        path.unlink(missing_ok=True)
        _teach(path)
        live = drive(2, 0.2)
        frames = tqdm((live.frame(index) for index in range(len(live))), total=len(live), desc="drive", file=sys.stderr)
        made = np.array([[_grey(frame.left), _grey(frame.right)] for frame in frames])
        with pictures.with_suffix(".part").open("wb") as file:
            np.save(file, made)
        pictures.with_suffix(".part").rename(pictures)
    return path, np.load(pictures)


def _teach(path: Path) -> None:
    taught, settings = drive(1, 0.0), Settings()
    with runs.new_map(path, taught, settings) as store:
        for _ in tqdm(runs.teach(taught, store, settings), total=len(taught), desc="teach", file=sys.stderr):
            pass
        _describe(store, settings)


def _describe(store: MapStore, settings: Settings) -> None:
    describer = MapDescriptor.of(store, settings.localization.descriptor)
    redescribe(store, describer, progress=lambda ids: tqdm(ids, total=len(ids), desc="describe", file=sys.stderr))


def _grey(image: Pixels | None) -> Pixels:
    assert image is not None
    return image if image.ndim == 2 else np.round(image @ [0.299, 0.587, 0.114]).astype(np.uint8)
