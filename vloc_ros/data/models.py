"""The weights that come with vloc_ros: where they are, and what they are called."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from pathlib import Path

from vloc_ros.data.weights import INT8_ENDING, LOCAL_NETWORKS, PLACE_NETWORKS, SUFFIX, load_card
from vloc_ros.errors import WeightsError

_log = logging.getLogger("vloc.models")


def models_folders() -> list[Path]:
    """Folders of shipped weights that are there: of the source tree, else of the installation (share/vloc_ros/models)."""
    package = Path(__file__).resolve().parents[1]
    source = package.parent / "models"
    if (package.parent / "package.xml").is_file() and source.is_dir():
        return [source]
    prefixes = dict.fromkeys([*package.parents, Path(sys.prefix)])
    folders = (prefix / "share" / "vloc_ros" / "models" for prefix in prefixes)
    return [folder for folder in folders if folder.is_dir()]


def shipped_features() -> dict[str, Path]:
    """Files of shipped local features by name: weights, and what was made of them in 8-bit integers (``unet_int8``).

    One whose card is damaged is left out, and the log says so.
    """
    found = _shipped(LOCAL_NETWORKS)
    for path in list(found.values()):
        small = path.with_name(path.stem + INT8_ENDING)
        if small.is_file():
            found.setdefault(small.stem, small)
    return found


def shipped_places() -> dict[str, Path]:
    """Files of shipped networks of place recognition by name; one whose card is damaged is left out, and the log says so."""
    return _shipped(PLACE_NETWORKS)


def _shipped(networks: Collection[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in models_folders():
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                if load_card(path).network in networks:
                    found.setdefault(path.stem, path)
            except WeightsError as error:
                _log.warning("%s", error)
    return found
