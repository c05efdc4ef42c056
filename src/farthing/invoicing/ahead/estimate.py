"""What usage would cost before it happens. Pure; `preview.estimate_usage` asks the books and the events.

    estimate = the invoice with the usage of the open period so far and this much more
             - the invoice with the usage so far

Both are drafted by the code of the billing run, on the customer's own plan, coupons and commitments. So the
added usage is paid with units as far as they go, the rest is priced at its own place in tiers and free units, and
an estimate and the preview before it sum to the preview after the usage has happened, to the last digit. The
charges of a line are those of rating the added quantity after what was used; where the price itself is filled up
to a minimum at the end of the period, a last charge says how much less is missing to it.

How a quantity is added depends on the meter: it is added to a sum, a count or a number of distinct values
(as so many new ones), it may raise a maximum, lower a minimum or be the latest value. An average
cannot be estimated from a quantity. It is used now, so it lies in the window of time that holds this
moment, and where a price looks at single events it is one more event of this value, or `count` of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.catalog.model import Aggregation, Meter, PlanVersion
from farthing.customers.model import Address, Customer, Subscription
from farthing.invoicing.document import charge_json, instants
from farthing.invoicing.drafting.lines import usage_of_part
from farthing.invoicing.drafting.parts import UsagePart, usage_parts
from farthing.invoicing.drafting.usage_lines import PART_MASK, BillUsage, MeterQuery, usage_rows
from farthing.invoicing.due import due_bills
from farthing.invoicing.model import Bill, Line
from farthing.invoicing.units.left import UnitsLeft
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.period import CALENDAR, billing_periods
from farthing.kernel.quantity import ONE, ZERO, exact, parse_decimal, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    kind,
    parse_count,
    parse_key,
    parse_list,
    parse_subject,
    shown,
)
from farthing.rating import Charge, Row, Run, rate_rows
from farthing.usage.model import Detail, UsageRow

INVALID_ESTIMATE = "invalid_estimate"
USAGE_ROWS_MAX = 1_000
DIMENSION_LENGTH_MAX = 1024
VERSION_MAX = 2**31 - 1
TIMES_MAX = 10**12
"""Most times that one item of usage may happen."""
AT_THE_END = "minimum at the end of the period"
"""The reason of the charge that the added usage spares, or brings, where a price is filled up to a minimum."""


@dataclass(frozen=True, slots=True)
class Added:
    """Usage that has not happened: so much of a meter, with these dimensions, `count` times."""

    meter: str
    quantity: Decimal
    dimensions: Mapping[str, str]
    count: int = 1


@dataclass(frozen=True, slots=True)
class Question:
    """Whose price is asked for, of exactly one, and for what."""

    customer: str | None
    subscription: str | None
    plan: str | None
    version: int | None
    usage: tuple[Added, ...]


def parse_question(raw: object) -> Question:
    """Raises InvalidInput `invalid_estimate`, or the code of its parts, with every fault."""
    faults = Faults(INVALID_ESTIMATE)
    fields = Fields(raw, "", faults)
    question = Question(
        fields.optional("customer", parse_subject, None),
        fields.optional("subscription", parse_subject, None),
        fields.optional("plan", parse_key, None),
        fields.optional("version", _parse_version, None),
        fields.required("usage", _parse_usage),
    )
    fields.refuse_unknown()
    if fields.is_object:
        if sum(name in fields for name in ("customer", "subscription", "plan")) != 1:
            faults.add("customer", "or a subscription or a plan must be given, and only one of them")
        if "version" in fields and "plan" not in fields:
            faults.add("version", "stands beside a plan, and only there")
    faults.refuse()
    return question


def _parse_usage(raw: object, path: str) -> tuple[Added, ...]:
    faults = Faults(INVALID_ESTIMATE)
    usage = parse_list(raw, path, _parse_added, most=USAGE_ROWS_MAX, faults=faults)
    if raw == []:
        faults.add(path, "must have at least one item")
    faults.refuse()
    return tuple(usage)


def _parse_added(raw: object, path: str) -> Added:
    faults = Faults(INVALID_ESTIMATE)
    fields = Fields(raw, path, faults)
    meter = fields.required("meter", parse_key)
    quantity = fields.required("quantity", _parse_quantity)
    dimensions = fields.optional("dimensions", _parse_dimensions, {})
    count = fields.optional("count", _parse_times, 1)
    fields.refuse_unknown()
    faults.refuse()
    return Added(meter, quantity, dimensions, count)


def _parse_times(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=TIMES_MAX, code=INVALID_ESTIMATE)


def _parse_quantity(raw: object, path: str) -> Decimal:
    quantity = parse_decimal(raw, path, code=INVALID_ESTIMATE)
    if quantity < 0:
        raise InvalidInput.of(INVALID_ESTIMATE, [Fault(path, "must not be negative")])
    return quantity


def _parse_dimensions(raw: object, path: str) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise InvalidInput.of(INVALID_ESTIMATE, [Fault(path, f"must be an object, not {kind(raw)}")])
    faults = [
        Fault(f"{path}.{str(name)[:40]}", f"must be a string of at most {DIMENSION_LENGTH_MAX} characters")
        for name, value in raw.items()
        if not isinstance(value, str) or len(value) > DIMENSION_LENGTH_MAX
    ]
    if faults:
        raise InvalidInput.of(INVALID_ESTIMATE, faults)
    return raw


def _parse_version(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=VERSION_MAX, code="invalid_version")


def parts_now(bill: Bill, now: datetime) -> list[UsagePart]:
    """The parts of a bill that usage of this moment goes to."""
    return [part for part in usage_parts(bill) if any(now in time for time in part.times)]


def check_added(
    usage: Sequence[Added], meters: Mapping[str, Meter], bills: Sequence[Bill], now: datetime
) -> None:
    """Whether the usage can be priced on these bills. Raises InvalidInput `invalid_estimate`, every fault."""
    billed = {meter for bill in bills for part in parts_now(bill, now) for meter in part.card.meters}
    faults = Faults(INVALID_ESTIMATE)
    for index, added in enumerate(usage):
        meter = meters.get(added.meter)
        if meter is None or added.meter not in billed:
            faults.add(f"usage[{index}].meter", f"{shown(added.meter)} is not a meter of a rate card here")
            continue
        if meter.aggregation is Aggregation.AVG:
            faults.add(
                f"usage[{index}].meter", f"{shown(added.meter)} is an average, to which nothing is added"
            )
        names = {name for name, _ in meter.dimensions}
        for name in added.dimensions:
            if name not in names:
                said = f"is not a dimension of the meter {shown(added.meter)}"
                faults.add(f"usage[{index}].dimensions.{name[:40]}", said)
    faults.refuse()


def with_added(
    bill: Bill, usage: BillUsage, added: Sequence[Added], meters: Mapping[str, Meter], now: datetime
) -> dict[MeterQuery, list[UsageRow]]:
    """The usage of a bill as it would be with this much more, used now."""
    then = {query: list(rows) for query, rows in usage.items()}
    asked = {(query, part.number): None for part in parts_now(bill, now) for query in part.queries}
    for (meter, detail), number in asked:
        for one in added:
            if one.meter == meter:
                rows = then.setdefault((meter, detail), [])
                _add(rows, number, _dimensions(one, detail, now), one, meters[meter].aggregation)
    return then


def _dimensions(added: Added, detail: Detail, now: datetime) -> dict[str, str]:
    """What the added usage is told apart by: its dimensions, and the windows that hold this moment."""
    named = {name: added.dimensions[name] for name in detail.dimensions if name in added.dimensions}
    return named | {clock.dimension: clock.label_at(now) for clock in detail.clocks}


def _add(
    rows: list[UsageRow], part: int, dimensions: dict[str, str], added: Added, aggregation: Aggregation
) -> None:
    """One row with more in it, or a row more. Events come after all that are there, as their time does."""
    found = (
        place
        for place, row in enumerate(rows)
        if row.dimensions == dimensions and row.span_id & PART_MASK == part
    )
    place = next(found, len(rows))
    if place == len(rows):
        rows.append(UsageRow(part, dimensions, ZERO, 0))
    row = rows[place]
    every_event_is_told = row.events == sum(run.count for run in row.runs)
    runs = (*row.runs, Run(added.quantity, added.count)) if every_event_is_told else row.runs
    with exact():
        quantity = _together(row, added, aggregation)
    rows[place] = replace(row, quantity=quantity, events=row.events + added.count, runs=runs)


def _together(row: UsageRow, added: Added, aggregation: Aggregation) -> Decimal:
    match aggregation:
        case Aggregation.MAX:
            return max(row.quantity, added.quantity)
        case Aggregation.MIN:
            return min(row.quantity, added.quantity) if row.events else added.quantity
        case Aggregation.LATEST:
            return added.quantity
        case _:
            return row.quantity + added.quantity * added.count


def difference(
    bill: Bill,
    then_bill: Bill,
    before: Sequence[Line],
    after: Sequence[Line],
    usage: BillUsage,
    then: BillUsage,
    now: datetime,
) -> list[dict[str, Any]]:
    """What the lines of a bill with the added usage have more than those without, line by line.

    bill, then_bill: the same but for what units pay of it.
    """
    parts = {part.card.key: part for part in parts_now(bill, now)}
    was, will_be = _by_identity(before), _by_identity(after)
    found = []
    for identity in [*will_be, *(identity for identity in was if identity not in will_be)]:
        lines, earlier = will_be.get(identity, []), was.get(identity, [])
        with exact():
            quantity = _sum(line.quantity for line in lines) - _sum(line.quantity for line in earlier)
            amount = _sum(line.amount_exact for line in lines) - _sum(line.amount_exact for line in earlier)
        if quantity or amount:
            line = (lines or earlier)[0]
            part = parts.get(line.rate_card or "")
            charges = _charges((bill, then_bill), part, line, amount, (usage, then))
            found.append(_shown(line, quantity, amount, charges))
    return found


def _by_identity(lines: Sequence[Line]) -> dict[object, list[Line]]:
    """The lines by what makes two of them the same line of two invoices."""
    found: dict[object, list[Line]] = {}
    for line in lines:
        key = None if line.adjustment is None else line.adjustment.key
        dimensions = tuple(sorted(line.dimensions.items()))
        identity = (line.kind, line.rate_card, key, dimensions, line.service_period.start)
        found.setdefault(identity, []).append(line)
    return found


def _charges(
    bills: tuple[Bill, Bill],
    part: UsagePart | None,
    line: Line,
    amount: Decimal,
    usage: tuple[BillUsage, BillUsage],
) -> Sequence[Charge]:
    """The charges of the added quantity, rated after what was used; they sum to the amount."""
    if part is None or line.adjustment is not None or line.unbilled is not None:
        return ()
    card = part.card
    (before, paid_before), (more, paid) = (
        _priced(bill, part, used) for bill, used in zip(bills, usage, strict=True)
    )
    earlier = {_key(row): row for row in before}
    with exact():
        added = [_after(earlier.get(_key(row), _NOTHING), row) for row in more]
        paid -= paid_before
    charges = [
        charge
        for rated in rate_rows(card.price, added, final=False)
        if rated.dimensions == line.dimensions
        for charge in rated.charges
        if charge.quantity or charge.amount
    ]
    if paid:
        charges.insert(0, UnitsLeft(bills[1]).charge(card.key, paid))
    with exact():
        rest = amount - _sum(charge.amount for charge in charges)
    return charges if not rest else [*charges, Charge(ONE, rest, rest, AT_THE_END)]


def _priced(bill: Bill, part: UsagePart, usage: BillUsage) -> tuple[list[Row], Decimal]:
    """What of a part's usage is priced, and how many units pay for the rest: earlier parts are paid before later."""
    units = UnitsLeft(bill)
    for one in usage_parts(bill):
        if one.card.key == part.card.key and one.unbilled is None:
            priced = units.priced(one, usage_rows(one.card, usage_of_part(bill, one, usage)))
            if one.times == part.times:
                return priced
    raise AssertionError("usage that is priced now is of a part of its bill")


