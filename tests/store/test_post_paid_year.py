"""Twelve months of a post-paid customer. Every number below was worked out by hand before it was asserted.

acme pays 50.00 a month and 0.01 a call, in arrears, with 19 % of tax on top, within 30 days, by card. The gateway
keeps 2.9 % of what it captures. Everything is billed at five past midnight on the first of the next month.

    invoice  for    calls   net            tax     total   what became of it
    INV-1    Jan    5,000   50 + 50        19.00  119.00   paid in March
    INV-2    Feb   10,000  100 + 50 + 10   30.40  190.40   1,000 calls of January came on 10 February; paid in March
    INV-3    Mar    4,000   40 + 50        17.10  107.10   CN-1 of 10 April gives back 20.00 and 3.80; 83.30 paid
    INV-4    Apr    6,000   60 + 50        20.90  130.90   the card fails on 31 May, another one pays on 5 June
    INV-5    May    8,000   80 + 50        24.70  154.70   3,000 calls are taken away on 10 June: CN-2 gives back
                                                           30.00 and 5.70 at once; 119.00 paid on 1 July
    INV-6    Jun    2,000   20 + 50        13.30   83.30   paid in July, charged back on 15 September for 15.00,
                                                           lost on 10 October, written off on 15 November
    INV-7    Jul    1,000   10 + 50 - 90   -5.70  -35.70   9,000 calls of February are taken away on 20 July: below
                                                           zero, it stands to the credit and pays of INV-8
    INV-8    Aug    3,000   30 + 50        15.20   95.20   35.70 by the credit, 59.50 paid on 1 October
    INV-9    Sep        0        50         9.50   59.50   paid in October
    INV-10   Oct   12,000  120 + 50        32.30  202.30   paid on 1 December
    INV-11   Nov    4,000   40 + 50        17.10  107.10   paid in December
    INV-12   Dec    5,000   50 + 50        19.00  119.00   open
"""

from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from billing_world import World, fee, instant, open_store, plan
from payments_world import PaymentsWorld
from tax_world import collects_tax

from farthing.db import Books
from farthing.events.model import VOID_TYPE
from farthing.finance.model import Report, ReportName
from farthing.finance.service import make_report
from farthing.invoicing.checks import check_booked, check_documents, check_numbers, check_sums
from farthing.invoicing.credit_notes.checks import check_credited
from farthing.invoicing.credit_notes.service import get_credit_note, issue_credit_note
from farthing.invoicing.late.correcting import correct_at_once, effects_behind
from farthing.invoicing.service import get_invoice
from farthing.kernel.quantity import trimmed
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.ledger.service import trial_balance
from farthing.payments.checks import check_payments
from farthing.payments.credit import customer_balance
from farthing.payments.credit_checks import check_credit
from farthing.payments.model import DisputeState, State
from farthing.payments.money_back.service import decide_dispute
from farthing.payments.service import balances_of, write_off

CALLS = {
    "key": "calls",
    "name": "Calls",
    "meter": "tokens",
    "price": {"model": "per_unit", "unit_price": "0.01"},
}

