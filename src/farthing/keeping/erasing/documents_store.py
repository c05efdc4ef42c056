"""SQL of issued documents whose buyer is erased."""

from collections.abc import Sequence
from dataclasses import dataclass

from farthing.db.pool import BooksConnection
from farthing.keeping.erasing.documents import LeftLine

DOCUMENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class IssuedDocument:
    """A document, and what the rows beside it say."""

    document_id: int
    document: str
    subscription: str
    lines: dict[int, LeftLine]


_LINES = """
    (SELECT coalesce(jsonb_object_agg(l.line, jsonb_build_array(l.dimensions, l.one_off,
              CASE WHEN l.adjustment IN ('commitment', 'prepaid', 'drawdown', 'overage', 'true_up', 'lapse')
                   THEN l.adjustment_key END,
              CASE WHEN l.corrected NOT IN ('coupon', 'minimum') THEN l.corrected_key END)), '{}')
       FROM invoice_lines l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id) AS lines
"""
_INVOICES = f"""
    SELECT i.invoice_id AS document_id, i.document, s.key AS subscription, {_LINES}
      FROM invoices i JOIN subscriptions s ON s.tenant_id = i.tenant_id AND s.subscription_id = i.subscription_id
     WHERE i.tenant_id = %(tenant)s AND i.customer_id = %(customer)s AND i.invoice_id > %(after)s
     ORDER BY i.invoice_id LIMIT %(limit)s
"""
_CREDIT_NOTES = f"""
    SELECT n.credit_note_id AS document_id, n.document, s.key AS subscription, {_LINES}
      FROM credit_notes n JOIN invoices i ON i.tenant_id = n.tenant_id AND i.invoice_id = n.invoice_id
      JOIN subscriptions s ON s.tenant_id = i.tenant_id AND s.subscription_id = i.subscription_id
     WHERE n.tenant_id = %(tenant)s AND n.customer_id = %(customer)s AND n.credit_note_id > %(after)s
     ORDER BY n.credit_note_id LIMIT %(limit)s
"""


def select_documents(
    conn: BooksConnection, tenant_id: int, customer_id: int, after: int, *, credit_notes: bool
) -> list[IssuedDocument]:
    """Invoices or credit notes of a customer behind an id, in order."""
    rows = conn.execute(
        _CREDIT_NOTES.encode() if credit_notes else _INVOICES.encode(),
        {"tenant": tenant_id, "customer": customer_id, "after": after, "limit": DOCUMENTS_AT_ONCE},
    ).fetchall()
    return [
        IssuedDocument(
            row["document_id"],
            row["document"],
            row["subscription"],
            {int(number): LeftLine(*said) for number, said in row["lines"].items()},
        )
        for row in rows
    ]


def replace_documents(
    conn: BooksConnection, tenant_id: int, documents: Sequence[tuple[int, str]], *, credit_notes: bool
) -> None:
    """Keep these instead. In an erasing transaction."""
    table, key = ("credit_notes", "credit_note_id") if credit_notes else ("invoices", "invoice_id")
    conn.execute(
        f"""
        UPDATE {table} d SET document = g.document
          FROM unnest(%s::bigint[], %s::text[]) AS g (document_id, document)
         WHERE d.tenant_id = %s AND d.{key} = g.document_id
        """.encode(),
        [[one for one, _ in documents], [document for _, document in documents], tenant_id],
    )
