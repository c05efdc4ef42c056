"""Payouts: every movement of a gateway is in one payout or in none yet, each payout is one entry of the bank's, and
what stands on the clearing account is what gateways hold, what is on its way, and what only one side knows of."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from billing_world import World, open_store
from hypothesis import given, settings
from hypothesis import strategies as st
from payments_world import DUE, PaymentsWorld

from farthing.db import Books
from farthing.finance.model import ReportName
from farthing.finance.service import make_report
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.ledger.chart import Code
from farthing.ledger.service import close_period
from farthing.payments.bank.service import import_statement, list_unmatched
from farthing.payments.checks import check_payments
from farthing.payments.gateway import Movement, MovementKind, OutcomeUnknown
from farthing.payments.money_back.service import create_refund
from farthing.payments.paying_out.arriving import Candidate, arrivals
from farthing.payments.paying_out.service import (
    Synced,
    confirm_arrival,
    get_payout,
    list_movements,
    list_payouts,
    sync_payouts,
)

FIRST_DAY = date(2026, 3, 9)
_ENTRY = (
    '<Ntry><Amt Ccy="USD">{size}</Amt><CdtDbtInd>{side}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt>'
    "</BookgDt><AcctSvcrRef>{ref}</AcctSvcrRef><NtryDtls><TxDtls><RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls>"
    "</NtryDtls></Ntry>"
)
_STATEMENT = (
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>1</MsgId></GrpHdr>'
    "<Stmt><Id>1</Id><Acct><Id><IBAN>DE89370400440532013000</IBAN></Id></Acct>{entries}</Stmt></BkToCstmrStmt></Document>"
)


@pytest.fixture
def house(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[PaymentsWorld]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield PaymentsWorld(world)
    world.store.close()


@pytest.fixture
def charged(house: PaymentsWorld) -> PaymentsWorld:
    """100.00 of acme and 50.00 of bolt, taken by the gateway on 4 March, less 2.90 and 1.45."""
    house.owe({"acme": "100", "bolt": "50"})
    for name in ("acme", "bolt"):
        house.method(name)
    house.collect(DUE)
    return house


def sync(house: PaymentsWorld, at: datetime | None = None) -> Synced:
    house.now = at or house.now
    return sync_payouts(house.books, house.tenant_id, house.fake, house.now + timedelta(seconds=1))


def statement(house: PaymentsWorld, *entries: tuple[str, str, str, str]):
    """(reference, amount, day, text) each."""
    said = [
        _ENTRY.format(ref=ref, size=amount.lstrip("-"), side="DBIT" if amount.startswith("-") else "CRDT", day=day,
                      text=text)
        for ref, amount, day, text in entries
    ]  # fmt: skip
    content = _STATEMENT.format(entries="".join(said)).encode()
    return import_statement(house.books, house.tenant_id, content, house.now)


def clearing(house: PaymentsWorld, end: datetime | None = None) -> dict[str, D]:
    """The report by what, tied."""
    report = make_report(house.books, house.tenant_id, ReportName.CLEARING, None, end, house.now)
    assert all(tie.holds for tie in report.ties), report.ties
    assert check_payments(house.books, house.tenant_id).findings == ()
    return {str(row[1]): row[4] for row in report.rows if isinstance(row[4], D)}


def held(house: PaymentsWorld) -> tuple[D, D]:
    return house.balance(Code.PROVIDER_CLEARING), house.balance(Code.CASH)


def test_what_a_gateway_took_comes_to_the_bank_by_its_payout(charged: PaymentsWorld) -> None:
    house = charged
    assert held(house) == (D("145.65"), D(0))
    # Nothing was asked yet: our books alone know of it.
    assert clearing(house) == {"not told": D("145.65")}
    assert sync(house).movements == 4
    assert clearing(house) == {"held": D("145.65")}
    payout = house.fake.pay_out("USD", FIRST_DAY)
    assert payout.amount == D("145.65")
    assert sync(house) == Synced(0, 1, 0, 0)
    assert clearing(house) == {"in transit": D("145.65")}
    made = get_payout(house.books, house.tenant_id, "fake", payout.name)
    assert (made["amount"], made["listed"], made["state"]) == ("145.65", "145.65", "in_transit")
    moved = list_movements(house.books, house.tenant_id, "fake", payout.name, ("", ""), 100)
    assert [(one["kind"], one["amount"], one["key"]) for one in moved] == [
        ("fee", *one) for one in sorted([("-2.90", "collect:INV-000001:1"), ("-1.45", "collect:INV-000002:1")],
                                        key=lambda one: _fee_name(moved, one[1]))
    ] + [
        ("payment", *one) for one in sorted([("100.00", "collect:INV-000001:1"), ("50.00", "collect:INV-000002:1")],
                                            key=lambda one: _fee_name(moved, one[1]))
    ]  # fmt: skip
    house.now = DUE + timedelta(days=6)
    done = statement(
        house,
        ("A", "145.65", "2026-03-09", f"Payout {payout.reference}"),
        ("B", "145.65", "2026-03-09", "Somebody else"),
    )
    assert done.payouts == 1
    assert [one["identity"] for one in list_unmatched(house.books, house.tenant_id, 0, 10)] != []
    assert len(list_unmatched(house.books, house.tenant_id, 0, 10)) == 1
    assert held(house) == (D(0), D("145.65"))
    assert clearing(house) == {}
    assert clearing(house, DUE + timedelta(days=2)) == {"in transit": D("145.65")}
    ((_, listed),) = list_payouts(house.books, house.tenant_id, 0, 10)
    assert (listed["state"], listed["arrived_at"]) == ("arrived", "2026-03-09T00:00:00Z")
    assert list_payouts(house.books, house.tenant_id, 0, 10, awaited=True) == []
    assert sync(house) == Synced()
    assert statement(house, ("A", "145.65", "2026-03-09", f"Payout {payout.reference}")).entries == 0


def _fee_name(moved: list[dict[str, str]], key: str) -> str:
    return next(one["movement"] for one in moved if one["key"] == key and one["kind"] == "fee")


def test_a_statement_may_come_before_the_gateway_tells(charged: PaymentsWorld) -> None:
    house = charged
    house.fake.pay_out("USD", FIRST_DAY)
    house.now = DUE + timedelta(days=6)
    assert statement(house, ("A", "145.65", "2026-03-09", "FAKE payments inc.")).payouts == 0
    assert sync(house).arrived == 1
    assert held(house) == (D(0), D("145.65"))


def test_refunds_and_chargebacks_are_taken_off_and_may_be_more_than_comes_in(charged: PaymentsWorld) -> None:
    """The second payout is below zero: the bank pays the gateway 100.00 and 50.00, and 15.00 for the dispute."""
    house = charged
    house.fake.pay_out("USD", FIRST_DAY)
    refund = {"key": "sorry", "payment": "collect:INV-000001:1"}
    create_refund(house.books, house.tenant_id, refund, house.now)
    house.collect(DUE + timedelta(hours=1))
    dispute = house.fake.charge_back("collect:INV-000002:1")
    house.hear()
    second = house.fake.pay_out("USD", FIRST_DAY + timedelta(days=1))
    assert second.amount == D("-165.00")
    sync(house)
    assert clearing(house) == {"in transit": D("-19.35")}
    kinds = {
        one["kind"]: (one["amount"], one["key"])
        for one in list_movements(house.books, house.tenant_id, "fake", second.name, ("", ""), 100)
    }
    assert kinds == {
        "refund": ("-100.00", "sorry"),
        "dispute": ("-50.00", f"fake:{dispute}"),
        "dispute_fee": ("-15", f"fake:{dispute}"),
    }
    house.now = DUE + timedelta(days=8)
    statement(
        house, ("A", "145.65", "2026-03-09", "fake"), ("B", "-165.00", "2026-03-10", f"fake {second.name}")
    )
    assert held(house) == (D(0), D("-19.35"))
    # What was disputed is won: it comes back by the gateway, under the dispute's name.
    house.fake.decide_dispute("collect:INV-000002:1", dispute, won=True)
    house.hear()
    sync(house)
    assert clearing(house) == {"held": D("50.00")}


def test_a_payout_that_fails_is_held_again(charged: PaymentsWorld) -> None:
    house = charged
    first = house.fake.pay_out("USD", FIRST_DAY)
    sync(house)
    house.fake.fail_payout(first.name)
    sync(house, DUE + timedelta(days=1))
    assert clearing(house) == {"held": D("145.65")}
    with pytest.raises(Conflict) as refused:
        confirm(house, first.name, house.now)
    assert refused.value.code == "payout_failed"
    second = house.fake.pay_out("USD", FIRST_DAY)
    assert second.amount == D("145.65")
    sync(house)
    confirm(house, second.name, house.now)
    assert held(house) == (D(0), D("145.65"))
    assert clearing(house) == {}


def confirm(house: PaymentsWorld, name: str, at: datetime):
    raw = {"arrived_at": at.isoformat()}
    return confirm_arrival(house.books, house.tenant_id, "fake", name, raw, house.now)


def test_an_arrival_is_said_once_and_never_into_a_closed_month(charged: PaymentsWorld) -> None:
    house = charged
    name = house.fake.pay_out("USD", FIRST_DAY).name
    sync(house)
    day = DUE + timedelta(days=1)
    for at, code in (
        (DUE + timedelta(days=9), "invalid_arrival"),
        (DUE - timedelta(days=9), "period_closed"),
    ):
        close_period(house.books, house.tenant_id, DUE - timedelta(days=1), "filed", DUE)
        with pytest.raises((InvalidInput, Conflict)) as refused:
            confirm(house, name, at)
        assert refused.value.code == code
    house.now = DUE + timedelta(days=5)
    assert confirm(house, name, day) == confirm(house, name, day)
    with pytest.raises(Conflict) as other:
        confirm(house, name, DUE)
    assert other.value.code == "payout_arrived"
    with pytest.raises(NotFound) as unknown:
        confirm(house, "po_nothing", DUE)
    assert unknown.value.code == "payout_not_found"
    assert held(house) == (D(0), D("145.65"))


def test_what_only_the_gateway_knows_stands_in_the_report(charged: PaymentsWorld) -> None:
    """A fee for its service is booked; money that is not ours is at the gateway and on no account of ours."""
    house = charged
    house.fake.moves += [
        Movement("radar", MovementKind.PROVIDER_FEE, "radar", D("2.00"), "USD", house.now),
        Movement("gift", MovementKind.OTHER_IN, "gift", D("7.00"), "USD", house.now),
    ]
    assert sync(house).fees == 1
    assert held(house) == (D("143.65"), D(0))
    assert clearing(house) == {"held": D("150.65"), "unknown here": D("-7.00")}
    payout = house.fake.pay_out("USD", FIRST_DAY)
    sync(house)
    confirm(house, payout.name, house.now)
    assert held(house) == (D("-7.00"), D("150.65"))
    assert clearing(house) == {"unknown here": D("-7.00")}


def test_a_fee_that_nobody_told_is_booked_with_its_payment(charged: PaymentsWorld) -> None:
    """As with a success that a webhook told of, which does not say the fee."""
    house = charged
    house.owe({"coal": "30"})
    house.method("coal", "tok_processing")
    house.collect(DUE + timedelta(days=1))
    house.fake.settle_processing()
    with house.books.transaction(house.tenant_id) as conn:
        before = conn.execute("SELECT count(*) AS n FROM payments WHERE fee = 0").fetchone()
    messages = [
        (headers, body) for headers, body in house.fake.webhooks(house.now) if b"payment.succeeded" in body
    ]
    assert before is not None
    assert before["n"] == 1
    house.hear([_without_fee(house, body) for _, body in messages])
    assert house.payment("collect:INV-000003:1").fee == 0
    assert sync(house).fees == 1
    assert house.payment("collect:INV-000003:1").fee == D("0.87")
    assert clearing(house) == {"held": D("174.78")}
    assert sync(house) == Synced()


def _without_fee(house: PaymentsWorld, body: bytes) -> tuple[dict[str, str], bytes]:
    import json

    from farthing.payments.signature import sign

    said = json.loads(body) | {"fee": "0"}
    again = json.dumps(said).encode()
    return {"fake-signature": sign(house.fake.secret, again, house.now)}, again


def test_what_was_booked_as_cash_is_moved_to_where_it_stands_now(charged: PaymentsWorld) -> None:
    """Books from before gateways had an account: the first question moves what they hold, once."""
    house = charged
    with house.books.transaction(house.tenant_id) as conn:
        from farthing.ledger.facts import PaymentReceived
        from farthing.ledger.recipes import payment_received
        from farthing.ledger.service import post

        row = conn.execute("SELECT customer_id FROM customers WHERE key = 'acme'").fetchone()
        assert row is not None
        conn.execute(
            "INSERT INTO payments (tenant_id, key, customer_id, gateway, purpose, currency, amount, reference,"
            " requested_at, state, moved_at, cause, paid_at, provider_id)"
            " VALUES (%s, 'old', %s, 'fake', 'account', 'USD', 10, '', %s, 'succeeded', %s, 'old', %s, 'fake_old')",
            [house.tenant_id, row["customer_id"], DUE, DUE, DUE],
        )
        old = PaymentReceived("old", row["customer_id"], "USD", D(10), DUE)
        post(conn, house.tenant_id, [payment_received(old)], DUE)
    assert held(house) == (D("145.65"), D(10))
    house.fake.moves.append(Movement("old", MovementKind.PAYMENT, "fake_old", D(10), "USD", DUE))
    sync(house)
    assert held(house) == (D("155.65"), D(0))
    assert clearing(house) == {"held": D("155.65")}
    sync(house)
    assert held(house) == (D("155.65"), D(0))


def test_a_gateway_that_does_not_answer_is_asked_again(charged: PaymentsWorld) -> None:
    house = charged

    class Silent(type(house.fake)):  # type: ignore[misc]
        def movements(self, start, end):
            raise OutcomeUnknown("timeout")

    silent = Silent(house.fake.secret, house.fake.clock)
    with pytest.raises(OutcomeUnknown):
        sync_payouts(house.books, house.tenant_id, silent, house.now)
    assert sync(house).movements == 4


def test_the_database_refuses_what_cannot_be(charged: PaymentsWorld) -> None:
    house = charged
    first = house.fake.pay_out("USD", FIRST_DAY).name
    house.fake.moves.append(Movement("more", MovementKind.OTHER_IN, "more", D(1), "USD", house.now))
    house.fake.pay_out("USD", FIRST_DAY)
    sync(house)
    for statement_ in (
        "UPDATE provider_movements m SET payout = (SELECT max(name) FROM payouts WHERE name <> m.payout)",
        "UPDATE provider_movements SET payout = NULL",
        "UPDATE payouts SET state = 'failed', arrived_at = now()",
        "DELETE FROM payouts",
        "UPDATE provider_movements SET amount = 1",
    ):
        with pytest.raises(psycopg.Error), house.books.transaction(house.tenant_id) as conn:
            conn.execute(statement_)
    confirm(house, first, house.now)
    with pytest.raises(psycopg.Error), house.books.transaction(house.tenant_id) as conn:
        conn.execute("UPDATE payouts SET arrived_at = NULL")


DAYS = st.integers(0, 20)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(DAYS, st.sampled_from(("po_one", "po_two", ""))), max_size=4),
    st.lists(st.tuples(DAYS, st.sampled_from(("from po_one", "PO_TWO", "Stripe", "somebody"))), max_size=4),
)
def test_each_payout_and_each_entry_is_in_one_pair(
    payouts: list[tuple[int, str]], entries: list[tuple[int, str]]
) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    candidates = [
        Candidate(number, "stripe", f"name{number}", reference, start, (start + timedelta(days=day)).date(), place,
                  start + timedelta(days=booked), text)
        for number, (day, reference) in enumerate(payouts)
        for place, (booked, text) in enumerate(entries)
    ]  # fmt: skip
    found = arrivals(candidates)
    assert found == arrivals(reversed(candidates))
    assert all(one.payout_id < other.payout_id for one, other in pairwise(found))
    assert len({one.entry_id for one in found}) == len(found)
    for one in found:
        assert entries[one.entry_id][1] != "somebody"
        assert entries[one.entry_id][0] <= payouts[one.payout_id][0] + 14
    # Nobody is left over who would have fitted.
    left = [c for c in candidates if c.payout_id not in {one.payout_id for one in found}
            and c.entry_id not in {one.entry_id for one in found}]  # fmt: skip
    assert arrivals(left) == []
