"""Which features ``auto`` stands for."""

from __future__ import annotations

from vloc_ros.data.models import shipped_features
from vloc_ros.errors import ConfigError
from vloc_ros.features.contract import extractors
from vloc_ros.features.engines.choice import has_engine

AUTO = "auto"
_LEARNED, _WITHOUT_ENGINE = "unet", "sift_fast"


def chosen(name: str, of_map: str | None = None) -> str:
    """The name of an extractor for one that may be :data:`AUTO`.

    A map decides by what it was made with. For a new one it is the shipped network, which carries a robot through the night where
    classical features do not (``docs/features.md`` has the table), or SIFT where nothing can compute networks.

    Args:
        name: as configured.
        of_map: the name in the map, where there is one.

    Raises:
        ConfigError: features of the map's name are not known here.
    """
    if name != AUTO:
        return name
    if of_map is None:
        return _LEARNED if has_engine() and _LEARNED in shipped_features() else _WITHOUT_ENGINE
    if of_map not in extractors():  # a map may come from anywhere: what it says never becomes the path of a file
        raise ConfigError(
            f"the map was made with features '{of_map}', which are not known here: name their file of weights with --features FILE "
            "(features.name)"
        )
    return of_map
