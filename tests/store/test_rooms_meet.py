"""Where rooms meet: what one room does to an invoice, and what another one paid, taxed or counted of it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan
from hypothesis import given, settings
from hypothesis import strategies as st
from payments_world import PaymentsWorld
from tax_world import collects_tax
from wallet_world import D, WalletWorld, wallet_world

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.model import VOID_TYPE
from farthing.finance.model import ReportName
from farthing.finance.service import make_report
from farthing.invoicing.accrued.service import charge_accrued
from farthing.invoicing.checks import check_booked, check_documents, check_numbers, check_sums
from farthing.invoicing.credit_notes.checks import check_credited
from farthing.invoicing.credit_notes.service import get_credit_note, issue_credit_note, void_invoice
from farthing.invoicing.interim.checks import check_interims
from farthing.invoicing.service import invoice_documents
from farthing.kernel.errors import Conflict
from farthing.ledger.chart import Code
from farthing.payments.checks import check_payments
from farthing.payments.credit import customer_balance, list_credits
from farthing.payments.credit_checks import check_credit
from farthing.payments.service import write_off
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.service import void_grant

CENT = PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "0.333"}}
AS_YOU_GO = {"mode": "pay_as_you_go", "threshold": "50"}
_numbers = iter(range(10**6))


def well(world: World) -> bool:
    checks = (check_sums, check_numbers, check_documents, check_booked, check_interims)
    found = [finding for check in checks for finding in check(world.books, world.tenant_id).findings]
    assert found == []
    return True


# ---- Interim invoices, tax and late usage


def in_germany(
    books: Books, now: datetime, directory: Path, name: str, inclusive: bool, **more: Any
) -> World:
    number = next(_numbers)
    tenant_id = create_tenant(books, f"{name}-{number}", f"{name} {number}", now)
    world = World(books, open_store(directory), tenant_id, instant("2026-01-01"))
    world.furnish(
        [plan(CENT, fee("1"), prices_include_tax=inclusive, **more)],
        [{"customer": "acme", "plan": "payg"}],
        address={"country": "DE"},
    )
    collects_tax(world)
    return world


def billed(world: World, numbers: list[str]) -> dict[str, Fraction]:
    """What these invoices come to, together."""
    documents = list(invoice_documents(world.books, world.tenant_id, numbers))
    return {
        name: sum((Fraction(one[name]) for one in documents), Fraction(0))
        for name in ("subtotal", "tax", "total")
    }


uses = st.lists(st.tuples(st.integers(1, 28), st.integers(1, 400)), min_size=1, max_size=8)


@settings(max_examples=12)
@given(uses, st.lists(st.integers(-200, 400), max_size=2), st.booleans())
def test_charges_as_usage_accrues_bear_the_tax_that_one_invoice_does(
    books: Books,
    session_now: datetime,
    tmp_path_factory: pytest.TempPathFactory,
    used: list[tuple[int, int]],
    late: list[int],
    inclusive: bool,
) -> None:
    """Of two customers with the same usage one is charged every day and one once; both owe the same, tax included."""
    often = in_germany(
        books, session_now, tmp_path_factory.mktemp("often"), "often", inclusive, collection=AS_YOU_GO
    )
    once = in_germany(books, session_now, tmp_path_factory.mktemp("once"), "once", inclusive)
    numbers: dict[str, list[str]] = {"often": [], "once": []}
    for day, tokens in sorted(used):
        for world in (often, once):
            world.use("acme", f"2026-01-{day:02}", str(tokens))
        numbers["often"] += charge_accrued(
            books, often.store, often.tenant_id, instant(f"2026-01-{day + 1:02}")
        ).issued
    for month, tokens in enumerate([0, *late, 0], start=2):
        for name, world in (("often", often), ("once", once)):
            world.now = instant(f"2026-{month:02}-01")
            numbers[name] += world.bill(f"2026-{month:02}-01").issued
            if tokens:
                world.use("acme", "2026-01-15", str(tokens))
        found = {name: billed(world, numbers[name]) for name, world in (("often", often), ("once", once))}
        assert found["often"] == found["once"], (month, numbers)
    assert well(often)
    assert well(once)
    often.store.close()
    once.store.close()


# ---- What is corrected of invoices that were paid


@pytest.fixture
def house(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[PaymentsWorld]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield PaymentsWorld(world)
    world.store.close()


def gives_back(house: PaymentsWorld, amount: str, key: str = "k", number: str = "INV-000001") -> None:
    wanted = {"key": key, "invoice": number, "reason": "Outage", "amount": amount}
    issue_credit_note(house.books, house.tenant_id, wanted, house.now)


def credit_of(house: PaymentsWorld) -> Decimal:
    """What of payments stands to somebody's credit."""
    with house.books.read_only(house.tenant_id) as conn:
        row = conn.execute(
            "SELECT coalesce(sum(amount - allocated - refunded - charged_back), 0) AS credit FROM payments"
            " WHERE state = 'succeeded' AND purpose <> 'top_up'"
        ).fetchone()
    assert row is not None
    return Decimal(row["credit"])


