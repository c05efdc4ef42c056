"""SQL of what is carried forward: what waits to be brought, and what is worth an invoice."""

from collections.abc import Collection, Iterable

from psycopg.rows import DictRow, tuple_row

from farthing.customers.terms.billing_store import select_billing_terms
from farthing.db.pool import BooksConnection
from farthing.invoicing.carrying.forward import CarryForward
from farthing.invoicing.model import Bill, BillKey, CarriedForward, CarriedPart, Reason
from farthing.kernel.period import Period
from farthing.wallets.schedule_store import select_holders_among


def select_carry_forward(conn: BooksConnection, tenant_id: int, bills: Iterable[Bill]) -> CarryForward:
    """What waits for the customers of these bills, their smallest invoices, and who gets collective invoices.

    Wallet holders have neither.
    """
    asked = {(bill.customer.customer_id, bill.plan.currency) for bill in bills}
    customers = {customer_id for customer_id, _ in asked}
    terms = select_billing_terms(conn, tenant_id, customers)
    smallest = {
        (customer_id, currency): amount
        for customer_id, currency in asked
        if (amount := terms.of(customer_id).smallest(currency)) is not None
    }
    collective = {customer_id for customer_id in customers if terms.of(customer_id).collective}
    carrying = collective | {customer_id for customer_id, _ in smallest}
    holders = select_holders_among(conn, tenant_id, carrying) if carrying else set()
    return CarryForward(
        {key: amount for key, amount in smallest.items() if key[0] not in holders},
        select_waiting(conn, tenant_id, customers),
        frozenset(collective - holders),
    )


def select_waiting(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int] | None = None
) -> dict[tuple[int, str], CarriedForward]:
    """What no invoice has brought forward yet, by customer and currency: of all customers, or of these.

    The last invoice of a customer and currency that carried anything has brought what those before it did.
    """
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        WITH last AS (
            SELECT DISTINCT ON (i.customer_id, i.currency)
                   i.customer_id, i.currency, i.subscription_id, i.period_start, i.reason, i.sequence, i.period_end,
                   i.number, i.invoice_id
              FROM standing_invoices i
             WHERE i.tenant_id = %(tenant_id)s AND i.carries
               AND (%(ids)b::bigint[] IS NULL OR i.customer_id = ANY(%(ids)b::bigint[]))
             ORDER BY i.customer_id, i.currency, i.invoice_id DESC)
        SELECT i.customer_id, i.currency, i.subscription_id, i.period_start, i.reason, i.sequence, i.period_end,
               i.number, array_agg(coalesce(l.subscription, s.key)::text ORDER BY l.line),
               array_agg(l.adjustment_key::text ORDER BY l.line),
               array_agg(-l.amount_exact ORDER BY l.line), array_agg(-l.amount ORDER BY l.line)
          FROM last i
          JOIN subscriptions s ON s.tenant_id = %(tenant_id)s AND s.subscription_id = i.subscription_id
          JOIN invoice_lines l ON l.tenant_id = %(tenant_id)s AND l.invoice_id = i.invoice_id
                              AND l.adjustment = 'carried_forward'
         WHERE NOT EXISTS (SELECT FROM standing_invoices b
                            WHERE b.tenant_id = %(tenant_id)s AND b.brings = i.number)
         GROUP BY i.customer_id, i.currency, i.subscription_id, i.period_start, i.reason, i.sequence, i.period_end,
                  i.number
        """,
        {"tenant_id": tenant_id, "ids": None if customer_ids is None else list(customer_ids)},
    )
    found: dict[tuple[int, str], CarriedForward] = {}
    for customer_id, currency, subscription_id, start, reason, sequence, end, number, *parts in rows:
        of = BillKey(subscription_id, start, Reason(reason), sequence)
        told = tuple(CarriedPart(*part) for part in zip(*parts, strict=True))
        found[customer_id, currency] = CarriedForward(of, Period(start, end), told, number)
    return found


def select_carried_beside_ledger(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Where what waits to be brought forward, net of tax, is not what the ledger holds as unbilled."""
    return conn.execute(
        """
        WITH waits AS (
            SELECT i.customer_id, i.currency,
                   -sum(l.amount - CASE WHEN i.prices_include_tax THEN l.tax ELSE 0 END) AS amount
              FROM standing_invoices i
              JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
                                  AND l.adjustment = 'carried_forward'
             WHERE i.tenant_id = %(tenant_id)s AND i.carries
               AND NOT EXISTS (SELECT FROM standing_invoices b
                                WHERE b.tenant_id = i.tenant_id AND b.brings = i.number)
             GROUP BY i.customer_id, i.currency
        ), booked AS (
            SELECT a.customer_id, a.currency, b.balance AS amount
              FROM accounts a JOIN account_balances b ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
             WHERE a.tenant_id = %(tenant_id)s AND a.code = 'unbilled_receivable'
        )
        SELECT c.key AS customer, coalesce(w.currency, b.currency) AS currency, coalesce(w.amount, 0) AS waits,
               coalesce(b.amount, 0) AS booked
          FROM waits w
          FULL JOIN booked b ON b.customer_id = w.customer_id AND b.currency = w.currency
          JOIN customers c ON c.tenant_id = %(tenant_id)s AND c.customer_id = coalesce(w.customer_id, b.customer_id)
         WHERE coalesce(w.amount, 0) <> coalesce(b.amount, 0)
         ORDER BY c.key, 2 LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()


def count_carried(conn: BooksConnection, tenant_id: int) -> int:
    """How many invoices that hold carried something forward."""
    row = conn.execute(
        "SELECT count(*) AS carried FROM standing_invoices WHERE tenant_id = %s AND carries", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row["carried"])
