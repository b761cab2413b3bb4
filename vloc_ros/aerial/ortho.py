"""A mosaic of photos that look straight down: which of them fit together, and where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import LatLon, LocalFrame
from vloc_ros.aerial.ortho_settings import OrthoSettings
from vloc_ros.aerial.placement import Placement, place
from vloc_ros.aerial.survey import SurveyPhoto
from vloc_ros.aerial.survey_matches import Matched, Pair, extract, match_neighbours, neighbours
from vloc_ros.data.images import read_image
from vloc_ros.errors import DataError
from vloc_ros.features import FeatureExtractor

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]
_FOCAL = 0.65
"""Of a usual drone camera, in widths of its image; it says no more than how a tilt of some degrees looks."""
_ROUNDS = 12
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Photos that lie on one level ground.

    Attributes:
        photos: that take part.
        sizes: (width, height) of each [px].
        placement: of each, in metres of the frame.
        frame: whose origin is the middle of their positions.
        rejected: names of the others, and why.
        pairs: how many agree.
    """

    photos: tuple[SurveyPhoto, ...]
    sizes: tuple[tuple[int, int], ...]
    placement: Placement
    frame: LocalFrame
    rejected: dict[str, str]
    pairs: int

    @property
    def from_gps_m(self) -> float:
        """Root mean square of how far the photos' satellite positions lie from where they fit, along one axis [m]."""
        return float(np.sqrt(np.mean(self.placement.from_gps**2)))

    @property
    def error_px(self) -> float:
        """Median error of a match [px]."""
        return float(np.median(self.placement.errors))

    @property
    def ground_per_pixel(self) -> float:
        """Ground that a pixel of a photo sees [m]."""
        return float(np.exp(np.median(self.placement.values[:, 2])))


def assemble(
    photos: Sequence[SurveyPhoto],
    extractor: FeatureExtractor,
    settings: OrthoSettings | None = None,
    on_progress: Progress | None = None,
) -> Mosaic:
    """Find where photos of a survey lie.

    Args:
        photos: of the survey.
        extractor: of the features by which they are matched.
        settings: what fits.
        on_progress: is told how much of how much is done: photos, then pairs of them.

    Raises:
        DataError: a photo cannot be read, or too few of them fit together; the text says why.
    """
    settings = settings or OrthoSettings()
    if len(photos) < _LEAST:
        raise DataError(f"{len(photos)} photos are too few for a mosaic: it takes {_LEAST} at least")
    positions = np.array([photo.position for photo in photos])
    middle = (positions.min(axis=0) + positions.max(axis=0)) / 2.0
    frame = LocalFrame(LatLon(float(middle[0]), float(middle[1])))
    gps = frame.metres(positions)
    total, done = len(photos) + len(neighbours(gps)), 0

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    features, sizes = [], []
    for photo in photos:
        image = read_image(photo.path)
        sizes.append((image.shape[1], image.shape[0]))
        features.append(extract(image, extractor, settings.feature_size))
        step()
    matched = match_neighbours(gps, sizes, features, extractor, step)
    kept, placement, reasons = _placed(photos, sizes, gps, matched, settings)
    rejected = {photos[number].name: reason for number, reason in sorted(reasons.items())}
    if placement is None or len(kept) < max(_LEAST, settings.min_share * len(photos)):
        raise DataError(_too_few(len(kept) if placement is not None else 0, len(photos), list(reasons.values())))
    inside = set(kept)
    return Mosaic(
        photos=tuple(photos[number] for number in kept),
        sizes=tuple(sizes[number] for number in kept),
        placement=placement,
        frame=frame,
        rejected=rejected,
        pairs=sum(pair.one in inside and pair.other in inside for pair in matched.pairs),
    )


