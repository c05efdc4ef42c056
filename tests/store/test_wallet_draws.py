"""What sealing draws from wallets."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from farthing.db import Books
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
