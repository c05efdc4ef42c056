"""Answers to disputes: written from the evidence, sent once, and found out where nobody said what became of them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, World, open_store, plan
from payments_world import DUE, ISSUED, PaymentsWorld

from farthing.catalog.model import Outcome as Written
from farthing.db import Books
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.payments.answering.content import FIELD_CHARACTERS_MAX, answer_content
from farthing.payments.answering.service import answer_dispute, get_answer
from farthing.payments.gateways.fake import Mischief
from farthing.payments.model import DisputeState
from farthing.payments.money_back.service import decide_dispute, get_dispute

PAYMENT = "collect:INV-000001:1"


@pytest.fixture
def house(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[PaymentsWorld]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield PaymentsWorld(world)
    world.store.close()


@pytest.fixture
def disputed(house: PaymentsWorld) -> tuple[PaymentsWorld, str]:
    """acme used tokens for 25.00, paid, and contests it."""
    house.world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    house.world.use("acme", "2026-01-10", "6000000")
    house.world.use("acme", "2026-01-11", "4000000")
    house.world.bill("2026-02-01", now=ISSUED)
    house.now = ISSUED
    house.method("acme")
    house.collect(DUE)
    name = house.fake.charge_back(PAYMENT)
    house.hear()
    return house, f"fake:{name}"


def answer(house: PaymentsWorld, key: str, **raw: Any) -> tuple[dict[str, Any], Written]:
    return answer_dispute(house.books, house.world.store, house.tenant_id, key, raw, house.now)


def state(house: PaymentsWorld, key: str) -> tuple[str, DisputeState]:
    dispute = get_dispute(house.books, house.tenant_id, key)
    return get_answer(house.books, house.tenant_id, key)["state"], dispute.state


def test_an_answer_tells_what_was_used_billed_and_paid_and_is_sent_once(
    disputed: tuple[PaymentsWorld, str],
) -> None:
    house, key = disputed
    made, outcome = answer(house, key, note="They wrote to us.")
    assert (outcome, made["state"]) == (Written.CREATED, "written")
    content = made["content"]
    assert content["customer_name"] == "Acme Inc."
    assert content["service_date"] == "2026-01-01 to 2026-02-01"
    log = content["access_activity_log"].split("\n")
    assert log[0].endswith(": 2 logged calls")
    assert "time=2026-01-10T12:00:00Z" in log[1]
    said = content["uncategorized_text"]
    assert said.startswith("They wrote to us.\n")
    assert f"Payment {PAYMENT} of 25.00 USD" in said
    assert "Invoice INV-000001" in said
    assert house.fake.evidence == {}
    assert house.collect(DUE + timedelta(hours=1)).answered == 1
    assert state(house, key) == ("accepted", DisputeState.UNDER_REVIEW)
    (order,) = house.fake.evidence.values()
    assert order.content == content
    # Asked for again, also with other words: it is the answer that stands.
    again, outcome = answer(house, key, note="More")
    assert (outcome, again["content"], again["state"]) == (Written.UNCHANGED, content, "accepted")
    assert house.collect(DUE + timedelta(hours=2)).answered == 0
    assert [fact["subject"] for fact in house.facts("dispute.under_review")] == [key]


@pytest.mark.parametrize("lost", ["lost_before", "lost_after"])
def test_an_answer_without_a_word_is_asked_about(disputed: tuple[PaymentsWorld, str], lost: str) -> None:
    """Whether it was lost on its way there or on its way back: there is one answer in the end."""
    house, key = disputed
    answer(house, key)
    house.fake.mischief = Mischief(**{lost: 1000})
    house.collect(DUE + timedelta(hours=1))
    assert state(house, key) == ("sent", DisputeState.NEEDS_RESPONSE)
    assert len(house.fake.evidence) == (lost == "lost_after")
    house.fake.mischief = Mischief()
    assert house.collect(DUE + timedelta(hours=1, seconds=30)).answered == 0
    assert house.collect(DUE + timedelta(hours=2)).answered == 1
    assert state(house, key) == ("accepted", DisputeState.UNDER_REVIEW)
    assert len(house.fake.evidence) == 1


def test_after_a_refusal_another_answer_may_be_written(disputed: tuple[PaymentsWorld, str]) -> None:
    house, key = disputed
    disputes, house.fake._disputes = house.fake._disputes, set()
    answer(house, key)
    assert house.collect(DUE + timedelta(hours=1)).answered == 1
    assert get_answer(house.books, house.tenant_id, key)["code"] == "resource_missing"
    assert state(house, key) == ("refused", DisputeState.NEEDS_RESPONSE)
    assert [fact["code"] for fact in house.facts("dispute.answer_refused")] == ["resource_missing"]
    house.fake._disputes = disputes
    assert answer(house, key)[1] is Written.CREATED
    house.collect(DUE + timedelta(hours=2))
    assert state(house, key) == ("accepted", DisputeState.UNDER_REVIEW)


def test_what_cannot_be_answered_is_refused(disputed: tuple[PaymentsWorld, str]) -> None:
    house, key = disputed
    for about, code in ((key, "dispute_not_answered"), ("fake:nothing", "dispute_not_found")):
        with pytest.raises(NotFound) as missing:
            get_answer(house.books, house.tenant_id, about)
        assert missing.value.code == code
    with pytest.raises(InvalidInput) as wrong:
        answer(house, key, events=0, more=1)
    assert wrong.value.code == "invalid_answer"
    decide_dispute(house.books, house.tenant_id, key, DisputeState.LOST, house.now)
    with pytest.raises(Conflict) as closed:
        answer(house, key)
    assert closed.value.code == "dispute_closed"


def test_the_database_keeps_answers_as_they_were_sent(disputed: tuple[PaymentsWorld, str]) -> None:
    house, key = disputed
    answer(house, key)
    for statement in (
        "UPDATE dispute_evidence SET content = '{}'",
        "DELETE FROM dispute_evidence",
        """INSERT INTO dispute_evidence (tenant_id, dispute_id, content, written_at, state, asked_at)
           SELECT tenant_id, dispute_id, content, written_at, state, asked_at FROM dispute_evidence""",
    ):
        with pytest.raises(psycopg.Error), house.books.transaction(house.tenant_id) as conn:
            conn.execute(statement)
    house.collect(DUE + timedelta(hours=1))
    with pytest.raises(psycopg.Error), house.books.transaction(house.tenant_id) as conn:
        conn.execute("UPDATE dispute_evidence SET state = 'sent', settled_at = NULL")


def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    period = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    line = {
        "description": "Calls", "service_period": period, "quantity": "1", "amount": "1.00", "events_total": 5000,
        "events": [{"id": f"event-{number:05}", "data": {"calls": 1}} for number in range(1000)],
    }  # fmt: skip
    evidence = {
        "dispute": {"customer": "acme"},
        "payment": {"key": "p", "amount": "1.00", "currency": "USD", "paid_at": None, "requested_at": "now"},
        "invoices": [
            {"number": "INV-1", "issued_at": "x", "total": "1", "bill_to": {"name": "Acme"}, "lines": [line]}
        ],
    }
    log = answer_content(evidence, None)["access_activity_log"]
    assert FIELD_CHARACTERS_MAX - 100 < len(log) <= FIELD_CHARACTERS_MAX
    assert log.startswith("Calls: 5000 logged calls\n  id=event-00000 data=calls:1\n")
    assert log.endswith("\n(and more, which is left out here)")
    assert answer_content(evidence | {"invoices": []}, None) == {
        "customer_name": "acme",
        "uncategorized_text": "Payment p of 1.00 USD at now.",
    }
