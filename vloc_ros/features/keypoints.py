"""Key points from the logits and scores of a network: one in each window, as published for U, or local maxima anywhere."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.features.sampling import bilinear

Map = NDArray[np.float32]

MARGIN_PX = 8
"""Rows and columns along the border of an image where :func:`local_maxima` finds nothing: what lies outside is not known."""
_LOG_RANGE = 60.0  # of one pass in single precision, whose exp() ends at -87
_LOG_FLOOR = -3000.0  # below the highest logit; what is lower counts as this, so that the passes come to an end
_PEAK = 1.5  # times the probability in a flat neighbourhood: less is no maximum


class KeyPoints(NamedTuple):
    """Key points and what each is worth: (N, 2) float32 (u, v) [px], and (N,) float32."""

    pixels: NDArray[np.float32]
    scores: NDArray[np.float32]


def one_per_window(logits: Map, scores: Map, window: int) -> KeyPoints:
    """The expected position in each window under a softmax of the logits in it, row by row (U: temperature 1).

    Windows that do not fit into the image as a whole are left out.

    Args:
        logits: (H, W) of the detector.
        scores: (H, W), sampled bilinearly at each key point.
        window: side of a window [px].
    """
    rows, columns = logits.shape[0] // window, logits.shape[1] // window
    if rows == 0 or columns == 0:
        return KeyPoints(np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=np.float32))
    whole = _finite(logits)[: rows * window, : columns * window]
    blocks = whole.reshape(rows, window, columns, window).transpose(0, 2, 1, 3).reshape(rows, columns, window, window)
    weights = np.exp(blocks - blocks.max(axis=(2, 3), keepdims=True))
    weights /= weights.sum(axis=(2, 3), keepdims=True)
    inside = np.arange(window, dtype=np.float32)
    u = weights.sum(axis=2) @ inside + np.arange(columns, dtype=np.float32) * window
    v = weights.sum(axis=3) @ inside + np.arange(rows, dtype=np.float32)[:, None] * window
    pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float32)
    return KeyPoints(pixels, bilinear(_finite(scores)[None], pixels)[0])


def local_maxima(logits: Map, scores: Map, neighbourhood: int, radius: int) -> KeyPoints:
    """Local maxima of the response: the score times the probability of a pixel under a softmax over its neighbourhood.

    The neighbourhood is centred on each pixel, so that no grid is seen in the result. Positions are refined by a parabola
    through the logarithm of the response along each axis. Where the logits are flat there is nothing.

    Args:
        logits: (H, W) of the detector, of any magnitude.
        scores: (H, W) in [0, 1].
        neighbourhood: odd side of the neighbourhood [px].
        radius: a key point is the best within this many pixels along both axes.
    """
    height, width = logits.shape
    if min(height, width) <= 2 * MARGIN_PX:
        return KeyPoints(np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=np.float32))
    probability = softmax_of_centre(_finite(logits), neighbourhood)
    response = probability * _finite(scores)
    best = cv2.dilate(response, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
    chosen = (response >= best) & (probability > _PEAK / neighbourhood**2)
    inner = np.ascontiguousarray(chosen[MARGIN_PX : height - MARGIN_PX, MARGIN_PX : width - MARGIN_PX])
    found = cv2.findNonZero(inner.view(np.uint8))
    at = np.zeros((0, 2), dtype=np.int64) if found is None else found.reshape(-1, 2).astype(np.int64) + MARGIN_PX
    values = response[at[:, 1], at[:, 0]]
    kept = _without_twins(at, values, radius)
    at, values = at[kept], values[kept]
    pixels = np.stack([at[:, 0] + _peak(response, at, 1, 0), at[:, 1] + _peak(response, at, 0, 1)], axis=1)
    return KeyPoints(pixels.astype(np.float32), values)


def softmax_of_centre(logits: Map, side: int) -> Map:
    """(H, W) probability of each pixel under a softmax over the ``side`` x ``side`` pixels around it; less of them at the border.

    Exact for logits within 3000 of each other: neighbourhoods are computed by the magnitude of their maximum, in passes of
    which nearly always one is enough. Sums are not running sums, in which a large logit would drown all that follow it.
    """
    ones = np.ones(side, dtype=np.float32)
    with np.errstate(over="ignore"):
        logits = np.maximum(logits - logits.max(), np.float32(_LOG_FLOOR))
    highest = cv2.dilate(logits, np.ones((side, side), np.uint8))
    top, low = float(highest.max()), float(highest.min())
    result: Map | None = None
    while True:
        powers = logits - np.float32(top)
        if result is not None:
            np.minimum(powers, 0.0, out=powers)
        cv2.exp(powers, dst=powers)
        sums = cv2.sepFilter2D(powers, -1, ones, ones, borderType=cv2.BORDER_CONSTANT)
        found = powers / np.maximum(sums, np.finfo(np.float32).tiny)
        if result is None:
            result = found
        else:
            np.copyto(result, found, where=highest <= top)
        if low > top - _LOG_RANGE:
            return result
        top = float(highest[highest <= top - _LOG_RANGE].max())


def _without_twins(at: NDArray[np.int64], values: NDArray[np.float32], radius: int) -> NDArray[np.int64]:
    """Indices of the positive maxima; of those within the radius that are equal to the last bit, only the first."""
    order = np.argsort(values, kind="stable")
    dropped = set(np.flatnonzero(values <= 0.0).tolist())
    twins = np.flatnonzero(np.diff(values[order]) == 0.0)  # next to none, but on a roof of several equal pixels
    for first in twins.tolist():
        a = int(order[first])
        for b in order[first + 1 :].tolist():
            if values[b] != values[a] or a in dropped:
                break
            if np.abs(at[b] - at[a]).max() <= radius:
                dropped.add(b)
    return np.array([index for index in range(len(values)) if index not in dropped], dtype=np.int64)


def _peak(response: Map, at: NDArray[np.int64], du: int, dv: int) -> NDArray[np.float32]:
    """Where along an axis a parabola through the logarithms of three responses has its top, within half a pixel."""
    column, row = at[:, 0], at[:, 1]
    tiny = np.float32(np.finfo(np.float32).tiny)
    before, here, after = (
        np.log(np.maximum(response[row + step * dv, column + step * du], tiny, dtype=np.float32)) for step in (-1, 0, 1)
    )
    bend = 2.0 * here - before - after
    shift = (after - before) / (2.0 * np.maximum(bend, np.float32(1e-6)))
    return np.asarray(np.clip(shift, -0.5, 0.5), dtype=np.float32)


def _finite(values: Map) -> Map:
    """The values, with the lowest (at most 0) in place of what is not a finite number."""
    good = np.isfinite(values)
    return values if good.all() else np.where(good, values, np.float32(np.min(values, where=good, initial=0.0)))
