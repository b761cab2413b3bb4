"""What made a descriptor: stored with it, so that two are compared only when one model made both."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What made global descriptors; descriptors of two models can be compared only when their cards are equal.

    Attributes:
        name: name of the model.
        dimension: length of its descriptors.
        sha256: hash of its weights, empty when it has none.
        preprocessing: how images are prepared for it, empty when the name says it all.
    """

    name: str
    dimension: int
    sha256: str = ""
    preprocessing: str = ""
