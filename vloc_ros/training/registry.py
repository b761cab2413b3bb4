"""Objectives and sources of pairs by name; what is not asked for is not imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, make_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from vloc_ros.config import param, section
from vloc_ros.errors import ConfigError
from vloc_ros.features.frontend import FeatureSettings
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.objective import Objective
from vloc_ros.training.pairs import PairSource
from vloc_ros.training.preparation import PUBLISHED_IMAGES, ImageSettings
from vloc_ros.training.settings import PUBLISHED, TrainingSettings
from vloc_ros.training.sources.homographies import HomographySettings
from vloc_ros.training.sources.recordings import RecordingSettings
from vloc_ros.training.utias_settings import UtiasSettings
from vloc_ros.training.validation import ValidationSettings


@dataclass(frozen=True, slots=True)
class ObjectiveKind:
    """An objective that can be asked for.

    Attributes:
        objective: module and class.
        settings: module and class of what its constructor takes.
        stereo: whether it needs the stereo truth of pairs.
        preset: settings of the loop that go with it, below those of the user.
    """

    objective: tuple[str, str]
    settings: tuple[str, str]
    stereo: bool = False
    preset: Mapping[str, Any] = field(default_factory=dict)


_CONTRASTIVE, _PUBLISHED = "vloc_ros.training.contrastive", "vloc_ros.training.published"
OBJECTIVES: dict[str, ObjectiveKind] = {
    "contrastive": ObjectiveKind((_CONTRASTIVE, "ContrastiveObjective"), (_CONTRASTIVE, "ContrastiveSettings")),
    "published": ObjectiveKind(
        (_PUBLISHED, "PublishedObjective"),
        ("vloc_ros.training.published_settings", "PublishedSettings"),
        stereo=True,
        preset={"training": PUBLISHED, "images": PUBLISHED_IMAGES, "augmentation": {"strength": 0.0}},
    ),
}


@dataclass(frozen=True)
class StaticSettings:
    """Fixed cameras; patterns are parted by commas."""

    exclude: str = param("", "patterns of the names of cameras that are not used, such as those kept for tests")
    held_out: str = param("", "patterns of the names of cameras that are validated on and never learned from")

    def patterns(self, held_out: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Patterns of the cameras to include and to exclude, for the part that is held out or for that which is learned from.

        Where none is held out by name, all that may be used are validated on.
        """
        excluded, kept = _patterns(self.exclude), _patterns(self.held_out)
        if held_out:
            return kept or ("*",), excluded
        return ("*",), (*excluded, *kept)


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def settings_class(objective: str) -> type[Any]:
    """The class of all settings of a training with an objective.

    Raises:
        ConfigError: there is no such objective.
    """
    module, name = _kind(objective).settings
    parts = {
        "training": TrainingSettings,
        "images": ImageSettings,
        "augmentation": AugmentationSettings,
        "objective": getattr(import_module(module), name),
        "homography": HomographySettings,
        "static": StaticSettings,
        "recording": RecordingSettings,
        "utias": UtiasSettings,
        "validation": ValidationSettings,
        "features": FeatureSettings,
    }
    return make_dataclass("FeatureTraining", [(key, cls, section(cls)) for key, cls in parts.items()], frozen=True)