def agrees(house: PaymentsWorld) -> bool:
    """Open invoices less what stands to customers' credit is what the ledger says is receivable."""
    with house.books.read_only(house.tenant_id) as conn:
        row = conn.execute("SELECT coalesce(sum(open), 0) AS open FROM invoice_balances").fetchone()
    assert row is not None
    assert row["open"] - credit_of(house) == house.balance(Code.RECEIVABLE)
    for check in (check_payments, check_credit, check_credited):
        assert check(house.books, house.tenant_id).findings == ()
    return well(house.world)


def test_a_credit_note_of_a_paid_invoice_leaves_the_money_to_the_credit(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("wire", "acme", "100")
    assert agrees(house)
    gives_back(house, "30")
    assert (house.open("INV-000001"), credit_of(house)) == (0, 30)
    assert agrees(house)
    gives_back(house, "70", "rest")
    assert (house.open("INV-000001"), credit_of(house)) == (0, 100)
    assert agrees(house)


def test_a_credit_note_of_a_partly_paid_invoice_takes_what_is_open_first(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("wire", "acme", "60")
    gives_back(house, "30")
    assert (house.open("INV-000001"), credit_of(house)) == (10, 0)
    gives_back(house, "30", "more")
    assert (house.open("INV-000001"), credit_of(house)) == (0, 20)
    assert agrees(house)


def test_a_void_of_a_paid_invoice_leaves_the_money_for_the_one_that_replaces_it(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("wire", "acme", "60")
    house.receive("wire-2", "acme", "40")
    void_invoice(house.books, house.tenant_id, "INV-000001", "Wrong address", house.now)
    assert (house.open("INV-000001"), credit_of(house)) == (0, 100)
    assert agrees(house)
    assert house.world.bill("2026-02-01", now=house.now).issued == ["INV-000002"]
    assert house.open("INV-000002") == 100
    house.collect(house.now + timedelta(days=1))
    assert (house.open("INV-000002"), credit_of(house)) == (0, 0)
    assert agrees(house)


def test_a_credit_note_of_what_is_written_off(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"})
    house.receive("wire", "acme", "60")
    write_off(house.books, house.tenant_id, "INV-000001", {"reason": "Insolvent"}, house.now)
    assert agrees(house)
    gives_back(house, "50")
    assert agrees(house)
    assert credit_of(house) == 50


# ---- What wallets paid


@pytest.fixture
def prepaid(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[WalletWorld]:
    """4,938,240 tokens, which are 12.3456; 5.00 of it a wallet paid."""
    world = wallet_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    world.wallet()
    world.grant("order-1", "5.00")
    world.use("acme", "2026-01-09", "4938240")
    yield world
    world.store.close()


def wallets_well(world: WalletWorld) -> bool:
    checks = (check_overspent, check_counters, check_prepaid)
    found = [finding for check in checks for finding in check(world.books, world.tenant_id).findings]
    assert found == []
    return well(world)


def voids(world: World, target: str, day: str) -> None:
    event = {
        "specversion": "1.0",
        "id": f"v-{target}",
        "source": "test",
        "type": VOID_TYPE,
        "corrects": target,
    }
    world.send([event | {"time": f"{day}T00:00:00Z"}])


def test_an_event_that_a_wallet_paid_for_and_that_is_voided_is_given_back_by_the_invoice(
    prepaid: WalletWorld,
) -> None:
    prepaid.use("acme", "2026-01-09", "400000")  # 1.00
    assert prepaid.drawn("order-1") == 5
    voids(prepaid, "0", "2026-01-10")
    prepaid.now = instant("2026-02-01T06:00:00Z")
    (number,) = prepaid.bill("2026-02-01").issued
    (invoice,) = invoice_documents(prepaid.books, prepaid.tenant_id, [number])
    assert (invoice["total"], invoice["paid_from_wallets"], invoice["amount_due"]) == ("1.00", "1.00", "0.00")
    assert (prepaid.drawn("order-1"), prepaid.available()) == (1, 4)
    assert wallets_well(prepaid)


def test_an_event_that_is_voided_after_a_wallet_paid_its_invoice_lowers_the_next(
    prepaid: WalletWorld,
) -> None:
    """The next invoice pays with it for what was used since, before any wallet does."""
    prepaid.now = instant("2026-02-01T06:00:00Z")
    prepaid.bill("2026-02-01")
    prepaid.now = instant("2026-02-02")
    prepaid.grant("order-2", "50.00")
    voids(prepaid, "0", "2026-02-02")
    prepaid.use("acme", "2026-02-03", "8000000")  # 20.00
    prepaid.now = instant("2026-03-01T06:00:00Z")
    (number,) = prepaid.bill("2026-03-01").issued
    (invoice,) = invoice_documents(prepaid.books, prepaid.tenant_id, [number])
    assert (invoice["total"], invoice["paid_from_wallets"], invoice["amount_due"]) == ("7.65", "7.65", "0.00")
    assert (prepaid.drawn("order-1"), prepaid.drawn("order-2")) == (5, D("7.65"))
    assert wallets_well(prepaid)


def test_a_credit_note_of_what_a_wallet_paid_in_part(prepaid: WalletWorld) -> None:
    """7.35 are due: a credit note takes that off first, and what goes beyond it goes back to the wallet."""
    prepaid.now = instant("2026-02-01T06:00:00Z")
    prepaid.bill("2026-02-01")
    house = PaymentsWorld(prepaid, prepaid.now)
    assert prepaid.trial_balance() == {"receivable": "12.35", "revenue": "-12.35"}  # 5.00 of it for the order
    gives_back(house, "6")
    assert (house.open("INV-000001"), prepaid.trial_balance()["receivable"]) == (D("1.35"), "6.35")
    gives_back(house, "2", "more")
    assert house.open("INV-000001") == 0
    assert prepaid.trial_balance() == {"receivable": "5", "prepaid": "-0.65", "revenue": "-4.35"}
    again = prepaid.of("returned:CN-000002:1")
    assert (again.amount, again.paid, again.reference) == (D("0.65"), True, "CN-000002")
    assert prepaid.available() == D("0.65")
    gives_back(house, "4.35", "rest")
    assert prepaid.available() == 5
    for check in (check_payments, check_credit, check_credited):
        assert check(prepaid.books, prepaid.tenant_id).findings == ()
    assert wallets_well(prepaid)


def test_what_a_grant_that_has_expired_had_paid_stands_to_the_credit(
    books: Books, tenant_id: int, tmp_path: Path
) -> None:
    """12.35, of which a gift paid 2.00, a grant that expires on 5 February 1.00, and one that stays 4.00: 5.35 are due.

    All of it is given back on the 10th: 5.35 are no longer due, 2.00 and 4.00 go back, 1.00 stands to the credit and
    pays of the next invoice.
    """
    world = wallet_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    world.furnish([plan(PER_TOKEN, fee("3", key="base"))], [{"customer": "acme", "plan": "payg"}])
    world.wallet()
    world.grant("gift", "2.00", kind="promotional")
    world.grant("short", "1.00", expires_at="2026-02-05T00:00:00Z")
    world.grant("long", "4.00")
    world.use("acme", "2026-01-09", "3738240")  # 9.3456, and 3.00 of fee
    world.now = instant("2026-02-01T06:00:00Z")
    world.bill("2026-02-01")
    (invoice,) = invoice_documents(books, tenant_id, ["INV-000001"])
    assert (invoice["total"], invoice["paid_from_wallets"], invoice["amount_due"]) == (
        "12.35",
        "7.00",
        "5.35",
    )
    house = PaymentsWorld(world, instant("2026-02-10"))
    world.now = house.now
    house.receive("orders", "acme", "5.00")  # the grants are paid for by this and by what is recorded next
    gives_back(house, "12.35")
    note = get_credit_note(books, tenant_id, "CN-000001")
    assert note["to_wallets"] == "6.00"
    returned = [world.of(f"returned:CN-000001:{place}") for place in (1, 2)]
    assert {(one.paid, one.amount) for one in returned} == {(True, D(4)), (False, D(2))}
    assert world.available() == 6
    (balance,) = customer_balance(books, tenant_id, "acme")
    assert {(one["source"], one["left"]) for one in balance["credits"]} == {
        ("payment", "5"), ("credit_note", "1"),
    }  # fmt: skip
    assert (balance["owed_for_grants"], balance["balance"]) == ("5", "-1")
    assert house.balance(Code.RECEIVABLE, "acme") == -1
    assert check_credit(books, tenant_id).findings == ()
    assert wallets_well(world)
    world.store.close()


def test_a_credit_beyond_what_is_given_up_is_refused(house: PaymentsWorld) -> None:
    """40.00 of 100.00 were written off: 60.00 can be given back, once, and the invoice cannot be voided."""
    house.owe({"acme": "100"})
    house.receive("wire", "acme", "60")
    write_off(house.books, house.tenant_id, "INV-000001", {"reason": "Insolvent"}, house.now)
    with pytest.raises(Conflict, match=r"60\.00 is left"):
        gives_back(house, "60.01")
    with pytest.raises(Conflict) as refused:
        void_invoice(house.books, house.tenant_id, "INV-000001", "Mistake", house.now)
    assert refused.value.code == "invoice_written_off"
    wanted = {"key": "all", "invoice": "INV-000001", "reason": "Outage"}
    note, _ = issue_credit_note(house.books, house.tenant_id, wanted, house.now)
    assert note["total"] == "60.00"
    assert agrees(house)


# ---- Credit that no payment brought


def test_an_invoice_below_zero_pays_the_next_ones_oldest_first(house: PaymentsWorld) -> None:
    """acme has two subscriptions of 100.00 and 30.00. 169.83 of January's usage are taken away in February: its
    invoice of March is 100.00 - 169.83, and the 69.83 pay the other one's 30.00 and 39.83 of the next."""
    world = house.world
    world.furnish(
        [plan(CENT, fee("100"), key="big"), plan(fee("30"), key="small")],
        [{"customer": "acme", "plan": "big"}, {"customer": "acme", "plan": "small"}],
    )
    house.now = world.now = instant("2026-02-01T06:00:00Z")
    world.use("acme", "2026-01-10", "510")  # 169.83
    world.bill("2026-02-01")
    house.receive("wire", "acme", "299.83")
    assert (house.open("INV-000001"), house.open("INV-000002")) == (0, 0)
    voids(world, "0", "2026-02-10")
    house.now = world.now = instant("2026-03-01T06:00:00Z")
    world.bill("2026-03-01")
    issued = invoice_documents(house.books, house.tenant_id, ["INV-000003", "INV-000004"])
    assert {one["total"] for one in issued} == {"-69.83", "30.00"}
    for _ in range(2):
        house.collect()
    assert sum(house.open(number) for number in ("INV-000003", "INV-000004")) == 0
    (balance,) = customer_balance(house.books, house.tenant_id, "acme")
    assert (balance["open"], balance["credit"]) == ("0", "39.83")
    assert [one["source"] for one in balance["credits"]] == ["invoice"]
    house.now = world.now = instant("2026-04-01T06:00:00Z")
    world.bill("2026-04-01")
    house.collect()
    assert house.open("INV-000005") + house.open("INV-000006") == D("90.17")
    ((_, credit),) = list_credits(house.books, house.tenant_id, 0, 10)
    assert (credit["amount"], credit["left"]) == ("69.83", "0")
    assert [one["amount"] for one in credit["paid"]] == ["30", "39.83"]
    assert check_credit(house.books, house.tenant_id).findings == ()
    report = make_report(house.books, house.tenant_id, ReportName.CUSTOMER_CREDIT, None, None, house.now)
    assert all(tie.holds for tie in report.ties)
    assert report.rows[0][2] == D("90.17")


def test_a_void_of_an_invoice_below_zero_opens_what_it_had_paid(house: PaymentsWorld) -> None:
    world = house.world
    world.furnish(
        [plan(CENT, key="big"), plan(fee("30"), key="small")],
        [{"customer": "acme", "plan": "big"}, {"customer": "acme", "plan": "small"}],
    )
    house.now = world.now = instant("2026-02-01T06:00:00Z")
    world.use("acme", "2026-01-10", "100")  # 33.30
    world.bill("2026-02-01")
    house.receive("wire", "acme", "63.30")
    voids(world, "0", "2026-02-10")
    house.now = world.now = instant("2026-03-01T06:00:00Z")
    numbers = world.bill("2026-03-01").issued
    house.collect()
    found = {one["total"]: one["number"] for one in invoice_documents(house.books, house.tenant_id, numbers)}
    assert house.open(found["30.00"]) == 0
    void_invoice(house.books, house.tenant_id, found["-33.30"], "Mistake", house.now)
    assert house.open(found["30.00"]) == 30
    (balance,) = customer_balance(house.books, house.tenant_id, "acme")
    assert (balance["credit"], balance["credits"], balance["balance"]) == ("0", [], "30")
    assert check_credit(house.books, house.tenant_id).findings == ()
    # What the credit had paid and a credit note gives back stands to the credit again.
    world.bill("2026-03-01")
    house.collect()
    gives_back(house, "30.00", "back", found["30.00"])
    (balance,) = customer_balance(house.books, house.tenant_id, "acme")
    assert (balance["credit"], balance["balance"]) == ("33.3", "-33.3")
    assert check_credit(house.books, house.tenant_id).findings == ()


def test_what_was_paid_for_a_grant_that_is_called_off_pays_invoices(prepaid: WalletWorld) -> None:
    """Nothing as long as the grant was not paid for; then 20.00 of what is open."""
    prepaid.grant("order-2", "20.00")
    prepaid.now = instant("2026-02-01T06:00:00Z")
    house = PaymentsWorld(prepaid, prepaid.now)
    void_grant(prepaid.books, prepaid.tenant_id, "order-2", "Mistake", prepaid.now)
    prepaid.bill("2026-02-01")  # 12.35, 12.35 of it by order-1 and order-2 as they were
    house.collect()
    (balance,) = customer_balance(prepaid.books, prepaid.tenant_id, "acme")
    assert balance["owed_for_grants"] == "25"
    assert check_credit(prepaid.books, prepaid.tenant_id).findings == ()
    assert house.balance(Code.RECEIVABLE, "acme") == D(balance["balance"])
