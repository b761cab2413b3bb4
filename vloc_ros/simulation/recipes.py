"""Building materials, each as a recipe of the same few ingredients."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.palette import Material


@dataclass(frozen=True, slots=True)
class Layer:
    """Fractal noise over a surface.

    Attributes:
        cell: cell size of the first octave [m].
        octaves: number of octaves; 0 for no such layer.
        gain: ratio of the amplitudes of successive octaves.
        stretch: below 1, patterns are longer along v (upwards, along a board or a trunk) by its inverse.
        tone: how much it brightens and darkens.
        relief: how much it tilts the surface.
    """

    cell: float = 1.0
    octaves: int = 0
    gain: float = 0.65
    stretch: float = 1.0
    tone: float = 0.0
    relief: float = 0.0


@dataclass(frozen=True, slots=True)
class Spots:
    """Separate grains: knots, chips, lichen; cell size [m], share of cells with one, stretch, strength, and colour."""

    cell: float = 1.0
    density: float = 0.0
    stretch: float = 1.0
    strength: float = 0.0
    r: float = 0.0
    g: float = 0.0
    b: float = 0.0
    spread: float = 0.0
    """How much lighter the lightest grain is."""


@dataclass(frozen=True, slots=True)
class Courses:
    """Rows of bricks, tiles or boards with joints between them.

    Attributes:
        width, height: of one piece [m]; height 0 for boards without end.
        joint: width of the joints [m]; 0 for no pieces at all.
        stagger: shift of every other course [m].
        tone: how much pieces differ.
        cover: how opaque the joints are.
        r, g, b: colour of the joints.
        lip: relief of the upper edge of a course.
    """

    width: float = 1.0
    height: float = 0.0
    joint: float = 0.0
    stagger: float = 0.0
    tone: float = 0.0
    cover: float = 0.0
    r: float = 0.0
    g: float = 0.0
    b: float = 0.0
    lip: float = 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """Moss where the coarse layer is high: threshold, amount and colour; and dirt splashed onto the lowest metre."""

    threshold: float = 1.0
    amount: float = 0.0
    r: float = 0.0
    g: float = 0.0
    b: float = 0.0
    splashes: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is drawn on one material."""

    coarse: Layer
    fine: Layer = Layer()
    spots: Spots = Spots()
    courses: Courses = Courses()
    growth: Growth = Growth()

    def pack(self) -> NDArray[np.float64]:
        """All numbers in the order of their declaration, as the kernel reads them."""
        return np.array([value for part in astuple(self) for value in part], dtype=np.float64)


RECIPES: dict[Material, Recipe] = {
    Material.BRICK: Recipe(
        coarse=Layer(1.1, 6, 0.68, tone=0.24, relief=0.13),
        courses=Courses(0.25, 0.085, 0.012, 0.125, tone=0.75, cover=1.0, r=0.36, g=0.35, b=0.325, lip=0.5),
    ),
    Material.PLASTER: Recipe(
        coarse=Layer(1.7, 6, 0.70, tone=0.15, relief=0.15),
        fine=Layer(0.5, 3, 0.6, stretch=0.13, tone=0.09),
        spots=Spots(0.45, 0.40, strength=0.6, r=0.24, g=0.19, b=0.15, spread=0.12),
        growth=Growth(splashes=0.32),
    ),
    Material.PLANK: Recipe(
        coarse=Layer(0.7, 5, 0.65, tone=0.22),
        fine=Layer(0.05, 3, 0.7, stretch=0.12, tone=0.26, relief=0.15),
        spots=Spots(0.29, 0.40, 0.7, strength=0.6, r=0.06, g=0.04, b=0.025),
        courses=Courses(0.145, 0.0, 0.012, tone=0.55, cover=0.8, r=0.03, g=0.025, b=0.02),
    ),
    Material.TILE: Recipe(
        coarse=Layer(0.9, 5, 0.62, tone=0.18),
        courses=Courses(0.22, 0.30, 0.028, 0.11, tone=0.55, cover=0.6, r=0.03, g=0.03, b=0.03, lip=-0.35),
        growth=Growth(0.25, 0.8, 0.11, 0.12, 0.06),
    ),
    Material.BARK: Recipe(
        coarse=Layer(0.35, 4, 0.65, tone=0.34),
        fine=Layer(0.055, 3, 0.65, stretch=0.22, tone=0.40, relief=0.28),
        growth=Growth(0.2, 0.4, 0.10, 0.15, 0.06),
    ),
    Material.STONE: Recipe(
        coarse=Layer(0.32, 5, 0.72, tone=0.34, relief=0.25),
        spots=Spots(0.11, 0.5, strength=0.5, r=0.26, g=0.30, b=0.18, spread=0.25),
    ),
    Material.PAINT: Recipe(coarse=Layer(0.4, 4, 0.6, tone=0.14)),
    Material.SIGN: Recipe(coarse=Layer(0.25, 4, 0.6, tone=0.12)),
}
