"""SQL of terms of collection: those that subscriptions have of their own, and who may have any."""

import json
from collections.abc import Collection as CollectionOf
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from farthing.catalog.collection import Collection, collection_json, parse_collection
from farthing.db.pool import BooksConnection


@dataclass(frozen=True, slots=True)
class OwnCollection:
    """The latest terms that a subscription was given: its own, or None for those of its plan again."""

    collection_id: int
    collection: Collection | None


def select_own_collections(
    conn: BooksConnection, tenant_id: int, subscription_ids: CollectionOf[int]
) -> dict[int, OwnCollection]:
    """The latest terms of each of these subscriptions that was ever given any."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT DISTINCT ON (subscription_id) subscription_id, collection_id, definition::text
          FROM collection_terms
         WHERE tenant_id = %s AND subscription_id = ANY(%s)
         ORDER BY subscription_id, collection_id DESC
        """,
        [tenant_id, list(subscription_ids)],
    )
    read: dict[str | None, Collection | None] = {None: None}  # many have the same
    found: dict[int, OwnCollection] = {}
    for subscription_id, collection_id, definition in rows:
        if definition not in read:
            read[definition] = parse_collection(json.loads(definition))
        found[subscription_id] = OwnCollection(collection_id, read[definition])
    return found


def insert_collections(
    conn: BooksConnection, tenant_id: int, wanted: Mapping[str, Collection | None], now: datetime
) -> None:
    """Give these subscriptions, by key, terms of their own, or take theirs away."""
    conn.execute(
        """
        INSERT INTO collection_terms (tenant_id, subscription_id, definition, made_at)
        SELECT s.tenant_id, s.subscription_id, given.definition, %(now)s
          FROM unnest(%(keys)s::text[], %(definitions)s::jsonb[]) AS given (key, definition)
          JOIN subscriptions s ON s.tenant_id = %(tenant_id)s AND s.key = given.key
         ORDER BY s.subscription_id
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "keys": list(wanted),
            "definitions": [
                None if collection is None else Jsonb(collection_json(collection))
                for collection in wanted.values()
            ],
        },
    )
