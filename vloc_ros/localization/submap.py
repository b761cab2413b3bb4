"""The part of the map that localisation looks at: keyframes with their landmarks, read when first needed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.features import Features
from vloc_ros.geometry import se3
from vloc_ros.geometry.pnp import Landmarks, PnpSettings
from vloc_ros.mapping.keyframe import Keyframe, KeyframeId
from vloc_ros.mapping.store import MapStore

Array = NDArray[np.float64]
_KEPT = 64


@dataclass(frozen=True, slots=True)
class MappedView:
    """A keyframe with those of its features that have a disparity, and their landmarks in its camera frame."""

    keyframe: Keyframe
    map_T_camera: Array
    features: Features
    landmarks: Landmarks


class Submap:
    """Nearest keyframes of a map, with a bounded cache of their landmarks: memory does not grow with the map."""

    def __init__(self, store: MapStore, pnp: PnpSettings) -> None:
        self.keyframes = store.keyframes()
        self._store = store
        self._pnp = pnp
        self._views: OrderedDict[KeyframeId, MappedView] = OrderedDict()
        self._by_id = {keyframe.id: keyframe for keyframe in self.keyframes}
        self._positions = np.array([k.map_T_base[:3, 3] for k in self.keyframes]).reshape(-1, 3)
        self._headings = np.array([k.map_T_base[:3, 0] for k in self.keyframes]).reshape(-1, 3)

    def nearest(self, map_T_base: Array, count: int, max_distance: float) -> list[Keyframe]:
        """The ``count`` keyframes nearest to a pose that look into the same half-space, nearest first.

        A difference in heading counts as distance (5 m per rad), because it costs common view just so.
        """
        if len(self.keyframes) == 0:
            return []
        distance = np.linalg.norm(self._positions - map_T_base[:3, 3], axis=1)
        cosine = np.clip(self._headings @ map_T_base[:3, 0], -1.0, 1.0)
        cost = distance + 5.0 * np.arccos(cosine)
        cost[(distance > max_distance) | (cosine < 0.0)] = np.inf
        order = np.argsort(cost, kind="stable")[:count]
        return [self.keyframes[i] for i in order if np.isfinite(cost[i])]

    def distance(self, map_T_base: Array) -> float:
        """Distance of a pose from the nearest keyframe [m]; infinite in an empty map."""
        return float(np.min(np.linalg.norm(self._positions - map_T_base[:3, 3], axis=1), initial=np.inf))

    def view(self, keyframe: Keyframe) -> MappedView:
        """Landmarks of a keyframe."""
        if keyframe.id in self._views:
            self._views.move_to_end(keyframe.id)
            return self._views[keyframe.id]
        features = self._store.features(keyframe.id)
        features = features.select(np.isfinite(features.disparity))
        camera = self._store.camera
        landmarks = Landmarks.triangulate(
            camera, features.keypoints.astype(np.float64), features.disparity.astype(np.float64), self._pnp
        )
        view = MappedView(keyframe, keyframe.map_T_base @ self._store.base_T_camera, features, landmarks)
        self._views[keyframe.id] = view
        if len(self._views) > _KEPT:
            self._views.popitem(last=False)
        return view

    def by_id(self, id: KeyframeId) -> Keyframe:
        """The keyframe of this name."""
        return self._by_id[id]


def relative_pose(view: MappedView, map_T_camera: Array) -> Array:
    """``camera_T_keyframe`` of a camera at a map pose."""
    return se3.between(map_T_camera, view.map_T_camera)
