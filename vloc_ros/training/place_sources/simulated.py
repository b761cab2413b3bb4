"""Places of the simulated world: what overlaps is known from the true depths."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from vloc_ros.config import param
from vloc_ros.data.images import read_image
from vloc_ros.geometry import se3
from vloc_ros.training.places import Place, PlaceSource, PlaceView
from vloc_ros.training.sources.simulated import SimulatedPairs, View
from vloc_ros.training.sources.warp import warp_by_depth


@dataclass(frozen=True)
class OverlapSettings:
    """When two places of a simulated site are different ones."""

    share: float = param(0.2, "two places are different when less than this of either view is in the other", min=0.0, max=1.0)
    reach_m: float = param(15.0, "those farther apart are different without a look", unit="m", min=0.0)


class SimulatedPlaces(PlaceSource):
    """Places of a set of :func:`vloc_ros.training.sources.rendering.render_training_set`.

    Those of different sites are different. Two of one site are near each other unless their overlap is small.
    """

    def __init__(self, folder: Path, settings: OverlapSettings | None = None) -> None:
        """Open a set; sites that are not complete yet are left out.

        Raises:
            DataError: the folder is no set, or is damaged; the text names the file.
        """
        self._pairs, self._settings = SimulatedPairs(folder), settings or OverlapSettings()
        places: dict[tuple[str, int], list[View]] = {}
        for view in self._pairs.views:
            places.setdefault((view.site, view.place), []).append(view)
        self._names, self._views = list(places), list(places.values())
        self._near: list[set[int]] = [set() for _ in self._names]
        sites: dict[str, list[int]] = {}
        for index, (site, _) in enumerate(self._names):
            sites.setdefault(site, []).append(index)
        for members in sites.values():
            self._compare(members)

    def _compare(self, members: list[int]) -> None:
        """Find which places of one site are near each other, by the first view of each."""
        firsts = {index: self._views[index][0] for index in members}
        positions = {index: view.world_T_camera[:3, 3] for index, view in firsts.items()}
        for a, b in combinations(members, 2):
            if np.linalg.norm(positions[a] - positions[b]) > self._settings.reach_m:
                continue
            if min(self._seen(firsts[a], firsts[b]), self._seen(firsts[b], firsts[a])) >= self._settings.share:
                self._near[a].add(b)
                self._near[b].add(a)

    def _seen(self, a: View, b: View) -> float:
        """How much b shows of what has a depth in a."""
        pairs = self._pairs
        inverse_a, inverse_b = pairs.inverse_depth(a), pairs.inverse_depth(b)
        warp = warp_by_depth(pairs.camera, inverse_a, inverse_b, se3.between(b.world_T_camera, a.world_T_camera))
        return float(np.isfinite(warp[..., 0]).sum() / max(1, np.count_nonzero(inverse_a > 0.0)))

    def __len__(self) -> int:
        """Places of all sites."""
        return len(self._names)

    def place(self, index: int) -> Place:
        """As the contract says."""
        site, number = self._names[index]
        poses: dict[bytes, int] = {}
        views = (
            PlaceView(view.condition, partial(read_image, view.image), poses.setdefault(view.world_T_camera.tobytes(), len(poses)))
            for view in self._views[index]
        )
        return Place(f"sim:{site}:{number}", tuple(views))

    def near(self, index: int) -> Collection[int]:
        """As the contract says."""
        return self._near[index]
