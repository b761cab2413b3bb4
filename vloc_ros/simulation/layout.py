"""What kind of place a world is."""

from __future__ import annotations

from enum import Enum


class Layout(Enum):
    """MIXED has a bit of everything; LOOKALIKE repeats itself; HILLY goes up and down.

    In LOOKALIKE, rows of equal houses and equal trees at equal distances line most of the route, to mislead place recognition.
    In HILLY, the route climbs and falls by up to 12 %.
    """

    MIXED = "mixed"
    LOOKALIKE = "lookalike"
    HILLY = "hilly"
