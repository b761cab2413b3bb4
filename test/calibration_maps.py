"""Made-up maps to calibrate: laps around a ring whose wall is a picture, in several lights, with labelled loop closures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from loop_samples import NOISE, RADIUS_M, Scene, circle
from map_samples import CAMERA, FINGERPRINT, stamp

from vloc_ros.calibration.settings import CalibrationSettings, default_settings
from vloc_ros.config import replace
from vloc_ros.geometry import se3
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.mapping import Edge, EdgeKind, KeyframeId, MapStore, SessionKind
from vloc_ros.mapping.closures import Closure, put_spatial_edges, replace_closures
from vloc_ros.pose_graph import Label, LabelReason, Verdict

LAP_M = 2.0 * np.pi * RADIUS_M
SMALL: dict[str, Any] = {
    "mining": {"negatives": 2, "attempts": 6, "exclusion": {"frames": 4, "path": 5.0, "distance": 5.0}},
    "stretches": {"length": 6.0, "every": 3, "gap": 2.0, "radius": 2.0},
    "held_out": {"near": 1.6, "far": 4.0, "gap_frames": 10, "gap_path": 10.0},
    "learning": {"part": "heads", "centre_images": 8},
    "training": {"epochs": 2, "batch": 4, "checkpoint_every": 1, "learning_rate": 1e-2},
    "triplet": {"images_at_once": 64},
    "uncertainty": {"images_at_once": 64},
    "probability": {"min_right": 4, "min_wrong": 4},
    "promotion": {"min_queries": 8, "min_stretches": 4, "stretch": 2, "resamples": 500},
}
"""Settings for maps as small as these."""


def small_settings(**changes: Any) -> CalibrationSettings:
    """Settings for these maps, some of them (dotted, with two underscores) changed."""
    return replace(replace(default_settings(), SMALL), {name.replace("__", "."): value for name, value in changes.items()})


def panorama(seed: int = 3) -> np.ndarray:
    """(120, 1440, 3) the wall around the ring, by random blocks of two sizes."""
    rng = np.random.default_rng(seed)
    large, small = (
        cv2.resize(rng.integers(20, 236, (rows, columns, 3), dtype=np.uint8), (1440, 120), interpolation=cv2.INTER_NEAREST)
        for rows, columns in ((4, 48), (15, 180))
    )
    return (0.5 * large + 0.5 * small).astype(np.uint8)


def view(wall: np.ndarray, angle: float, seed: int, light: float = 1.0) -> np.ndarray:
    """(120, 160, 3) what a camera at an angle of the ring sees, with noise; the light has a colour that changes with it."""
    first = round(angle / (2.0 * np.pi) * wall.shape[1]) % wall.shape[1]
    seen = np.roll(wall, -first, axis=1)[:, : CAMERA.width].astype(np.float64)
    noise = np.random.default_rng([seed, 8]).normal(0.0, 6.0, seen.shape)
    return np.clip(seen * np.array([light, light**0.5, 2.0 - light]) * min(light, 1.0) + noise, 0, 255).astype(np.uint8)


class RingDrive:
    """A robot that drives around the ring and adds keyframes to a session of a map, as teaching does."""

    def __init__(
        self,
        store: MapStore,
        session: int,
        keyframes: int,
        seed: int,
        *,
        light: float = 1.0,
        images: bool = True,
        wall: np.ndarray | None = None,
        scene: int = 1,
    ) -> None:
        """Stand at the beginning.

        Args:
            store: the map, open for writing.
            session: that was begun in it.
            keyframes: of a round.
            seed: of odometry and images.
            light: of the scene, see :func:`view`.
            images: whether images are kept.
            wall: see :func:`panorama`.
            scene: seed of the points that geometry sees; that of all maps here unless another place is meant.
        """
        self._store, self._session, self._keyframes, self._seed = store, session, keyframes, seed
        self._light, self._images, self._wall = light, images, panorama() if wall is None else wall
        self._truth, self._scene = circle(keyframes, 1.0), Scene.ring(scene, count=2500)
        self._rng, self._pose, self._driven = np.random.default_rng([seed, 6]), np.eye(4), 0

    def step(self) -> KeyframeId:
        """Add the next keyframe; after a round the next one begins."""
        number, true_pose = self._driven, self._truth[self._driven % self._keyframes]
        id, edge = self._store.next_keyframe_id(self._session), None
        if number:
            step = se3.between(self._truth[(number - 1) % self._keyframes], true_pose) @ se3.exp(self._rng.normal(0.0, NOISE))
            edge = Edge(KeyframeId(self._session, id.keyframe - 1), id, EdgeKind.ODOMETRY, step, np.diag(NOISE**2))
            self._pose = se3.normalised(self._pose @ step)
        seed, angle = 1000 * self._seed + number, 2.0 * np.pi * number / self._keyframes
        picture = view(self._wall, angle, seed, self._light) if self._images else None
        seen = self._scene.seen(true_pose, seed)
        self._store.add_keyframe(self._session, stamp(number + 1000 * self._session), self._pose, seen, picture, edge)
        self._driven += 1
        return id


def ring_map(
    path: Path,
    laps: int = 2,
    keyframes: int = 56,
    lights: tuple[float, ...] = (1.0,),
    images: bool = True,
    wall: np.ndarray | None = None,
    labelled: bool = True,
) -> Path:
    """A map of some sessions, each once around the ring, with a true closure of each later keyframe and some that are false."""
    with MapStore.create(path, CAMERA, BASE_T_OPTICAL, "sift", FINGERPRINT) as store:
        for lap in range(laps):
            session = store.begin_session(SessionKind.TEACH, f"lap {lap}")
            drive = RingDrive(store, session, keyframes, lap, light=lights[lap % len(lights)], images=images, wall=wall)
            for _ in range(keyframes):
                drive.step()
        if labelled:
            _label(store, circle(keyframes, 1.0), laps, keyframes)
    return path


def _label(store: MapStore, truth: np.ndarray, laps: int, keyframes: int) -> None:
    covariance = np.diag(np.array([0.05, 0.05, 0.02, 0.01, 0.01, 0.01]) ** 2)
    rng = np.random.default_rng(9)
    edges, closures = [], []
    for lap in range(1, laps):
        for number in range(keyframes):
            a, b = KeyframeId(lap, number + 1), KeyframeId(lap + 1, number + 1)
            true = se3.exp(rng.normal(0.0, 0.02, 6) * np.array([1, 1, 0.5, 0.1, 0.1, 0.1]))
            edges.append(Edge(a, b, EdgeKind.SPATIAL, true, covariance))
            closures.append(Closure(a, b, Verdict(Label.INLIER, 1.0, 1.0, 1, LabelReason.AGREES)))
            if number % 4 == 0:  # the place across the ring looked alike to somebody
                across = KeyframeId(lap, (number + keyframes // 2) % keyframes + 1)
                edges.append(Edge(across, b, EdgeKind.SPATIAL, true, covariance))
                closures.append(Closure(across, b, Verdict(Label.OUTLIER, 0.0, 900.0, 1, LabelReason.REJECTED)))
    put_spatial_edges(store, edges)
    replace_closures(store, closures)


def flip_labels(path: Path, share: float = 1.0, weights_too: bool = True) -> int:
    """Say the opposite of what the graph says of some closures; returns of how many."""
    from vloc_ros.mapping.closures import closures_of

    opposite = {Label.INLIER: Label.OUTLIER, Label.OUTLIER: Label.INLIER}
    rng, count, changed = np.random.default_rng(4), 0, []
    with MapStore.open(path) as store:
        for closure in closures_of(store):
            verdict = closure.verdict
            if rng.random() < share:
                label, count = opposite[verdict.label], count + 1
                weight = 1.0 - verdict.weight if weights_too else verdict.weight
                verdict = Verdict(label, weight, verdict.chi2, verdict.revision, verdict.reason)
            changed.append(Closure(closure.a, closure.b, verdict))
        replace_closures(store, changed)
    return count


def spoiled_weights(base: Path) -> Path:
    """Weights that are worse than the base: most elements of their descriptors say next to nothing."""
    import torch

    from vloc_ros.networks.files import load_network, save_network

    network, _ = load_network(base)
    with torch.no_grad():
        network.pool.fc.weight[8:] *= 0.02
    path = base.with_name("spoiled.safetensors")
    save_network(path, network, "nothing")
    return path


def base_weights(folder: Path, seed: int = 0) -> Path:
    """A file of random weights of GeM on MobileNetV3."""
    from vloc_ros.networks import Backbone, NetworkKind
    from vloc_ros.networks.files import save_network
    from vloc_ros.networks.network import random_network

    path = folder / "base.safetensors"
    if not path.is_file():
        save_network(path, random_network(NetworkKind.GEM, Backbone.MOBILENETV3, seed), "nothing")
    return path
