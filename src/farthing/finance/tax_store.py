"""SQL of the tax report: what documents bear, and what was remitted."""

from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow, tuple_row

from farthing.db.pool import BooksConnection
from farthing.ledger.model import TransferKind

# An invoice from before there was a table of rates says nothing of tax: its amount stands without a treatment.
_TAXES = """
    WITH borne AS (
        SELECT i.invoice_id, i.currency, i.prices_include_tax, t.place, t.country, t.region,
               coalesce(t.name, '') AS name, coalesce(t.category, '') AS category,
               coalesce(t.treatment, 'no table') AS treatment, coalesce(t.percent, 0) AS percent,
               coalesce(t.net, i.total) AS net, coalesce(t.amount, 0) AS amount, i.issued_at, v.voided_at
          FROM invoices i
          LEFT JOIN invoice_taxes t ON t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id
          LEFT JOIN invoice_voids v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
         WHERE i.tenant_id = %(tenant)s
           AND ((i.issued_at >= %(start)s AND i.issued_at < %(end)s)
                OR (v.voided_at >= %(start)s AND v.voided_at < %(end)s))
    ), credited AS (
        SELECT n.credit_note_id, n.currency, n.prices_include_tax, t.said, n.total
          FROM credit_notes n
          LEFT JOIN LATERAL jsonb_array_elements(n.document::jsonb -> 'taxes') AS t (said) ON true
         WHERE n.tenant_id = %(tenant)s AND n.issued_at >= %(start)s AND n.issued_at < %(end)s
    ), told AS (
        SELECT 'invoices' AS source, invoice_id AS document, country, region, name, category, treatment, percent,
               prices_include_tax, currency, net, amount
          FROM borne WHERE issued_at >= %(start)s AND issued_at < %(end)s
        UNION ALL
        SELECT 'voids', invoice_id, country, region, name, category, treatment, percent, prices_include_tax, currency,
               -net, -amount
          FROM borne WHERE voided_at >= %(start)s AND voided_at < %(end)s
        UNION ALL
        SELECT 'credit notes', credit_note_id, said ->> 'country', said ->> 'region', coalesce(said ->> 'name', ''),
               coalesce(said ->> 'category', ''), coalesce(said ->> 'treatment', 'no table'),
               coalesce((said ->> 'rate')::numeric, 0), prices_include_tax, currency,
               -coalesce((said ->> 'net')::numeric, total), -coalesce((said ->> 'amount')::numeric, 0)
          FROM credited
    )
    SELECT source, country, region, name, category, treatment, trim_scale(percent)::text AS rate,
           CASE WHEN prices_include_tax THEN 'gross' ELSE 'net' END AS prices, currency,
           count(DISTINCT document) AS documents, sum(net) AS net, sum(amount) AS tax
      FROM told
     GROUP BY source, country, region, name, category, treatment, trim_scale(percent), prices_include_tax, currency
"""

_WRITTEN_OFF = """
    SELECT i.invoice_id, coalesce(t.place, 1) AS place, t.country, t.region, coalesce(t.name, '') AS name,
           coalesce(t.category, '') AS category, coalesce(t.treatment, 'no table') AS treatment,
           trim_scale(coalesce(t.percent, 0))::text AS rate,
           CASE WHEN i.prices_include_tax THEN 'gross' ELSE 'net' END AS prices, i.currency,
           coalesce(t.net, i.total) AS net, coalesce(t.amount, 0) AS tax, coalesce(c.credited, 0) AS credited,
           w.net AS written_net, w.tax AS written_tax
      FROM write_offs w
      JOIN invoices i ON i.tenant_id = w.tenant_id AND i.invoice_id = w.invoice_id
      LEFT JOIN invoice_taxes t ON t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id
      LEFT JOIN credited_parts c ON c.tenant_id = t.tenant_id AND c.invoice_id = t.invoice_id
                                AND c.kind = 'tax' AND c.place = t.place
     WHERE w.tenant_id = %(tenant)s AND w.written_off_at >= %(start)s AND w.written_off_at < %(end)s
     ORDER BY i.invoice_id, t.place
"""

_REMITTED = """
    SELECT t.currency, sum(e.amount) AS amount
      FROM transfers t
     CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
      JOIN accounts a ON a.tenant_id = t.tenant_id AND a.account_id = e.account_id AND a.code = 'tax_payable'
     WHERE t.tenant_id = %(tenant)s AND t.kind = %(kind)s
       AND t.effective_at >= %(start)s AND t.effective_at < %(end)s
     GROUP BY t.currency
"""


def select_taxes(conn: BooksConnection, tenant_id: int, start: datetime, end: datetime) -> list[DictRow]:
    """What invoices, voids and credit notes of [start, end) bear, by tax: the columns of a `TaxRow`."""
    return conn.execute(_TAXES, {"tenant": tenant_id, "start": start, "end": end}).fetchall()


def select_written_off_taxes(
    conn: BooksConnection, tenant_id: int, start: datetime, end: datetime
) -> list[DictRow]:
    """The taxes of invoices that were written off in [start, end), and what was given up of each invoice."""
    return conn.execute(_WRITTEN_OFF, {"tenant": tenant_id, "start": start, "end": end}).fetchall()


def select_remitted(
    conn: BooksConnection, tenant_id: int, start: datetime, end: datetime
) -> dict[str, Decimal]:
    """What was handed on to the authorities in [start, end), by currency."""
    given = {"tenant": tenant_id, "start": start, "end": end, "kind": TransferKind.TAX_REMITTED.value}
    return dict(conn.cursor(row_factory=tuple_row).execute(_REMITTED, given).fetchall())
