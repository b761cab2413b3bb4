"""What the node ``aerial`` does between its topics: photos in, positions or reasons out. Imports no ROS."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from vloc_ros.aerial.attitude import is_air_pressure
from vloc_ros.aerial.fix import AerialFix, AerialReject
from vloc_ros.aerial.locator import Locator
from vloc_ros.aerial.map_file import AerialMap
from vloc_ros.aerial.opening import open_locator
from vloc_ros.aerial.photo import Photo
from vloc_ros.aerial.tracker import Tracker
from vloc_ros.errors import ConfigError
from vloc_ros.ros.aerial_settings import AerialNodeSettings
from vloc_ros.ros.statistics import Statistics

_BACK_NS = 1_000_000_000
"""A clock that jumps back by more begins another flight."""


class Navigator:
    """A map, and who follows a flight on it; belongs to one thread, as the map does. Others may read the counts."""

    def __init__(self, settings: AerialNodeSettings) -> None:
        """Check what can be checked without the map.

        Raises:
            ConfigError: no map is named, or the reference pressure is none of air.
        """
        if not settings.map:
            raise ConfigError("no map is named; set the parameter 'map', for example map:=area.vloc")
        reference = settings.instruments.reference_pressure
        if reference and not is_air_pressure(reference):
            raise ConfigError(
                f"instruments.reference_pressure = {reference:g} is not a pressure of air in pascal, about 50000 to 105000; "
                "is it in hectopascal?"
            )
        self._settings = settings
        self._path = Path(settings.map).expanduser()
        self._ground: AerialMap | None = None
        self._locator: Locator | None = None
        self._tracker: Tracker | None = None
        self._stamp_ns: int | None = None
        self.statistics = Statistics()
        self.located = 0
        """Photos with a position."""
        self.refused: Counter[AerialReject] = Counter()
        """Photos without one, by reason."""
        self.last: AerialFix | None = None
        """What came of the newest photo."""
        self._since: float | None = None
        """When the last photo with a position was finished, or the first photo came, on the steady clock [s]."""

    def open(self) -> None:
        """Open the map, and read what every photo needs of it.

        Raises:
            MapError: it is absent, damaged, or was made with other features or another descriptor.
            ConfigError: its features or its descriptor cannot be computed here.
            WeightsError: a file of weights is missing, damaged or of another network.
        """
        settings = self._settings
        self._ground, self._locator = open_locator(self._path, settings.locator, settings.features, settings.descriptor)
        self.forget()

    @property
    def ground(self) -> AerialMap:
        """The open map.

        Raises:
            ConfigError: it was not opened.
        """
        if self._ground is None:
            raise ConfigError("the map was not opened")
        return self._ground

    @property
    def mode(self) -> str:
        """Whether the next photo is searched for on the whole map: ``searching`` or ``following``."""
        searching = not self._settings.sequential or self._tracker is None or self._tracker.is_lost
        return "searching" if searching else "following"

    @property
    def trouble(self) -> str:
        """That photos have had no position for some time, and why the newest has none; empty while they have."""
        since, last, patience = self._since, self.last, self._settings.patience
        if since is None or last is None or last.reason is None or time.monotonic() - since <= patience:
            return ""
        return f"no position for more than {patience:g} s; of the newest image: {last.reason.value}"

    def tune(self, settings: AerialNodeSettings) -> None:
        """Take over the live ones of other settings, from the next photo on."""
        if settings.sequential != self._settings.sequential:
            self.forget()
        self._settings = settings

    def forget(self) -> str:
        """Search the whole map for the next photo, wherever the last one was."""
        if self._locator is not None:
            self._tracker = Tracker(self._locator, self._settings.tracker)
        self._stamp_ns = None
        return "the whole map is searched for the next image"

    def locate(self, photo: Photo) -> AerialFix:
        """Where a photo with a stamp was taken.

        Raises:
            MapError: the map is damaged.
        """
        assert self._locator is not None and self._tracker is not None and photo.stamp_ns is not None
        if self._stamp_ns is not None and photo.stamp_ns < self._stamp_ns - _BACK_NS:
            self.forget()
        self._stamp_ns = photo.stamp_ns
        begun = time.perf_counter()
        if self._since is None:
            self._since = time.monotonic()
        fix = self._tracker.step(photo) if self._settings.sequential else self._locator.locate(photo)
        if self.located == 0:  # a camera that is mounted the other way round is told, and later on no time is lost
            fix = self._locator.doubt(photo, fix)
        self.statistics.processed({"locate": 1e3 * (time.perf_counter() - begun)})
        if fix.reason is None:
            self.located += 1
            self._since = time.monotonic()
        else:
            self.refused[fix.reason] += 1
        self.last = fix
        return fix

    def close(self) -> None:
        """Close the map."""
        ground, self._ground, self._locator, self._tracker = self._ground, None, None, None
        if ground is not None:
            ground.close()

    def report(self) -> dict[str, str]:
        """Keys and values for the diagnostics: counts, every reason of a refusal, the last result and latencies."""
        refused = self.refused.copy()
        values = {"mode": self.mode, "located": str(self.located), "refused": str(sum(refused.values()))}
        values |= {f"refused_{reason.name.lower()}": str(count) for reason, count in sorted(refused.items(), key=_name)}
        last = self.last
        if last is not None:
            said = f"{last.inliers} of {last.matches} matches" + (f" with tile {last.tile}" if last.tile else "")
            values["last"] = said if last.reason is None else f"{last.reason.name}: {last.reason.value}; {said}"
        for stage, of_stage in self.statistics.percentiles().items():
            values[f"{stage}_ms_p50"], values[f"{stage}_ms_p99"] = f"{of_stage.p50:.1f}", f"{of_stage.p99:.1f}"
        return values


def _name(item: tuple[AerialReject, int]) -> str:
    return item[0].name
