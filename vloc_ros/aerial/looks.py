"""What is computed of one photo, once for each scale and direction."""

from __future__ import annotations

from vloc_ros.aerial.fix import AerialReject
from vloc_ros.aerial.matching import features_of
from vloc_ros.aerial.nadir import NadirView, nadir_view
from vloc_ros.aerial.photo import Photo
from vloc_ros.features import FeatureExtractor, Features


class Looks:
    """Views of a photo and their features, each computed when it is first asked for."""

    def __init__(self, photo: Photo, extractor: FeatureExtractor, max_tilt_deg: float, max_side: int) -> None:
        """Look at a photo, with the limits of :func:`vloc_ros.aerial.nadir.nadir_view`."""
        self.photo, self.max_side = photo, max_side
        self._extractor, self._max_tilt = extractor, max_tilt_deg
        self._views: dict[tuple[float, float], NadirView | AerialReject] = {}
        self._features: dict[tuple[float, float], Features] = {}

    def view(self, scale: float, turn_deg: float) -> NadirView | AerialReject:
        """As :func:`vloc_ros.aerial.nadir.nadir_view`."""
        key = (scale, turn_deg)
        if key not in self._views:
            self._views[key] = nadir_view(self.photo, scale, turn_deg, self._max_tilt, self.max_side)
        return self._views[key]

    def features(self, view: NadirView) -> Features:
        """Of a view from :meth:`view`."""
        key = (view.scale, view.turned_deg)
        if key not in self._features:
            self._features[key] = features_of(view, self._extractor)
        return self._features[key]
