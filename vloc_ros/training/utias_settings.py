"""Settings of pairs from UTIAS folders."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from vloc_ros.config import param


@unique
class Sampling(Enum):
    """Which vertex of another run a vertex is paired with."""

    RANDOM = "random"
    """Any within some edges of the pose graph."""
    SEQUENTIAL = "sequential"
    """The metrically nearest one that is some edges away, as in the published tests."""


@unique
class Split(Enum):
    """Which runs are learned from and which are held out."""

    AUTO = "auto"
    """The published split of the data set that a folder above is named after, else none."""
    MULTISEASON = "multiseason"
    IN_THE_DARK = "in_the_dark"
    NONE = "none"
    """All runs are in both."""


@dataclass(frozen=True)
class UtiasSettings:
    """Pairs from the pose graph of a UTIAS path."""

    sampling: Sampling = param(Sampling.RANDOM, "which vertices are paired: random or sequential")
    split: Split = param(Split.AUTO, "runs that are held out: auto, multiseason, in_the_dark or none")
    temporal_length: int = param(
        3, "random: partners are at most so many edges and one away; sequential: at least", min=0, max=1000
    )
    radius: int = param(8, "sequential: partners are at most so many edges away", min=1, max=1000)
    samples: int = param(100000, "random: so many pairs to learn from", min=1)
    validation_samples: int = param(20000, "random: so many held-out pairs", min=1)
    seed: int = param(1, "of the random pairs", min=0)
