"""Whether a package of ROS is there. Imports no ROS."""

from __future__ import annotations

import importlib


def importable(name: str) -> bool:
    """Whether a module can be imported; it is."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
