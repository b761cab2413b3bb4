"""ONNX files of weights that are at hand: they are used when they say that they are of these weights, and else left alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from vloc_ros.data.onnx_file import CALIBRATED, metadata_of
from vloc_ros.errors import WeightsError

SUFFIX = ".onnx"
PAIRS_ENDING = "_pairs" + SUFFIX
"""Of the name of the file of a second stage, after the name of the weights beside it."""
CLASSIFIER_ENDING, MISFIT_ENDING = "_classifier" + SUFFIX, "_misfit" + SUFFIX
"""Likewise of the files that find the condition of an image."""
_log = logging.getLogger("vloc.engines")


def onnx_of_weights(
    candidates: Iterable[Path], weights: str, sha256: str, hash_in: Callable[[bytes, str], str | None]
) -> bytes | None:
    """The content of the first file that is of some weights; why another one is not used is logged.

    Args:
        candidates: files that may be it, and may not be there.
        weights: name of the file of weights, for messages.
        sha256: hash of these weights.
        hash_in: hash of the weights that an ONNX file says to be of, from its content and its name; None for one that is not ours.
    """
    for candidate in candidates:
        try:
            content = candidate.read_bytes() if candidate.is_file() else None
            if content is None:
                continue
            found, int8 = hash_in(content, str(candidate)), is_int8(content, str(candidate))
        except (OSError, WeightsError) as error:
            _log.warning("%s is not used: %s", candidate, error)
            continue
        if int8:
            _log.warning("%s is in 8-bit integers and not used in place of %s: name it to use it", candidate, weights)
        elif found != sha256:
            _log.warning("%s is not of the weights in %s, so it is not used: export it again", candidate, weights)
        else:
            return content
    return None


def is_int8(content: bytes, what: str) -> bool:
    """Whether an ONNX file of ours is in 8-bit integers.

    Raises:
        WeightsError: it is not a whole ONNX file; ``what`` names it.
    """
    return CALIBRATED in metadata_of(content, what)
