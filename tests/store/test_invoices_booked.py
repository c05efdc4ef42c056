"""Issuing an invoice books it, in the same transaction and once; invoices of before the ledger are carried over."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal as D
from pathlib import Path

import psycopg
import pytest
from billing_world import PER_TOKEN, World, fee, instant, open_store, plan

from farthing.db import Books
from farthing.invoicing.checks import check_booked
from farthing.invoicing.service import book_past_invoices, get_invoice
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.ledger.service import list_entries, trial_balance

ADVANCE = fee("30", timing="advance", key="seat")


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield world
    world.store.close()


def booked(world: World) -> dict[str, D]:
    """Debits less credits by code."""
    return {
        row.code.value: row.debit - row.credit for row in trial_balance(world.books, world.tenant_id).rows
    }


def well(world: World) -> bool:
    checks = (check_booked, check_transfers_balance, check_balances)
    return not any(check(world.books, world.tenant_id).findings for check in checks)


def test_what_is_earned_is_revenue_and_what_is_to_come_is_deferred(world: World) -> None:
    """January: 10 in arrears, 0.0025 of tokens, and 30 in advance for February, billed on 2 February."""
    world.furnish([plan(fee("10"), PER_TOKEN, ADVANCE)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-10", "1000")
    issued = instant("2026-02-02T08:00:00Z")
    assert world.bill("2026-02-01", now=issued).issued == ["INV-000001", "INV-000002"]
    # The fee in advance for January stands on an invoice of its own, and January is over: it is earned.
    assert get_invoice(world.books, world.tenant_id, "INV-000001")["total"] == "30.00"
    assert booked(world) == {
        "receivable": D("70.00"),
        "revenue": D("-40.00"),
        "deferred_revenue": D("-30.00"),
    }
    entries = list_entries(world.books, world.tenant_id, (0, 0), 10)
    assert [
        (one.transfer, one.code.value, one.customer, one.amount, one.effective_at) for one in entries
    ] == [
        ("invoice:INV-000001", "receivable", "acme", D("30.00"), issued),
        ("invoice:INV-000001", "revenue", None, D("-30.00"), issued),
        ("invoice:INV-000002", "receivable", "acme", D("40.00"), issued),
        ("invoice:INV-000002", "revenue", None, D("-10.00"), issued),
        ("invoice:INV-000002", "deferred_revenue", "acme", D("-30.00"), issued),
    ]
    assert well(world)


def test_billing_again_books_nothing_more(world: World) -> None:
    world.furnish([plan(fee("10"))], [{"customer": name, "plan": "payg"} for name in ("acme", "bolt")])
    for _ in range(3):
        world.bill("2026-02-01")
    assert booked(world) == {"receivable": D(20), "revenue": D(-20)}


def test_an_invoice_over_nothing_is_not_in_the_ledger_and_nothing_is_off(world: World) -> None:
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-10", "1")
    assert world.bill("2026-02-01").issued == ["INV-000001"]
    assert get_invoice(world.books, world.tenant_id, "INV-000001")["total"] == "0.00"
    assert booked(world) == {}
    assert well(world)
    assert book_past_invoices(world.books, world.tenant_id, world.now) == 0


def test_an_invoice_that_cannot_be_booked_is_not_issued(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The invoice and its transfer are one transaction: neither stands without the other."""
    world.furnish([plan(fee("10"))], [{"customer": "acme", "plan": "payg"}])

    def broken(*_: object) -> None:
        raise RuntimeError("the ledger is gone")

    with monkeypatch.context() as patch:
        patch.setattr("farthing.invoicing.service.post", broken)
        with pytest.raises(RuntimeError):
            world.bill("2026-02-01")
    assert booked(world) == {}
    assert world.bill("2026-02-01").issued == ["INV-000001"]
    assert booked(world) == {"receivable": D(10), "revenue": D(-10)}


@pytest.fixture
def old_world(world: World, owner: psycopg.Connection) -> World:
    """Three invoices of a time when there was no ledger."""
    names = ("acme", "bolt", "cato")
    world.furnish([plan(fee("10"), ADVANCE)], [{"customer": name, "plan": "payg"} for name in names])
    world.bill("2026-02-01", now=instant("2026-02-02T08:00:00Z"))
    owner.execute("SELECT set_config('farthing.tenant', %s, false)", [str(world.tenant_id)])
    for statement in (
        "ALTER TABLE transfers DISABLE TRIGGER transfers_append_only",
        "ALTER TABLE accounts DISABLE TRIGGER accounts_append_only",
        "DELETE FROM transfers",
        "DELETE FROM account_balances",
        "DELETE FROM accounts",
        "ALTER TABLE transfers ENABLE TRIGGER transfers_append_only",
        "ALTER TABLE accounts ENABLE TRIGGER accounts_append_only",
    ):
        owner.execute(statement)
    owner.commit()
    return world


def test_invoices_of_before_the_ledger_are_named_and_carried_over_once(
    old_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farthing.invoicing.service.INVOICES_PER_TRANSACTION", 2)
    findings = check_booked(old_world.books, old_world.tenant_id).findings
    assert len(findings) == 6
    assert findings[0] == "the ledger has no transfer invoice:INV-000001 (--repair books it)"
    assert book_past_invoices(old_world.books, old_world.tenant_id, old_world.now) == 6
    assert book_past_invoices(old_world.books, old_world.tenant_id, old_world.now) == 0
    # Three customers: 30 for January in advance, then 10 and 30 for February, which is still to come.
    assert booked(old_world) == {"receivable": D(210), "revenue": D(-120), "deferred_revenue": D(-90)}
    for entry in list_entries(old_world.books, old_world.tenant_id, (0, 0), 100):
        assert entry.effective_at == instant("2026-02-02T08:00:00Z")
        assert entry.booked_at == old_world.now
    assert well(old_world)


def test_the_next_billing_run_carries_them_over(old_world: World) -> None:
    old_world.bill("2026-02-01")
    assert booked(old_world) == {"receivable": D(210), "revenue": D(-120), "deferred_revenue": D(-90)}
    assert well(old_world)


def test_a_transfer_that_says_something_else_than_its_invoice_is_found(
    world: World, owner: psycopg.Connection
) -> None:
    world.furnish([plan(fee("10"))], [{"customer": "acme", "plan": "payg"}])
    world.bill("2026-02-01")
    owner.execute("SELECT set_config('farthing.tenant', %s, false)", [str(world.tenant_id)])
    owner.execute("ALTER TABLE transfers DISABLE TRIGGER transfers_append_only")
    owner.execute("UPDATE transfers SET input_hash = ''")
    owner.execute("ALTER TABLE transfers ENABLE TRIGGER transfers_append_only")
    owner.commit()
    assert check_booked(world.books, world.tenant_id).findings == (
        "the transfer invoice:INV-000001 says something else than the invoice",
    )
