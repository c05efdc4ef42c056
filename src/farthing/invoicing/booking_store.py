"""SQL that says what issued invoices are in the terms of the ledger."""

from collections.abc import Sequence

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection

# What a line shows contains its tax where prices include it; revenue is without. Lines are looked up invoice by
# invoice: joined in the order asked for, PostgreSQL would read all lines of the tenant from its first invoice on.
_ISSUED = """
    SELECT i.invoice_id, i.number, i.customer_id, i.currency, i.tax, i.issued_at,
           coalesce(l.earned, 0) + coalesce(b.amount, 0) - i.paid_from_wallets AS earned,
           coalesce(l.deferred, 0) AS deferred, coalesce(b.amount, 0) - coalesce(l.carried, 0) AS unbilled
      FROM invoices i
      LEFT JOIN LATERAL (
            -- What is brought forward became revenue when it was carried: below zero, as it stands there.
            SELECT sum(c.amount - CASE WHEN s.prices_include_tax THEN c.tax ELSE 0 END) AS amount
              FROM invoices s
              JOIN invoice_lines c ON c.tenant_id = s.tenant_id AND c.invoice_id = s.invoice_id
                                  AND c.adjustment = 'carried_forward'
             WHERE s.tenant_id = i.tenant_id AND s.number = i.brings) b ON i.brings IS NOT NULL
     CROSS JOIN LATERAL (
            SELECT sum(o.amount) FILTER (
                   WHERE CASE o.adjustment WHEN 'carried_forward' THEN false WHEN 'brought_forward' THEN true
                         ELSE o.service_end <= i.issued_at END) AS earned,
                   sum(o.amount) FILTER (
                   WHERE o.service_end > i.issued_at
                     AND coalesce(o.adjustment, '') NOT IN ('carried_forward', 'brought_forward')) AS deferred,
                   sum(o.amount) FILTER (WHERE o.adjustment = 'carried_forward') AS carried
              FROM (SELECT adjustment, service_end,
                           amount - CASE WHEN i.prices_include_tax THEN tax ELSE 0 END AS amount
                      FROM invoice_lines WHERE tenant_id = i.tenant_id AND invoice_id = i.invoice_id) o
            HAVING count(*) > 0) l
     WHERE i.tenant_id = %(tenant_id)s {which}
     ORDER BY i.invoice_id LIMIT %(limit)s
"""
_OF_IDS = _ISSUED.format(which="AND i.invoice_id = ANY(%(ids)b::bigint[])")
_AFTER = _ISSUED.format(which="AND i.invoice_id > %(after)s")
_UNBOOKED = _ISSUED.format(
    which="""AND i.invoice_id > %(after)s AND NOT EXISTS (
        SELECT FROM transfers t WHERE t.tenant_id = i.tenant_id AND t.key = %(prefix)s || i.number)""",
)


def select_issued_of(conn: BooksConnection, tenant_id: int, ids: Sequence[int]) -> list[DictRow]:
    """These invoices: whose they are, and how much of each is earned, deferred, unbilled and tax."""
    return conn.execute(_OF_IDS, {"tenant_id": tenant_id, "ids": list(ids), "limit": len(ids)}).fetchall()


def select_issued_after(conn: BooksConnection, tenant_id: int, after: int, limit: int) -> list[DictRow]:
    """The same of all invoices behind the id `after`, in order."""
    return conn.execute(_AFTER, {"tenant_id": tenant_id, "after": after, "limit": limit}).fetchall()


def select_unbooked_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, prefix: str
) -> list[DictRow]:
    """The same of those without a transfer, whose key would be the prefix and the number."""
    given = {"tenant_id": tenant_id, "after": after, "limit": limit, "prefix": prefix}
    return conn.execute(_UNBOOKED, given).fetchall()
