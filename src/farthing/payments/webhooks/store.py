"""SQL of events of gateways."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection


def select_known_events(
    conn: BooksConnection, tenant_id: int, gateway: str, event_ids: Collection[str]
) -> set[str]:
    """Those of these events that were taken before."""
    rows = conn.execute(
        "SELECT event_id FROM provider_events WHERE tenant_id = %s AND gateway = %s AND event_id = ANY(%s)",
        [tenant_id, gateway, list(event_ids)],
    ).fetchall()
    return {row["event_id"] for row in rows}


def select_subjects(
    conn: BooksConnection,
    tenant_id: int,
    gateway: str,
    provider_ids: Collection[str],
    payment_keys: Collection[str],
) -> list[DictRow]:
    """The payments that a gateway speaks of, by its names for them or by ours, with their last attempts."""
    return conn.execute(
        """
        SELECT p.payment_id, p.key, p.provider_id, p.attempts, p.state, p.amount, p.currency, a.sent_at
          FROM payments p
          LEFT JOIN payment_attempts a ON a.tenant_id = p.tenant_id AND a.payment_id = p.payment_id
               AND a.attempt = p.attempts
         WHERE p.tenant_id = %s AND p.gateway = %s AND (p.provider_id = ANY(%s) OR p.key = ANY(%s))
        """,
        [tenant_id, gateway, list(provider_ids), list(payment_keys)],
    ).fetchall()


def select_refund_ids(
    conn: BooksConnection, tenant_id: int, gateway: str, provider_ids: Collection[str]
) -> dict[str, int]:
    """The refunds that a gateway speaks of, by its names for them."""
    rows = conn.execute(
        """
        SELECT r.provider_id, r.refund_id
          FROM refunds r JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
         WHERE r.tenant_id = %s AND p.gateway = %s AND r.provider_id = ANY(%s)
        """,
        [tenant_id, gateway, list(provider_ids)],
    ).fetchall()
    return {row["provider_id"]: row["refund_id"] for row in rows}


def insert_events(
    conn: BooksConnection, tenant_id: int, gateway: str, rows: Sequence[dict[str, Any]], now: datetime
) -> None:
    """Keep events, with what each of them did."""
    conn.execute(
        """
        INSERT INTO provider_events (tenant_id, gateway, event_id, kind, said, effect, occurred_at, received_at)
        SELECT %(tenant_id)s, %(gateway)s, g.event_id, g.kind, g.said, g.effect, g.occurred_at, %(now)s
          FROM unnest(%(ids)s::text[], %(kinds)s::text[], %(said)s::jsonb[], %(effects)s::text[],
                      %(occurred)s::timestamptz[]) AS g (event_id, kind, said, effect, occurred_at)
        """,
        {
            "tenant_id": tenant_id,
            "gateway": gateway,
            "now": now,
            "ids": [row["event_id"] for row in rows],
            "kinds": [row["kind"] for row in rows],
            "said": [Jsonb(row["said"]) for row in rows],
            "effects": [row["effect"] for row in rows],
            "occurred": [row["occurred_at"] for row in rows],
        },
    )
