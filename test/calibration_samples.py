"""Made-up layouts of maps for the tests of mining and of held-out stretches."""

from __future__ import annotations

import numpy as np

from vloc_ros.calibration.layout import Layout
from vloc_ros.mapping.closures import Closure
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.pose_graph import Label, LabelReason, Verdict


def k(keyframe, session=1):
    return KeyframeId(session, keyframe)


def closure(a, b, label=Label.INLIER, revision=1, weight=None):
    weight = {Label.INLIER: 1.0, Label.OUTLIER: 0.0, Label.UNDECIDED: 0.5}[label] if weight is None else weight
    return Closure(a, b, Verdict(label, weight, 1.0, revision, LabelReason.AGREES))


def layout(tracks, pairs=(), component=None):
    """The layout of drives: for each session its (N, 2) positions [m]; ``pairs`` are inliers."""
    ids, path, positions = [], [], []
    for session, track in enumerate(tracks, start=1):
        track = np.asarray(track, dtype=np.float64)
        ids += [k(number, session) for number in range(1, len(track) + 1)]
        path.append(np.concatenate([[0.0], np.linalg.norm(np.diff(track, axis=0), axis=1).cumsum()]))
        positions.append(np.column_stack([track, np.zeros(len(track))]))
    of_session = np.array([id.session for id in ids])
    parts = np.zeros(len(ids), dtype=np.int64) if component is None else np.array(component, dtype=np.int64)[of_session - 1]
    closures = tuple(closure(a, b) for a, b in pairs)
    rows = {id: row for row, id in enumerate(ids)}
    rotations = np.concatenate([headings(np.asarray(track, dtype=np.float64)) for track in tracks])
    return Layout(tuple(ids), np.concatenate(path), np.concatenate(positions), parts, closures, 1, rows, rotations, 0.0)


def headings(track):
    """(N, 3, 3) rotations that look along an (N, 2) track."""
    ahead = np.gradient(track, axis=0) if len(track) > 1 else np.array([[1.0, 0.0]])
    angles = np.arctan2(ahead[:, 1], ahead[:, 0])
    rotations = np.tile(np.eye(3), (len(track), 1, 1))
    rotations[:, 0, 0] = rotations[:, 1, 1] = np.cos(angles)
    rotations[:, 1, 0], rotations[:, 0, 1] = np.sin(angles), -np.sin(angles)
    return rotations


def ring(metres, radius=60.0, start=0.0, step=1.0):
    """(N, 2) positions every ``step`` metres along a circle."""
    angles = start + np.arange(0.0, metres, step) / radius
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
