"""What a map is made of: sessions of keyframes, joined by edges."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, unique
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import MapError


class KeyframeId(NamedTuple):
    """Name of a keyframe, written ``s<session>/k<keyframe>``; it stays the same for the life of the map."""

    session: int
    keyframe: int

    def __str__(self) -> str:
        return f"s{self.session}/k{self.keyframe}"

    @classmethod
    def parse(cls, text: str) -> KeyframeId:
        """Inverse of ``str``.

        Raises:
            MapError: the text is not a keyframe name.
        """
        match = re.fullmatch(r"s([0-9]{1,9})/k([0-9]{1,9})", text)
        if match is None:
            raise MapError(f"'{text}' is not a keyframe name like s1/k42")
        return cls(int(match[1]), int(match[2]))


@unique
class EdgeKind(Enum):
    """How a relative pose between two keyframes came about."""

    ODOMETRY = "odometry"
    SPATIAL = "spatial"


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A remembered view, without its heavy parts (features and image, which the map reads when asked).

    Attributes:
        id: its name.
        stamp_ns: time of exposure [ns].
        map_T_base: (4, 4) pose of the robot's base in the map frame.
    """

    id: KeyframeId
    stamp_ns: int
    map_T_base: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Edge:
    """A measured relative pose ``a_T_b`` of the bases of two keyframes, with its (6, 6) covariance."""

    a: KeyframeId
    b: KeyframeId
    kind: EdgeKind
    a_T_b: NDArray[np.float64]
    covariance: NDArray[np.float64]
