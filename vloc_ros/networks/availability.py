"""Whether torch is there, in words a user can act on."""

from __future__ import annotations

import importlib.util

from vloc_ros.errors import ConfigError


def require_torch(what: str) -> None:
    """Make sure that torch can be imported, without importing it.

    Raises:
        ConfigError: it is not installed; the text says what needs it and how to get it.
    """
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            f"{what} needs torch, which is not installed: run `make setup TORCH_INDEX=URL`, or do what requirements/torch.txt says"
        )
