"""What a model of global descriptors needs beside its card, such as a learned vocabulary: kept in the map with the descriptors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError
from vloc_ros.mapping.store import MapStore


def put_model_asset(store: MapStore, card: ModelCard, content: bytes) -> None:
    """Store the card of a model and its asset in the map; the same again does no harm.

    Raises:
        MapError: the content is not what the card says (SHA-256), or the map holds descriptors of another model of that name.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise MapError(f"the asset of model '{card.name}' has SHA-256 {found}, but its card says '{card.sha256}'")
    store.add_model_card(card)
    if model_asset(store, card.name) != content:
        with store.database.transaction():
            store.database.insert("model_asset", (card.name, content), replace=True)


def model_asset(store: MapStore, name: str) -> bytes | None:
    """The asset of a model, None where the map has none.

    Raises:
        MapError: it is damaged: it fails its checksum, or is not what the model's card says.
    """
    rows = store.database.rows("model_asset", "WHERE name = ?", (name,))
    if not rows:
        return None
    content = bytes(rows[0][1])
    card = next((card for card in store.model_cards() if card.name == name), None)
    if card is None or hashlib.sha256(content).hexdigest() != card.sha256:
        raise MapError(f"the map {store.path} is damaged: the asset of model '{name}' is not the one of its card; restore a copy")
    return content


def forget_model(store: MapStore, name: str) -> int:
    """Remove a model with its asset and all its descriptors, in one transaction; returns how many keyframes it had described."""
    with store.database.transaction():
        count = int(store.database.scalar("SELECT count(*) FROM global_descriptor WHERE model = ?", (name,)))
        for table, column in (("global_descriptor", "model"), ("model_asset", "name"), ("model_card", "name")):
            store.database.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))
    return count


def damaged_assets(store: MapStore) -> Iterator[str]:
    """One sentence for each asset that is not what its model's card says."""
    for name, _ in store.database.rows("model_asset"):
        try:
            model_asset(store, str(name))
        except MapError as error:
            yield str(error)
