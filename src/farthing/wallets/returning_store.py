"""SQL of what goes back to wallets, or to the customer's credit, of grants."""

from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def insert_grant_credit(
    conn: BooksConnection,
    tenant_id: int,
    customer_id: int,
    currency: str,
    ending: str,
    amount: Decimal,
    now: datetime,
) -> None:
    """What was paid for the ended part of a grant stands to the customer's credit."""
    conn.execute(
        """
        INSERT INTO customer_credits (tenant_id, customer_id, currency, source, reference, amount, arose_at)
        VALUES (%s, %s, %s, 'grant', %s, %s, %s)
        """,
        [tenant_id, customer_id, currency, ending, amount, now],
    )


def select_returnable(conn: BooksConnection, tenant_id: int, invoice_id: int, now: datetime) -> list[DictRow]:
    """The grants that paid for an invoice of a period and are still in force: the last that paid first.

    paid_for: how much of the invoice each paid, less what earlier credit notes of it returned.
    """
    return conn.execute(
        """
        WITH paid AS (
            SELECT f.grant_id, sum(f.amount) AS amount, max(f.last_draw_id) AS latest
              FROM invoices i
              JOIN funding_parts f ON f.tenant_id = i.tenant_id AND f.subscription_id = i.subscription_id
                                  AND f.period_start = i.period_start
             WHERE i.tenant_id = %(tenant_id)s AND i.invoice_id = %(invoice_id)s AND i.reason = 'period'
               AND f.grant_id <> 0
             GROUP BY f.grant_id
        ), returned AS (
            SELECT g.returned_of AS grant_id, sum(g.amount) AS amount
              FROM credit_notes n
              JOIN grants g ON g.tenant_id = n.tenant_id AND g.reference = n.number AND g.returned_of IS NOT NULL
             WHERE n.tenant_id = %(tenant_id)s AND n.invoice_id = %(invoice_id)s AND n.to_wallets > 0
             GROUP BY 1
        )
        SELECT g.grant_id, g.key, g.wallet_id, g.customer_id, g.paid, g.priority, g.meters, g.rate_cards, g.expires_at,
               p.amount - coalesce(r.amount, 0) AS paid_for
          FROM paid p
          JOIN grants g ON g.tenant_id = %(tenant_id)s AND g.grant_id = p.grant_id
          LEFT JOIN returned r ON r.grant_id = p.grant_id
         WHERE (g.expires_at IS NULL OR g.expires_at > %(now)s)
           AND NOT EXISTS (SELECT FROM grant_endings e WHERE e.tenant_id = g.tenant_id AND e.grant_id = g.grant_id
                              AND e.reason <> 'rolled_over')
           AND p.amount > coalesce(r.amount, 0)
         ORDER BY p.latest DESC, g.grant_id DESC
        """,
        {"tenant_id": tenant_id, "invoice_id": invoice_id, "now": now},
    ).fetchall()
