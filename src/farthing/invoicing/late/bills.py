"""Bills with what late and corrected events make of the periods before them.

The books say for which issued invoices events may have come since, and what was sealed since is asked for which it
did; they also say from which events were taken since (voided, or replaced by another). Only those are rated again,
together. Of subscriptions with coupons, commitments or a minimum the whole bills are computed again, from the first
that is met on (`late_terms.py`).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg.rows import DictRow

from farthing.catalog.model import Meter
from farthing.catalog.service import all_meters, get_meter, get_plan
from farthing.customers.terms.model import NO_TERMS, Terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.adjusting.adjustments import looks_back
from farthing.invoicing.drafting.lines import usage_lines_of
from farthing.invoicing.drafting.parts import usage_parts
from farthing.invoicing.drafting.usage_lines import PARTS_BITS
from farthing.invoicing.drafting.usage_reading import usage_of
from farthing.invoicing.late import store as rows
from farthing.invoicing.late.corrections import (
    InvoiceCorrection,
    billed_before,
    by_subscription,
    correction_lines,
)
from farthing.invoicing.late.terms import corrected_before, whole_bill_corrections
from farthing.invoicing.late.whole_bill import Amount, Amounts, amounts_of, place_of
from farthing.invoicing.model import Bill, Line, Reason
from farthing.invoicing.run import usage_needed
from farthing.invoicing.units.drawing import with_units_of_periods
from farthing.kernel.errors import FarthingError
from farthing.kernel.instant import parse_instant
from farthing.usage.service import billable_usage, events_behind

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before any event."""
SEALING_LAG = timedelta(hours=1)
"""A batch of events says when its sealing began, and is visible when that commits: for so long a billing run may not
have seen what seems to be older than it. Looking again at what was seen changes nothing."""


def with_corrections(
    books: Books,
    store: EventStore,
    tenant_id: int,
    bills: Sequence[Bill],
    standing: Sequence[Bill],
    terms: Mapping[int, Terms],
) -> list[Bill]:
    """These bills, in order of issue; the first one of a period of each subscription has its corrections.

    Where a subscription has ended and its last period is invoiced, a settlement has them: the one that is due anyhow,
    or one of its own, ahead of the other bills. standing: the bills that are issued. `prepare_usage` must have run
    before.
    """
    first = _first_places(bills, Reason.PERIOD)
    ended = {
        bill.subscription.subscription_id: bill
        for bill in standing
        if bill.reason is Reason.PERIOD
        and bill.last
        and bill.subscription.subscription_id not in first
        and not _cuts_a_commitment(bill, terms)
    }
    corrected = by_subscription(corrections_of(books, store, tenant_id, standing, {*first, *ended}, terms))
    if not corrected:
        return list(bills)
    first = _first_places(bills, Reason.SETTLEMENT) | first
    with books.read_only(tenant_id) as conn:
        credited = rows.select_credited_at_once(conn, tenant_id, corrected)
        settled = rows.select_settlements(conn, tenant_id, corrected.keys() - first.keys())
    found, own = list(bills), list[Bill]()
    for subscription_id, lines in corrected.items():
        place = first.get(subscription_id)
        if place is None:
            known = _settlement(ended[subscription_id], settled.get(subscription_id, 0))
            own.append(_corrected(known, lines, credited))
        else:
            found[place] = _corrected(found[place], lines, credited)
    return own + found


def _first_places(bills: Sequence[Bill], reason: Reason) -> dict[int, int]:
    """Where the first bill for this reason stands, by subscription."""
    places: dict[int, int] = {}
    for place, bill in enumerate(bills):
        if bill.reason is reason:
            places.setdefault(bill.subscription.subscription_id, place)
    return places


def _cuts_a_commitment(last: Bill, terms: Mapping[int, Terms]) -> bool:
    """Whether the end came before that of a commitment. What was owed at once because of that stands: the last
    period may have been invoiced before anybody knew of the end, and would be computed with it now."""
    commitments = terms.get(last.subscription.subscription_id, NO_TERMS).commitments
    return any(commitment.term.end > last.period.end for commitment in commitments)


def _corrected(bill: Bill, lines: Sequence[Line], credited: Mapping[int, int]) -> Bill:
    at_once = credited.get(bill.subscription.subscription_id, 0)
    return replace(bill, corrections=tuple(lines), credited_at_once=at_once)


def _settlement(last: Bill, settled_before: int) -> Bill:
    """The bill of what comes after the last period of a subscription was invoiced."""
    return replace(
        last, reason=Reason.SETTLEMENT, own=None, coming=None, one_offs=(), settled_before=settled_before
    )


