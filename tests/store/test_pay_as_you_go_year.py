"""A year of a customer who pays as they go, every figure written by hand.

Acme pays 0.0123 a token, is charged at 50 or within 7 days, and is looked at every midnight. Invoices are paid by
card on the day of issue, which costs 0.30 each; months are billed on the first at six o'clock.

    month      tokens on the day       what happens                           charges on the day           the month's
    January    3: 1,000  20: 5,000     12.30 waits 7 days; then 61.50         11: 12.30   21: 61.50          0.00
    February                                                                                                no invoice
    March      10: 4,000  11: 65       49.20, 49.9995; then 50.0118           13: 50.01                      1.23
               12: 1  31: 100          51.2418 in all
    April      5: 3,000                36.90 waits; 24.60 of 2 April          13: 36.90   28: 24.60          0.00
               20: 2,000 for the 2nd   arrive on the 20th
    May        10: 2,000  17: 3,000    from 16 May on 0.01: 24.60 + 30        18: 54.60                      0.00
    June       28: 100                 1.00                                                                  1.00
    July       10: 20,000              terms of its own: at the period's end                               200.00
    August     every day 1,000         terms of its own: at 100               11, 21, 31: 100.00            10.00
    September  2: 4,000  12: -1,000    the plan's terms again; a correction   10: 40.00                    -10.00
    October    3: 6,000                a coupon, 10 % off, at the end          4: 60.00                     -6.00
    November   2: 5,000  14: 100       ends on the 16th                        3: 50.00                      1.00
    December   20: 200                 begins again                           28: 2.00                       0.00
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from billing_world import PER_TOKEN, World, open_store, plan

from farthing.catalog.service import put_coupon
from farthing.customers.life import change_subscription
from farthing.customers.terms.service import redeem_coupon, set_collection
from farthing.db import Books
from farthing.invoicing.accrued.service import charge_accrued
from farthing.invoicing.checks import check_booked, check_documents, check_numbers, check_sums
from farthing.invoicing.interim.checks import check_interims
from farthing.invoicing.service import invoice_documents
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.ledger.facts import PaymentFee, PaymentReceived
from farthing.ledger.recipes import payment_fee, payment_received
from farthing.ledger.service import post, trial_balance

AS_IT_GOES = {"mode": "pay_as_you_go", "threshold": "50", "charge_within_days": 7}
PLANS = [
    plan(PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "0.0123"}}, collection=AS_IT_GOES),
    plan(
        PER_TOKEN | {"price": {"model": "per_unit", "unit_price": "0.01"}}, key="pro", collection=AS_IT_GOES
    ),
]
USED = {
    "01-03": "1000", "01-20": "5000", "03-10": "4000", "03-11": "65", "03-12": "1", "03-31": "100",
    "04-05": "3000", "05-10": "2000", "05-17": "3000", "06-28": "100", "07-10": "20000",
    **{f"08-{day:02d}": "1000" for day in range(1, 32)},
    "09-02": "4000", "09-12": "-1000", "10-03": "6000", "11-02": "5000", "11-14": "100", "12-20": "200",
}  # fmt: skip
EXPECTED = [
    ("2026-01-11", "interim", "12.30"), ("2026-01-21", "interim", "61.50"), ("2026-02-01", "period", "0.00"),
    ("2026-03-13", "interim", "50.01"), ("2026-04-01", "period", "1.23"),
    ("2026-04-13", "interim", "36.90"), ("2026-04-28", "interim", "24.60"), ("2026-05-01", "period", "0.00"),
    ("2026-05-18", "interim", "54.60"), ("2026-06-01", "period", "0.00"),
    ("2026-07-01", "period", "1.00"), ("2026-08-01", "period", "200.00"),
    ("2026-08-11", "interim", "100.00"), ("2026-08-21", "interim", "100.00"),
    ("2026-08-31", "interim", "100.00"), ("2026-09-01", "period", "10.00"),
    ("2026-09-10", "interim", "40.00"), ("2026-10-01", "period", "-10.00"),
    ("2026-10-04", "interim", "60.00"), ("2026-11-01", "period", "-6.00"),
    ("2026-11-03", "interim", "50.00"), ("2026-12-01", "period", "1.00"),
    ("2026-12-28", "interim", "2.00"), ("2027-01-01", "period", "0.00"),
]  # fmt: skip
# When each month is billed and paid: cash (less 0.30 for each charge), fees, what is receivable, revenue.
BALANCES = {
    "2026-02": ("73.20", "0.60", "0", "73.80"), "2026-03": ("73.20", "0.60", "0", "73.80"),
    "2026-04": ("123.84", "1.20", "0", "125.04"), "2026-05": ("184.74", "1.80", "0", "186.54"),
    "2026-06": ("239.04", "2.10", "0", "241.14"), "2026-07": ("239.74", "2.40", "0", "242.14"),
    "2026-08": ("439.44", "2.70", "0", "442.14"), "2026-09": ("748.24", "3.90", "0", "752.14"),
    "2026-10": ("787.94", "4.20", "-10", "782.14"), "2026-11": ("847.64", "4.50", "-16", "836.14"),
    "2026-12": ("898.04", "5.10", "-16", "887.14"), "2027-01": ("899.74", "5.40", "-16", "889.14"),
}  # fmt: skip
DAYS = [datetime.fromisoformat("2026-01-01T00:00:00+00:00") + timedelta(days=day) for day in range(366)]


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> Iterator[World]:
    store = open_store(tmp_path)
    world = World(books, store, tenant_id, now)
    world.furnish(PLANS, [{"customer": "acme", "plan": "payg"}])
    yield world
    store.close()


def happens(world: World, at: datetime) -> None:
    """What somebody does at this midnight, before anything is charged."""
    books, tenant_id, key = world.books, world.tenant_id, "acme-payg"
    match f"{at:%m-%d}":
        case "05-16":
            change_subscription(books, tenant_id, key, {"kind": "plan", "plan": "pro"}, at)
        case "07-01":
            set_collection(books, tenant_id, key, {"mode": "at_period_end"}, at)
        case "08-01":
            set_collection(books, tenant_id, key, {"mode": "pay_as_you_go", "threshold": "100"}, at)
        case "09-01":
            set_collection(books, tenant_id, key, None, at)
        case "10-01":
            coupon = {"key": "tenth", "name": "A tenth", "percent": "10", "duration": "once"}
            put_coupon(books, tenant_id, coupon, at)
            start = {"coupon": "tenth", "start": "2026-10-02T00:00:00Z"}
            redeem_coupon(books, tenant_id, key, start, at)
        case "11-16":
            change_subscription(books, tenant_id, key, {"kind": "cancel"}, at)
        case "12-01":
            change_subscription(books, tenant_id, key, {"kind": "reactivate"}, at)


def used(world: World, day: datetime) -> None:
    """What was used on a day, and the late event of April."""
    if f"{day:%Y-%m-%d}" == "2026-04-20":
        world.use("acme", "2026-04-02", "2000")
    tokens = USED.get(f"{day:%m-%d}") if day.year == 2026 else None
    if tokens is not None:
        world.use("acme", f"{day:%Y-%m-%d}", tokens)


def paid(world: World, numbers: list[str], at: datetime) -> None:
    """By card, at once, for 0.30; what is below zero stands to the customer's credit."""
    with world.books.transaction(world.tenant_id) as conn:
        row = conn.execute("SELECT customer_id FROM customers").fetchone()
        assert row is not None
        found = conn.execute(
            "SELECT number, total FROM invoices WHERE number = ANY(%s) AND total > 0", [numbers]
        ).fetchall()
        transfers = []
        for one in found:
            payment, customer = f"card-{one['number']}", row["customer_id"]
            transfers += [
                payment_received(PaymentReceived(payment, customer, "USD", one["total"], at, one["number"])),
                payment_fee(PaymentFee(payment, "USD", D("0.30"), at)),
            ]
        post(conn, world.tenant_id, transfers, at)


