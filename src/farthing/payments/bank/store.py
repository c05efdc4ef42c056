"""SQL of the bank: statements, their entries, batches of direct debits."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.db.rowset import rowset
from farthing.payments.bank.creditor import Creditor

# ---- Statements


def select_known_entries(
    conn: BooksConnection, tenant_id: int, account: str, identities: Collection[str]
) -> set[str]:
    """Those of these entries of an account that were imported before."""
    rows = conn.execute(
        "SELECT identity FROM bank_entries WHERE tenant_id = %s AND account = %s AND identity = ANY(%s)",
        [tenant_id, account, list(identities)],
    ).fetchall()
    return {row["identity"] for row in rows}


def insert_statement(
    conn: BooksConnection, tenant_id: int, account: str, reference: str, entries: int, now: datetime
) -> int:
    """Keep a statement; its id."""
    row = conn.execute(
        "INSERT INTO bank_statements (tenant_id, account, reference, entries, imported_at)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING statement_id",
        [tenant_id, account, reference, entries, now],
    ).fetchone()
    assert row is not None
    return int(row["statement_id"])


def insert_entries(
    conn: BooksConnection, tenant_id: int, statement_id: int, rows: Sequence[dict[str, Any]]
) -> None:
    """Keep entries of a statement, with what each of them did."""
    conn.execute(
        """
        INSERT INTO bank_entries (tenant_id, statement_id, account, identity, amount, currency, booked_at, payer,
                                  remittance, end_to_end, returned, effect, payment_id)
        SELECT %(tenant_id)s, %(statement_id)s, g.*
          FROM json_to_recordset(%(rows)s::json)
               AS g (account text, identity text, amount numeric, currency text, booked_at timestamptz, payer text,
                     remittance text, end_to_end text, returned text, effect text, payment_id bigint)
        """,
        {"tenant_id": tenant_id, "statement_id": statement_id, "rows": rowset(rows)},
    )


def select_debits_named(
    conn: BooksConnection, tenant_id: int, names: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], DictRow]:
    """The direct debits of these (payment, attempt), as far as they were sent to the bank."""
    rows = conn.execute(
        """
        SELECT b.payment_id, b.attempt, p.state, p.amount, p.currency
          FROM unnest(%(payments)s::bigint[], %(attempts)s::int[]) AS g (payment_id, attempt)
          JOIN debit_batch_payments b ON b.tenant_id = %(tenant_id)s AND b.payment_id = g.payment_id
               AND b.attempt = g.attempt
          JOIN payments p ON p.tenant_id = b.tenant_id AND p.payment_id = b.payment_id
        """,
        {
            "tenant_id": tenant_id,
            "payments": [payment for payment, _ in names],
            "attempts": [attempt for _, attempt in names],
        },
    ).fetchall()
    return {(row["payment_id"], row["attempt"]): row for row in rows}


def select_blocks(conn: BooksConnection, tenant_id: int, blocks: Collection[str]) -> dict[str, list[DictRow]]:
    """The direct debits of these blocks of files, by the name of the block."""
    rows = conn.execute(
        """
        SELECT d.message_id || '-' || b.sequence AS block, b.payment_id, b.attempt, p.state, p.amount
          FROM debit_batches d
          JOIN debit_batch_payments b ON b.tenant_id = d.tenant_id AND b.batch_id = d.batch_id
          JOIN payments p ON p.tenant_id = b.tenant_id AND p.payment_id = b.payment_id
         WHERE d.tenant_id = %s AND d.message_id || '-' || b.sequence = ANY(%s)
        """,
        [tenant_id, list(blocks)],
    ).fetchall()
    found: dict[str, list[DictRow]] = {}
    for row in rows:
        found.setdefault(row["block"], []).append(row)
    return found


_UNMATCHED = """
    SELECT e.entry_id, e.account, e.identity, e.amount, e.currency, e.booked_at, e.payer, e.remittance
      FROM bank_entries e
     WHERE e.tenant_id = %(tenant_id)s AND e.effect = 'unmatched'
       AND NOT EXISTS (SELECT FROM payments p WHERE p.tenant_id = e.tenant_id AND p.key = 'fix:' || e.entry_id)
       AND NOT EXISTS (SELECT FROM payouts o WHERE o.tenant_id = e.tenant_id AND o.bank_entry_id = e.entry_id)
