"""SQL of erasures that a backup knows of, or is told of when it is restored."""

import os
from collections.abc import Callable

from farthing.db.pool import BooksConnection
from farthing.keeping.erasing import store
from farthing.keeping.model import KeptErasure

WORD_KEY_BYTES = 32


def select_kept_erasures(conn: BooksConnection, tenant_id: int) -> list[KeptErasure]:
    """The erasures of a tenant, as a backup keeps them."""
    rows = conn.execute(
        """
        SELECT e.tenant_id, e.customer_id, c.created_at, e.pseudonym, e.documents_from, e.requested_at,
               ARRAY(SELECT encode(s.subject_hash, 'hex') FROM erased_subjects s
                      WHERE s.tenant_id = e.tenant_id AND s.erasure_id = e.erasure_id ORDER BY 1) AS subject_hashes
          FROM erasures e JOIN customers c ON c.tenant_id = e.tenant_id AND c.customer_id = e.customer_id
         WHERE e.tenant_id = %s ORDER BY e.erasure_id
        """,
        [tenant_id],
    ).fetchall()
    return [KeptErasure(**row | {"subject_hashes": tuple(row["subject_hashes"])}) for row in rows]


def insert_kept_erasure(conn: BooksConnection, erasure: KeptErasure, hash_of: Callable[[str], bytes]) -> bool:
    """Ask for an erasure again, of the same customer. False where these books have none, or know of it."""
    tenant_id = erasure.tenant_id
    standing = conn.execute(
        """
        SELECT FROM customers c WHERE tenant_id = %s AND customer_id = %s AND created_at = %s
           AND NOT EXISTS (SELECT FROM erasures e WHERE e.tenant_id = c.tenant_id AND e.customer_id = c.customer_id)
        """,
        [tenant_id, erasure.customer_id, erasure.created_at],
    )
    if not standing.rowcount:
        return False
    names = store.select_subjects(conn, tenant_id, erasure.customer_id)
    erasure_id = store.insert_erasure(
        conn,
        tenant_id,
        erasure.customer_id,
        erasure.pseudonym,
        os.urandom(WORD_KEY_BYTES),
        erasure.documents_from,
        erasure.requested_at,
    )
    hashes = {hash_of(name) for name in names} | {bytes.fromhex(known) for known in erasure.subject_hashes}
    store.insert_erased_subjects(conn, tenant_id, erasure_id, hashes)
    return True
