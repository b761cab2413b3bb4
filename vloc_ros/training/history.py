"""What a training has come to so far: one row per epoch, as JSON lines."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from vloc_ros.data.output import write_text

HISTORY_NAME = "history.jsonl"
Row = dict[str, Any]


def write_history(folder: Path, rows: list[Row]) -> None:
    """Write the rows, one JSON object a line; what is not finite becomes null.

    Raises:
        DataError: they cannot be written.
    """
    write_text(folder / HISTORY_NAME, "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows))


def _finite(row: Row) -> Row:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
