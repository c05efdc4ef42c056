"""SQL of the checks of the ledger."""

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def count_transfers(conn: BooksConnection, tenant_id: int) -> int:
    """How many transfers there are."""
    row = conn.execute(
        "SELECT count(*) AS transfers FROM transfers WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row["transfers"])


def select_unbalanced(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Transfers that do not sum to zero, or touch an account that is not there or is of another currency."""
    return conn.execute(
        """
        SELECT t.key, t.currency, sum(e.amount) AS rest,
               count(*) FILTER (WHERE a.currency IS DISTINCT FROM t.currency) AS foreign_accounts
          FROM transfers t
          LEFT JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount) ON true
          LEFT JOIN accounts a ON a.tenant_id = t.tenant_id AND a.account_id = e.account_id
         WHERE t.tenant_id = %s
         GROUP BY t.tenant_id, t.transfer_id
        HAVING sum(e.amount) IS DISTINCT FROM 0 OR count(*) FILTER (WHERE a.currency IS DISTINCT FROM t.currency) > 0
         ORDER BY t.transfer_id LIMIT %s
        """,
        [tenant_id, limit],
    ).fetchall()


def count_accounts(conn: BooksConnection, tenant_id: int) -> int:
    """How many accounts there are."""
    row = conn.execute(
        "SELECT count(*) AS accounts FROM accounts WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row["accounts"])


def select_unlike_fold(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Accounts whose kept balance is not the sum of their entries, or not of so many."""
    return conn.execute(
        """
        SELECT a.account_id, a.code, a.currency, c.key AS customer, coalesce(b.balance, 0) AS balance,
               coalesce(b.entries, 0) AS entries, coalesce(f.balance, 0) AS fold, coalesce(f.entries, 0) AS folded
          FROM accounts a
          LEFT JOIN customers c ON c.tenant_id = a.tenant_id AND c.customer_id = a.customer_id
          LEFT JOIN account_balances b ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
          LEFT JOIN (SELECT account_id, sum(amount) AS balance, count(*) AS entries
                       FROM entries WHERE tenant_id = %(tenant_id)s GROUP BY account_id) f
                 ON f.account_id = a.account_id
         WHERE a.tenant_id = %(tenant_id)s
           AND (coalesce(b.balance, 0) <> coalesce(f.balance, 0) OR coalesce(b.entries, 0) <> coalesce(f.entries, 0))
         ORDER BY a.account_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()
