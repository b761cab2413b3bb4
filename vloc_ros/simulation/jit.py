"""How the renderer's kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit_exact(function: F) -> F:
    """Compile with numba, cached on disk and without the GIL, in strict IEEE arithmetic.

    For geometry: neighbouring triangles share an edge without gaps only if its two evaluations are exact negatives, which
    a fused multiply-add would spoil.
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def jit(function: F) -> F:
    """As :func:`jit_exact`, but products may be fused and divisions by constants become multiplications.

    For shading, where the last bit of a colour is of no interest. Nothing is reordered: results do not depend on the run.
    """
    flags = {"contract", "arcp", "nsz"}
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=flags)(function))
