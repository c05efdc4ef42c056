"""What late usage makes of a period, line by line; and that a correction is never lost on the way."""

from dataclasses import replace
from decimal import Decimal as D

from term_world import CALLS, Story, day, fee, plan_with, told

from farthing.invoicing.drafting.lines import usage_lines_of
from farthing.invoicing.drafting.usage_lines import UsageOfBills
from farthing.invoicing.late.corrections import correction_lines
from farthing.invoicing.late.whole_bill import Amount, amounts_of, place_of
from farthing.invoicing.model import Bill, Draft, Line, Reason
from farthing.invoicing.run import drafted_in_order
from farthing.usage.model import NO_DETAIL, UsageRow

DIGITS = "1." + "1" * 17
LONG = {"key": "long", "name": "Long", "meter": "calls", "price": {"model": "per_unit", "unit_price": DIGITS}}


def january(quantity: str) -> tuple[Bill, list[Line]]:
    bill = Story(plan_with(CALLS), {}).due("2024-02-01")[0]
    usage = {("calls", NO_DETAIL): [UsageRow(0, {}, D(quantity), 1)]} if D(quantity) else {}
    return bill, usage_lines_of(bill, usage)


def corrected(quantity: str, billed: str | None) -> list[tuple[str, str]]:
    bill, now = january(quantity)
    before = {} if billed is None else {place_of("calls", {}): Amount(D(billed))}
    lines = correction_lines(bill, "INV-1", day("2024-02-01"), amounts_of(now), before)
    assert all(sum(charge.amount for charge in line.charges) == line.amount_exact for line in lines)
    return [(line.charges[0].reason, str(line.amount_exact)) for line in lines]


def test_the_difference_says_what_it_is_of() -> None:
    assert corrected("15", "10") == [("15.00 for 15 in place of 10.00", "5")]
    assert corrected("4", "10") == [("4.00 for 4 in place of 10.00", "-6")]
    assert corrected("3", None) == [("3.00 for 3 in place of 0.00", "3")]
    assert corrected("0", "10") == [("nothing in place of 10.00", "-10")]


def test_where_nothing_differs_there_is_no_line() -> None:
    assert corrected("10", "10") == []
    assert corrected("0", "0") == []
    assert corrected("0", None) == []


def test_a_correction_waits_for_an_invoice_that_can_be_made() -> None:
    """February's price multiplies to more digits than are computed with; January's correction is on March's."""
    story = Story(plan_with(LONG, fee("1")), {})
    periods = [bill for bill in story.due("2024-04-01") if bill.reason is Reason.PERIOD]
    line = correction_lines(*january("5")[:1], "INV-1", day("2024-02-01"), amounts_of(january("5")[1]), {})[0]
    bills = [replace(periods[1], corrections=(line,)), periods[2]]
    used = [UsageRow(0, {}, D("1" * 199), 1)]
    usage = UsageOfBills({("calls", NO_DETAIL): iter(used)})
    (_, february), (bill, march) = drafted_in_order(bills, usage, {}, story.carried)
    assert february == "too_many_digits"
    assert isinstance(march, Draft)
    assert bill.corrections == (line,)
    assert told(march.lines) == [("fee", "1"), ("correction", "5")]
