"""World files: six numbers beside an image that say where its pixels are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import Georeference
from vloc_ros.aerial.projections import WGS84
from vloc_ros.errors import DataError

_ENDINGS = {".png": ".pgw", ".jpg": ".jgw", ".jpeg": ".jgw", ".tif": ".tfw", ".tiff": ".tfw"}


def world_file_of(image: Path) -> Path | None:
    """The world file beside an image, None where there is none; endings may be in capitals, and be that of the image with a w."""
    wanted = {_ENDINGS.get(image.suffix.lower(), ".wld"), ".wld", f"{image.suffix.lower()}w"}
    try:
        beside = sorted(image.parent.iterdir())
    except OSError as error:
        raise DataError(f"the folder of {image} cannot be read: {error.strerror or error}") from error
    found = [path for path in beside if path.stem == image.stem and path.suffix.lower() in wanted]
    return found[0] if found else None


def read_world_file(path: Path, crs: str | None = None) -> Georeference:
    """What a world file says of its image.

    Args:
        path: of the file.
        crs: its reference system; None says that the numbers are degrees of WGS84, which they then must be.

    Raises:
        DataError: it is damaged, or its numbers are no degrees and no system is given.
        ConfigError: the system is not known, or needs pyproj.
    """
    try:
        values = [float(word) for word in path.read_text(encoding="ascii", errors="replace").replace(",", ".").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"the world file {path} is damaged: it must be six lines of one number each") from error
    if len(values) != 6 or not np.isfinite(values).all():
        raise DataError(f"the world file {path} is damaged: it must be six lines of one number each")
    a, d, b, e, x, y = values
    affine: NDArray[np.float64] = np.array([[a, b, x], [d, e, y]])
    if crs is None and not (abs(x) <= 180.0 and abs(y) <= 90.0 and abs(a) + abs(b) < 0.1):
        raise DataError(f"the numbers of {path} are no degrees: say of which reference system they are with --crs EPSG:xxxxx")
    return Georeference(affine, crs or WGS84)


def write_world_file(path: Path, affine: NDArray[np.float64]) -> None:
    """Write the (2, 3) map from pixels to coordinates.

    Raises:
        OSError: it cannot be written.
    """
    (a, b, x), (d, e, y) = affine
    path.write_text("".join(f"{value:.12g}\n" for value in (a, d, b, e, x, y)), encoding="ascii")
