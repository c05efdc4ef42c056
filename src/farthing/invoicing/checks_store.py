"""SQL of the checks of invoicing."""

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def select_unbalanced(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Invoices whose lines do not sum to what the invoice says."""
    return conn.execute(
        """
        SELECT i.number, i.subtotal, i.tax, i.total, i.total_exact,
               coalesce(sum(l.amount), 0) AS lines_amount, coalesce(sum(l.amount_exact), 0) AS lines_exact
          FROM invoices i
          LEFT JOIN invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
         WHERE i.tenant_id = %s
         GROUP BY i.tenant_id, i.invoice_id
        HAVING coalesce(sum(l.amount), 0) <> i.subtotal OR i.subtotal + i.tax <> i.total
            OR coalesce(sum(l.amount_exact), 0) <> i.total_exact - i.tax
         ORDER BY i.invoice_id LIMIT %s
        """,
        [tenant_id, limit],
    ).fetchall()


def select_issued_after(conn: BooksConnection, tenant_id: int, after: int, limit: int) -> list[DictRow]:
    """Invoices behind the id `after`, in order: what their columns say, their lines, and the document."""
    return conn.execute(
        """
        SELECT i.invoice_id, i.number, c.key AS customer, s.key AS subscription, i.status, i.reason, i.currency,
               i.period_start, i.period_end, i.subtotal, i.tax, i.total, i.total_exact, i.issued_at, i.document,
               (SELECT json_agg(ARRAY[l.rate_card, l.quantity::text, l.amount_exact::text, l.amount::text]
                                ORDER BY l.line)
                  FROM invoice_lines l
                 WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id) AS lines
          FROM invoices i
          JOIN customers c ON c.tenant_id = i.tenant_id AND c.customer_id = i.customer_id
          JOIN subscriptions s ON s.tenant_id = i.tenant_id AND s.subscription_id = i.subscription_id
         WHERE i.tenant_id = %s AND i.invoice_id > %s
         ORDER BY i.invoice_id LIMIT %s
        """,
        [tenant_id, after, limit],
    ).fetchall()


def select_numbers(conn: BooksConnection, tenant_id: int) -> tuple[int, list[str]]:
    """The last number that was taken, and the numbers of all invoices in the order of their issue."""
    row = conn.execute(
        """
        SELECT coalesce((SELECT last_number FROM invoice_counters WHERE tenant_id = %(tenant_id)s), 0) AS last_number,
               ARRAY(SELECT number::text FROM invoices WHERE tenant_id = %(tenant_id)s ORDER BY invoice_id) AS numbers
        """,
        {"tenant_id": tenant_id},
    ).fetchone()
    assert row is not None
    return row["last_number"], row["numbers"]