# The month; its calls, by the name of the event; the invoice: net, tax, total; then what the trial balance says once
# the invoice is issued and what is due is collected: receivable, money at the gateway, fees, bad debt, tax, revenue.
#
#   receivable and gateway, month by month: an invoice adds to the one, a payment moves it to the other less its fee
#   Mar 1   119.00 + 190.40 = 309.40                                                                gateway    0
#   Apr 1   309.40 - 119.00 - 190.40 + 107.10 = 107.10     115.55 (fee 3.45) + 184.88 (fee 5.52) = 300.43
#   May 1   107.10 - 23.80 - 83.30 + 130.90 = 130.90       300.43 + 80.88 (fee 2.42) = 381.31
#   Jun 1   130.90 + 154.70 = 285.60                       the card failed
#   Jul 1   285.60 - 130.90 - 35.70 - 119.00 + 83.30       381.31 + 127.10 (fee 3.80) + 115.55 (fee 3.45) = 623.96
#   Aug 1   83.30 - 83.30 - 35.70 = -35.70                 623.96 + 80.88 (fee 2.42) = 704.84
#   Sep 1   -35.70 + 95.20 = 59.50
#   Oct 1   59.50 + 83.30 - 59.50 + 59.50 = 142.80         704.84 - 83.30 - 15.00 + 57.77 (fee 1.73) = 664.31
#   Nov 1   142.80 - 59.50 + 202.30 = 285.60               664.31 + 57.77 (fee 1.73) = 722.08
#   Dec 1   285.60 - 83.30 - 202.30 + 107.10 = 107.10      722.08 + 196.43 (fee 5.87) = 918.51
#   Jan 1   107.10 - 107.10 + 119.00 = 119.00              918.51 + 103.99 (fee 3.11) = 1022.50
YEAR: list[tuple[str, dict[str, int], tuple[str, str, str], tuple[str, str, str, str, str, str]]] = [
    ("2026-01", {"jan": 5_000}, ("100.00", "19.00", "119.00"), ("119", "0", "0", "0", "-19", "-100")),
    ("2026-02", {"feb": 1_000, "feb-test": 9_000}, ("160.00", "30.40", "190.40"),
        ("309.4", "0", "0", "0", "-49.4", "-260")),
    ("2026-03", {"mar": 4_000}, ("90.00", "17.10", "107.10"), ("107.1", "300.43", "8.97", "0", "-66.5", "-350")),
    ("2026-04", {"apr": 6_000}, ("110.00", "20.90", "130.90"), ("130.9", "381.31", "11.39", "0", "-83.6", "-440")),
    ("2026-05", {"may": 5_000, "may-test": 3_000}, ("130.00", "24.70", "154.70"),
        ("285.6", "381.31", "11.39", "0", "-108.3", "-570")),
    ("2026-06", {"jun": 2_000}, ("70.00", "13.30", "83.30"), ("83.3", "623.96", "18.64", "0", "-115.9", "-610")),
    ("2026-07", {"jul": 1_000}, ("-30.00", "-5.70", "-35.70"), ("-35.7", "704.84", "21.06", "0", "-110.2", "-580")),
    ("2026-08", {"aug": 3_000}, ("80.00", "15.20", "95.20"), ("59.5", "704.84", "21.06", "0", "-125.4", "-660")),
    ("2026-09", {}, ("50.00", "9.50", "59.50"), ("142.8", "664.31", "37.79", "0", "-134.9", "-710")),
    ("2026-10", {"oct": 12_000}, ("170.00", "32.30", "202.30"), ("285.6", "722.08", "39.52", "0", "-167.2", "-880")),
    ("2026-11", {"nov": 4_000}, ("90.00", "17.10", "107.10"), ("107.1", "918.51", "45.39", "70", "-171", "-970")),
    ("2026-12", {"dec": 5_000}, ("100.00", "19.00", "119.00"), ("119", "1022.5", "48.5", "70", "-190", "-1070")),
]  # fmt: skip
CODES = ("receivable", "provider_clearing", "payment_fees", "bad_debt", "tax_payable", "revenue")


def calls(house: PaymentsWorld, name: str, time: str, count: int) -> None:
    (event,) = house.world.events([("acme", time, str(count), {})])
    house.world.send([event | {"id": name}])


def take_away(house: PaymentsWorld, name: str) -> None:
    """The calls were a test of acme's."""
    event = {
        "specversion": "1.0",
        "id": f"void-{name}",
        "source": "test",
        "type": VOID_TYPE,
        "corrects": name,
    }
    house.world.send([event | {"time": house.now.isoformat()}])


def on(house: PaymentsWorld, day: str) -> None:
    house.now = house.world.now = instant(f"{day}T12:00:00Z")


def owed(house: PaymentsWorld, number: int) -> tuple[str, ...]:
    """payable, paid, of it by credit, credited, written off, open."""
    name = f"INV-{number:06}"
    one = balances_of(house.books, house.tenant_id, [name])[name]
    return tuple(
        trimmed(part)
        for part in (one.payable, one.paid, one.from_credit, one.credited, one.written_off, one.open)
    )


def stands(house: PaymentsWorld) -> tuple[str, ...]:
    rows = trial_balance(house.books, house.tenant_id).rows
    found = {row.code.value: trimmed(row.debit - row.credit) for row in rows}
    return tuple(found.pop(code, "0") for code in CODES)


def report(house: PaymentsWorld, name: ReportName) -> Report:
    made = make_report(house.books, house.tenant_id, name, None, None, house.now)
    assert made.ties
    assert all(tie.holds for tie in made.ties), name
    return made


def late_january(house: PaymentsWorld) -> None:
    """1,000 calls of January come when it is invoiced: 10.00 on the invoice of February."""
    on(house, "2026-02-10")
    calls(house, "late", "2026-01-31T23:59:00Z", 1_000)


