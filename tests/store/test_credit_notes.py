"""Credit notes and voids on real books: never over what was billed, numbered without a gap, booked, and told."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan
from pypdf import PdfReader
from tax_world import collects_tax
from wallet_world import WalletWorld, wallet_world

from farthing.customers.life import charge_once
from farthing.db import Books
from farthing.db.outbox import facts_after
from farthing.finance.model import ReportName
from farthing.finance.service import make_report, recognise_revenue
from farthing.invoicing.checks import check_booked, check_documents, check_numbers, check_sums
from farthing.invoicing.credit_notes.checks import check_credited
from farthing.invoicing.credit_notes.paper import render_credit_note
from farthing.invoicing.credit_notes.service import (
    get_credit_note,
    issue_credit_note,
    list_credit_notes,
    void_invoice,
)
from farthing.invoicing.service import get_invoice, list_invoices
from farthing.kernel.errors import Conflict, NotFound
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.ledger.service import trial_balance
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid

FIRST = "INV-000001"


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield world
    world.store.close()


@pytest.fixture
def billed(world: World) -> World:
    """INV-000001: a fee of 100 and 30 at 7 %, in Germany: 130.00 and 21.10 of tax."""
    cards = [fee("100"), fee("30", key="book") | {"tax_category": "reduced"}, PER_TOKEN]
    world.furnish([plan(*cards)], [{"customer": "acme", "plan": "payg"}], address={"country": "DE"})
    collects_tax(world)
    world.bill("2026-02-01", now=instant("2026-02-01T08:00:00Z"))
    return world


def credit(world: World, key: str = "k", now: str = "2026-02-10", **wanted: Any) -> dict[str, Any]:
    body = {"key": key, "invoice": FIRST, "reason": "Outage", **wanted}
    return issue_credit_note(world.books, world.tenant_id, body, instant(now))[0]


def void(world: World, number: str = FIRST) -> dict[str, Any]:
    return void_invoice(world.books, world.tenant_id, number, "Wrong customer", instant("2026-02-11"))[0]


def booked(world: World) -> dict[str, D]:
    """Debits less credits by code, of accounts that hold something."""
    rows = trial_balance(world.books, world.tenant_id).rows
    return {row.code.value: row.debit - row.credit for row in rows if row.debit != row.credit}


def well(world: World) -> bool:
    checks = (
        check_sums, check_numbers, check_documents, check_booked, check_credited, check_transfers_balance,
        check_balances,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(world.books, world.tenant_id).findings]
    assert found == []
    return True


def test_a_credit_note_is_numbered_booked_told_and_printed(billed: World) -> None:
    made = credit(billed, lines=[{"line": 1, "amount": "10"}, {"line": 2}], refund=True)
    assert made == get_credit_note(billed.books, billed.tenant_id, "CN-000001")
    assert (made["subtotal"], made["tax"], made["total"]) == ("40.00", "4.00", "44.00")
    assert [(tax["rate"], tax["net"], tax["amount"]) for tax in made["taxes"]] == [
        ("19", "10.00", "1.90"),
        ("7", "30.00", "2.10"),
    ]
    assert [(line["of"], line["quantity"], line["amount"], line["tax"]) for line in made["lines"]] == [
        (1, None, "10.00", "1.90"),
        (2, "1", "30.00", "2.10"),
    ]
    assert booked(billed) == {"receivable": D("107.10"), "revenue": D(-90), "tax_payable": D("-17.10")}
    facts = facts_after(billed.books, billed.tenant_id, 0, 10, "credit_note.issued")
    assert [(one.fact.subject, one.fact.body["total"], one.fact.body["refund"]) for one in facts] == [
        ("CN-000001", "44.00", True)
    ]
    (listed,) = list_credit_notes(billed.books, billed.tenant_id, None, 10, invoice=FIRST)
    assert (listed["number"], listed["total"], listed["refund"]) == ("CN-000001", "44.00", True)
    assert list_credit_notes(billed.books, billed.tenant_id, None, 10, customer="nobody") == []
    assert well(billed)


def test_it_can_be_read_on_paper(billed: World, tmp_path: Path) -> None:
    made = credit(billed, lines=[{"line": 1, "amount": "10"}, {"line": 2}])
    path = tmp_path / "credit.pdf"
    path.write_bytes(render_credit_note(made, {}))
    text = PdfReader(path).pages[0].extract_text()
    for words in (
        "Credit note",
        "CN-000001",
        FIRST,
        "Reason: Outage",
        "USD 44.00",
        "to your credit",
        "VAT 7 % on 30.00",
    ):
        assert words in text.replace("\n", " "), words
    assert render_credit_note(made, {}) == path.read_bytes()


def test_asked_again_it_is_the_same_and_asked_otherwise_it_is_refused(billed: World) -> None:
    assert credit(billed, amount="10.00") == credit(billed, amount="10")
    with pytest.raises(Conflict) as refused:
        credit(billed, amount="11")
    assert refused.value.code == "credit_note_exists"
    assert len(list_credit_notes(billed.books, billed.tenant_id, None, 10)) == 1


def test_several_give_back_everything_to_the_cent_and_then_nothing_is_left(billed: World) -> None:
    for place, amount in enumerate(("33.33", "0.01", "50.49")):
        credit(billed, f"k{place}", amount=amount)
    credit(billed, "line", lines=[{"line": 2, "quantity": "0.25"}])
    credit(billed, "rest")
    assert booked(billed) == {}
    with pytest.raises(Conflict) as refused:
        credit(billed, "more", amount="0.01")
    assert refused.value.code == "nothing_to_credit"
    numbers = [one["number"] for one in list_credit_notes(billed.books, billed.tenant_id, None, 10)]
    assert numbers == [f"CN-00000{place}" for place in range(1, 6)]
    assert well(billed)


def test_two_at_once_never_give_back_more_than_was_billed(billed: World) -> None:
    """Eight ask for 40.00 of 151.10 at the same time: three get it."""

    def ask(place: int) -> str:
        try:
            return str(credit(billed, f"k{place}", amount="40.00")["number"])
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        found = sorted(pool.map(ask, range(8)))
    assert found == ["CN-000001", "CN-000002", "CN-000003", *["credit_over_invoice"] * 5]
    assert well(billed)


def test_the_database_refuses_what_goes_round_the_service(billed: World) -> None:
    credit(billed, amount="100.00")
    statement = """
        INSERT INTO credit_notes (tenant_id, number, key, request, invoice_id, customer_id, currency, subtotal, tax,
                                  total, prices_include_tax, earned, deferred, refund, issued_at, document)
        SELECT tenant_id, 'CN-9', 'other', '{}', invoice_id, customer_id, currency, %(net)s, 0, %(net)s, false,
               %(net)s, 0, false, issued_at, '{}' FROM invoices WHERE number = 'INV-000001'
    """
    with (
        pytest.raises(psycopg.errors.CheckViolation, match="credited_within_invoice"),
        billed.books.transaction(billed.tenant_id) as conn,
    ):
        conn.execute(statement, {"net": D("51.11")})
    part = """
        INSERT INTO credit_note_parts
        SELECT tenant_id, credit_note_id, invoice_id, 'tax', 9, 100, 1, 1 FROM credit_notes
    """
    with (
        pytest.raises(psycopg.errors.CheckViolation, match="do not make it up"),
        billed.books.transaction(billed.tenant_id) as conn,
    ):
        conn.execute(part)


def test_service_to_come_is_given_back_from_what_was_deferred(world: World) -> None:
    world.furnish([plan(fee("30", timing="advance", key="seat"))], [{"customer": "acme", "plan": "payg"}])
    world.bill("2026-01-01", now=instant("2026-01-02"))
    assert booked(world) == {"receivable": D(30), "deferred_revenue": D(-30)}
    credit(world, now="2026-01-10", amount="12")
    assert booked(world) == {"receivable": D(18), "deferred_revenue": D(-18)}
    # When the month is over the service was rendered, and its revenue is what is given back.
    credit(world, "late", now="2026-02-10", amount="3")
    assert booked(world) == {"receivable": D(15), "deferred_revenue": D(-18), "revenue": D(3)}
    assert well(world)


def test_a_void_is_booked_and_what_it_billed_is_billed_again(billed: World) -> None:
    before = get_invoice(billed.books, billed.tenant_id, FIRST)
    assert void(billed)["status"] == "void"
    assert booked(billed) == {}
    shown = get_invoice(billed.books, billed.tenant_id, FIRST)
    assert shown == before | {
        "status": "void", "void_reason": "Wrong customer", "voided_at": "2026-02-11T00:00:00Z",
    }  # fmt: skip
    assert [one["status"] for one in list_invoices(billed.books, billed.tenant_id, None, 10)] == ["void"]
    (told,) = facts_after(billed.books, billed.tenant_id, 0, 10, "invoice.voided")
    assert (told.fact.subject, told.fact.body["total"]) == (FIRST, "151.10")
    # In between there was usage: the new invoice has it.
    billed.use("acme", "2026-01-10", "1000000")
    assert billed.bill("2026-02-01").issued == ["INV-000002"]
    assert get_invoice(billed.books, billed.tenant_id, "INV-000002")["subtotal"] == "132.50"
    assert billed.bill("2026-02-01").issued == []
    assert well(billed)


def test_void_once_more_changes_nothing_and_again_after_billing_takes_back_the_next(billed: World) -> None:
    assert void(billed) == void(billed)
    billed.bill("2026-02-01")
    void(billed, "INV-000002")
    billed.bill("2026-02-01")
    statuses = [one["status"] for one in list_invoices(billed.books, billed.tenant_id, None, 10)]
    assert statuses == ["void", "void", "issued"]
    assert booked(billed) == {"receivable": D("151.10"), "revenue": D(-130), "tax_payable": D("-21.10")}
    assert well(billed)


def test_a_one_off_charge_is_billed_again_once(world: World) -> None:
    world.furnish([plan(fee("10"))], [{"customer": "acme", "plan": "payg"}])
    charge = {"key": "setup", "description": "Setup", "amount": "250", "at": "2026-01-05T00:00:00Z"}
    charge_once(world.books, world.tenant_id, "acme-payg", charge, world.now)
    for number in ("INV-000001", "INV-000002"):
        assert world.bill("2026-02-01").issued == [number]
        assert get_invoice(world.books, world.tenant_id, number)["total"] == "260.00"
        void(world, number)
    world.bill("2026-02-01")
    world.bill("2026-03-01")
    assert get_invoice(world.books, world.tenant_id, "INV-000004")["total"] == "10.00"
    assert booked(world)["receivable"] == D(270)
    assert well(world)


def test_a_fee_in_advance_is_billed_again_with_the_invoice_that_had_it(world: World) -> None:
    world.furnish([plan(fee("30", timing="advance", key="seat"))], [{"customer": "acme", "plan": "payg"}])
    world.bill("2026-02-01")
    assert len(list_invoices(world.books, world.tenant_id, None, 10)) == 2
    void(world, "INV-000002")
    world.bill("2026-03-01")
    found = list_invoices(world.books, world.tenant_id, None, 10)
    assert [(one["total"], one["status"]) for one in found] == [
        ("30.00", "issued"), ("30.00", "void"), ("30.00", "issued"), ("30.00", "issued"),
    ]  # fmt: skip
    assert well(world)


def test_an_invoice_before_others_of_its_subscription_is_credited_not_voided(billed: World) -> None:
    billed.bill("2026-03-01")
    with pytest.raises(Conflict) as refused:
        void(billed)
    assert refused.value.code == "later_invoice_stands"
    assert "INV-000002" in refused.value.message
    void(billed, "INV-000002")
    void(billed)
    assert booked(billed) == {}
    assert well(billed)


def test_credited_or_voided_but_never_both(billed: World) -> None:
    credit(billed, amount="1")
    with pytest.raises(Conflict) as refused:
        void(billed)
    assert refused.value.code == "invoice_credited"
    with pytest.raises(psycopg.errors.UniqueViolation), billed.books.transaction(billed.tenant_id) as conn:
        conn.execute("INSERT INTO invoice_voids SELECT tenant_id, invoice_id, 'r', issued_at FROM invoices")


def test_a_void_invoice_is_not_credited(billed: World) -> None:
    void(billed)
    with pytest.raises(Conflict) as refused:
        credit(billed)
    assert refused.value.code == "invoice_void"


def test_what_is_not_there(billed: World) -> None:
    for act in (lambda: credit(billed, invoice="INV-9"), lambda: void(billed, "INV-9")):
        with pytest.raises(NotFound) as refused:
            act()
        assert refused.value.code == "invoice_not_found"
    with pytest.raises(NotFound) as refused:
        get_credit_note(billed.books, billed.tenant_id, "CN-9")
    assert refused.value.code == "credit_note_not_found"


def test_the_database_lets_one_invoice_stand_for_a_period(billed: World) -> None:
    again = """
        INSERT INTO invoices (tenant_id, number, customer_id, subscription_id, plan_version_id, status, reason,
                              currency, period_start, period_end, subtotal, tax, total, total_exact, issued_at,
                              document)
        SELECT tenant_id, 'INV-9', customer_id, subscription_id, plan_version_id, status, reason, currency,
               period_start, period_end, subtotal, tax, total, total_exact, issued_at, document FROM invoices
    """
    with pytest.raises(psycopg.errors.UniqueViolation), billed.books.transaction(billed.tenant_id) as conn:
        conn.execute(again)


def test_revenue_in_advance_that_is_given_back_is_recognised_back(world: World) -> None:
    """A year of 120 from January, given back in April to 36: of that 9 were earned by then, and 27 never are."""
    year = fee("120", timing="advance", key="year")
    world.furnish([plan(year, interval="year")], [{"customer": "acme", "plan": "payg"}])
    world.bill("2026-01-01", now=instant("2026-01-01T00:00:00Z"))
    recognise_revenue(world.books, world.tenant_id, instant("2026-04-01"), instant("2026-04-01"))
    assert booked(world) == {"receivable": D(120), "deferred_revenue": D("-90.41"), "revenue": D("-29.59")}
    credit(world, now="2026-04-01T12:00:00Z", amount="36")
    assert booked(world)["deferred_revenue"] == D("-54.41")
    for until in ("2026-05-01", "2027-01-01"):
        recognise_revenue(world.books, world.tenant_id, instant(until), instant("2027-01-02"))
    assert booked(world) == {"receivable": D(84), "revenue": D(-84)}
    for name in ReportName:
        report = make_report(world.books, world.tenant_id, name, None, None, instant("2027-01-02"))
        assert all(tie.holds for tie in report.ties), report.ties
    assert well(world)


def test_a_void_takes_back_what_was_recognised(world: World) -> None:
    world.furnish([plan(fee("31", timing="advance", key="seat"))], [{"customer": "acme", "plan": "payg"}])
    world.bill("2026-01-01", now=instant("2026-01-01T00:00:00Z"))
    recognise_revenue(world.books, world.tenant_id, instant("2026-02-01"), instant("2026-02-01"))
    void(world)
    recognise_revenue(world.books, world.tenant_id, instant("2026-03-01"), instant("2026-03-01"))
    assert booked(world) == {}
    for name in ReportName:
        report = make_report(world.books, world.tenant_id, name, None, None, instant("2026-03-02"))
        assert all(tie.holds for tie in report.ties), report.ties


@pytest.fixture
def prepaid(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[WalletWorld]:
    """2.50 of tokens at prices that include 19 % of tax, all of it paid from a wallet: 2.10 earned, 0.40 tax."""
    world = wallet_world(books, tenant_id, instant("2026-01-05"), tmp_path)
    world.furnish(
        [plan(PER_TOKEN, prices_include_tax=True)],
        [{"customer": "acme", "plan": "payg"}],
        address={"country": "DE"},
    )
    collects_tax(world)
    world.wallet()
    world.grant("order-1", "10")
    world.use("acme", "2026-01-05", "1000000")
    world.now = instant("2026-02-01T06:00:00Z")
    world.bill("2026-02-01")
    found = get_invoice(books, tenant_id, FIRST)
    assert (found["total"], found["tax"], found["paid_from_wallets"]) == ("2.50", "0.40", "2.50")
    yield world
    world.store.close()


BILLED = {"receivable": "10", "prepaid": "-7.5", "revenue": "-2.1", "tax_payable": "-0.4"}


def wallets_well(world: WalletWorld) -> bool:
    checks = (check_overspent, check_counters, check_prepaid)
    found = [finding for check in checks for finding in check(world.books, world.tenant_id).findings]
    assert found == []
    for name in ReportName:
        report = make_report(world.books, world.tenant_id, name, None, None, instant("2026-03-02"))
        assert all(tie.holds for tie in report.ties), report.ties
    return well(world)


def test_what_wallets_paid_is_credited(prepaid: WalletWorld) -> None:
    assert prepaid.trial_balance() == BILLED
    """All of it goes back to the wallet, as a grant of its own."""
    credit(prepaid)
    assert prepaid.trial_balance() == {"receivable": "10", "prepaid": "-10"}
    prepaid.now = instant("2026-02-11")
    assert prepaid.available() == 10
    assert wallets_well(prepaid)


def test_a_void_gives_back_what_wallets_paid_and_billing_again_takes_it_again(prepaid: WalletWorld) -> None:
    void(prepaid)
    assert prepaid.drawn("order-1") == 0
    assert prepaid.available() == 10
    assert prepaid.trial_balance() == {"receivable": "10", "prepaid": "-10"}
    assert wallets_well(prepaid)
    void(prepaid)
    assert prepaid.available() == 10, "asked again, nothing more is given back"
    # Usage that comes before it is billed again is drawn, and the new invoice settles all of it.
    prepaid.use("acme", "2026-01-06", "1000000")
    assert prepaid.drawn("order-1") == D("2.5")
    assert prepaid.bill("2026-02-01").issued == ["INV-000002"]
    found = get_invoice(prepaid.books, prepaid.tenant_id, "INV-000002")
    assert (found["total"], found["paid_from_wallets"], found["amount_due"]) == ("5.00", "5.00", "0.00")
    assert prepaid.drawn("order-1") == 5
    assert wallets_well(prepaid)
    void(prepaid, "INV-000002")
    assert prepaid.bill("2026-02-01").issued == ["INV-000003"]
    assert prepaid.drawn("order-1") == 5
    assert wallets_well(prepaid)


def test_a_void_gives_back_to_a_grant_that_was_used_up_and_what_was_owed_is_forgotten(
    books: Books, tenant_id: int, tmp_path: Path
) -> None:
    """12.34560 of usage, 5 of it paid by an order, 0.40 by a gift: the void leaves neither draws nor debts."""
    world = wallet_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    world.furnish([plan(PER_TOKEN, fee("3"))], [{"customer": "acme", "plan": "payg"}])
    world.wallet()
    world.grant("order-1", "5.00")
    world.grant("gift", "0.40", kind="promotional")
    world.use("acme", "2026-01-09", "4938240")
    world.now = instant("2026-02-01T06:00:00Z")
    world.bill("2026-02-01")
    assert get_invoice(books, tenant_id, FIRST)["amount_due"] == "9.95"
    before = world.trial_balance()
    void(world)
    assert (world.drawn("order-1"), world.drawn("gift"), world.available()) == (0, 0, D("5.40"))
    assert world.trial_balance() == {
        "receivable": "5", "prepaid": "-5", "promotional_credit": "-0.4", "promotions": "0.4",
    }  # fmt: skip
    assert wallets_well(world)
    assert world.bill("2026-02-01").issued == ["INV-000002"]
    assert get_invoice(books, tenant_id, "INV-000002")["amount_due"] == "9.95"
    assert world.trial_balance() == before
    assert wallets_well(world)
    world.store.close()
