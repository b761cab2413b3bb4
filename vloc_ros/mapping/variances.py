"""How uncertain the global descriptors of a map are, where the model that made them knows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vloc_ros.errors import MapError
from vloc_ros.mapping.database import Database
from vloc_ros.mapping.keyframe import KeyframeId

if TYPE_CHECKING:
    from vloc_ros.mapping.store import MapStore


def put_variance(database: Database, id: KeyframeId, model: str, variance: float) -> None:
    """Store the variance of a descriptor that has just been stored, in its transaction.

    Raises:
        MapError: it is not positive; infinite is a variance, too: that of an image with nothing to describe.
    """
    value = float(variance)
    if not value > 0.0:
        raise MapError(f"keyframe {id}: the variance of its descriptor of '{model}' is {value}, and it must be above 0")
    database.insert("descriptor_variance", (*id, model, value), replace=True)


def variances_of(store: MapStore, model: str) -> dict[KeyframeId, float]:
    """Variances of the elements of the global descriptors of a model, by keyframe; none from a model that does not know them.

    Raises:
        MapError: one is damaged.
    """
    rows = store.database.rows("descriptor_variance", "WHERE model = ? ORDER BY session, keyframe", (model,))
    result = {KeyframeId(session, keyframe): float(variance) for session, keyframe, _, variance in rows}
    wrong = next((id for id, variance in result.items() if not math.isfinite(variance) and variance != math.inf), None)
    if wrong is not None:
        raise MapError(f"the map {store.path} is damaged: the variance of the descriptor of keyframe {wrong} is no number")
    return result
