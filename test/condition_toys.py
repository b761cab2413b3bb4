"""A toy descriptor that knows conditions, and hears in which one each view is said to be taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np
import pytest

from vloc_ros.data.model_card import ModelCard
from vloc_ros.retrieval import GlobalDescriptor, View, contract

CONDITIONS = ("noon", "dusk", "night")


class Hearing(GlobalDescriptor):
    """The image made small. Whoever says no condition is taken to mean the first."""

    name = "hearing"
    heard: ClassVar[list[str]] = []
    """What was said of each view that was described, in order, by all of them."""

    @property
    def card(self) -> ModelCard:
        return ModelCard(self.name, 48)

    @property
    def conditions(self) -> tuple[str, ...]:
        return CONDITIONS

    def conditions_of(self, views: Sequence[View]) -> list[str]:
        return [view.condition or CONDITIONS[0] for view in views]

    def describe(self, view: View) -> np.ndarray:
        self.heard.append(view.condition)
        grey = view.image if view.image.ndim == 2 else cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (8, 6), interpolation=cv2.INTER_AREA).ravel().astype(np.float32)
        small -= small.mean()
        return small / max(float(np.linalg.norm(small)), 1e-6)


class HearingToo(Hearing):
    """Another one, for a fine stage: it knows one condition more."""

    name = "hearing_too"
    heard: ClassVar[list[str]] = []

    @property
    def conditions(self) -> tuple[str, ...]:
        return (*CONDITIONS, "fog")


def register_hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are known by their names until the test ends, and have heard nothing yet."""
    for kind in (Hearing, HearingToo):
        monkeypatch.setitem(contract._MAKERS, kind.name, kind)
        kind.heard.clear()
