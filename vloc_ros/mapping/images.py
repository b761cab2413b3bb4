"""Which keyframes of a map have an image."""

from __future__ import annotations

from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore


def keyframes_with_image(store: MapStore) -> frozenset[KeyframeId]:
    """Keyframes whose image the map holds; none is read."""
    return frozenset(KeyframeId(*key) for key in store.database.execute("SELECT session, keyframe FROM image"))


def has_image(store: MapStore, id: KeyframeId) -> bool:
    """Whether the map holds the image of a keyframe; it is not read."""
    return store.database.scalar("SELECT 1 FROM image WHERE session = ? AND keyframe = ?", id) is not None
