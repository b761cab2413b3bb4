"""Sessions that only closures join: where to put them before the first solution, and which closures nothing could contradict."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph.closure_book import Closure
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict
from vloc_ros.pose_graph.links import Groups, Link, by_odometry
from vloc_ros.pose_graph.manifold import inverse, log
from vloc_ros.pose_graph.tracks import Tracks

Array = NDArray[np.float64]
_MOST = 200
_METRES_PER_RADIAN = 10.0


def align(tracks: Tracks, links: list[Link], closures: list[Closure]) -> None:
    """Move the sessions that no accepted closure holds yet to where most of their closures say they are.

    GNC finds the solution near its start; a session at an arbitrary place would make every true closure look false. Each
    closure implies one place of the session; the one is taken whose median distance from the others is the smallest.
    """
    if len(tracks.all) == 1:
        return
    groups = by_odometry(len(tracks.all), links)
    for closure in closures:
        if closure.verdict.label is Label.INLIER:
            groups.join(*_chains(tracks, closure))
    across: dict[int, list[Closure]] = {}
    for closure in closures:
        a, b = map(groups.root, _chains(tracks, closure))
        if a != b:
            across.setdefault(max(a, b), []).append(closure)
    for root in sorted(across):  # a group is moved after those before it
        new_T_old = _medoid(np.array([_move(tracks, closure, groups, root) for closure in across[root][-_MOST:]]))
        for chain, track in enumerate(tracks.all):
            if groups.root(chain) == root:
                track.move(new_T_old)


def fits(verdict: Verdict) -> bool:
    """Whether a closure fits the solution, be it that others say the same or that nothing could contradict it."""
    return verdict.label is Label.INLIER or verdict.reason is LabelReason.UNCHECKED


def unchecked(tracks: Tracks, links: list[Link], closures: list[Closure]) -> set[int]:
    """Numbers of closures that fit, but alone join two parts of the graph, so that nothing could contradict them."""
    accepted = [(closure.number, *_chains(tracks, closure)) for closure in closures if fits(closure.verdict)]
    across = [entry for entry in accepted if entry[1] != entry[2]]
    pairs = Counter(frozenset((a, b)) for _, a, b in across)
    alone = [entry for entry in across if pairs[frozenset(entry[1:])] == 1]
    found = set()
    for number, a, b in alone:
        groups = by_odometry(len(tracks.all), links)
        for other, c, d in across:
            if other != number:
                groups.join(c, d)
        if groups.root(a) != groups.root(b):
            found.add(number)
    return found


def _chains(tracks: Tracks, closure: Closure) -> tuple[int, int]:
    return tracks.places[closure.measured.a].chain, tracks.places[closure.measured.b].chain


def _move(tracks: Tracks, closure: Closure, groups: Groups, root: int) -> Array:
    """Where a closure says that a group should go: (4, 4) from its old world to the new one."""
    measured, chain = closure.measured, tracks.places[closure.measured.b].chain
    if groups.root(chain) != root:
        measured = measured.reversed()
    poses, _ = tracks.at([tracks.places[measured.a], tracks.places[measured.b]])
    return np.asarray(poses[0] @ measured.a_T_b @ inverse(poses[1:])[0])


def _medoid(transforms: Array) -> Array:
    differences = inverse(transforms)[:, None] @ transforms[None]
    xi = log(differences.reshape(-1, 4, 4)) * np.repeat([1.0, _METRES_PER_RADIAN], 3)
    distances = np.linalg.norm(xi, axis=1).reshape(len(transforms), -1)
    return np.asarray(transforms[np.argmin(np.median(distances, axis=1))])
