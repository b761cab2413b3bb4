"""Made-up maps for the tests, each from its seed."""

from __future__ import annotations

import sqlite3
from functools import cache

import numpy as np

from vloc_ros.features.contract import Features
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.mapping.keyframe import Edge, EdgeKind, KeyframeId
from vloc_ros.mapping.schema import SCHEMA_VERSION, TABLES_OF
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.automatic import shipped_network

CAMERA = StereoCamera(160, 120, 120.0, 121.0, 80.5, 59.5, 0.24)
COVARIANCE = np.diag([1e-4, 2e-4, 3e-4, 1e-6, 2e-6, 3e-6])
FINGERPRINT = "sift-root-128"
UNTUNED = "hog" if shipped_network() is None else "place"
"""Model of a new map with images and without a version: the shipped network, where this environment can compute it."""


def features(seed, count=60, dimension=32, hamming=False):
    rng = np.random.default_rng(seed)
    keypoints = (rng.random((count, 2)) * [CAMERA.width - 1, CAMERA.height - 1]).astype(np.float32)
    if hamming:
        descriptors = rng.integers(0, 256, (count, dimension), dtype=np.uint8)
    else:
        descriptors = rng.normal(size=(count, dimension)).astype(np.float32)
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    disparity = rng.uniform(0.5, 40.0, count).astype(np.float32)
    disparity[rng.random(count) < 0.3] = np.nan
    sizes = rng.uniform(2.0, 30.0, count).astype(np.float32)
    return Features(keypoints, rng.random(count).astype(np.float32), sizes, descriptors, disparity)


def image(seed, colour=False):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: CAMERA.height, : CAMERA.width]
    plane = 127 + 60 * np.sin(columns / rng.uniform(5, 20)) + 60 * np.cos(rows / rng.uniform(5, 20))
    grey = np.clip(plane, 0, 255).astype(np.uint8)
    return np.stack([grey, grey[:, ::-1], 255 - grey], axis=2) if colour else grey


def step(seed):
    """Motion from one keyframe to the next: about half a metre forward and a small turn."""
    rng = np.random.default_rng(seed)
    return se3.exp(np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.05]) + rng.normal(size=6) * 0.01)


@cache
def pose(session, number):
    if number == 1:
        return np.eye(4)
    return se3.normalised(pose(session, number - 1) @ step([session, number]))


def create(path, hamming=False):
    fingerprint = "orb-256" if hamming else FINGERPRINT
    return MapStore.create(path, CAMERA, se3.BASE_T_OPTICAL, fingerprint.split("-")[0], fingerprint)


def stamp(number):
    return 1_600_000_000_000_000_000 + number * 500_000_001


def add_keyframe(store, session, count=60, with_image=True, hamming=False):
    """Add the keyframe that belongs at this place: all of it follows from the session and its number."""
    id = store.next_keyframe_id(session)
    edge = None
    if id.keyframe > 1:
        before = KeyframeId(session, id.keyframe - 1)
        edge = Edge(before, id, EdgeKind.ODOMETRY, se3.between(pose(*before), pose(*id)), COVARIANCE)
    picture = image(id) if with_image else None
    parts = features(id, count, hamming=hamming)
    return store.add_keyframe(session, stamp(id.keyframe), pose(*id), parts, picture, edge)


def teach(path, keyframes=8, sessions=1, **kwargs):
    """A closed map of some sessions."""
    with create(path, kwargs.get("hamming", False)) as store:
        for number in range(sessions):
            session = store.begin_session(SessionKind.REPEAT if number else SessionKind.TEACH, f"drive {number}")
            for _ in range(keyframes):
                add_keyframe(store, session, **kwargs)
    return path


def age(path, schema):
    """Make a map one of an older schema: the tables that came later go, with all that they hold."""
    connection = sqlite3.connect(path)
    for table in TABLES_OF[SCHEMA_VERSION].keys() - TABLES_OF[schema].keys():
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"PRAGMA user_version = {schema}")
    connection.commit()
    connection.close()


def assert_same_features(a, b, exact_descriptors=False):
    for name in ("keypoints", "scores", "sizes", "disparity"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == np.float32
    assert a.descriptors.dtype == b.descriptors.dtype and a.descriptors.shape == b.descriptors.shape
    if exact_descriptors or a.descriptors.dtype == np.uint8:
        np.testing.assert_array_equal(a.descriptors, b.descriptors)
    else:
        np.testing.assert_allclose(a.descriptors, b.descriptors, atol=6e-4)


def contents(store):
    """All that a map says, as plain values that can be compared."""
    parts = [store.camera, store.base_T_camera.tobytes(), store.feature_name, store.feature_fingerprint, store.created]
    parts += [store.sessions(), store.model_cards()]
    for keyframe in store.keyframes():
        stored = store.features(keyframe.id)
        arrays = (keyframe.map_T_base, stored.keypoints, stored.scores, stored.sizes, stored.descriptors, stored.disparity)
        picture = store.image(keyframe.id)
        parts += [keyframe.id, keyframe.stamp_ns, *(array.tobytes() for array in arrays)]
        parts.append(None if picture is None else (picture.shape, picture.tobytes()))
    for edge in store.edges():
        parts += [edge.a, edge.b, edge.kind, edge.a_T_b.tobytes(), edge.covariance.tobytes()]
    for card in store.model_cards():
        ids, vectors = store.global_descriptors(card.name)
        parts += [ids, vectors.tobytes()]
    return parts
