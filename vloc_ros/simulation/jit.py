"""How the renderer's kernels are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
_CONSTANTS = ("light.py", "mesh.py", "palette.py")
"""Modules without kernels whose constants are compiled into them."""


def jit_exact(function: F) -> F:
    """Compile with numba, cached on disk and without the GIL, in strict IEEE arithmetic.

    For geometry: neighbouring triangles share an edge without gaps only if its two evaluations are exact negatives, which
    a fused multiply-add would spoil.
    """
    return _compiled(function, False)


def jit(function: F) -> F:
    """As :func:`jit_exact`, but products may be fused and divisions by constants become multiplications.

    For shading, where the last bit of a colour is of no interest. Nothing is reordered: results do not depend on the run.
    """
    return _compiled(function, {"contract", "arcp", "nsz"})


def _compiled(function: F, fastmath: bool | set[str]) -> F:
    dispatcher = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)(function)
    # Numba takes a cached kernel to be fresh as long as the file of that kernel is unchanged, although it holds the code of
    # the kernels it calls. The stamp of all kernels makes it look at all of them.
    index = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if index is not None:
        index._source_stamp = (*index._source_stamp, _kernel_stamp())
    return cast(F, dispatcher)


@lru_cache(maxsize=1)
def _kernel_stamp() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source = path.read_bytes()
        if b"@jit" in source or path.name in _CONSTANTS:
            digest.update(source)
    return digest.hexdigest()
