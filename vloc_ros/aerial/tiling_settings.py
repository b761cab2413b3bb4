"""How a map is cut and described; apart from what does it, so that the command line needs nothing heavy to know it."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param


@dataclass(frozen=True, slots=True)
class TilingSettings:
    """How a map is cut and described."""

    resolution_m: float = param(0.0, "of the finest level; 0 takes that of the raster", unit="m/px", min=0.0, max=100.0)
    levels: int = param(
        3, "resolutions, each coarser than the one before; those at which the map fills no tile are left out", min=1, max=12
    )
    ratio: float = param(2.0, "between the resolutions of two levels", min=1.1, max=8.0)
    tile: int = param(320, "side of a square tile", unit="px", min=64, max=2048)
    overlap: float = param(0.5, "share of a tile that its neighbour sees as well", min=0.0, max=0.9)
    headings: int = param(8, "directions at which each tile is described, evenly around", min=1, max=72)
    min_known: float = param(0.6, "share of a tile that must be ground: others are left out", min=0.05, max=1.0)
    max_features: int = param(2000, "local features of a block of 512 px and 64 px around it, at most", min=50, max=100000)
    accuracy_m: float = param(
        1.0, "standard deviation of where the raster is on the earth, along each axis", unit="m", min=0.0, max=1000.0
    )
