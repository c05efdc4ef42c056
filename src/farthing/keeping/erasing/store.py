"""SQL of erasures: who is erased and how far it came."""

from collections.abc import Collection, Sequence
from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.keeping.erasing.model import Erasure

_ERASURES = """
    SELECT erasure_id, customer_id, pseudonym, documents_from, requested_at, word_key, kept_words, events_at, books_at,
           documents_at, cleaned_at, cleaned_lsn::text AS cleaned_lsn, completed_at
      FROM erasures WHERE tenant_id = %(tenant)s
"""


def select_customer_id(conn: BooksConnection, tenant_id: int, key: str) -> int | None:
    """The customer with this key."""
    row = conn.execute(
        "SELECT customer_id FROM customers WHERE tenant_id = %s AND key = %s", [tenant_id, key]
    ).fetchone()
    return None if row is None else int(row["customer_id"])


def lock_customer(conn: BooksConnection, tenant_id: int, customer_id: int) -> None:
    """Nobody else erases it, or gives it an alias, until the transaction ends."""
    conn.execute(
        "SELECT FROM customers WHERE tenant_id = %s AND customer_id = %s FOR UPDATE", [tenant_id, customer_id]
    )


def any_pseudonym(conn: BooksConnection, tenant_id: int, name: str) -> bool:
    """Whether an erased customer is called so."""
    return (
        conn.execute(
            "SELECT FROM erasures WHERE tenant_id = %s AND pseudonym = %s", [tenant_id, name]
        ).rowcount
        > 0
    )


def select_erasure(conn: BooksConnection, tenant_id: int, erasure_id: int) -> Erasure | None:
    """One erasure."""
    return _one(
        conn.execute(
            _ERASURES + " AND erasure_id = %(id)s", {"tenant": tenant_id, "id": erasure_id}
        ).fetchone()
    )


def select_erasure_of(conn: BooksConnection, tenant_id: int, customer_id: int) -> Erasure | None:
    """The erasure of a customer."""
    return _one(
        conn.execute(
            _ERASURES + " AND customer_id = %(id)s", {"tenant": tenant_id, "id": customer_id}
        ).fetchone()
    )


def select_erasure_of_subject(conn: BooksConnection, tenant_id: int, subject_hash: bytes) -> Erasure | None:
    """The erasure of the customer that once had a subject."""
    statement = f"""
        {_ERASURES} AND erasure_id = (SELECT s.erasure_id FROM erased_subjects s
                                       WHERE s.tenant_id = %(tenant)s AND s.subject_hash = %(hash)s)
    """
    return _one(conn.execute(statement.encode(), {"tenant": tenant_id, "hash": subject_hash}).fetchone())


def select_erasures_after(conn: BooksConnection, tenant_id: int, after: int, limit: int) -> list[Erasure]:
    """Erasures in the order in which they were asked for."""
    rows = conn.execute(
        _ERASURES + " AND erasure_id > %(after)s ORDER BY erasure_id LIMIT %(limit)s",
        {"tenant": tenant_id, "after": after, "limit": limit},
    ).fetchall()
    return [_erasure(row) for row in rows]


def select_under_way(conn: BooksConnection, tenant_id: int, now: datetime) -> list[Erasure]:
    """Those with something to be done now."""
    rows = conn.execute(
        _ERASURES
        + """ AND completed_at IS NULL
              AND (cleaned_at IS NULL OR documents_at IS NOT NULL OR documents_from <= %(now)s)
            ORDER BY erasure_id""",
        {"tenant": tenant_id, "now": now},
    ).fetchall()
    return [_erasure(row) for row in rows]


def insert_erasure(
    conn: BooksConnection,
    tenant_id: int,
    customer_id: int,
    pseudonym: str,
    word_key: bytes,
    documents_from: datetime,
    now: datetime,
) -> int:
    """Begin one. Its customer has the pseudonym as a subject from now on. Returns its id."""
    row = conn.execute(
        """
        INSERT INTO erasures (tenant_id, customer_id, pseudonym, word_key, documents_from, requested_at)
        VALUES (%s, %s, %s, %s, %s, %s) RETURNING erasure_id
        """,
        [tenant_id, customer_id, pseudonym, word_key, documents_from, now],
    ).fetchone()
    assert row is not None
    conn.execute(
        "INSERT INTO customer_subjects (tenant_id, subject, customer_id, is_key) VALUES (%s, %s, %s, false)",
        [tenant_id, pseudonym, customer_id],
    )
    return int(row["erasure_id"])


def insert_erased_subjects(
    conn: BooksConnection, tenant_id: int, erasure_id: int, hashes: Collection[bytes]
) -> int:
    """Subjects whose events count no more. Returns how many were not known yet."""
    return conn.execute(
        """
        INSERT INTO erased_subjects (tenant_id, subject_hash, erasure_id)
        SELECT %s, hash, %s FROM unnest(%s::bytea[]) AS hash ON CONFLICT DO NOTHING
        """,
        [tenant_id, erasure_id, list(hashes)],
    ).rowcount


def select_subjects(conn: BooksConnection, tenant_id: int, customer_id: int) -> list[str]:
    """Every subject of a customer."""
    rows = conn.execute(
        "SELECT subject FROM customer_subjects WHERE tenant_id = %s AND customer_id = %s ORDER BY subject",
        [tenant_id, customer_id],
    ).fetchall()
    return [row["subject"] for row in rows]


