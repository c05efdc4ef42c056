"""Quarantined events and how they were closed, in the books. Only SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from farthing.events.store.books import Connection


def quarantine_page(
    conn: Connection, tenant_id: int, *, reason: str | None, resolved: bool | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """Quarantined events, oldest first, behind the id `after`: open ones, resolved ones, or (None) all."""
    return conn.execute(
        """
        SELECT quarantine_id, reason, detail, origin, raw, received_at, resolution, resolved_at
          FROM quarantine LEFT JOIN quarantine_resolutions USING (tenant_id, quarantine_id)
         WHERE tenant_id = %(tenant)s AND quarantine_id > %(after)s
           AND (%(reason)s::text IS NULL OR reason = %(reason)s)
           AND (%(resolved)s::boolean IS NULL OR (resolution IS NOT NULL) = %(resolved)s)
         ORDER BY quarantine_id LIMIT %(limit)s
        """,
        {"tenant": tenant_id, "after": after, "reason": reason, "resolved": resolved, "limit": limit},
    ).fetchall()


def open_ids(conn: Connection, tenant_id: int, reason: str | None) -> list[int]:
    """The quarantined events that nothing has been done about, oldest first: of one reason, or all."""
    found = conn.execute(
        """
        SELECT quarantine_id FROM quarantine
         WHERE tenant_id = %(tenant)s AND (%(reason)s::text IS NULL OR reason = %(reason)s)
           AND NOT EXISTS (SELECT FROM quarantine_resolutions AS resolved
                            WHERE resolved.tenant_id = quarantine.tenant_id
                              AND resolved.quarantine_id = quarantine.quarantine_id)
         ORDER BY quarantine_id
        """,
        {"tenant": tenant_id, "reason": reason},
    )
    return [row["quarantine_id"] for row in found]


def quarantined_events(conn: Connection, tenant_id: int, ids: Sequence[int]) -> list[dict[str, Any]]:
    """These quarantined events, in order, each with how it was closed, if it was."""
    return conn.execute(
        """
        SELECT quarantine_id, reason, raw, received_at, resolution
          FROM quarantine LEFT JOIN quarantine_resolutions USING (tenant_id, quarantine_id)
         WHERE tenant_id = %s AND quarantine_id = ANY(%s) ORDER BY quarantine_id
        """,
        [tenant_id, list(ids)],
    ).fetchall()


def insert_retried(conn: Connection, tenant_id: int, ids: Sequence[int], seal_id: str, now: datetime) -> None:
    """Close events whose retry this seal accounts for. One that was closed before stays as it was closed."""
    conn.execute(
        """
        INSERT INTO quarantine_resolutions (tenant_id, quarantine_id, resolution, seal_id, resolved_at)
        SELECT tenant_id, quarantine_id, 'retried', %s, %s FROM quarantine
         WHERE tenant_id = %s AND quarantine_id = ANY(%s)
        ON CONFLICT DO NOTHING
        """,
        [seal_id, now, tenant_id, list(ids)],
    )


def insert_dropped(conn: Connection, tenant_id: int, ids: Sequence[int], now: datetime) -> int:
    """Close events that are not to be counted. Returns how many were open."""
    return conn.execute(
        """
        INSERT INTO quarantine_resolutions (tenant_id, quarantine_id, resolution, resolved_at)
        SELECT tenant_id, quarantine_id, 'dropped', %s FROM quarantine
         WHERE tenant_id = %s AND quarantine_id = ANY(%s)
        ON CONFLICT DO NOTHING
        """,
        [now, tenant_id, list(ids)],
    ).rowcount


def resolutions(conn: Connection, tenant_id: int) -> dict[str, int]:
    """How many quarantined events were closed in each way."""
    found = conn.execute(
        """
        SELECT resolution, count(*) AS events FROM quarantine_resolutions
         WHERE tenant_id = %s GROUP BY resolution
        """,
        [tenant_id],
    )
    return {row["resolution"]: row["events"] for row in found}


def overdrawn_seals(conn: Connection, tenant_id: int) -> list[dict[str, Any]]:
    """Seals that close more quarantined events than they accepted."""
    return conn.execute(
        """
        SELECT seal_id, accepted, count(*) AS retried
          FROM quarantine_resolutions JOIN seals USING (tenant_id, seal_id)
         WHERE tenant_id = %s GROUP BY seal_id, accepted HAVING count(*) > accepted ORDER BY seal_id
        """,
        [tenant_id],
    ).fetchall()
