"""Bills with coupons and commitments, drafted month by month without a database."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from farthing.catalog.coupon import parse_coupon
from farthing.catalog.model import Plan
from farthing.catalog.plan import parse_plan
from farthing.customers.model import Address, Customer, Fact, FactContent, FactKind, Subscription
from farthing.customers.terms.content import parse_commitment, term_of
from farthing.customers.terms.model import Commitment, Redemption, Terms
from farthing.invoicing.adjusting.adjustments import Carried
from farthing.invoicing.drafting.fees import covers_of
from farthing.invoicing.due import due_bills
from farthing.invoicing.model import Bill, Cover, Draft, Line, Reason
from farthing.invoicing.run import drafted
from farthing.usage.model import NO_DETAIL, UsageRow

CALLS = {"key": "calls", "name": "Calls", "meter": "calls", "price": {"model": "per_unit", "unit_price": "1"}}
TOKENS = {
    "key": "tokens",
    "name": "Tokens",
    "meter": "tokens",
    "price": {"model": "per_unit", "unit_price": "1"},
}


def fee(amount: str, timing: str = "arrears", key: str = "fee") -> dict[str, Any]:
    return {"key": key, "name": "Fee", "timing": timing, "price": {"model": "flat", "amount": amount}}


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def plan_with(*cards: dict[str, Any], **more: Any) -> Plan:
    definition = {"key": "p", "name": "P", "currency": "USD", "interval": "month", "rate_cards": list(cards)}
    return parse_plan(definition | more)


def coupon(start: str = "2024-01-01", **fields: Any) -> Redemption:
    """`coupon(percent="10", duration="once")`"""
    raw = {"key": "c", "name": "Coupon", **fields}
    return Redemption(parse_coupon(raw), day(start))


def commitment(start: str = "2024-01-01", timezone: str = "UTC", **fields: Any) -> Commitment:
    """`commitment(kind="minimum", amount="100", interval="year")`"""
    content = parse_commitment({"key": "k", "name": "Year", **fields})
    term = term_of(content, day(start), timezone)
    assert term is not None
    return Commitment(
        content.key, content.name, content.kind, content.amount, term,
        content.overage_percent, content.rollover, content.rate_cards,
    )  # fmt: skip


Usage = Mapping[str, Sequence[str]]
"""By meter, what is used in one month after the other."""


class Story:
    """One subscription from January 2024, billed by runs at different moments."""

    def __init__(
        self,
        plan: Plan,
        usage: Usage,
        *,
        redemptions: Sequence[Redemption] = (),
        commitments: Sequence[Commitment] = (),
        start: str = "2024-01-01",
        end: str | None = None,
    ) -> None:
        self.plan = plan
        self.usage = usage
        self.terms = Terms(tuple(redemptions), tuple(commitments))
        self.customer = Customer(7, "acme", "Acme", plan.currency, "UTC", None, Address(), ())
        self.start = day(start)
        self.end = None if end is None else day(end)
        self.carried = Carried({3: self.terms}, {})
        self.covers: list[Cover] = []
        self.issued: set[tuple[datetime, Reason]] = set()

    def due(self, until: str) -> list[Bill]:
        facts = ()
        if self.end is not None:
            facts = (Fact(1, "end", self.end, FactContent(FactKind.CANCEL), self.start),)
        subscription = Subscription(
            3, "acme-p", 7, "acme", 1, "p", 1, "calendar", self.start, self.end, facts
        )
        return due_bills([subscription], {7: self.customer}, {1: self.plan}, day(until), {3: self.terms})

    def bill(self, until: str) -> list[Draft]:
        """A run: what it issues."""
        drafts = []
        for bill in self.due(until):
            if (bill.period.start, bill.reason) in self.issued:
                continue
            draft = drafted(bill, self._usage(bill), self.covers, self.carried)
            if isinstance(draft, Draft):
                self.covers += covers_of(draft.lines)
                self.issued.add((bill.period.start, bill.reason))
                drafts.append(draft)
        return drafts

    def _usage(self, bill: Bill) -> dict[tuple[str, tuple[str, ...]], list[UsageRow]]:
        if bill.reason is not Reason.PERIOD:
            return {}
        start = bill.period.start
        month = (start.year - 2024) * 12 + start.month - 1
        return {
            (meter, NO_DETAIL): [UsageRow(0, {}, Decimal(months[month]), 1)]
            for meter, months in self.usage.items()
            if month < len(months) and Decimal(months[month])
        }


def told(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """What the lines are, and their exact amounts."""
    return [(line.kind.value, format(line.amount_exact.normalize() + 0, "f")) for line in lines]


def invoices(drafts: Sequence[Draft]) -> list[list[tuple[str, str]]]:
    return [told(draft.lines) for draft in drafts]
