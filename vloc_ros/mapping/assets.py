"""What a model of global descriptors needs beside its card, such as a learned vocabulary: kept in the map with the descriptors."""

from __future__ import annotations

from collections.abc import Iterator

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError, VlocError
from vloc_ros.mapping.store import MapStore


def put_model_asset(store: MapStore, card: ModelCard, content: bytes) -> None:
    """Store the card of a model and its asset in the map; the same again does no harm.

    Raises:
        MapError: the card names no hash of an asset, or the map holds descriptors of another model of that name.
    """
    if not card.sha256:
        raise MapError(f"the model '{card.name}' has no hash in its card, so an asset cannot be known to be its own")
    store.add_model_card(card)
    if model_asset(store, card.name) != content:
        with store.database.transaction():
            store.database.insert("model_asset", (card.name, content), replace=True)


def model_asset(store: MapStore, name: str) -> bytes | None:
    """The asset of a model, None where the map has none.

    Raises:
        MapError: it fails its checksum.
    """
    rows = store.database.rows("model_asset", "WHERE name = ?", (name,))
    return bytes(rows[0][1]) if rows else None


def forget_model(store: MapStore, name: str) -> int:
    """Remove a model with its asset and all its descriptors, in one transaction; returns how many keyframes it had described."""
    with store.database.transaction():
        count = int(store.database.scalar("SELECT count(*) FROM global_descriptor WHERE model = ?", (name,)))
        for table, column in (("global_descriptor", "model"), ("model_asset", "name"), ("model_card", "name")):
            store.database.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))
    return count


def damaged_assets(store: MapStore) -> Iterator[str]:
    """One sentence for each asset that does not make the model of its card; models that this release does not know pass."""
    from vloc_ros.retrieval import create_descriptor, takes_assets  # which knows maps, so not at the top

    cards = {card.name: card for card in store.model_cards()}
    for name, content in store.database.rows("model_asset"):
        if not takes_assets(name):
            continue
        try:
            made = create_descriptor(name, bytes(content)).card
        except VlocError as error:
            yield f"the asset of model '{name}' is damaged: {error}"
            continue
        if made != cards.get(name):
            yield f"the asset of model '{name}' is not the one of its card (card: {cards.get(name)}; asset: {made})"
