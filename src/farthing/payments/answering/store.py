"""SQL of answers to disputes."""

from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection

_ANSWERS = """
    SELECT a.evidence_id, d.key AS dispute, a.content, a.written_at, a.state, a.asked_at, a.code, a.settled_at
      FROM dispute_evidence a JOIN disputes d ON d.tenant_id = a.tenant_id AND d.dispute_id = a.dispute_id
     WHERE a.tenant_id = %(tenant)s
"""
_DUE = """
    SELECT a.evidence_id, d.key AS dispute, p.gateway, substr(d.key, length(p.gateway) + 2) AS provider_id, a.content,
           a.state
      FROM dispute_evidence a
      JOIN disputes d ON d.tenant_id = a.tenant_id AND d.dispute_id = a.dispute_id
      JOIN payments p ON p.tenant_id = d.tenant_id AND p.payment_id = d.payment_id
     WHERE a.tenant_id = %(tenant)s AND p.gateway = ANY(%(gateways)s)
       AND (a.state = 'written' OR (a.state = 'sent' AND a.asked_at < %(before)s))
     ORDER BY a.evidence_id LIMIT %(limit)s FOR UPDATE OF a SKIP LOCKED
"""


def select_answer(conn: BooksConnection, tenant_id: int, dispute_id: int) -> DictRow | None:
    """The last answer to a dispute."""
    return conn.execute(
        _ANSWERS + " AND a.dispute_id = %(dispute)s ORDER BY a.evidence_id DESC LIMIT 1",
        {"tenant": tenant_id, "dispute": dispute_id},
    ).fetchone()


def insert_answer(
    conn: BooksConnection, tenant_id: int, dispute_id: int, content: dict[str, str], now: datetime
) -> None:
    """Write an answer, unless one stands that was not refused."""
    conn.execute(
        "INSERT INTO dispute_evidence (tenant_id, dispute_id, content, written_at, state, asked_at)"
        " VALUES (%(tenant)s, %(dispute)s, %(content)s, %(now)s, 'written', %(now)s) ON CONFLICT DO NOTHING",
        {"tenant": tenant_id, "dispute": dispute_id, "content": Jsonb(content), "now": now},
    )


def claim_answers(
    conn: BooksConnection, tenant_id: int, gateways: list[str], before: datetime, limit: int, now: datetime
) -> list[DictRow]:
    """Answers that are to be sent, and those sent before then of which nobody said what became of them."""
    given = {"tenant": tenant_id, "gateways": gateways, "before": before, "limit": limit}
    found = conn.execute(_DUE, given).fetchall()
    conn.execute(
        "UPDATE dispute_evidence SET state = 'sent', asked_at = %s WHERE tenant_id = %s AND evidence_id = ANY(%s)",
        [now, tenant_id, [row["evidence_id"] for row in found]],
    )
    return found


def settle_answer(
    conn: BooksConnection, tenant_id: int, evidence_id: int, state: str, code: str | None, now: datetime
) -> bool:
    """Say what became of an answer; says whether that is news."""
    done = conn.execute(
        "UPDATE dispute_evidence SET state = %s, code = %s, settled_at = %s"
        " WHERE tenant_id = %s AND evidence_id = %s AND state = 'sent'",
        [state, code, now, tenant_id, evidence_id],
    )
    return done.rowcount > 0