def corrections_of(
    books: Books,
    store: EventStore,
    tenant_id: int,
    standing: Sequence[Bill],
    subscription_ids: Collection[int],
    terms: Mapping[int, Terms],
) -> list[InvoiceCorrection]:
    """What issued invoices of these subscriptions are to be corrected by, of those that have a difference.

    standing: the bills that are issued, of these subscriptions at least.
    """
    with books.read_only(tenant_id) as conn:
        late = rows.select_invoices_with_late_usage(conn, tenant_id, subscription_ids, SEALING_LAG)
        if not late:
            return []
        issued = {
            (bill.subscription.subscription_id, bill.period.start): bill
            for bill in standing
            if bill.reason is Reason.PERIOD
        }
        # An invoice of a period that is no longer due as such (its subscription changed since) stays as it is.
        known = [row for row in late if (row["subscription_id"], row["period_start"]) in issued]
        again = [issued[row["subscription_id"], row["period_start"]] for row in known]
        meters = {meter.key: meter for meter in all_meters(books, tenant_id)}
        came = _met(conn, store, tenant_id, meters, again, min(row["since"] for row in late) - SEALING_LAG)
        met = sorted(came.union(place for place, row in enumerate(known) if row["voided"]))
        whole = {
            place for place in met if looks_back(again[place], terms.get(known[place]["subscription_id"]))
        }
        simple = [(known[place], again[place]) for place in met if place not in whole]
        found = _usage_corrections(conn, store, tenant_id, meters, simple)
        if whole:
            affected = [known[place] for place in sorted(whole)]
            found += whole_bill_corrections(conn, store, tenant_id, meters, affected, standing, terms)
    return [one for one in found if one.lines]


def _usage_corrections(
    conn: BooksConnection,
    store: EventStore,
    tenant_id: int,
    meters: Mapping[str, Meter],
    met: Sequence[tuple[DictRow, Bill]],
) -> list[InvoiceCorrection]:
    """Of invoices that nothing but usage and fees is on: usage is rated again."""
    ids = [row["invoice_id"] for row, _ in met]
    billed = _billed(rows.select_billed_usage(conn, tenant_id, ids))
    since_then = corrected_before(rows.select_corrected(conn, tenant_id, ids))
    bills = with_units_of_periods(conn, tenant_id, [bill for _, bill in met])
    usage = usage_of(conn, store, tenant_id, meters, bills)
    found = []
    for position, ((row, _), bill) in enumerate(zip(met, bills, strict=True)):
        try:
            now = usage_lines_of(bill, usage.of(position))
        except FarthingError:
            continue  # It cannot be rated any more, as `explain` says; what was billed stands.
        cards = {part.card.key for part in usage_parts(bill)}
        before = since_then[row["invoice_id"]]
        so_far = billed_before(billed[row["invoice_id"]], before)
        of_usage = {place: amount for place, amount in so_far.items() if place.rate_card in cards}
        lines = correction_lines(bill, row["number"], row["since"], amounts_of(now), of_usage)
        found.append(
            InvoiceCorrection(
                row["subscription_id"], row["invoice_id"], row["number"], row["since"], tuple(lines), before
            )
        )
    return found


def late_events(
    books: Books,
    store: EventStore,
    tenant_id: int,
    customer_id: int,
    document: Mapping[str, Any],
    line: Mapping[str, Any],
    limit: int,
) -> dict[str, Any]:
    """The first events of the corrected period, of the line's meters, that came after it was invoiced; of all periods
    up to then where a coupon, commitment or minimum is corrected.

    Those that came after the correction are among them, until the next one.
    """
    plan = document["plan"]
    cards = get_plan(books, tenant_id, plan["key"], plan["version"]).plan.rate_cards
    # A coupon, a commitment or a minimum looks at all of the plan's usage, and at what earlier periods came to.
    all_of_it = "corrected" in line["adjustment"]
    keys = [meter for card in cards if all_of_it or card.key == line["rate_card"] for meter in card.meters]
    period = line["service_period"]
    start, end = (parse_instant(period[name], name) for name in ("start", "end"))
    if all_of_it:
        start = BEGINNING
    since = parse_instant(line["adjustment"]["since"], "since")
    total, events = 0, list[dict[str, Any]]()
    with books.read_only(tenant_id) as conn:
        for meter in (get_meter(books, tenant_id, key) for key in dict.fromkeys(keys)):
            count, some = events_behind(
                store, conn, tenant_id, meter, customer_id, start, end, {}, limit, sealed_from=since
            )
            total, events = total + count, events + some
    return {"events_total": total, "events": events[:limit]}


def _met(
    conn: BooksConnection,
    store: EventStore,
    tenant_id: int,
    meters: Mapping[str, Meter],
    bills: Sequence[Bill],
    since: datetime,
) -> set[int]:
    """The places of those of these bills that have usage among what was sealed since then."""
    return {
        row.span_id >> PARTS_BITS
        for (meter, detail), spans in usage_needed(bills).items()
        for row in billable_usage(store, conn, tenant_id, meters[meter], detail, spans, sealed_from=since)
    }


def _billed(found: Sequence[Mapping[str, Any]]) -> dict[int, Amounts]:
    """Exact amounts by invoice and place."""
    sums: dict[int, Amounts] = defaultdict(dict)
    for row in found:
        amount: Decimal = row["amount"]
        sums[row["invoice_id"]][place_of(row["rate_card"], row["dimensions"])] = Amount(amount)
    return sums