def outage_of_march(house: PaymentsWorld) -> None:
    """20.00 of the fee are given back before the invoice is paid: 83.30 are left to pay."""
    on(house, "2026-04-10")
    lines = get_invoice(house.books, house.tenant_id, "INV-000003")["lines"]
    fee_line = next(line["line"] for line in lines if line["rate_card"] == "fee")
    wanted = {
        "key": "outage", "invoice": "INV-000003", "reason": "Outage",
        "lines": [{"line": fee_line, "amount": "20.00"}],
    }  # fmt: skip
    note = issue_credit_note(house.books, house.tenant_id, wanted, house.now)[0]
    assert (note["number"], note["subtotal"], note["tax"], note["total"]) == (
        "CN-000001", "20.00", "3.80", "23.80",
    )  # fmt: skip
    assert owed(house, 3) == ("107.1", "0", "0", "23.8", "0", "83.3")


def card_of_april_fails(house: PaymentsWorld) -> None:
    on(house, "2026-05-20")
    house.method("acme", "tok_expired", "old-card")
    house.collect(instant("2026-05-31T00:10:00Z"))
    assert house.payment("collect:INV-000004:1").state is State.FAILED
    assert owed(house, 4) == ("130.9", "0", "0", "0", "0", "130.9")
    assert [one["code"] for one in house.facts("payment.failed")] == ["expired_card"]


def calls_of_may_are_taken_away(house: PaymentsWorld) -> None:
    """A new card pays April. 3,000 calls of May turn out to be a test: a credit note at once, line by line."""
    on(house, "2026-06-05")
    house.method("acme", "tok_ok", "new-card")
    house.collect()
    assert owed(house, 4) == ("130.9", "130.9", "0", "0", "0", "0")
    on(house, "2026-06-10")
    take_away(house, "may-test")
    (number,) = correct_at_once(
        house.books, house.world.store, house.tenant_id, house.now, number="INV-000005"
    )
    note = get_credit_note(house.books, house.tenant_id, number)
    assert (number, note["subtotal"], note["tax"], note["total"]) == ("CN-000002", "30.00", "5.70", "35.70")
    ((line,), usage) = note["lines"], get_invoice(house.books, house.tenant_id, "INV-000005")["lines"][0]
    assert (line["of"], line["rate_card"], line["amount"]) == (usage["line"], "calls", "30.00")
    said = effects_behind(house.books, house.world.store, house.tenant_id, number, 10)
    assert [(one["effect"], one["id"]) for one in said["events"]] == [("voided", "may-test")]
    assert owed(house, 5) == ("154.7", "0", "0", "35.7", "0", "119")
    again = correct_at_once(house.books, house.world.store, house.tenant_id, house.now, number="INV-000005")
    assert again == []


def calls_of_february_are_taken_away(house: PaymentsWorld) -> None:
    """90.00 less on the invoice of July, which is below zero by that."""
    on(house, "2026-07-20")
    take_away(house, "feb-test")


def credit_of_july(house: PaymentsWorld) -> None:
    """35.70 stand to the credit until there is an invoice to pay."""
    assert owed(house, 7) == ("0", "0", "0", "0", "0", "0")
    (balance,) = customer_balance(house.books, house.tenant_id, "acme")
    assert [(one["source"], one["reference"], one["amount"], one["left"]) for one in balance["credits"]] == [
        ("invoice", "INV-000007", "35.7", "35.7")
    ]
    assert (balance["open"], balance["credit"], balance["balance"]) == ("0", "35.7", "-35.7")


def credit_pays_of_august(house: PaymentsWorld) -> None:
    assert owed(house, 8) == ("95.2", "35.7", "35.7", "0", "0", "59.5")
    (balance,) = customer_balance(house.books, house.tenant_id, "acme")
    assert (balance["credits"], balance["open"], balance["balance"]) == ([], "59.5", "59.5")


def june_is_charged_back(house: PaymentsWorld) -> None:
    on(house, "2026-09-15")
    payment = "collect:INV-000006:1"
    dispute = house.fake.charge_back(payment)
    house.hear()
    assert owed(house, 6) == ("83.3", "0", "0", "0", "0", "83.3")
    assert house.facts("dispute.opened")[0]["amount"] == "83.30"
    assert dispute


def dispute_of_june_is_lost(house: PaymentsWorld) -> None:
    on(house, "2026-10-10")
    dispute = house.facts("dispute.opened")[0]["subject"]
    decide_dispute(house.books, house.tenant_id, dispute, DisputeState.LOST, house.now)