_NOTHING = Row({})


def _after(earlier: Row, row: Row) -> Row:
    """What a row has more than it had, after what it had. `exact()` is in force."""
    return Row(
        row.dimensions,
        row.quantity - earlier.quantity,
        earlier.quantity,
        events=None if row.events is None else row.events - (earlier.events or 0),
        events_before=None if row.events is None else earlier.events or 0,
        runs=row.runs[len(earlier.runs) :],
        runs_before=earlier.runs,
        quantities={
            meter: used - earlier.quantities.get(meter, ZERO) for meter, used in row.quantities.items()
        },
        quantities_before=earlier.quantities,
    )


def _key(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(row.dimensions.items()))


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)


def _shown(line: Line, quantity: Decimal, amount: Decimal, charges: Sequence[Charge]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "kind": line.kind.value,
        "rate_card": line.rate_card,
        "meter": line.meter,
        "description": line.description,
        "dimensions": dict(sorted(line.dimensions.items())),
        "service_period": instants(line.service_period),
        "quantity": trimmed(quantity),
        "amount_exact": trimmed(amount),
        "charges": [charge_json(charge) for charge in charges],
    }
    return said if line.adjustment is None else said | {"key": line.adjustment.key}


def bills_of_nobody(version: PlanVersion, now: datetime) -> list[Bill]:
    """The first bills of somebody who takes the plan now and has used nothing: its calendar period, in UTC."""
    plan = version.plan
    period = next(billing_periods(CALENDAR, plan.interval, plan.interval_count, "UTC", now))
    customer = Customer(0, "", "", plan.currency, "UTC", None, Address(), ())
    subscription = Subscription(
        0, "", 0, "", version.plan_version_id, plan.key, version.version, CALENDAR, period.start, None
    )
    return due_bills([subscription], {0: customer}, {version.plan_version_id: plan}, period.end)
