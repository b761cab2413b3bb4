"""From the file of a map to a locator on it."""

from __future__ import annotations

from pathlib import Path

from vloc_ros.aerial.locator import Locator
from vloc_ros.aerial.locator_settings import LocatorSettings
from vloc_ros.aerial.map_file import AerialMap
from vloc_ros.errors import ConfigError
from vloc_ros.features import AUTO, chosen, create_extractor
from vloc_ros.retrieval import create_descriptor, descriptors


def open_locator(
    path: Path, settings: LocatorSettings | None = None, features: str = "", descriptor: str = ""
) -> tuple[AerialMap, Locator]:
    """Open a map, and make the locator that fits it.

    Args:
        path: file of the map.
        settings: of the locator.
        features: local features, a name or a file of weights; empty for those that the map names.
        descriptor: global descriptor, likewise.

    Returns:
        The map, which is to be closed, and the locator.

    Raises:
        MapError: the map is absent or damaged, or was made with other features or another descriptor.
        ConfigError: a name is not known, or what it needs is not installed.
        WeightsError: a file of weights is missing, damaged or of another network.
    """
    settings = settings or LocatorSettings()
    ground = AerialMap.open(path)
    try:
        extractor = create_extractor(features or chosen(AUTO, ground.features), settings.features)
        describe = create_descriptor(descriptor or _known(ground.descriptor))
        ground.require(extractor, describe)
        return ground, Locator(ground, extractor, describe, settings)
    except BaseException:
        ground.close()
        raise


def _known(name: str) -> str:
    """The name of a descriptor that a map says. A map may come from anywhere: what it says never becomes the path of a file."""
    if name not in descriptors():
        raise ConfigError(f"the map was described by '{name}', which is not known here: name its file of weights with --descriptor")
    return name
