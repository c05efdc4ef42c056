"""SQL of the schedule: whose usage is drawn as it is sealed, and who holds wallets."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg.rows import tuple_row

from farthing.customers.content import anchor_of
from farthing.db.pool import BooksConnection
from farthing.wallets.schedule import Alike


def select_version(conn: BooksConnection, tenant_id: int) -> tuple[Any, ...]:
    """What changes whenever anything changes that says whose usage is drawn as it is sealed, and by which price.

    The first says whether there are wallets at all, the last from when on something can be drawn.
    """
    row = (
        conn.cursor(row_factory=tuple_row)
        .execute(
            """
            SELECT (SELECT max(wallet_id) FROM wallets WHERE tenant_id = %(tenant_id)s),
                   (SELECT max(subscription_id) FROM subscriptions WHERE tenant_id = %(tenant_id)s),
                   (SELECT max(change_id) FROM subscription_changes WHERE tenant_id = %(tenant_id)s),
                   (SELECT max(meter_id) FROM meters WHERE tenant_id = %(tenant_id)s),
                   (SELECT count(*) FROM commitments WHERE tenant_id = %(tenant_id)s),
                   (SELECT count(*) FROM coupon_redemptions WHERE tenant_id = %(tenant_id)s),
                   (SELECT min(effective_at) FROM grants WHERE tenant_id = %(tenant_id)s)
            """,
            {"tenant_id": tenant_id},
        )
        .fetchone()
    )
    assert row is not None
    return tuple(row)


_DRAWN_WHEN_SEALED = """
      FROM subscriptions s
      JOIN customers c ON c.tenant_id = s.tenant_id AND c.customer_id = s.customer_id
     WHERE s.tenant_id = %(tenant_id)s
       AND (s.customer_id IN (
           SELECT customer_id FROM wallets WHERE tenant_id = %(tenant_id)s AND currency IS NOT NULL)) IS TRUE
       AND s.subscription_id NOT IN (SELECT subscription_id FROM commitments WHERE tenant_id = %(tenant_id)s)
       AND s.subscription_id NOT IN (SELECT subscription_id FROM coupon_redemptions WHERE tenant_id = %(tenant_id)s)
"""
"""Subscriptions of customers with a wallet of money, without coupons and commitments. `IS TRUE` keeps lists hashed."""
_HISTORIES = "(SELECT subscription_id FROM subscription_changes WHERE tenant_id = %(tenant_id)s)"
_ALIKE = (
    """
    SELECT s.plan_version_id, s.anchor, s.start_at, c.timezone, array_agg(s.subscription_id),
           array_agg(s.customer_id)
    """
    + _DRAWN_WHEN_SEALED
    + " AND s.subscription_id NOT IN "
    + _HISTORIES
    + " GROUP BY s.plan_version_id, s.anchor, s.start_at, c.timezone ORDER BY min(s.subscription_id)"
)
_CHANGED = (
    "SELECT s.subscription_id, c.timezone "
    + _DRAWN_WHEN_SEALED
    + " AND (s.subscription_id IN "
    + _HISTORIES
    + ") IS TRUE"
)


@contextmanager
def _whole_tables(conn: BooksConnection) -> Iterator[None]:
    """Join what is read of a whole tenant by hashes. PostgreSQL takes a tenant that it has not analysed to have a row
    of each table, and would compare each with each."""
    conn.execute("SET LOCAL enable_nestloop = off")
    yield
    conn.execute("SET LOCAL enable_nestloop = on")


def select_alike(conn: BooksConnection, tenant_id: int) -> list[Alike]:
    """The subscriptions of customers with a wallet of money that have no terms and were never changed."""
    with _whole_tables(conn):
        rows = conn.cursor(row_factory=tuple_row).execute(_ALIKE, {"tenant_id": tenant_id})
    return [Alike(version, anchor_of(anchor), *rest) for version, anchor, *rest in rows]


def select_changed(conn: BooksConnection, tenant_id: int) -> dict[int, str]:
    """Those that were changed: their ids, and the time zones of their customers."""
    with _whole_tables(conn):
        rows = conn.cursor(row_factory=tuple_row).execute(_CHANGED, {"tenant_id": tenant_id})
    return dict(rows.fetchall())


def select_holders(conn: BooksConnection, tenant_id: int) -> dict[int, str]:
    """The customers that have a wallet of money: their ids and time zones."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT c.customer_id, c.timezone FROM customers c
         WHERE c.tenant_id = %(tenant_id)s AND EXISTS (
               SELECT FROM wallets w WHERE w.tenant_id = c.tenant_id AND w.customer_id = c.customer_id
                  AND w.currency IS NOT NULL)
        """,
        {"tenant_id": tenant_id},
    )
    return dict(rows.fetchall())


def select_holders_among(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int], *, of_money: bool = False
) -> set[int]:
    """Those of these customers that have a wallet; with `of_money`, one of money."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT DISTINCT customer_id FROM wallets WHERE tenant_id = %s AND customer_id = ANY(%s)"
        " AND (currency IS NOT NULL OR NOT %s)",
        [tenant_id, list(customer_ids), of_money],
    )
    return {customer_id for (customer_id,) in rows}


def select_subjects(conn: BooksConnection, tenant_id: int, subjects: Sequence[str]) -> dict[str, int]:
    """Those of these subjects that mean a customer, and whom."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT array_agg(s.subject::text), array_agg(s.customer_id)
          FROM json_array_elements_text(%(subjects)s::json) AS given (subject)
          JOIN customer_subjects s ON s.tenant_id = %(tenant_id)s AND s.subject = given.subject
        """,
        {"tenant_id": tenant_id, "subjects": json.dumps(subjects, ensure_ascii=False)},
    )
    ((known, customer_ids),) = rows.fetchall()
    return dict(zip(known or (), customer_ids or (), strict=True))
