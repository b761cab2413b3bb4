"""The map and the places of benchmarks/startup.py: a long simulated route with a keyframe every half metre."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vloc_ros import runs
from vloc_ros.config import replace
from vloc_ros.data.images import read_image
from vloc_ros.data.trajectory import Trajectory, read_tum
from vloc_ros.geometry import se3
from vloc_ros.mapping import MapStore
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.redescribe import redescribe
from vloc_ros.settings import Settings
from vloc_ros.simulation import SimulatedRun
from vloc_ros.simulation.sites import SITES
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]
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


@dataclass(frozen=True)
class Place:
    """Where a robot stands: its station along the route [m], its pose in the map by the truth, and its two pictures."""

    station_m: float
    map_T_base: Array
    pictures: tuple[Pixels, Pixels]


def places(path: Path, folder: Path, keyframes: int, count: int) -> Iterator[Place]:
    """So many places along the route, a little beside where it was taught; their pictures are made once."""
    with MapStore.open(path, read_only=True) as store:
        taught_poses = {keyframe.stamp_ns: keyframe.map_T_base for keyframe in store.keyframes()}
    truth = read_tum(runs.truth_file(path))
    every = STEP_M * keyframes / count
    drive: SimulatedRun | None = None
    for number in range(count):
        files = [folder / f"startup_{keyframes}_place_{number}_of_{count}_{side}.png" for side in ("left", "right")]
        pose_file = files[0].with_suffix(".txt")
        if not pose_file.exists():
            drive = drive or SimulatedRun(
                world_of(keyframes), step_m=every, start_m=0.37 * every, seed=2, lateral_offset_m=0.2, detail="fast"
            )
            frame = drive.frame(number)
            for file, picture in zip(files, (frame.left, frame.right), strict=True):
                assert picture is not None
                cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            np.savetxt(pose_file, drive.world_T_base[number])
        world_T_base = np.loadtxt(pose_file)
        left, right = (read_image(file) for file in files)
        yield Place((number + 0.37) * every, in_map(world_T_base, truth, taught_poses), (left, right))


def in_map(world_T_base: Array, truth: Trajectory, taught_poses: dict[int, Array]) -> Array:
    """The pose in the map, by the keyframe that is nearest in truth: the drift of the map does not count."""
    near = int(np.argmin(np.linalg.norm(truth.poses[:, :3, 3] - world_T_base[:3, 3], axis=1)))
    return taught_poses[int(truth.stamps_ns[near])] @ se3.between(truth.poses[near], world_T_base)
