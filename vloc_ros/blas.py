"""How the threads of NumPy's linear algebra wait; to be said before NumPy is loaded."""

from __future__ import annotations

import os

_VARIABLE = "OPENBLAS_THREAD_TIMEOUT"
_SHORTEST = "4"


def let_threads_sleep() -> None:
    """Let the threads of OpenBLAS sleep when they have nothing to do, unless the user's environment says otherwise.

    By default they wait in a loop for tens of milliseconds after each product, and take the cores from the network that
    computes the next image: extraction takes up to half as long again. Processes started from this one inherit it.
    """
    os.environ.setdefault(_VARIABLE, _SHORTEST)