def june_is_written_off(house: PaymentsWorld) -> None:
    on(house, "2026-11-15")
    write_off(house.books, house.tenant_id, "INV-000006", {"reason": "The dispute was lost"}, house.now)
    assert owed(house, 6) == ("83.3", "0", "0", "0", "83.3", "0")


WHILE: dict[str, Any] = {
    "2026-02": late_january,
    "2026-04": outage_of_march,
    "2026-05": card_of_april_fails,
    "2026-06": calls_of_may_are_taken_away,
    "2026-07": calls_of_february_are_taken_away,
    "2026-09": june_is_charged_back,
    "2026-10": dispute_of_june_is_lost,
    "2026-11": june_is_written_off,
}
"""What else happens in a month."""
AFTER: dict[str, Any] = {"2026-07": credit_of_july, "2026-08": credit_pays_of_august}
"""What is said once its invoice is issued."""


def well(house: PaymentsWorld) -> None:
    checks = (
        check_sums, check_numbers, check_documents, check_booked, check_credited, check_payments, check_credit,
        check_balances, check_transfers_balance,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(house.books, house.tenant_id).findings]
    assert found == []
    for name in ReportName:
        if name is not ReportName.WALLETS and name is not ReportName.DEFERRED_REVENUE:
            make_report(house.books, house.tenant_id, name, None, None, house.now)


def test_a_year_of_a_post_paid_customer(books: Books, tenant_id: int, tmp_path: Path) -> None:
    world = World(books, open_store(tmp_path), tenant_id, instant("2026-01-01"))
    house = PaymentsWorld(world, world.now)
    world.furnish([plan(CALLS, fee("50"))], [{"customer": "acme", "plan": "payg"}], address={"country": "DE"})
    collects_tax(world)
    house.method("acme", "tok_ok", "card")
    for place, (month, used, invoice, balance) in enumerate(YEAR, start=1):
        start = instant(f"{month}-01")
        for name, count in used.items():
            house.now = world.now = start + timedelta(days=3)
            calls(house, name, f"{month}-03T12:00:00Z", count)
        WHILE.get(month, lambda _: None)(house)
        end = (start + timedelta(days=32)).replace(day=1)
        collect_until(house, end)
        assert world.bill(end.isoformat().replace("+00:00", "Z")).issued == [f"INV-{place:06}"]
        document = get_invoice(books, tenant_id, f"INV-{place:06}")
        assert (document["subtotal"], document["tax"], document["total"]) == invoice, month
        house.collect(end + timedelta(minutes=10))
        assert stands(house) == balance, month
        AFTER.get(month, lambda _: None)(house)
        well(house)
    what_finance_says(house)
    world.store.close()


def collect_until(house: PaymentsWorld, end: datetime) -> None:
    """What falls due on the last day of the month is collected then; and the clock stands at five past midnight."""
    house.collect(end - timedelta(hours=12))
    house.now = house.world.now = end + timedelta(minutes=5)
    house.hear()


def what_finance_says(house: PaymentsWorld) -> None:
    """The year in reports, each tied to the ledger."""
    # Invoiced 19.00 + 30.40 + 17.10 + 20.90 + 24.70 + 13.30 - 5.70 + 15.20 + 9.50 + 32.30 + 17.10 + 19.00 = 212.80,
    # given back 3.80 + 5.70, written off 13.30.
    (tax,) = report(house, ReportName.TAX_PAYABLE).rows
    assert tax[:5] == ("USD", D(0), D("212.80"), D("-9.50"), D("-13.30"))
    assert tax[-1] == D("190.00")
    # Calls: 60,000 and one late thousand, less 12,000 that were taken away, 3,000 of them by CN-2; fees 600 less 20.
    revenue = {row[0]: row[3] for row in report(house, ReportName.REVENUE).rows}
    assert revenue == {"calls": D("490.00"), "fee": D("580.00")}
    # The gateway has paid nothing out yet: all of it stands there.
    (cash,) = report(house, ReportName.CASH).rows
    assert (cash[0], cash[-1]) == ("provider_clearing", D("1022.50"))
    assert sum(row[-1] for row in report(house, ReportName.CLEARING).rows) == D("1022.50")
    (receivable,) = report(house, ReportName.RECEIVABLES).rows
    assert (receivable[2], receivable[-1]) == (D("119.00"), D("119.00"))
    (credit,) = report(house, ReportName.CUSTOMER_CREDIT).rows
    assert credit[:3] == ("acme", "USD", D("119.00"))
    assert credit[-1] == D("119.00")
