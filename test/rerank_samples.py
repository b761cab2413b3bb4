"""Maps of places that re-ranking can tell apart, and a re-ranker of the features of maps without images."""

from __future__ import annotations

from pathlib import Path

import cv2
from loop_samples import new_map
from map_samples import CAMERA, COVARIANCE, FINGERPRINT, features, pose, stamp
from retrieval_samples import again, place

from vloc_ros.data.frame import Image
from vloc_ros.features import FeatureExtractor, Features, Metric
from vloc_ros.geometry import se3
from vloc_ros.mapping import Edge, EdgeKind, KeyframeId, MapStore, SessionKind
from vloc_ros.retrieval.rerank_ransac import RansacReranker

PLACES = 6
PLACE = [KeyframeId(1, number) for number in range(1, PLACES + 1)]
QUERY = KeyframeId(1, PLACES + 1)
"""Shows the place of ``PLACE[SAME]`` at another time."""
SAME = 3


def picture(number: int) -> Image:
    """A (120, 160) grey picture of a place."""
    return cv2.cvtColor(cv2.resize(place(number), (CAMERA.width, CAMERA.height)), cv2.COLOR_RGB2GRAY)


def seen_again() -> Image:
    """The place of ``PLACE[SAME]``, darker and a little aside."""
    return again(picture(SAME))


def places(path: Path, without_image: tuple[int, ...] = ()) -> Path:
    """A closed map of places, then the query; the keyframes of some indices have no image."""
    with new_map(path) as store:
        session = store.begin_session(SessionKind.TEACH, "places")
        for index, image in enumerate([*map(picture, range(PLACES)), seen_again()]):
            add(store, session, None if index in without_image else image)
    return path


def add(store: MapStore, session: int, image: Image | None) -> None:
    """Another keyframe; its features have nothing to do with its image."""
    id = store.next_keyframe_id(session)
    edge = None
    if id.keyframe > 1:
        before = KeyframeId(session, id.keyframe - 1)
        edge = Edge(before, id, EdgeKind.ODOMETRY, se3.between(pose(*before), pose(*id)), COVARIANCE)
    store.add_keyframe(session, stamp(id.keyframe), pose(*id), features(id), image, edge)


class OfScenes(FeatureExtractor):
    """Stands for what made the features of the scenes of ``loop_samples``, which have no images."""

    name = "sift"
    metric = Metric.COSINE
    fingerprint = FINGERPRINT
    descriptor_size = 32

    def extract(self, image: Image) -> Features:
        """There is no image to extract from."""
        raise AssertionError("the maps of these tests have no images")


def reranker_of_scenes() -> RansacReranker:
    """RANSAC on the features of such a map."""
    return RansacReranker(OfScenes())
