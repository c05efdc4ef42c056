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
from farthing.invoicing.accrued.service import charge_accrued
from farthing.invoicing.checks import check_booked, check_documents, check_numbers, check_sums
from farthing.invoicing.credit_notes.checks import check_credited
from farthing.invoicing.credit_notes.service import issue_credit_note, void_invoice
from farthing.invoicing.interim_checks import check_interims
from farthing.invoicing.service import invoice_documents
from farthing.ledger.chart import Code
from farthing.payments.checks import check_payments
from farthing.payments.service import write_off
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid

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
    for check in (check_payments, check_credited):
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
    """7.35 are due: a credit note takes that off first, and what goes beyond it stands to the credit in the ledger."""
    prepaid.now = instant("2026-02-01T06:00:00Z")
    prepaid.bill("2026-02-01")
    house = PaymentsWorld(prepaid, prepaid.now)
    assert prepaid.trial_balance() == {"receivable": "12.35", "revenue": "-12.35"}  # 5.00 of it for the order
    gives_back(house, "6")
    assert (house.open("INV-000001"), prepaid.trial_balance()["receivable"]) == (D("1.35"), "6.35")
    gives_back(house, "2", "more")
    assert (house.open("INV-000001"), prepaid.trial_balance()["receivable"]) == (0, "4.35")
    assert check_payments(prepaid.books, prepaid.tenant_id).findings == ()
    assert wallets_well(prepaid)
