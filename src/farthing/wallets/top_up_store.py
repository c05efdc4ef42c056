"""SQL of top-ups."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def insert_top_ups(
    conn: BooksConnection,
    tenant_id: int,
    top_ups: Sequence[tuple[str, int, Decimal, str]],
    now: datetime,
    *,
    automatic: bool,
) -> int:
    """New wishes for money: (key, wallet, amount, who collects it). How many; keys that stand are passed over."""
    return conn.execute(
        """
        INSERT INTO top_ups (tenant_id, key, wallet_id, amount, automatic, collected_by, requested_at)
        SELECT %(tenant_id)s, given.key, given.wallet_id, given.amount, %(automatic)s, given.collected_by, %(now)s
          FROM unnest(%(keys)s::text[], %(wallets)s::bigint[], %(amounts)s::numeric[], %(collected)s::text[])
               AS given (key, wallet_id, amount, collected_by)
            ON CONFLICT (tenant_id, key) DO NOTHING
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "automatic": automatic,
            "keys": [key for key, *_ in top_ups],
            "wallets": [wallet_id for _, wallet_id, _, _ in top_ups],
            "amounts": [amount for *_, amount, _ in top_ups],
            "collected": [collected_by for *_, collected_by in top_ups],
        },
    ).rowcount


_TOP_UPS = """
    SELECT t.top_up_id, t.key, t.wallet_id, w.key AS wallet, w.customer_id, c.key AS customer, w.currency, t.amount,
           t.automatic, t.collected_by, t.requested_at, t.status, t.settled_at, g.key AS grant, t.failure
      FROM top_ups t
      JOIN wallets w ON w.tenant_id = t.tenant_id AND w.wallet_id = t.wallet_id
      JOIN customers c ON c.tenant_id = w.tenant_id AND c.customer_id = w.customer_id
      LEFT JOIN grants g ON g.tenant_id = t.tenant_id AND g.grant_id = t.grant_id
     WHERE t.tenant_id = %(tenant_id)s
"""


def select_top_up(conn: BooksConnection, tenant_id: int, key: str, *, hold: bool = False) -> DictRow | None:
    """A top-up by its key; with `hold` nobody else settles it until the transaction ends."""
    return conn.execute(
        _TOP_UPS + " AND t.key = %(key)s" + (" FOR NO KEY UPDATE OF t" if hold else ""),
        {"tenant_id": tenant_id, "key": key},
    ).fetchone()


def select_top_ups_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, wallet: str | None, status: str | None
) -> list[DictRow]:
    """Top-ups in the order of their requests, those behind the id `after`."""
    return conn.execute(
        _TOP_UPS
        + """
           AND t.top_up_id > %(after)s AND (%(wallet)s::text IS NULL OR w.key = %(wallet)s)
           AND (%(status)s::text IS NULL OR t.status = %(status)s)
         ORDER BY t.top_up_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "after": after, "limit": limit, "wallet": wallet, "status": status},
    ).fetchall()


def lock_top_ups(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> list[DictRow]:
    """These top-ups by id; nobody else settles them until the transaction ends."""
    return conn.execute(
        _TOP_UPS + " AND t.key = ANY(%(keys)s) ORDER BY t.top_up_id FOR NO KEY UPDATE OF t",
        {"tenant_id": tenant_id, "keys": list(keys)},
    ).fetchall()


def settle_top_ups(
    conn: BooksConnection,
    tenant_id: int,
    settled: Mapping[int, int | str],
    now: datetime,
) -> None:
    """What came of top-ups, by id: the id of the grant that one became, or why it did not."""
    conn.execute(
        """
        UPDATE top_ups t SET status = CASE WHEN given.grant_id IS NULL THEN 'failed' ELSE 'funded' END,
               settled_at = %(now)s, grant_id = given.grant_id, failure = given.failure
          FROM unnest(%(ids)s::bigint[], %(grants)s::bigint[], %(failures)s::text[])
               AS given (top_up_id, grant_id, failure)
         WHERE t.tenant_id = %(tenant_id)s AND t.top_up_id = given.top_up_id
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "ids": list(settled),
            "grants": [came if isinstance(came, int) else None for came in settled.values()],
            "failures": [came if isinstance(came, str) else None for came in settled.values()],
        },
    )


# ---- Grants that payments fund


def is_paid_by_payment(conn: BooksConnection, tenant_id: int, grant_id: int) -> bool:
    """Whether a grant was funded by a payment, or by what of one came back."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM grants WHERE tenant_id = %(tenant_id)s AND grant_id = %(grant_id)s
                          AND starts_with(key, 'top_up_again:'))
            OR EXISTS (SELECT FROM top_ups WHERE tenant_id = %(tenant_id)s AND grant_id = %(grant_id)s
                          AND collected_by = 'payment' AND status = 'funded') AS found
        """,
        {"tenant_id": tenant_id, "grant_id": grant_id},
    ).fetchone()
    assert row is not None
    return bool(row["found"])


def lock_left(conn: BooksConnection, tenant_id: int, grant_ids: Collection[int]) -> list[DictRow]:
    """What is left of these grants, in the order of their ids; they stand still until the transaction ends."""
    return conn.execute(
        """
        SELECT g.grant_id, g.key, g.wallet_id, w.customer_id, w.currency,
               g.amount - g.drawn - g.held - g.settled - g.expired AS unused,
               (SELECT count(*) FROM grant_endings e
                 WHERE e.tenant_id = g.tenant_id AND e.grant_id = g.grant_id) AS endings
          FROM grants g JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
         WHERE g.tenant_id = %s AND g.grant_id = ANY(%s)
         ORDER BY g.grant_id FOR NO KEY UPDATE OF g
        """,
        [tenant_id, list(grant_ids)],
    ).fetchall()


def select_wallets_of(conn: BooksConnection, tenant_id: int, grants: Collection[str]) -> list[int]:
    """The wallets that these grants are in."""
    rows = conn.execute(
        "SELECT DISTINCT wallet_id FROM grants WHERE tenant_id = %s AND key = ANY(%s) ORDER BY wallet_id",
        [tenant_id, list(grants)],
    )
    return [row["wallet_id"] for row in rows]
