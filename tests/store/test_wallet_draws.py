"""What sealing draws from wallets."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from farthing.db import Books
from farthing.invoicing.service import get_invoice
from tests.store.billing_world import PER_TOKEN, instant, plan
from tests.store.wallet_world import WalletWorld, wallet_world

D = Decimal
ACME = {"customer": "acme", "plan": "payg"}


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[WalletWorld]:
    found = wallet_world(books, tenant_id, instant("2026-01-10"), tmp_path)
    yield found
    found.store.close()


def test_sealed_usage_is_drawn_to_the_last_digit(world: WalletWorld) -> None:
    world.furnish([plan(PER_TOKEN)], [ACME])
    world.wallet()
    world.grant("order-1", "10")
    world.use("acme", "2026-01-09", "13")
    assert world.drawn("order-1") == D("0.0000325")
    assert world.trial_balance() == {
        "receivable": "10", "prepaid": "-9.9999675", "revenue": "-0.0000325",
    }  # fmt: skip


def test_an_invoice_settles_to_the_minor_unit(world: WalletWorld) -> None:
    world.furnish([plan(PER_TOKEN)], [ACME])
    world.wallet()
    world.grant("order-1", "10")
    world.use("acme", "2026-01-09", "1234567")
    assert world.drawn("order-1") == D("3.0864175")
    world.now = instant("2026-02-01T06:00:00Z")
    (number,) = world.bill("2026-02-01").issued
    assert world.drawn("order-1") == D("3.09")
    assert world.trial_balance() == {"receivable": "10", "prepaid": "-6.91", "revenue": "-3.09"}
    invoice = get_invoice(world.books, world.tenant_id, number)
    assert (invoice["total"], invoice["paid_from_wallets"], invoice["amount_due"]) == ("3.09", "3.09", "0.00")


def test_what_funds_do_not_cover_is_due(world: WalletWorld) -> None:
    world.furnish([plan(PER_TOKEN)], [ACME])
    world.wallet()
    world.grant("order-1", "5.00")
    world.grant("gift", "0.005", kind="promotional")
    world.use("acme", "2026-01-09", "4938240")  # 12.3456
    assert (world.drawn("order-1"), world.drawn("gift")) == (D(5), D("0.005"))
    world.now = instant("2026-02-01T06:00:00Z")
    (number,) = world.bill("2026-02-01").issued
    invoice = get_invoice(world.books, world.tenant_id, number)
    assert (invoice["total"], invoice["paid_from_wallets"], invoice["amount_due"]) == (
        "12.35",
        "5.00",
        "7.35",
    )
    assert world.available() == D("0.005")
    assert world.trial_balance() == {
        "receivable": "12.35", "promotional_credit": "-0.005", "promotions": "0.005", "revenue": "-12.35",
    }  # fmt: skip
