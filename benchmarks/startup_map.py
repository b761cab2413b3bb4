"""The map and the places of benchmarks/startup.py: a long simulated route with a keyframe every half metre."""

from __future__ import annotations

import sys
from dataclasses import replace as changed
from pathlib import Path

from tqdm import tqdm

from vloc_ros import runs
from vloc_ros.config import replace
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.redescribe import redescribe
from vloc_ros.settings import Settings
from vloc_ros.simulation import SimulatedRun
from vloc_ros.simulation.sites import SITES
from vloc_ros.simulation.world import World

STEP_M = 0.5


def world_of(keyframes: int) -> World:
    """A loop as long as so many keyframes need."""
    return changed(SITES[0], length_m=STEP_M * keyframes).build()


def taught(path: Path, keyframes: int) -> Path:
    """A map with so many keyframes, described as `vloc teach` leaves it; made once."""
    done = path.with_suffix(".done")
    if done.exists():
        return path
    path.unlink(missing_ok=True)
    drive = SimulatedRun(world_of(keyframes), step_m=STEP_M, seed=1, detail="fast", stop_m=STEP_M * keyframes)
    # Every frame becomes a keyframe; the number of features and all else are as usual.
    settings = replace(Settings(), {"keyframes.distance": 0.6 * STEP_M})
    with runs.new_map(path, drive, settings) as store:
        for _ in tqdm(runs.teach(drive, store, settings), total=len(drive), desc="teach", file=sys.stderr):
            pass
        describer = MapDescriptor.of(store, settings.localization.descriptor)
        redescribe(store, describer, progress=lambda ids: tqdm(ids, total=len(ids), desc="describe", file=sys.stderr))
    runs.save_keyframe_truth(drive, path)
    done.touch()
    return path


def main() -> int:
    taught(Path(sys.argv[1]), int(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