def set_documents_from(
    conn: BooksConnection, tenant_id: int, erasure_id: int, documents_from: datetime
) -> None:
    """Erase documents earlier than it was said."""
    conn.execute(
        """
        UPDATE erasures SET documents_from = least(documents_from, %s)
         WHERE tenant_id = %s AND erasure_id = %s AND documents_at IS NULL
        """,
        [documents_from, tenant_id, erasure_id],
    )


def set_kept_words(conn: BooksConnection, tenant_id: int, erasure_id: int, words: Collection[str]) -> None:
    """What names nobody: said once, so that a word has one pseudonym however often the erasure is begun again."""
    conn.execute(
        "UPDATE erasures SET kept_words = %s WHERE tenant_id = %s AND erasure_id = %s AND kept_words IS NULL",
        [Jsonb(sorted(word for word in words if "\0" not in word)), tenant_id, erasure_id],
    )


def set_events_done(conn: BooksConnection, tenant_id: int, erasure_id: int, now: datetime | None) -> None:
    """No segment in force has the customer any more, nor what is sealed of the log; None: that is to be done again."""
    conn.execute(
        "UPDATE erasures SET events_at = %s WHERE tenant_id = %s AND erasure_id = %s",
        [now, tenant_id, erasure_id],
    )


def set_books_done(conn: BooksConnection, tenant_id: int, erasure_id: int, now: datetime) -> None:
    """Nor has the books. What pseudonyms of words were made with is forgotten. In an erasing transaction."""
    conn.execute(
        """
        UPDATE erasures SET books_at = %s, word_key = NULL, kept_words = NULL WHERE tenant_id = %s AND erasure_id = %s
        """,
        [now, tenant_id, erasure_id],
    )


def set_documents_done(conn: BooksConnection, tenant_id: int, erasure_id: int, now: datetime) -> None:
    """Nor have documents; what was cleaned is to be cleaned again."""
    conn.execute(
        """
        UPDATE erasures SET documents_at = %s, cleaned_at = NULL, cleaned_lsn = NULL
         WHERE tenant_id = %s AND erasure_id = %s
        """,
        [now, tenant_id, erasure_id],
    )


def set_cleaned(
    conn: BooksConnection, tenant_id: int, erasure_id: int, place: str | None, now: datetime
) -> None:
    """Tables are written anew, up to a place in PostgreSQL's log; None: they are to be once more."""
    conn.execute(
        """
        UPDATE erasures SET cleaned_at = CASE WHEN %(place)s::text IS NOT NULL THEN %(now)s::timestamptz END,
                            cleaned_lsn = %(place)s::pg_lsn
         WHERE tenant_id = %(tenant)s AND erasure_id = %(id)s
        """,
        {"tenant": tenant_id, "id": erasure_id, "place": place, "now": now},
    )


def set_complete(conn: BooksConnection, tenant_id: int, erasure_id: int, now: datetime) -> None:
    """Nothing is left to do."""
    conn.execute(
        "UPDATE erasures SET completed_at = %s WHERE tenant_id = %s AND erasure_id = %s",
        [now, tenant_id, erasure_id],
    )


def select_what_moves(conn: BooksConnection, tenant_id: int, customer_id: int) -> list[str]:
    """What of a customer is still on its way, in words; nobody is erased in the middle of it."""
    rows = conn.execute(
        """
        SELECT 'the payment ' || key || ' is ' || state AS said FROM payments
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
           AND state IN ('requested', 'sent', 'processing', 'action_required')
        UNION ALL
        SELECT 'the refund ' || r.key || ' is ' || r.state FROM refunds r
          JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
         WHERE r.tenant_id = %(tenant)s AND p.customer_id = %(customer)s AND r.state IN ('requested', 'sent')
        UNION ALL
        SELECT 'the authorisation ' || key || ' is ' || status FROM holds
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s AND status IN ('held', 'settled')
        LIMIT 5
        """,
        {"tenant": tenant_id, "customer": customer_id},
    ).fetchall()
    return [row["said"] for row in rows]


def last_document_at(conn: BooksConnection, tenant_id: int, customer_id: int) -> datetime | None:
    """When the last invoice or credit note of a customer was issued."""
    row = conn.execute(
        """
        SELECT greatest((SELECT max(issued_at) FROM invoices WHERE tenant_id = %(tenant)s AND customer_id = %(id)s),
                        (SELECT max(issued_at) FROM credit_notes WHERE tenant_id = %(tenant)s AND customer_id = %(id)s))
               AS issued_at
        """,
        {"tenant": tenant_id, "id": customer_id},
    ).fetchone()
    assert row is not None
    issued_at: datetime | None = row["issued_at"]
    return issued_at


def select_plan_definitions(conn: BooksConnection, tenant_id: int) -> Sequence[DictRow]:
    """What is sold: the definitions of every plan, and the prices that were agreed instead."""
    return conn.execute(
        """
        SELECT definition AS said FROM plan_versions WHERE tenant_id = %(tenant)s
         UNION ALL SELECT payload FROM subscription_changes
                    WHERE tenant_id = %(tenant)s AND kind IN ('override', 'add_on')
        """,
        {"tenant": tenant_id},
    ).fetchall()


def _one(row: DictRow | None) -> Erasure | None:
    return None if row is None else _erasure(row)


def _erasure(row: DictRow) -> Erasure:
    kept = row["kept_words"]
    return Erasure(**row | {"kept_words": None if kept is None else frozenset(kept)})
