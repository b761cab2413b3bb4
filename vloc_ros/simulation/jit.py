"""How the renderer's kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile with numba, cached on disk and without the GIL.

    Strict IEEE arithmetic on purpose: neighbouring triangles share an edge without gaps only if its two evaluations are
    exact negatives, and images must not depend on how the compiler fuses operations.
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
