"""Bills with what late and corrected events make of the periods before them.

The books say for which issued invoices events may have come since, and what was sealed since is asked for which it
did; they also say from which events were taken since (voided, or replaced by another). Only those are rated again,
together.
Subscriptions with coupons, commitments or a minimum are left alone: what a late event would have changed of those
is not told by rating usage again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from farthing.catalog.model import Meter
from farthing.catalog.service import all_meters, get_meter, get_plan
from farthing.customers.terms.model import Terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import late_store as rows
from farthing.invoicing.adjustments import looks_back
from farthing.invoicing.corrections import Place, correction_lines, place_of
from farthing.invoicing.lines import usage_lines_of
from farthing.invoicing.model import Bill, Line, Reason
from farthing.invoicing.parts import usage_parts
from farthing.invoicing.run import usage_needed
from farthing.invoicing.usage_lines import PARTS_BITS
from farthing.invoicing.usage_reading import usage_of
from farthing.kernel.errors import FarthingError
from farthing.kernel.instant import parse_instant
from farthing.kernel.quantity import ZERO, exact
from farthing.usage.service import billable_usage, events_behind

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

    standing: the bills that are issued. `prepare_usage` must have run before.
    """
    first: dict[int, int] = {}
    for place, bill in enumerate(bills):
        if bill.reason is Reason.PERIOD and not looks_back(
            bill, terms.get(bill.subscription.subscription_id)
        ):
            first.setdefault(bill.subscription.subscription_id, place)
    found = list(bills)
    for subscription_id, lines in _corrections(books, store, tenant_id, standing, set(first)).items():
        place = first[subscription_id]
        found[place] = replace(found[place], corrections=tuple(lines))
    return found


def _corrections(
    books: Books, store: EventStore, tenant_id: int, standing: Sequence[Bill], subscription_ids: set[int]
) -> dict[int, list[Line]]:
    """The lines, by subscription."""
    with books.read_only(tenant_id) as conn:
        late = rows.select_invoices_with_late_usage(conn, tenant_id, subscription_ids, SEALING_LAG)
        if not late:
            return {}
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
        known, again = [known[place] for place in met], [again[place] for place in met]
        billed = _billed(rows.select_billed_usage(conn, tenant_id, [row["invoice_id"] for row in known]))
        usage = usage_of(conn, store, tenant_id, meters, again)
        found: dict[int, list[Line]] = defaultdict(list)
        for position, (row, bill) in enumerate(zip(known, again, strict=True)):
            try:
                now = usage_lines_of(bill, usage.of(position))
            except FarthingError:
                continue  # It cannot be rated any more, as `explain` says; what was billed stands.
            found[row["subscription_id"]] += _of_invoice(
                bill, row["number"], row["since"], now, billed[row["invoice_id"]]
            )
    return {subscription_id: lines for subscription_id, lines in found.items() if lines}


def late_events(
    books: Books,
    store: EventStore,
    tenant_id: int,
    customer_id: int,
    document: Mapping[str, Any],
    line: Mapping[str, Any],
    limit: int,
) -> dict[str, Any]:
    """The first events of the corrected period, of the line's meters, that came after it was invoiced.

    Those that came after the correction are among them, until the next one.
    """
    plan = document["plan"]
    cards = get_plan(books, tenant_id, plan["key"], plan["version"]).plan.rate_cards
    keys = [meter for card in cards if card.key == line["rate_card"] for meter in card.meters]
    period = line["service_period"]
    start, end = (parse_instant(period[name], name) for name in ("start", "end"))
    since = parse_instant(line["adjustment"]["since"], "since")
    total, events = 0, list[dict[str, Any]]()
    with books.read_only(tenant_id) as conn:
        for meter in (get_meter(books, tenant_id, key) for key in keys):
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


def _of_invoice(
    bill: Bill, number: str, since: datetime, now: Sequence[Line], billed: Mapping[Place, Decimal]
) -> list[Line]:
    cards = {part.card.key for part in usage_parts(bill)}
    of_usage = {place: amount for place, amount in billed.items() if place[0] in cards}
    return correction_lines(bill, number, since, now, of_usage)


def _billed(found: Sequence[Mapping[str, object]]) -> dict[int, dict[Place, Decimal]]:
    """Exact amounts by invoice and place."""
    sums: dict[int, dict[Place, Decimal]] = defaultdict(dict)
    with exact():
        for row in found:
            invoice_id, rate_card, dimensions, amount = row.values()
            assert isinstance(invoice_id, int)
            assert isinstance(dimensions, dict)
            assert isinstance(amount, Decimal)
            place = place_of(None if rate_card is None else str(rate_card), dimensions)
            sums[invoice_id][place] = sums[invoice_id].get(place, ZERO) + amount
    return sums
