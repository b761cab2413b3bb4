"""A small patch-normalised picture as descriptor: the baseline of SeqSLAM (Milford and Wyeth, ICRA 2012, section III-A)."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.model_card import ModelCard
from vloc_ros.retrieval.contract import GlobalDescriptor, View, register
from vloc_ros.retrieval.pixels import grey_of, unit

_WIDTH, _HEIGHT, _PATCH = 64, 32, 8
_MIN_DEVIATION = 2.0
"""Deviation of a patch [grey levels] below which it is noise, and is not blown up to full contrast."""


@register("thumbnail")
class Thumbnail(GlobalDescriptor):
    """64x32 grey levels, each 8x8 patch brought to zero mean and unit deviation, so that light and shade matter little."""

    name: ClassVar[str] = "thumbnail"

    @property
    def card(self) -> ModelCard:
        """Of a descriptor without weights."""
        return ModelCard(self.name, _WIDTH * _HEIGHT, preprocessing=f"grey {_WIDTH}x{_HEIGHT}, patches of {_PATCH}, v1")

    def describe(self, view: View) -> NDArray[np.float32]:
        """(2048,) the pixels of the normalised thumbnail, row by row."""
        small = cv2.resize(grey_of(view, self.name), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
        patches = small.reshape(_HEIGHT // _PATCH, _PATCH, _WIDTH // _PATCH, _PATCH)
        centred = patches - patches.mean(axis=(1, 3), keepdims=True)
        deviation = np.sqrt(np.mean(centred**2, axis=(1, 3), keepdims=True))
        return unit((centred / np.maximum(deviation, _MIN_DEVIATION)).ravel())
