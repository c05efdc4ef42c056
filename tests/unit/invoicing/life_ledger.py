"""One subscription's life without books: changes are decided, bills drafted, and what was billed remembered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from told import Told

from farthing.catalog.model import Meter, Plan, PlanRef
from farthing.catalog.plan import parse_plan
from farthing.customers.facts import parse_change
from farthing.customers.model import (
    Address,
    Customer,
    Fact,
    FactContent,
    FactKind,
    OneOffCharge,
    Subscription,
)
from farthing.customers.rules import (
    Ground,
    decide_change,
    refuse,
    withdrawal_complaints,
)
from farthing.customers.terms.model import NO_TERMS, Terms
from farthing.customers.timeline import end_of, lives_of
from farthing.invoicing.adjusting.adjustments import Carried
from farthing.invoicing.due import due_bills, parted, with_one_offs
from farthing.invoicing.model import BillKey, Cover, Draft, Line, Reason
from farthing.invoicing.run import drafted_in_order
from farthing.kernel.instant import parse_instant


def at(text: str) -> datetime:
    """`2024-01-31`, or with a time."""
    return parse_instant(text if "T" in text else f"{text}T00:00:00Z", "")


def plan(key: str, *cards: Mapping[str, Any], **more: Any) -> Plan:
    raw = {"key": key, "name": key.title(), "currency": "USD", "interval": "month", "rate_cards": list(cards)}
    return parse_plan(raw | more)


def fee(amount: str, key: str = "base", timing: str = "advance") -> dict[str, Any]:
    return {"key": key, "name": key.title(), "timing": timing, "price": {"model": "flat", "amount": amount}}


@dataclass
class Ledger:
    """`plans`: the first one is what the subscription begins on; several of one key are its versions."""

    plans: Sequence[Plan]
    start: datetime
    anchor: Any = "calendar"
    timezone: str = "UTC"
    meters: Mapping[str, Meter] = field(default_factory=dict)
    issued: dict[BillKey, Draft] = field(default_factory=dict)
    covers: dict[int, list[Cover]] = field(default_factory=dict)
    one_offs: list[OneOffCharge] = field(default_factory=list)
    terms: Terms = NO_TERMS

    def __post_init__(self) -> None:
        self.carried = Carried({3: self.terms}, {})
        self.customer = Customer(7, "acme", "Acme", "USD", self.timezone, None, Address(), ())
        self.refs: dict[tuple[str, int | None], PlanRef] = {}
        self.by_id: dict[int, Plan] = {}
        self.definitions: dict[tuple[str, int], Plan] = {}
        for number, one in enumerate(self.plans, start=1):
            version = sum(known.key == one.key for known in self.by_id.values()) + 1
            ref = PlanRef(one.key, version, one.currency, number)
            self.refs[one.key, version] = self.refs[one.key, None] = ref
            self.by_id[number], self.definitions[one.key, version] = one, one
        self.subscription = Subscription(
            3, "acme-p", 7, "acme", 1, self.plans[0].key, 1, self.anchor, self.start, None
        )

    @property
    def invoiced_until(self) -> datetime | None:
        ends = [draft.bill.period.end for key, draft in self.issued.items() if key.reason is Reason.PERIOD]
        return max(ends, default=None)

    def change(self, now: datetime | str, kind: str, **body: Any) -> Fact:
        """Make a change, as the API would."""
        moment = at(now) if isinstance(now, str) else now
        ground = Ground("USD", self.timezone, self.refs, self.definitions, self.meters, self.invoiced_until)
        asked = parse_change({"kind": kind, **body})
        fact, standing = decide_change(self.subscription, asked, ground, moment)
        if standing is not None:
            return standing
        plan_version_id = None
        if fact.content.kind is FactKind.PLAN:
            assert fact.content.plan is not None
            plan_version_id = self.refs[fact.content.plan, fact.content.version].plan_version_id
        return self.append(
            Fact(
                self.subscription.last_change_id + 1,
                fact.key,
                fact.effective_at,
                fact.content,
                moment,
                plan_version_id,
                fact.withdraws,
            )
        )

    def withdraw(self, fact: Fact, now: datetime) -> Fact:
        starts = [draft.bill.period.start for key, draft in self.issued.items() if key.reason is Reason.START]
        refuse(list(withdrawal_complaints(fact, self.invoiced_until, max(starts, default=None))))
        number = self.subscription.last_change_id + 1
        off = FactContent(FactKind.WITHDRAW)
        return self.append(Fact(number, f"off-{number}", fact.effective_at, off, now, None, fact.change_id))

    def append(self, fact: Fact) -> Fact:
        after = replace(self.subscription, facts=(*self.subscription.facts, fact))
        self.subscription = replace(after, end=end_of(lives_of(after), after.start))
        return fact

    def bill(self, until: datetime | str, usage: Mapping[int, Any] | None = None) -> list[Draft]:
        """A billing run: what is due and not issued yet."""
        moment = at(until) if isinstance(until, str) else until
        bills = due_bills([self.subscription], {7: self.customer}, self.by_id, moment, {3: self.terms})
        missing, _ = parted(bills, self.issued)
        billed = {line.one_off for draft in self.issued.values() for line in draft.lines}
        waiting = [charge for charge in self.one_offs if charge.key not in billed]
        found = []
        for bill, draft in drafted_in_order(
            with_one_offs(missing, waiting), Told(usage), self.covers, self.carried
        ):
            if isinstance(draft, Draft):
                assert bill.key not in self.issued
                self.issued[bill.key] = draft
                found.append(draft)
            else:
                assert draft == "nothing_to_bill"
        return found

    @property
    def lines(self) -> list[Line]:
        return [line for draft in self.issued.values() for line in draft.lines]


def shown(drafts: Sequence[Draft]) -> list[list[tuple[str, str]]]:
    """Each draft's lines: description and exact amount."""
    return [[(line.description, str(line.amount_exact)) for line in draft.lines] for draft in drafts]


def day(month: int, number: int, year: int = 2024) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


def total(lines: Sequence[Line]) -> Decimal:
    return sum((line.amount_exact for line in lines), Decimal(0))
