"""Twelve months of a prepaid customer. Every balance below was worked out by hand.

Tokens cost 2.50 a million. acme gets 5.00 as a welcome until April, pays 100.00 in January and 50.00 in June that
expire in December, and from July to December 2.00 every month, half of what is left going on to the next.

    month      usage     paid by                                        prepaid left
    January    10.00     welcome 5, paid 5                              95
    February   30.00     paid 30                                        65
    March       0
    April      26.00     paid 26                                        39
    May        50.00     paid 39, due 11                                 0
    June        8.33     paid 8.33                                      41.67
    July        1.00     July's 2: 1 left, 0.50 go on, 0.50 lapse       41.67
    August      2.50     August's 2 and the 0.50                        41.67
    September   5.00     September's 2, paid 3                          38.67
    October     0        October's 2: 1 goes on, 1 lapses               38.67
    November   10.00     November's 2 and the 1, paid 7                 31.67, which expire on 1 December
    December    1.00     December's 2: 1 left, which lapses
"""

import shutil
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from billing_world import PER_TOKEN, instant, plan
from wallet_world import WalletWorld, wallet_world

from farthing.db import Books
from farthing.finance.model import ReportName
from farthing.finance.service import make_report
from farthing.invoicing.service import get_invoice
from farthing.ledger.export import Format, journal_lines
from farthing.ledger.facts import PaymentReceived
from farthing.ledger.recipes import payment_received
from farthing.ledger.service import opened_journal, post
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.upkeep import keep_up

# Month, tokens, what is invoiced, what wallets pay, and the trial balance after the invoice and the expiries.
YEAR = [
    ("2026-01", "4000001", "10.00", "10.00", {"cash": "100", "prepaid": "-95", "promotions": "5", "revenue": "-10"}),
    ("2026-02", "12000000", "30.00", "30.00", {"cash": "100", "prepaid": "-65", "promotions": "5", "revenue": "-40"}),
    ("2026-03", None, None, None, {"cash": "100", "prepaid": "-65", "promotions": "5", "revenue": "-40"}),
    ("2026-04", "10400001", "26.00", "26.00", {"cash": "100", "prepaid": "-39", "promotions": "5", "revenue": "-66"}),
    (
        "2026-05", "20000000", "50.00", "39.00",
        {"receivable": "11", "cash": "100", "promotions": "5", "revenue": "-116"},
    ),
    (
        "2026-06", "3333333", "8.33", "8.33",
        {"cash": "161", "prepaid": "-41.67", "promotional_credit": "-2", "promotions": "7", "revenue": "-124.33"},
    ),
    (
        "2026-07", "400000", "1.00", "1.00",
        {"cash": "161", "prepaid": "-41.67", "promotional_credit": "-2.5", "promotions": "8.5", "revenue": "-125.33"},
    ),
    (
        "2026-08", "1000000", "2.50", "2.50",
        {"cash": "161", "prepaid": "-41.67", "promotional_credit": "-2", "promotions": "10.5", "revenue": "-127.83"},
    ),
    (
        "2026-09", "2000000", "5.00", "5.00",
        {"cash": "161", "prepaid": "-38.67", "promotional_credit": "-2", "promotions": "12.5", "revenue": "-132.83"},
    ),
    (
        "2026-10", None, None, None,
        {"cash": "161", "prepaid": "-38.67", "promotional_credit": "-3", "promotions": "13.5", "revenue": "-132.83"},
    ),
    (
        "2026-11", "4000000", "10.00", "10.00",
        {"cash": "161", "promotional_credit": "-2", "promotions": "15.5", "revenue": "-142.83", "breakage": "-31.67"},
    ),
    (
        "2026-12", "400000", "1.00", "1.00",
        {"cash": "161", "promotions": "14.5", "revenue": "-143.83", "breakage": "-31.67"},
    ),
]  # fmt: skip


def pay(world: WalletWorld, payment: str, amount: str) -> None:
    with world.books.transaction(world.tenant_id) as conn:
        row = conn.execute("SELECT customer_id FROM customers").fetchone()
        assert row is not None
        fact = PaymentReceived(payment, row["customer_id"], "USD", Decimal(amount), world.now)
        post(conn, world.tenant_id, [payment_received(fact)], world.now)


def begin(world: WalletWorld, month: str) -> None:
    """What acme pays and is given in a month."""
    if month == "2026-01":
        world.grant("welcome", "5", kind="promotional", expires_at="2026-04-01T00:00:00Z")
        world.grant("order-1", "100")
        pay(world, "p-1", "100")
    if month == "2026-06":
        pay(world, "p-2", "11")
        world.grant("order-2", "50", expires_at="2026-12-01T00:00:00Z")
        pay(world, "p-3", "50")
        every = {"interval": "month", "rollover_percent": "50", "end": "2027-01-01T00:00:00Z"}
        start = "2026-07-01T00:00:00Z"
        world.grant("monthly", "2", kind="promotional", effective_at=start, every=every)


def test_a_year_of_a_prepaid_customer(books: Books, tenant_id: int, tmp_path: Path) -> None:
    world = wallet_world(books, tenant_id, instant("2026-01-01T00:05:00Z"), tmp_path)
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    world.wallet(low_balance="10")
    for month, tokens, total, paid, balance in YEAR:
        begin(world, month)
        start = instant(f"{month}-01")
        if tokens is not None:
            world.now = start + timedelta(days=14, hours=13)
            world.use("acme", f"{month}-15", tokens)
        end = (start + timedelta(days=32)).replace(day=1)
        world.now = end + timedelta(minutes=5)
        keep_up(books, tenant_id, world.now)
        issued = world.bill(end.isoformat().replace("+00:00", "Z")).issued
        documents = [get_invoice(books, tenant_id, number) for number in issued]
        assert [(one["total"], one["paid_from_wallets"]) for one in documents] == [(total, paid)] * len(
            issued
        )
        assert bool(issued) == (tokens is not None)
        world.now = end + timedelta(hours=1)
        for _ in range(2):
            keep_up(books, tenant_id, world.now)
        assert world.trial_balance() == balance, month
        for check in (check_overspent, check_counters, check_prepaid):
            assert not check(books, tenant_id).findings
    assert world.told() == [
        ("wallet.exhausted", "acme-usd"),  # May
        ("wallet.low_balance", "acme-usd"),  # December: 2.00 are all that is left
        ("wallet.exhausted", "acme-usd"),  # January: December's has expired
    ]
    _other_tools_agree(world, tmp_path)
    revenue = make_report(books, tenant_id, ReportName.REVENUE, None, None, world.now)
    assert [row[:4] for row in revenue.rows] == [("tokens", "acme", "USD", Decimal("143.83"))]
    for name in (ReportName.REVENUE, ReportName.WALLETS, ReportName.INCOME):
        report = make_report(books, tenant_id, name, None, None, world.now)
        assert report.ties
        assert all(tie.holds for tie in report.ties)
    world.store.close()


def _other_tools_agree(world: WalletWorld, tmp_path: Path) -> None:
    """beancount and hledger read the journal and come to the same balances, where they are installed."""
    for form, program, *options in (
        (Format.BEANCOUNT, "bean-check"),
        (Format.HLEDGER, "hledger", "check", "--strict", "-f"),
    ):
        found = shutil.which(program, path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
        if found is None:
            continue
        with opened_journal(world.books, world.tenant_id) as journal:
            text = "".join(journal_lines(form, list(journal.accounts()), journal.transfers(), whole=True))
        file = tmp_path / f"books.{form.value}"
        file.write_text(text)
        checked = subprocess.run([found, *options, file], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