"""


def select_unmatched_after(conn: BooksConnection, tenant_id: int, after: int, limit: int) -> list[DictRow]:
    """Money that came in and is nobody's yet, in order, behind the id `after`."""
    return conn.execute(
        _UNMATCHED + " AND e.entry_id > %(after)s ORDER BY e.entry_id LIMIT %(limit)s",
        {"tenant_id": tenant_id, "after": after, "limit": limit},
    ).fetchall()


def select_unmatched(conn: BooksConnection, tenant_id: int, entry_id: int) -> DictRow | None:
    """One of those."""
    return conn.execute(
        _UNMATCHED + " AND e.entry_id = %(entry_id)s", {"tenant_id": tenant_id, "entry_id": entry_id}
    ).fetchone()


# ---- Direct debits


def insert_batch(
    conn: BooksConnection,
    tenant_id: int,
    message_id: str,
    collect_on: date,
    creditor: Creditor,
    now: datetime,
) -> int:
    """A new file of direct debits; its id."""
    row = conn.execute(
        "INSERT INTO debit_batches (tenant_id, message_id, collect_on, creditor, made_at)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING batch_id",
        [tenant_id, message_id, collect_on, Jsonb(asdict(creditor)), now],
    ).fetchone()
    assert row is not None
    return int(row["batch_id"])


def insert_batch_payments(
    conn: BooksConnection, tenant_id: int, batch_id: int, claimed: Sequence[tuple[int, int]]
) -> None:
    """What stands in a file: (payment, attempt) each. A mandate's first debit is one that no other was paid before."""
    conn.execute(
        """
        INSERT INTO debit_batch_payments (tenant_id, batch_id, payment_id, attempt, sequence)
        SELECT p.tenant_id, %(batch_id)s, p.payment_id, g.attempt,
               CASE WHEN EXISTS (SELECT FROM payments e WHERE e.tenant_id = p.tenant_id
                          AND e.customer_id = p.customer_id AND e.payment_method_id = p.payment_method_id
                          AND e.state = 'succeeded') THEN 'RCUR' ELSE 'FRST' END
          FROM unnest(%(payments)s::bigint[], %(attempts)s::int[]) AS g (payment_id, attempt)
          JOIN payments p ON p.tenant_id = %(tenant_id)s AND p.payment_id = g.payment_id
         ORDER BY p.payment_id
        """,
        {
            "tenant_id": tenant_id,
            "batch_id": batch_id,
            "payments": [payment for payment, _ in claimed],
            "attempts": [attempt for _, attempt in claimed],
        },
    )


def select_batch(conn: BooksConnection, tenant_id: int, message_id: str) -> DictRow | None:
    """One file of direct debits, by its message id."""
    return conn.execute(
        "SELECT batch_id, message_id, collect_on, creditor, made_at FROM debit_batches"
        " WHERE tenant_id = %s AND message_id = %s",
        [tenant_id, message_id],
    ).fetchone()


def select_batch_debits(conn: BooksConnection, tenant_id: int, batch_id: int) -> list[DictRow]:
    """What stands in a file, in order."""
    return conn.execute(
        """
        SELECT b.payment_id, b.attempt, b.sequence, p.amount, p.reference, m.mandate
          FROM debit_batch_payments b
          JOIN payments p ON p.tenant_id = b.tenant_id AND p.payment_id = b.payment_id
          JOIN payment_methods m ON m.tenant_id = p.tenant_id AND m.payment_method_id = p.payment_method_id
         WHERE b.tenant_id = %s AND b.batch_id = %s ORDER BY b.payment_id, b.attempt
        """,
        [tenant_id, batch_id],
    ).fetchall()
