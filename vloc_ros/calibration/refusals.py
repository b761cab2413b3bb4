"""What speaks against a calibration before it has begun: sentences, for whoever asked for it."""

from __future__ import annotations

from vloc_ros.calibration.held_out import HeldOutPlaces
from vloc_ros.calibration.layout import Layout
from vloc_ros.calibration.promotion import PromotionSettings
from vloc_ros.calibration.settings import CalibrationSettings
from vloc_ros.loop_closure.judgement import judge
from vloc_ros.loop_closure.map_graph import graph_of_map
from vloc_ros.mapping.store import MapStore
from vloc_ros.pose_graph import Label

_LOOKED_AT = 50
_JUDGE_AGAIN = "so that none of them is believed: let the pose graph judge the loops again (vloc loops)"


def distrust(store: MapStore, layout: Layout, settings: CalibrationSettings) -> str | None:
    """Why the labels of a map teach nothing, or are not believed.

    Labels are what a robust solution of the graph says of its closures. When one that is made now says otherwise, somebody has
    changed them, or they are of another graph.

    Raises:
        DataError: the graph cannot be solved.
        MapError: the map is damaged.
    """
    if not layout.inliers:
        return (
            f"the pose graph has no inliers among {len(layout.closures)} loop closures: drive the route again, and find loops "
            "(vloc loops, or the nodes place_recognition and pose_graph)"
        )
    allowed = settings.max_misfit
    judged = [closure.verdict for closure in layout.closures if closure.verdict.label is not Label.UNDECIDED]
    odd = sum((verdict.label is Label.INLIER) != (verdict.weight > 0.5) for verdict in judged)
    if odd > allowed * len(judged):
        return f"{odd} of {len(judged)} labels say the opposite of their weights, {_JUDGE_AGAIN}"
    if layout.misfit > allowed:
        return f"odometry contradicts {layout.misfit:.0%} of {len(layout.inliers)} inliers (allowed: {allowed:.0%}), {_JUDGE_AGAIN}"
    opposite = _opposite(store, layout, settings)
    if opposite > allowed * len(judged):
        return f"{opposite} of {len(judged)} labels are the opposite of what the graph says when it is solved anew, {_JUDGE_AGAIN}"
    return None


def _opposite(store: MapStore, layout: Layout, settings: CalibrationSettings) -> int:
    """How many closures a solution from odometry alone labels the other way round."""
    anew = judge(graph_of_map(store), settings.gnc, settings.labels, layout.revision)
    labels = {frozenset((closure.a, closure.b)): closure.verdict.label for closure in anew.closures}
    pair = {Label.INLIER, Label.OUTLIER}
    return sum({c.verdict.label, labels.get(frozenset((c.a, c.b)))} == pair for c in layout.closures)


def too_few_places(places: HeldOutPlaces, settings: PromotionSettings) -> str | None:
    """Why the held-out places of a map could decide nothing."""
    known = places.known
    stretches = len(set(places.blocks[known].tolist()))
    if known.sum() >= settings.min_queries and stretches >= settings.min_stretches:
        return None
    return (
        f"only {int(known.sum())} held-out keyframes from {stretches} stretches of the route show a place that was seen before, "
        f"and the promotion test asks for {settings.min_queries} from {settings.min_stretches}: drive more of the route again, or "
        "change stretches.every, stretches.length, promotion.min_queries or promotion.min_stretches"
    )


def blank(store: MapStore, layout: Layout) -> str | None:
    """Why the images of a map show nothing: those of its inliers, as far as they are looked at, are of one colour each.

    Raises:
        MapError: one is damaged.
    """
    ids = sorted({id for pair in layout.inliers for id in pair})
    found = [store.image(id) for id in ids[:: max(1, len(ids) // _LOOKED_AT)]]
    images = [image for image in found if image is not None]
    if not images or any(image.min() != image.max() for image in images):
        return None
    return "the images of the keyframes that are to be learned from are of one colour each: was the camera covered?"