def test_the_year(world: World) -> None:
    issued: list[tuple[str, str]] = []
    for day in DAYS:
        happens(world, day)
        numbers = charge_accrued(world.books, world.store, world.tenant_id, day).issued
        if day.day == 1 and day > DAYS[0]:
            numbers += world.bill(f"{day:%Y-%m-%d}", now=day + timedelta(hours=6)).issued
        paid(world, numbers, day + timedelta(hours=7))
        if day.day == 1 and day > DAYS[0]:
            assert balances(world) == tuple(map(D, BALANCES[f"{day:%Y-%m}"])), day
        issued += [(f"{day:%Y-%m-%d}", number) for number in numbers]
        used(world, day)
    documents = list(invoice_documents(world.books, world.tenant_id, [number for _, number in issued]))
    days = [day for day, _ in issued]
    told = [(day, one["reason"], one["total"]) for day, one in zip(days, documents, strict=True)]
    assert told == EXPECTED
    assert [one["interim"]["because"] for one in documents if "interim" in one] == [
        "charge_within_days", "threshold", "threshold", "charge_within_days", "charge_within_days", "threshold",
        "threshold", "threshold", "threshold", "charge_within_days", "threshold", "threshold",
        "charge_within_days",
    ]  # fmt: skip
    assert months_of(documents) == [
        ("2026-01", D("73.8")), ("2026-03", D("51.2418")), ("2026-04", D("61.5")), ("2026-05", D("54.6")),
        ("2026-06", D(1)), ("2026-07", D(200)), ("2026-08", D(310)), ("2026-09", D(30)), ("2026-10", D(54)),
        ("2026-11", D(51)), ("2026-12", D(2)),
    ]  # fmt: skip
    # 905.14 were received for 18 charges; September and October gave back more than they had left to charge.
    assert balances(world) == (D("899.74"), D("5.40"), D(-16), D("889.14"))
    for check in (check_sums, check_numbers, check_documents, check_booked, check_interims):
        assert check(world.books, world.tenant_id).findings == ()
    for check in (check_balances, check_transfers_balance):
        assert check(world.books, world.tenant_id).findings == ()


def balances(world: World) -> tuple[D, ...]:
    """Cash, fees, receivable and revenue, and nothing else is booked."""
    rows = trial_balance(world.books, world.tenant_id).rows
    found = {row.code.value: row.debit - row.credit for row in rows if row.debit != row.credit}
    cash, fees, revenue = found.pop("cash"), found.pop("payment_fees"), -found.pop("revenue")
    receivable = found.pop("receivable", D(0))
    assert not found
    return cash, fees, receivable, revenue


def months_of(documents: list[dict[str, Any]]) -> list[tuple[str, D]]:
    """What the invoices of each month come to, exactly."""
    sums: dict[str, D] = {}
    for one in documents:
        month = one["period"]["start"][:7]
        sums[month] = sums.get(month, D(0)) + D(one["total_exact"])
    return [(month, amount.normalize()) for month, amount in sums.items()]
