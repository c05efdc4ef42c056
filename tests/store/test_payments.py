"""Money comes in, pays invoices, goes back; the ledger, the invoices and the payments say the same at every step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import psycopg
import pytest
from billing_world import World, open_store
from payments_world import DUE, ISSUED, PaymentsWorld

from farthing.db import Books
from farthing.kernel.errors import Conflict, FarthingError, InvalidInput, NotFound
from farthing.ledger.chart import Code
from farthing.payments.gateway import EventKind, ProviderEvent
from farthing.payments.model import PaymentStatus, State, status_of
from farthing.payments.money_back.service import (
    create_refund,
    decide_dispute,
    get_dispute,
    list_disputes,
    list_refunds,
)
from farthing.payments.service import (
    balances_of,
    create_payment,
    get_payment,
    put_policy,
    remove_method,
    write_off,
)
from farthing.payments.webhooks.service import take_events


@pytest.fixture
def house(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[PaymentsWorld]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield PaymentsWorld(world)
    world.store.close()


def status(house: PaymentsWorld, number: str, at: datetime | None = None) -> PaymentStatus:
    balance = balances_of(house.books, house.tenant_id, [number])[number]
    return status_of(balance, at or house.now)


# ---- Money that is recorded


def test_a_payment_in_parts_then_the_rest_and_more(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    assert status(house, "INV-000001") is PaymentStatus.OPEN
    house.receive("a", "acme", "30", invoice="INV-000001")
    assert (status(house, "INV-000001"), house.open("INV-000001")) == (PaymentStatus.PARTLY_PAID, D(70))
    assert status(house, "INV-000001", DUE + timedelta(seconds=1)) is PaymentStatus.OVERDUE
    house.check()
    more = house.receive("b", "acme", "90.50")
    assert (status(house, "INV-000001"), house.open("INV-000001")) == (PaymentStatus.PAID, D(0))
    assert (more.allocated, more.credit) == (D(70), D("20.50"))
    assert house.balance(Code.RECEIVABLE, "acme") == D("-20.50")
    assert house.balance(Code.CASH) == D("120.50")
    assert [fact["subject"] for fact in house.facts("invoice.paid")] == ["INV-000001"]
    house.check()


def test_the_same_again_changes_nothing_and_another_under_its_key_is_refused(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    at = house.now.isoformat()
    first = house.receive("a", "acme", "30", paid_at=at)
    assert house.receive("a", "acme", "30", paid_at=at) == first
    with pytest.raises(Conflict) as refused:
        house.receive("a", "acme", "31", paid_at=at)
    assert refused.value.code == "payment_conflict"
    assert house.balance(Code.CASH) == D(30)


def test_what_stands_to_its_credit_pays_the_next_invoice(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("early", "acme", "150")
    house.world.bill("2026-03-01", now=ISSUED + timedelta(days=27))
    assert house.open("INV-000002") == D(100)
    house.check()
    assert house.collect(ISSUED + timedelta(days=28)).credited == 1
    assert house.open("INV-000002") == D(50)
    house.check()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ({"amount": "0"}, "invalid_amount"),
        ({"amount": "1.001"}, "invalid_amount"),
        ({"amount": 1.5}, "invalid_amount"),
        ({"amount": "1e15"}, "invalid_amount"),
        ({"currency": "usd"}, "invalid_currency"),
        ({"currency": "EUR", "invoice": "INV-000001"}, "currency_differs"),
        ({"customer": "nobody"}, "customer_not_found"),
        ({"customer": "bolt", "invoice": "INV-000001"}, "invoice_of_another_customer"),
        ({"invoice": "INV-9"}, "invoice_not_found"),
        ({"key": "collect:INV-000001:1"}, "invalid_key"),
        ({"key": "x" * 129}, "invalid_key"),
        ({"paid_at": "2030-01-01T00:00:00Z"}, "invalid_instant"),
        ({"paid": "x"}, "invalid_payment"),
    ],
)
def test_what_cannot_be_recorded_is_named(house: PaymentsWorld, raw: dict[str, object], code: str) -> None:
    house.owe({"acme": "100", "bolt": "7"})
    good = {"key": "a", "customer": "acme", "amount": "5", "currency": "USD", "paid_at": ISSUED.isoformat()}
    with pytest.raises(FarthingError) as refused:
        create_payment(house.books, house.tenant_id, good | raw, house.now)
    assert refused.value.code == code
    assert house.balance(Code.CASH) == 0


# ---- Collecting


def test_what_is_due_is_charged_to_the_method_that_the_customer_left(house: PaymentsWorld) -> None:
    house.owe({"acme": "100", "bolt": "7.50"})
    house.method("acme")
    assert house.collect(DUE - timedelta(seconds=1)).requested == 0
    done = house.collect(DUE)
    assert (done.requested, done.sent, done.settled) == (1, 1, 1)
    paid = house.payment("collect:INV-000001:1")
    assert (paid.state, paid.amount, paid.fee, paid.attempts) == (State.SUCCEEDED, D(100), D("2.90"), 1)
    assert (status(house, "INV-000001"), status(house, "INV-000002")) == (
        PaymentStatus.PAID,
        PaymentStatus.OPEN,
    )
    assert (house.balance(Code.PROVIDER_CLEARING), house.balance(Code.PAYMENT_FEES)) == (
        D("97.10"),
        D("2.90"),
    )
    assert house.collect(DUE + timedelta(days=1)).requested == 0
    house.check()


def test_a_decline_is_tried_again_on_schedule_and_ends(house: PaymentsWorld) -> None:
    put_policy(house.books, house.tenant_id, {"retry_after_days": [1, 3]}, house.now)
    house.owe({"acme": "100"})
    house.method("acme", "tok_declined")
    key = "collect:INV-000001:1"
    tries = []
    for hours in range(0, 24 * 8, 6):
        house.collect(DUE + timedelta(hours=hours))
        if len(tries) < house.payment(key).attempts:
            tries.append(hours)
    assert tries == [0, 24, 96]
    failed = get_payment(house.books, house.tenant_id, key)
    assert (failed.payment.state, failed.payment.failure) == (State.FAILED, "insufficient_funds")
    assert [row["outcome"] for row in failed.attempts] == ["failed"] * 3
    assert [row["to_state"] for row in failed.moves] == [
        "requested", "sent", "requested", "sent", "requested", "sent", "failed",
    ]  # fmt: skip
    assert [fact["kind"] for fact in house.facts("payment.*")] == ["payment.declined"] * 2 + [
        "payment.failed"
    ]
    # Another card takes its place, and a payment of its own.
    house.method("acme", "tok_ok", key="acme-new")
    house.collect(DUE + timedelta(days=9))
    assert house.payment("collect:INV-000001:2").state is State.SUCCEEDED
    house.check()


def test_no_retry_where_none_helps(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme", "tok_expired")
    house.collect(DUE)
    assert house.payment("collect:INV-000001:1").state is State.FAILED


def test_money_that_came_by_itself_calls_the_next_try_off(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme", "tok_declined")
    house.collect(DUE)
    house.receive("transfer", "acme", "100")
    house.collect(DUE + timedelta(days=2))
    called_off = house.payment("collect:INV-000001:1")
    assert (called_off.state, called_off.attempts) == (State.CANCELLED, 1)
    house.check()


def test_an_answer_that_never_came_is_asked_for_and_nothing_is_charged_twice(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.misbehave(lost_after=1000)
    house.method("acme")
    house.collect(DUE)
    key = "collect:INV-000001:1"
    assert house.payment(key).state is State.SENT
    assert house.payment(key).provider_id is None  # not even what the gateway calls it is known
    house.fake.mischief = type(house.fake.mischief)()
    assert house.collect(DUE + timedelta(seconds=60)).asked == 0
    # It was never captured: the create was not answered. The same attempt is sent again.
    done = house.collect(DUE + timedelta(seconds=121))
    assert (done.asked, done.settled) == (1, 1)
    assert (house.payment(key).state, house.payment(key).attempts) == (State.SUCCEEDED, 1)
    assert house.fake.captures == {key: 1}
    house.check()


def test_a_call_that_was_captured_and_not_answered_is_found_out(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme", "tok_ok")
    fake, lost = house.fake, []

    class LosesOne(type(fake)):
        def capture(self, charge):
            outcome = super().capture(charge)
            if not lost:
                lost.append(charge)
                raise ConnectionResetError("whatever an adapter may raise")
            return outcome

    fake.__class__ = LosesOne
    house.collect(DUE)
    assert (house.payment("collect:INV-000001:1").state, len(lost)) == (State.SENT, 1)
    assert house.collect(DUE + timedelta(minutes=5)).asked == 1
    assert house.payment("collect:INV-000001:1").state is State.SUCCEEDED
    assert fake.captures == {"collect:INV-000001:1": 1}


def test_what_never_arrived_for_a_day_is_given_up_and_tried_anew(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.misbehave(lost_before=1000)
    house.method("acme")
    house.collect(DUE)
    house.fake.mischief = type(house.fake.mischief)()
    house.collect(DUE + timedelta(hours=24))
    failed = house.payment("collect:INV-000001:1")
    assert (failed.state, failed.failure) == (State.REQUESTED, "never_arrived")
    house.collect(DUE + timedelta(hours=49))
    assert house.fake.captures == {"collect:INV-000001:1": 1}


def test_two_workers_charge_different_invoices(house: PaymentsWorld) -> None:
    names = {f"c{number}": "10" for number in range(40)}
    house.owe(names)
    for name in names:
        house.method(name)
    with ThreadPoolExecutor(4) as workers:
        done = list(workers.map(lambda _: house.collect(DUE), range(4)))
    assert sum(one.requested for one in done) == sum(one.sent for one in done) == 40
    assert set(house.fake.captures.values()) == {1}
    assert len(house.fake.captures) == 40
    assert house.balance(Code.PROVIDER_CLEARING) == D("388.40")
    house.check()


def test_a_method_that_was_taken_away_is_not_charged(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme")
    raw = {"key": "now", "method": "acme-card", "invoice": "INV-000001"}
    create_payment(house.books, house.tenant_id, raw, house.now)
    remove_method(house.books, house.tenant_id, "acme-card", house.now)
    house.collect()
    assert (house.payment("now").state, house.payment("now").failure) == (State.FAILED, "method_removed")
    assert house.fake.captures == {}


def test_a_charge_that_is_asked_for_is_sent_and_one_at_a_time(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme")
    raw = {"key": "now", "method": "acme-card", "invoice": "INV-000001", "amount": "40"}
    create_payment(house.books, house.tenant_id, raw, house.now)
    with pytest.raises(Conflict, match="being paid by another") as refused:
        create_payment(house.books, house.tenant_id, raw | {"key": "too"}, house.now)
    assert refused.value.code == "payment_under_way"
    house.collect()
    assert house.open("INV-000001") == D(60)
    with pytest.raises(Conflict) as refused:
        create_payment(house.books, house.tenant_id, raw | {"key": "three", "amount": "60.01"}, house.now)
    assert refused.value.code == "invoice_not_open"


# ---- Refunds


def test_a_refund_takes_credit_first_then_what_an_invoice_got(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("a", "acme", "130")
    create_refund(house.books, house.tenant_id, {"key": "r1", "payment": "a", "amount": "20"}, house.now)
    assert (house.open("INV-000001"), house.payment("a").credit) == (D(0), D(10))
    house.check()
    create_refund(house.books, house.tenant_id, {"key": "r2", "payment": "a", "amount": "50"}, house.now)
    assert (house.open("INV-000001"), house.payment("a").credit) == (D(40), D(0))
    assert house.balance(Code.RECEIVABLE, "acme") == D(40)
    house.check()


@pytest.mark.parametrize("amount", ["100.01", "5000"])
def test_a_refund_above_the_payment_is_refused(house: PaymentsWorld, amount: str) -> None:
    house.owe({"acme": "100"})
    house.receive("a", "acme", "100")
    with pytest.raises(Conflict) as refused:
        create_refund(house.books, house.tenant_id, {"key": "r", "payment": "a", "amount": amount}, house.now)
    assert refused.value.code == "refund_above_payment"
    assert house.balance(Code.CASH) == D(100)
    house.check()


def test_refunds_at_once_never_exceed_the_payment(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("a", "acme", "100")

    def refund(number: int) -> str:
        raw = {"key": f"r{number}", "payment": "a", "amount": "30"}
        try:
            create_refund(house.books, house.tenant_id, raw, house.now)
        except Conflict as refused:
            return refused.code
        return "done"

    with ThreadPoolExecutor(6) as many:
        said = sorted(many.map(refund, range(6)))
    assert said == ["done"] * 3 + ["refund_above_payment"] * 3
    assert house.balance(Code.CASH) == D(10)
    house.check()


def test_what_is_told_of_many_refunds_counts_once_for_each(house: PaymentsWorld) -> None:
    """Two are done, one failed; what is told of one a second time, or against what was told first, changes nothing."""
    house.owe({"acme": "100"})
    house.method("acme")
    house.collect(DUE)
    for number in (1, 2, 3):
        raw = {"key": f"r{number}", "payment": "collect:INV-000001:1", "amount": "10"}
        create_refund(house.books, house.tenant_id, raw, house.now)
    with house.books.transaction(house.tenant_id) as conn:
        conn.execute("UPDATE refunds SET state = 'sent', provider_id = 're_' || key")
    events = [
        ProviderEvent(f"e{place}", kind, "", house.now, object_id=f"re_r{number}")
        for place, (number, kind) in enumerate(
            [
                (1, EventKind.REFUNDED), (2, EventKind.REFUND_FAILED), (1, EventKind.REFUND_FAILED),
                (3, EventKind.REFUNDED), (3, EventKind.REFUNDED), (9, EventKind.REFUNDED),
            ]
        )
    ]  # fmt: skip
    taken = take_events(house.books, house.tenant_id, "fake", events, house.now)
    assert +taken == {"applied": 3, "nothing_new": 2, "unmatched": 1}
    states = {one.key: one.state for _, one in list_refunds(house.books, house.tenant_id, 0, 10)}
    assert states == {"r1": "succeeded", "r2": "failed", "r3": "succeeded"}
    assert house.balance(Code.PROVIDER_CLEARING) == D("77.10")
    house.check()


def test_a_refund_by_gateway_survives_every_loss_and_is_paid_once(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme")
    house.collect(DUE)
    create_refund(
        house.books,
        house.tenant_id,
        {"key": "r", "payment": "collect:INV-000001:1", "amount": "25"},
        house.now,
    )
    house.fake.mischief = type(house.fake.mischief)(lost_after=1000)
    house.collect(DUE + timedelta(minutes=1))
    house.check()
    house.fake.mischief = type(house.fake.mischief)()
    assert house.collect(DUE + timedelta(minutes=9)).refunds == 1
    house.hear()
    assert house.collect(DUE + timedelta(minutes=20)).refunds == 0
    assert sum(move.kind == "refund" for move in house.fake.moves) == 1
    assert house.balance(Code.PROVIDER_CLEARING) == D("72.10")
    house.check()


# ---- Disputes


def test_a_chargeback_opens_the_invoice_again_and_a_dispute_won_pays_it(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme")
    house.collect(DUE)
    house.hear()
    dispute = house.fake.charge_back("collect:INV-000001:1")
    assert house.hear() == {"applied": 1}
    ((_, found),) = list_disputes(house.books, house.tenant_id, 0, 10)
    assert (found.amount, found.fee, found.state) == (D(100), D(15), "needs_response")
    assert house.open("INV-000001") == D(100)
    assert house.balance(Code.RECEIVABLE, "acme") == D(100)
    assert house.balance(Code.PROVIDER_CLEARING) == D("-17.90")
    house.check()
    # It is contested, not unpaid: nobody charges the card again.
    assert house.collect(DUE + timedelta(days=1)).requested == 0
    house.fake.decide_dispute("collect:INV-000001:1", dispute, won=True)
    assert house.hear() == {"applied": 1}
    assert get_dispute(house.books, house.tenant_id, found.key).state == "won"
    assert (house.open("INV-000001"), house.balance(Code.PROVIDER_CLEARING)) == (D(0), D("82.10"))
    house.check()
    with pytest.raises(Conflict) as refused:
        decide_dispute(house.books, house.tenant_id, found.key, type(found.state)("lost"), house.now)
    assert refused.value.code == "dispute_closed"


def test_what_stands_to_a_customers_credit_pays_what_a_chargeback_opens(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme")
    house.collect(DUE)
    house.hear()
    house.receive("more", "acme", "30")
    assert house.open("INV-000001") == 0
    dispute = house.fake.charge_back("collect:INV-000001:1")
    house.hear()
    assert house.open("INV-000001") == D(70)
    assert house.balance(Code.RECEIVABLE, "acme") == D(70)
    house.check()
    house.fake.decide_dispute("collect:INV-000001:1", dispute, won=True)
    house.hear()
    assert (house.open("INV-000001"), house.balance(Code.RECEIVABLE, "acme")) == (D(0), D(-30))
    house.check()


def test_the_end_of_a_dispute_may_be_told_before_its_beginning(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme")
    house.collect(DUE)
    house.hear()
    dispute = house.fake.charge_back("collect:INV-000001:1")
    (opened,) = house.fake.webhooks(house.now)
    house.fake.decide_dispute("collect:INV-000001:1", dispute, won=False)
    assert house.hear() == {"applied": 1}
    assert house.hear([opened]) == {"nothing_new": 1}
    assert get_dispute(house.books, house.tenant_id, f"fake:{dispute}").state == "lost"
    assert house.open("INV-000001") == D(100)
    house.check()


def test_a_refund_that_fails_after_all_pays_its_invoice_again(house: PaymentsWorld) -> None:
    """0.02 of what paid the invoice are to go back; the gateway never hears of it, and a day later it has failed."""
    house.owe({"acme": "100"})
    house.method("acme")
    house.collect(DUE)
    raw = {"key": "r", "payment": "collect:INV-000001:1", "amount": "0.02"}
    create_refund(house.books, house.tenant_id, raw, house.now)
    assert house.open("INV-000001") == D("0.02")
    house.misbehave(lost_before=1000)
    house.collect(DUE + timedelta(minutes=5))
    house.misbehave()
    house.collect(DUE + timedelta(days=2))
    assert [one["subject"] for one in house.facts("refund.failed")] == ["r"]
    assert house.open("INV-000001") == 0
    house.check()


def test_refund_then_chargeback_of_all_takes_only_what_is_left(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.method("acme")
    house.collect(DUE)
    raw = {"key": "r", "payment": "collect:INV-000001:1", "amount": "60"}
    create_refund(house.books, house.tenant_id, raw, house.now)
    house.collect(DUE + timedelta(minutes=1))
    house.fake.charge_back("collect:INV-000001:1")
    house.hear()
    ((_, found),) = list_disputes(house.books, house.tenant_id, 0, 10)
    assert found.amount == D(40)
    house.check()


# ---- Dunning


def test_reminders_suspension_payment_resumption(house: PaymentsWorld) -> None:
    house.owe({"acme": "100", "bolt": "7"})
    house.receive("b", "bolt", "7")
    for day in range(60):
        house.collect(DUE + timedelta(days=day))
    reminders = house.facts("invoice.overdue")
    assert [(fact["subject"], fact["reminder"], fact["open"]) for fact in reminders] == [
        ("INV-000001", step, "100.00") for step in (1, 2, 3)
    ]
    assert [fact["subject"] for fact in house.facts("customer.suspended")] == ["acme"]
    house.receive("late", "acme", "100")
    house.collect(DUE + timedelta(days=60))
    house.collect(DUE + timedelta(days=61))
    assert [fact["subject"] for fact in house.facts("customer.resumed")] == ["acme"]


def test_what_is_written_off_is_a_loss_and_a_late_payment_stands_to_the_credit(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("part", "acme", "40")
    write_off(house.books, house.tenant_id, "INV-000001", {"reason": "insolvent"}, house.now)
    write_off(house.books, house.tenant_id, "INV-000001", {"reason": "insolvent"}, house.now)
    assert status(house, "INV-000001") is PaymentStatus.WRITTEN_OFF
    assert house.balance(Code.BAD_DEBT) == D(60)
    house.check()
    late = house.receive("late", "acme", "60")
    assert late.credit == D(60)
    house.check()


def test_what_is_long_overdue_is_written_off_by_policy(house: PaymentsWorld) -> None:
    put_policy(house.books, house.tenant_id, {"write_off_after_days": 90}, house.now)
    house.owe({"acme": "100"})
    assert house.collect(DUE + timedelta(days=89)).written_off == 0
    assert house.collect(DUE + timedelta(days=90)).written_off == 1
    assert house.collect(DUE + timedelta(days=91)).written_off == 0
    assert house.balance(Code.BAD_DEBT) == D(100)
    house.check()


def test_an_invoice_that_is_paid_is_not_written_off(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("a", "acme", "100")
    with pytest.raises(Conflict) as refused:
        write_off(house.books, house.tenant_id, "INV-000001", {"reason": "x"}, house.now)
    assert refused.value.code == "invoice_not_open"


# ---- What the database refuses, whoever asks


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments SET state = 'requested', paid_at = NULL",
        "UPDATE payments SET state = 'cancelled', paid_at = NULL",
        "UPDATE payments SET amount = 1",
        "UPDATE payments SET key = 'other'",
        "UPDATE payments SET allocated = 0",
        "UPDATE invoice_balances SET paid = 0",
        "UPDATE payment_allocations SET amount = 1",
        "DELETE FROM payments",
        "DELETE FROM payment_moves",
        """INSERT INTO payment_allocations (tenant_id, payment_id, invoice_id, amount, cause, allocated_at)
           SELECT tenant_id, payment_id, invoice_id, 1, '', now() FROM payment_allocations""",
        """INSERT INTO payment_attempts (tenant_id, payment_id, attempt, sent_at, asked_at, outcome)
           SELECT tenant_id, payment_id, n, now(), now(), 'succeeded' FROM payments, generate_series(7, 8) n""",
    ],
)
def test_the_database_refuses(house: PaymentsWorld, statement: str) -> None:
    house.owe({"acme": "100"})
    house.receive("a", "acme", "100", invoice="INV-000001")
    refusals = (psycopg.errors.InsufficientPrivilege, psycopg.errors.IntegrityError)
    with pytest.raises(refusals), house.books.transaction(house.tenant_id) as conn:
        conn.execute(statement)
    house.check()


def test_unknown_things_are_not_found(house: PaymentsWorld) -> None:
    for ask in (get_payment, get_dispute):
        with pytest.raises(NotFound):
            ask(house.books, house.tenant_id, "nothing")
    with pytest.raises(InvalidInput) as refused:
        put_policy(house.books, house.tenant_id, {"remind_after_days": [7, 1], "x": 1}, house.now)
    assert refused.value.code == "invalid_dunning_policy"