def _placed(
    photos: Sequence[SurveyPhoto], sizes: Sequence[tuple[int, int]], gps: Array, matched: Matched, settings: OrthoSettings
) -> tuple[list[int], Placement | None, dict[int, str]]:
    """Place photos again and again without those that fit worst, until all fit."""
    heights = [photo.height_m for photo in photos if photo.height_m is not None and photo.height_m > 1.0]
    height = float(np.median(heights)) if 2 * len(heights) > len(photos) else None
    focal = _FOCAL * float(np.median([size[0] for size in sizes]))
    reasons = dict.fromkeys(matched.oblique, "the scale of the ground changes across it: it does not look straight down")
    alive = set(range(len(photos)))
    for _ in range(_ROUNDS):
        kept = _largest_part(alive, matched.pairs)
        for number in alive - set(kept):
            reasons.setdefault(number, "too few matches to the photos around it")
        alive = set(kept)
        if len(kept) < _LEAST:
            return kept, None, reasons
        row = {number: index for index, number in enumerate(kept)}
        pairs = [Pair(row[p.one], row[p.other], p.points, p.inliers) for p in matched.pairs if {p.one, p.other} <= alive]
        placement = place(pairs, gps[kept], focal, height)
        if placement is None:
            return kept, None, reasons
        wrong = _misfits(placement, [sizes[number] for number in kept], settings)
        if not wrong:
            return kept, placement, reasons
        # The worst drag others along: a third at most goes before the rest is judged again.
        worst = sorted(wrong, key=lambda index: -wrong[index][0])[: max(1, len(kept) // 3)]
        for index in worst:
            reasons[kept[index]] = wrong[index][1]
            alive.discard(kept[index])
    return sorted(alive), None, reasons


def _misfits(placement: Placement, sizes: Sequence[tuple[int, int]], settings: OrthoSettings) -> dict[int, tuple[float, str]]:
    """How badly photos fit, in multiples of what is allowed, and why; only of those that do not."""
    found = {}
    for number, size in enumerate(sizes):
        tilt = float(np.rad2deg(np.linalg.norm(placement.values[number, 4:])))
        astray = float(np.linalg.norm(placement.from_gps[number]))
        error = float(placement.errors[number]) / max(size)
        judged = [
            (tilt / settings.max_tilt_deg, f"it looks {tilt:.0f} degrees away from straight down"),
            (astray / settings.max_gps_m, f"it fits {astray:.0f} m from where it says that it was taken"),
            (error / settings.max_error, f"its matches lie {100.0 * error:.1f} % of an image apart on level ground"),
        ]
        worst = max(judged)
        if worst[0] > 1.0:
            found[number] = worst
    return found


def _largest_part(alive: set[int], pairs: Sequence[Pair]) -> list[int]:
    """The largest set of photos that are connected by pairs, sorted."""
    linked: dict[int, set[int]] = {number: set() for number in alive}
    for pair in pairs:
        if {pair.one, pair.other} <= alive:
            linked[pair.one].add(pair.other)
            linked[pair.other].add(pair.one)
    best: set[int] = set()
    left = set(alive)
    while left:
        part, edge = set(), [min(left)]
        while edge:
            number = edge.pop()
            if number not in part:
                part.add(number)
                edge.extend(linked[number] - part)
        left -= part
        best = max(best, part, key=len)
    return sorted(best)


def _too_few(kept: int, count: int, reasons: Sequence[str]) -> str:
    """Why there is no mosaic, in one sentence with the commonest reasons."""
    kinds = {"degrees away": 0, "m from where": 0, "image apart": 0, "scale of the ground": 0, "too few matches": 0}
    for reason in reasons:
        for kind in kinds:
            kinds[kind] += kind in reason
    said = {
        "degrees away": "look too far away from straight down",
        "scale of the ground": "do not look straight down",
        "m from where": "fit far from where they say that they were taken",
        "image apart": "fit no level ground",
        "too few matches": "match too few of their neighbours",
    }
    text = ", ".join(f"{number} {said[kind]}" for kind, number in kinds.items() if number)
    return (
        f"{kept} of {count} photos fit together on level ground, which is no mosaic ({text}): "
        "it takes photos that look straight down and overlap by half"
    )