def _kind(objective: str) -> ObjectiveKind:
    if objective not in OBJECTIVES:
        raise ConfigError(f"unknown objective '{objective}'; known: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[objective]


def preset(objective: str) -> Mapping[str, Any]:
    """Settings that go with an objective."""
    return _kind(objective).preset


def needs_stereo(objective: str) -> bool:
    """Whether an objective needs the stereo truth of pairs."""
    return _kind(objective).stereo


def make_objective(objective: str, settings: Any) -> Objective:
    """The objective with its settings."""
    module, name = _kind(objective).objective
    made: Objective = getattr(import_module(module), name)(settings)
    return made


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A source of pairs as the command line names it.

    Attributes:
        kind: one of :data:`SOURCES`, or of those that are known where it is asked for.
        path: its folder or file; recordings of one world parted by commas.
        weight: how often it is drawn from, relative to the others.
    """

    kind: str
    path: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str, kinds: Collection[str] | None = None) -> DataSpec:
        """From ``KIND:PATH`` or ``KIND:PATH:WEIGHT``; kinds are those of :data:`SOURCES` unless others are given.

        Raises:
            ConfigError: it is something else.
        """
        kind, _, rest = text.partition(":")
        known = SOURCES if kinds is None else kinds
        if kind not in known or not rest:
            raise ConfigError(f"'{text}' is not of the form KIND:PATH or KIND:PATH:WEIGHT with a kind of: {', '.join(known)}")
        path, _, last = rest.rpartition(":")
        try:
            weight = float(last) if path else math.nan
        except ValueError:
            weight = math.nan
        if math.isnan(weight):
            return cls(kind, Path(rest))
        if not 0.0 < weight < math.inf:
            raise ConfigError(f"the weight in '{text}' must be positive")
        return cls(kind, Path(path), weight)

    def __str__(self) -> str:
        return f"{self.kind}:{'+'.join(part.name for part in _parts(self.path))}"


def open_source(spec: DataSpec, settings: Any, held_out: bool = False) -> PairSource:
    """The source that is named.

    Args:
        spec: which.
        settings: all settings, of :func:`settings_class`.
        held_out: its part that nothing is learned from, where it is divided.

    Raises:
        DataError: what is there is missing, damaged or of another kind.
    """
    return SOURCES[spec.kind](spec.path, settings, held_out)


def traverses(path: Path) -> tuple[Path, Path]:
    """The folders of two traverses that an ``aligned`` source names.

    Raises:
        ConfigError: it names another number of them.
    """
    folders = str(path).split(",")
    if len(folders) != 2:
        raise ConfigError(f"aligned:{path} must name the folders of two traverses, parted by a comma")
    return Path(folders[0]), Path(folders[1])


def drives(path: Path) -> tuple[Path, Path | None]:
    """The recording that a ``recording`` source of places names, and the second one of the same place, if any.

    Raises:
        ConfigError: it names more.
    """
    paths = _parts(path)
    if len(paths) > 2:
        raise ConfigError(f"recording:{path} must name one recording, or two of the same place parted by a comma")
    return paths[0], paths[1] if len(paths) == 2 else None


def _homography(path: Path, settings: Any, held_out: bool) -> PairSource:
    from vloc_ros.training.sources.homography import HomographyPairs

    return HomographyPairs(path, settings.homography)


def _static(path: Path, settings: Any, held_out: bool) -> PairSource:
    from vloc_ros.training.sources.static import StaticPairs

    include, exclude = settings.static.patterns(held_out)
    return StaticPairs(path, settings.homography, include=include, exclude=exclude)


def _parts(path: Path) -> list[Path]:
    """A path, or those of a list with commas."""
    return [path] if path.exists() else [Path(part) for part in str(path).split(",")]


def _recording(path: Path, settings: Any, held_out: bool) -> PairSource:
    from vloc_ros.data import open_recording
    from vloc_ros.training.sources.recordings import RecordingPairs

    paths = _parts(path)
    return RecordingPairs(
        lambda: [open_recording(part) for part in paths], "+".join(part.name for part in paths), settings.recording
    )


def _simulated(path: Path, settings: Any, held_out: bool) -> PairSource:
    from vloc_ros.training.sources.simulated import SimulatedPairs

    return SimulatedPairs(path)


def _utias(path: Path, settings: Any, held_out: bool) -> PairSource:
    from vloc_ros.training.utias import UtiasPairs

    return UtiasPairs(path, settings.utias, held_out)


SOURCES: dict[str, Callable[[Path, Any, bool], PairSource]] = {
    "simulated": _simulated,
    "static": _static,
    "homography": _homography,
    "recording": _recording,
    "utias": _utias,
}
"""Kinds of sources; each opens a path."""
