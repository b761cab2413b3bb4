"""What re-rankers keep of keyframes (their local patches), so that it is made once and survives restarts.

It belongs to a map as descriptors do, but it can always be made again: what is damaged is replaced, and what another model made is
left alone and never handed out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from vloc_ros.data.model_card import ModelCard
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore

_DIGITS = 16
_OF = "WHERE fingerprint = ? AND session = ? AND keyframe = ?"


@dataclass(frozen=True, slots=True)
class PatchCount:
    """How much a map holds that one re-ranker made.

    Attributes:
        card: of the re-ranker.
        keyframes: of so many.
        size_bytes: of their patches together.
    """

    card: ModelCard
    keyframes: int
    size_bytes: int

    @property
    def name(self) -> str:
        """Name and first digits of the hash of the weights, as the diagnostics say it."""
        return f"{self.card.name} {self.card.sha256[:12]}".strip()

    def __str__(self) -> str:
        return f"{self.name} of {self.keyframes} keyframes ({self.size_bytes / 1e6:.2f} MB)"


def fingerprint(card: ModelCard) -> str:
    """By what the patches of a re-ranker are kept; another one when anything on its card is another."""
    return hashlib.sha256(json.dumps(astuple(card)).encode()).hexdigest()[:_DIGITS]


def put_patches(store: MapStore, card: ModelCard, patches: Mapping[KeyframeId, bytes]) -> None:
    """Keep the patches of keyframes, all in one transaction; those that the same re-ranker made before are replaced.

    Args:
        store: the map, open for writing.
        card: of the re-ranker.
        patches: by keyframe; no bytes for one with nothing to describe.

    Raises:
        MapError: a keyframe is unknown, or the map cannot be written; nothing is kept then.
    """
    key, database = fingerprint(card), store.database
    with database.transaction():
        if database.scalar("SELECT 1 FROM patch_card WHERE fingerprint = ?", (key,)) is None:
            database.insert("patch_card", (key, card.name, int(card.dimension), card.sha256, card.preprocessing))
        for id, content in patches.items():
            database.insert("patches", (*id, key, bytes(content)), replace=True)


def patches_of(store: MapStore, card: ModelCard, id: KeyframeId) -> bytes | None:
    """What a re-ranker keeps of a keyframe, None where the map has it not (yet), or is of an older schema and only read.

    Raises:
        MapError: it fails its checksum; it can be made again.
    """
    rows = store.database.rows("patches", _OF, (fingerprint(card), *id))
    return bytes(rows[0][3]) if rows else None


def keyframes_with_patches(store: MapStore, card: ModelCard) -> set[KeyframeId]:
    """The keyframes of which the map holds the patches of a re-ranker; none of these is read."""
    if "patches" not in store.database.tables:
        return set()
    query = "SELECT session, keyframe FROM patches WHERE fingerprint = ?"
    return {KeyframeId(*row) for row in store.database.execute(query, (fingerprint(card),))}


def forget_patches(store: MapStore, card: ModelCard) -> int:
    """Remove all that a re-ranker made, in one transaction; returns of how many keyframes it was."""
    key, database = fingerprint(card), store.database
    with database.transaction():
        count = int(database.scalar("SELECT count(*) FROM patches WHERE fingerprint = ?", (key,)))
        for table in ("patches", "patch_card"):
            database.execute(f"DELETE FROM {table} WHERE fingerprint = ?", (key,))
    return count


def patch_counts(store: MapStore) -> list[PatchCount]:
    """What the map holds of each re-ranker, by name.

    Raises:
        MapError: a card is damaged.
    """
    query = "SELECT count(*), total(length(content)) FROM patches WHERE fingerprint = ?"
    result = []
    for key, *values in store.database.rows("patch_card", "ORDER BY name, fingerprint"):
        count, size = store.database.execute(query, (key,))[0]
        result.append(PatchCount(ModelCard(*values), int(count), int(size)))
    return result
