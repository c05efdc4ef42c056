"""Use cases of answering disputes: write an answer, send what is written, find out what became of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from farthing.catalog.model import Outcome as Written
from farthing.db import Books
from farthing.db.outbox import Fact, announce
from farthing.events.store.duckdb import EventStore
from farthing.kernel.errors import Conflict, NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import shown
from farthing.ledger.model import Transfer
from farthing.payments.answering import store as rows
from farthing.payments.answering.content import answer_content, parse_answer
from farthing.payments.disputing import close_dispute
from farthing.payments.evidence import evidence_of
from farthing.payments.gateway import EvidenceOrder, Gateway, OutcomeUnknown, Refused, Result
from farthing.payments.model import BY_HAND, DisputeKind, DisputeState
from farthing.payments.money_back.store import select_dispute
from farthing.payments.settling import book
from farthing.payments.settling_store import lock_settling

ANSWERS_PER_ROUND = 100
"""Answers that are sent, or asked about, in one go; the next goes on."""


def answer_dispute(
    books: Books, store: EventStore, tenant_id: int, key: str, raw: object, now: datetime
) -> tuple[dict[str, Any], Written]:
    """Write an answer from the evidence; the engine sends it. Where one stands that was not refused, it is that one.

    Raises InvalidInput `invalid_answer`; NotFound `dispute_not_found`; Conflict `dispute_closed`,
    `dispute_not_contestable`.
    """
    wanted = parse_answer(raw)
    dispute_id = _contestable(books, tenant_id, key)
    if dispute_id is not None:
        content = answer_content(evidence_of(books, store, tenant_id, key, wanted.events), wanted.note)
        with books.transaction(tenant_id) as conn:
            rows.insert_answer(conn, tenant_id, dispute_id, content, now)
    made = Written.UNCHANGED if dispute_id is None else Written.CREATED
    return get_answer(books, tenant_id, key), made


def _contestable(books: Books, tenant_id: int, key: str) -> int | None:
    """The id of a dispute that can be answered; None for one that has its answer."""
    with books.read_only(tenant_id) as conn:
        dispute = select_dispute(conn, tenant_id, key)
        if dispute is None:
            raise NotFound("dispute_not_found", f"there is no dispute {shown(key)}", path="dispute")
        standing = rows.select_answer(conn, tenant_id, dispute["dispute_id"])
    if standing is not None and standing["state"] != "refused":
        return None
    if dispute["kind"] != DisputeKind.CHARGEBACK or dispute["gateway"] in BY_HAND:
        complaint = f"the dispute {shown(key)} is a {dispute['kind']}: nobody takes an answer"
        raise Conflict("dispute_not_contestable", complaint, path="dispute")
    if dispute["state"] != DisputeState.NEEDS_RESPONSE:
        complaint = f"the dispute {shown(key)} is {dispute['state']} already"
        raise Conflict("dispute_closed", complaint, path="dispute")
    return int(dispute["dispute_id"])


def get_answer(books: Books, tenant_id: int, key: str) -> dict[str, Any]:
    """The last answer to a dispute. Raises NotFound `dispute_not_found`, `dispute_not_answered`."""
    with books.read_only(tenant_id) as conn:
        dispute = select_dispute(conn, tenant_id, key)
        if dispute is None:
            raise NotFound("dispute_not_found", f"there is no dispute {shown(key)}", path="dispute")
        found = rows.select_answer(conn, tenant_id, dispute["dispute_id"])
    if found is None:
        raise NotFound("dispute_not_answered", f"the dispute {shown(key)} has no answer", path="dispute")
    return {
        "dispute": found["dispute"],
        "state": found["state"],
        "content": found["content"],
        "written_at": format_instant(found["written_at"]),
        "code": found["code"],
        "settled_at": None if found["settled_at"] is None else format_instant(found["settled_at"]),
    }


def send_answers(
    books: Books, tenant_id: int, gateways: Mapping[str, Gateway], now: datetime, patience_seconds: int
) -> int:
    """Send what is written; ask about what was sent so long ago without a word. Says how many were settled.

    It may be killed anywhere: what was being sent is asked about later.
    """
    before = now - timedelta(seconds=patience_seconds)
    with books.transaction(tenant_id) as conn:
        claimed = rows.claim_answers(conn, tenant_id, sorted(gateways), before, ANSWERS_PER_ROUND, now)
    settled = 0
    for row in claimed:
        gateway = gateways[row["gateway"]]
        order = EvidenceOrder(f"{row['dispute']}/{row['evidence_id']}", row["provider_id"], row["content"])
        try:
            outcome = gateway.evidence_status(order) if row["state"] == "sent" else None
            if outcome is None or outcome.result is not Result.SUCCEEDED:
                gateway.submit_evidence(order)
        except OutcomeUnknown:
            continue
        except Refused as refused:
            settled += _settle(books, tenant_id, row, refused.code, now)
        else:
            settled += _settle(books, tenant_id, row, None, now)
    return settled


def _settle(books: Books, tenant_id: int, row: Mapping[str, Any], code: str | None, now: datetime) -> bool:
    """It is there, and the bank decides; or it was refused for certain."""
    with books.transaction(tenant_id) as conn:
        lock_settling(conn, tenant_id)
        state = "accepted" if code is None else "refused"
        if not rows.settle_answer(conn, tenant_id, row["evidence_id"], state, code, now):
            return False
        transfers: list[Transfer] = []
        if code is None:
            close_dispute(conn, tenant_id, row["dispute"], DisputeState.UNDER_REVIEW, now, transfers)
        else:
            announce(conn, tenant_id, [Fact("dispute.answer_refused", row["dispute"], {"code": code}, now)])
        book(conn, tenant_id, transfers, now)
    return True
