"""Histograms of oriented gradients of the whole image (Dalal and Triggs, CVPR 2005) as one descriptor."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.model_card import ModelCard
from vloc_ros.retrieval.contract import GlobalDescriptor, View, register
from vloc_ros.retrieval.pixels import grey_of, unit

_WIDTH, _HEIGHT, _CELL, _BINS = 128, 64, 8, 8
_COLUMNS, _ROWS = _WIDTH // _CELL, _HEIGHT // _CELL
_MIN_ENERGY = 2.0
"""Mean gradient of a neighbourhood [grey levels per pixel] below which it is noise, and is not blown up."""


@register("hog")
class Hog(GlobalDescriptor):
    """Unsigned gradient directions in 16x8 cells; each cell is set against the strength of its neighbourhood.

    Edges stay where they are when leaves fall and shadows move, and their direction says nothing of brightness; that is why it
    works across seasons as well as it does.
    """

    name: ClassVar[str] = "hog"

    @property
    def card(self) -> ModelCard:
        """Of a descriptor without weights."""
        prepared = f"grey {_WIDTH}x{_HEIGHT}, cells of {_CELL}, {_BINS} directions, v1"
        return ModelCard(self.name, _ROWS * _COLUMNS * _BINS, preprocessing=prepared)

    def describe(self, view: View) -> NDArray[np.float32]:
        """(1024,) histograms cell by cell, the directions of a cell beside each other."""
        small = cv2.resize(grey_of(view, self.name), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
        cells = _histograms(small.astype(np.float32))
        energy = cv2.blur(cells.sum(axis=2), (3, 3), borderType=cv2.BORDER_REFLECT)
        normalised = cells / np.maximum(energy, _MIN_ENERGY)[..., None]
        # The square root keeps one strong edge from outshouting all others (Hellinger kernel); without the mean over the cells,
        # which all pictures share, other places score about zero. A picture of one grey has nothing left.
        rooted = np.sqrt(normalised)
        return unit((rooted - rooted.mean(axis=(0, 1))).ravel())


def _histograms(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, columns, bins) mean gradient per direction; each pixel votes for its two nearest directions and four cells."""
    du = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=1, borderType=cv2.BORDER_REPLICATE)
    dv = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=1, borderType=cv2.BORDER_REPLICATE)
    strength, angle = cv2.cartToPolar(du, dv)
    position = (angle * np.float32(_BINS / np.pi)) % _BINS
    low = np.floor(position)
    share = position - low
    votes = np.zeros((*grey.shape, _BINS), dtype=np.float32)
    first = low.astype(np.int64) % _BINS
    np.put_along_axis(votes, first[..., None], (strength * (1.0 - share))[..., None], axis=2)
    np.put_along_axis(votes, ((first + 1) % _BINS)[..., None], (strength * share)[..., None], axis=2)
    smooth = cv2.blur(votes, (2 * _CELL, 2 * _CELL), borderType=cv2.BORDER_REFLECT)
    return np.asarray(smooth[_CELL // 2 :: _CELL, _CELL // 2 :: _CELL], dtype=np.float32)
