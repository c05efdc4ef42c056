"""SQL of the checks of wallets on live books."""

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def count_grants(conn: BooksConnection, tenant_id: int) -> int:
    """How many grants there are."""
    row = conn.execute("SELECT count(*) AS grants FROM grants WHERE tenant_id = %s", [tenant_id]).fetchone()
    assert row is not None
    return int(row["grants"])


def select_overspent(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Grants of which more is gone than they are worth, or a counter of which is below zero."""
    return conn.execute(
        """
        SELECT key, amount, drawn, held, settled, expired FROM grants
         WHERE tenant_id = %s
           AND (drawn + held + settled + expired > amount OR least(drawn, held, settled, expired) < 0)
         ORDER BY grant_id LIMIT %s
        """,
        [tenant_id, limit],
    ).fetchall()


def select_unlike_facts(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Grants whose counters are not the sums of their draws and endings, or of what they funded."""
    return conn.execute(
        """
        SELECT g.key, g.drawn, coalesce(d.drawn, 0) AS draws, coalesce(f.funded, 0) AS funded, g.expired,
               coalesce(e.ended, 0) AS endings
          FROM grants g
          LEFT JOIN (SELECT grant_id, sum(amount) AS drawn FROM grant_draws WHERE tenant_id = %(tenant_id)s
                      GROUP BY grant_id) d USING (grant_id)
          LEFT JOIN (SELECT grant_id, sum(amount) AS funded
                       FROM (SELECT grant_id, amount FROM funding_parts WHERE tenant_id = %(tenant_id)s
                             UNION ALL
                             SELECT grant_id, quantity FROM unit_funding WHERE tenant_id = %(tenant_id)s) paid
                      GROUP BY grant_id) f USING (grant_id)
          LEFT JOIN (SELECT grant_id, sum(amount) AS ended FROM grant_endings WHERE tenant_id = %(tenant_id)s
                      GROUP BY grant_id) e USING (grant_id)
         WHERE g.tenant_id = %(tenant_id)s
           AND (g.drawn <> coalesce(d.drawn, 0) OR g.drawn <> coalesce(f.funded, 0)
                OR g.expired <> coalesce(e.ended, 0))
         ORDER BY g.grant_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()


def select_unlike_ledger(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Customers whose undrawn funds, paid or promotional, are not what the ledger says they have in wallets.

    What an opening balance brought is not in grants: it is left out.
    """
    return conn.execute(
        """
        WITH grants_say AS (
            SELECT g.customer_id, coalesce(w.currency, o.currency) AS currency,
                   CASE WHEN g.paid THEN 'prepaid' ELSE 'promotional_credit' END AS code,
                   sum((g.amount - g.drawn - g.expired) * coalesce(g.unit_price, 1)) AS undrawn
              FROM grants g
              JOIN wallets w ON w.tenant_id = g.tenant_id AND w.wallet_id = g.wallet_id
              JOIN customers o ON o.tenant_id = g.tenant_id AND o.customer_id = g.customer_id
             WHERE g.tenant_id = %(tenant_id)s
             GROUP BY 1, 2, 3),
        aside AS (
            SELECT e.account_id, sum(e.amount) AS amount
              FROM transfers t CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
             WHERE t.tenant_id = %(tenant_id)s AND t.kind = 'opening_balance'
             GROUP BY e.account_id),
        ledger_says AS (
            SELECT a.customer_id, a.currency, a.code, coalesce(s.amount, 0) - b.balance AS undrawn
              FROM accounts a
              JOIN account_balances b ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
              LEFT JOIN aside s ON s.account_id = a.account_id
             WHERE a.tenant_id = %(tenant_id)s AND a.code IN ('prepaid', 'promotional_credit'))
        SELECT c.key AS customer, coalesce(g.code, l.code) AS code, coalesce(g.currency, l.currency) AS currency,
               coalesce(g.undrawn, 0) AS grants_say, coalesce(l.undrawn, 0) AS ledger_says
          FROM grants_say g FULL JOIN ledger_says l USING (customer_id, currency, code)
          JOIN customers c ON c.tenant_id = %(tenant_id)s AND c.customer_id = coalesce(g.customer_id, l.customer_id)
         WHERE coalesce(g.undrawn, 0) <> coalesce(l.undrawn, 0)
         ORDER BY c.key, 2, 3 LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()


def count_holders(conn: BooksConnection, tenant_id: int) -> int:
    """How many customers have a wallet."""
    row = conn.execute(
        "SELECT count(DISTINCT customer_id) AS holders FROM wallets WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row["holders"])


def select_unlike_invoices(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Invoices that say that wallets paid another amount than was drawn for their periods; void ones aside, whose
    periods may be drawn for again."""
    return conn.execute(
        """
        SELECT i.number, i.currency, i.paid_from_wallets, coalesce(f.drawn, 0) AS drawn
          FROM standing_invoices i
          LEFT JOIN LATERAL (
               SELECT sum(f.amount) AS drawn FROM funding_parts f
                WHERE f.tenant_id = i.tenant_id AND f.subscription_id = i.subscription_id
                  AND f.period_start = i.period_start AND f.grant_id <> 0) f ON true
         WHERE i.tenant_id = %s AND i.reason = 'period' AND i.paid_from_wallets <> coalesce(f.drawn, 0)
         ORDER BY i.invoice_id LIMIT %s
        """,
        [tenant_id, limit],
    ).fetchall()
