"""Made-up maps with loops: walks around one scene of points that every camera sees alike, each from its seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from map_samples import CAMERA, FINGERPRINT, stamp

from vloc_ros.features import Features, MatchSettings, Metric
from vloc_ros.geometry import se3
from vloc_ros.geometry.pnp import PnpSettings
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.mapping import Edge, EdgeKind, KeyframeId, MapStore, SessionKind
from vloc_ros.mapping.registration import Registrar

REGISTRAR = Registrar(CAMERA, Metric.COSINE, MatchSettings(), PnpSettings())
RADIUS_M = 12.0
TWIN_RAD = 2.0


@dataclass(frozen=True)
class Scene:
    """Points on the inside of a ring wall, each with a descriptor of its own.

    Attributes:
        points: (N, 3) [m].
        descriptors: (N, 32) float32.
    """

    points: np.ndarray
    descriptors: np.ndarray

    @classmethod
    def ring(cls, seed: int = 0, count: int = 4000, twin: bool = False) -> Scene:
        """A wall around the walk; with ``twin`` an arc of ``TWIN_RAD`` of it looks just like the one across."""
        rng = np.random.default_rng(seed)
        angle = rng.uniform(0.0, 2.0 * np.pi, count)
        radius, height = rng.uniform(RADIUS_M + 2.0, RADIUS_M + 8.0, count), rng.uniform(-2.0, 3.0, count)
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
        descriptors = rng.normal(size=(count, 32)).astype(np.float32)
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
        if twin:
            angle = np.arctan2(points[:, 1], points[:, 0])
            copied, hidden = (angle >= 0.0) & (angle < TWIN_RAD), (angle >= -np.pi) & (angle < TWIN_RAD - np.pi)
            points = np.concatenate([points[~hidden], points[copied] * [-1, -1, 1]])
            descriptors = np.concatenate([descriptors[~hidden], descriptors[copied]])
        return cls(points, descriptors)

    def seen(self, world_T_base: np.ndarray, seed: int) -> Features:
        """What a camera on the base sees, with the noise of key points and disparities."""
        rng = np.random.default_rng([seed, 5])
        in_camera = se3.transform(se3.inverse(world_T_base @ BASE_T_OPTICAL), self.points)
        pixels = CAMERA.project(in_camera)
        near = np.isfinite(pixels).all(axis=1) & (in_camera[:, 2] < 25.0)
        near[near] = CAMERA.contains(pixels[near, :2], 1.0)
        rows = rng.permutation(np.flatnonzero(near))[:300]
        noisy = (pixels[rows] + rng.normal(size=(len(rows), 3)) * 0.4).astype(np.float32)
        inside = CAMERA.contains(noisy[:, :2].astype(np.float64), 0.0) & (noisy[:, 2] > 0.3)
        rows, noisy = rows[inside], noisy[inside]
        descriptors = self.descriptors[rows] + 0.03 * rng.normal(size=(len(rows), 32)).astype(np.float32)
        descriptors = (descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)).astype(np.float32)
        ones = np.ones(len(rows), np.float32)
        return Features(noisy[:, :2], ones, ones, descriptors, noisy[:, 2])


def circle(keyframes: int, laps: float, start: float = 0.0) -> np.ndarray:
    """(N, 4, 4) poses of a robot that drives around a circle."""
    angles = start + 2.0 * np.pi * laps * np.arange(keyframes) / keyframes
    poses = np.tile(np.eye(4), (keyframes, 1, 1))
    poses[:, 0, 3], poses[:, 1, 3] = RADIUS_M * np.cos(angles), RADIUS_M * np.sin(angles)
    heading = angles + np.pi / 2.0
    poses[:, 0, 0] = poses[:, 1, 1] = np.cos(heading)
    poses[:, 1, 0], poses[:, 0, 1] = np.sin(heading), -np.sin(heading)
    return poses


NOISE = np.array([0.03, 0.02, 0.005, 0.0005, 0.0005, 0.01])
"""Standard deviations of the odometry from keyframe to keyframe [m, rad]: enough to go visibly astray in a round."""


def drive(store: MapStore, scene: Scene, truth: np.ndarray, seed: int, sigmas: np.ndarray = NOISE) -> int:
    """Add a session that drove along true poses by odometry with noise."""
    rng = np.random.default_rng([seed, 6])
    session = store.begin_session(SessionKind.TEACH, f"drive {seed}")
    pose = np.eye(4)
    for number, true_pose in enumerate(truth):
        id, edge = store.next_keyframe_id(session), None
        if number:
            step = se3.between(truth[number - 1], true_pose) @ se3.exp(rng.normal(0.0, sigmas))
            edge = Edge(KeyframeId(session, id.keyframe - 1), id, EdgeKind.ODOMETRY, step, np.diag(sigmas**2))
            pose = se3.normalised(pose @ step)
        store.add_keyframe(session, stamp(number + 1000 * session), pose, scene.seen(true_pose, seed * 1000 + number), None, edge)
    return session


def new_map(path) -> MapStore:
    """An empty map of the camera of these drives."""
    return MapStore.create(path, CAMERA, BASE_T_OPTICAL, "sift", FINGERPRINT)
