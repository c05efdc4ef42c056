"""What late usage makes of bills with coupons, commitments or a minimum: whole bill now, less whole bill then.

From the first invoice that is met on, the subscription's invoices are computed again, one after the other, from the
usage as it is now, the fees and one-off charges as they were billed, and the terms that were in force when each was
issued.
What earlier invoices did comes from the books (`adjustments.History`), what a later one of these does from the ones
before it: where more of January counts toward a commitment, less is missing in December. Each is compared with what was
billed of it so far, in every place that an amount can stand in (`whole_bill.py`).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import DictRow

from farthing.catalog.model import TAX_CATEGORY_DEFAULT, Meter, Proration
from farthing.customers.terms.model import NO_TERMS, Terms
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.adjusting.adjustments import History, adjusted
from farthing.invoicing.drafting.lines import usage_lines_of
from farthing.invoicing.drafting.usage_lines import BillUsage
from farthing.invoicing.drafting.usage_reading import usage_of
from farthing.invoicing.late import store as rows
from farthing.invoicing.late.corrections import InvoiceCorrection, billed_before, correction_lines
from farthing.invoicing.late.whole_bill import MADE_OF_LINES, Place, amounts_of, amounts_of_document, place_of
from farthing.invoicing.model import Bill, BillKey, FeeKey, Line, LineKind, Reason
from farthing.invoicing.store import select_histories
from farthing.kernel.errors import FarthingError
from farthing.kernel.instant import parse_instant
from farthing.kernel.period import Period
from farthing.kernel.quantity import ZERO, exact
from farthing.rating import Charge

More = dict[int, dict[Place, tuple[Decimal, Decimal]]]
"""What was corrected so far: (amount, quantity) by invoice and place."""


def whole_bill_corrections(
    conn: BooksConnection,
    store: EventStore,
    tenant_id: int,
    meters: Mapping[str, Meter],
    affected: Sequence[DictRow],
    standing: Sequence[Bill],
    terms: Mapping[int, Terms],
) -> list[InvoiceCorrection]:
    """The corrections of all invoices of these subscriptions from the first that is met on.

    affected: rows of `late_store.select_invoices_with_late_usage`. standing: the bills that are issued.
    """
    first: dict[int, int] = {}
    since: dict[int, datetime] = {}
    for row in affected:
        known = first.setdefault(row["subscription_id"], row["invoice_id"])
        first[row["subscription_id"]] = min(known, row["invoice_id"])
        since[row["subscription_id"]] = row["since"]
    issued = _with_bills(rows.select_issued_from(conn, tenant_id, first), standing)
    if not issued:
        return []
    bills = [bill for _, bill in issued]
    begins: dict[int, datetime] = {}
    for row, bill in issued:
        at = begins.setdefault(row["subscription_id"], bill.period.start)
        begins[row["subscription_id"]] = min(at, bill.period.start)
    histories = select_histories(conn, tenant_id, begins, first)
    redeemed = rows.select_redeemed_at(conn, tenant_id, list(begins))
    corrected = corrected_before(
        rows.select_corrected(conn, tenant_id, [row["invoice_id"] for row, _ in issued])
    )
    usage = usage_of(conn, store, tenant_id, meters, bills)
    found: dict[int, list[InvoiceCorrection]] = defaultdict(list)
    unknown: set[int] = set()
    for position, (row, bill) in enumerate(issued):
        key = row["subscription_id"]
        used = usage.of(position)
        if key in unknown:
            continue
        said = json.loads(row["document"])["lines"]
        then = _terms_then(terms.get(key, NO_TERMS), row["issued_at"], key, redeemed)
        history = histories.setdefault(key, History())
        try:
            lines = adjusted(bill, tuple(_lines_again(bill, used, said)), history.basis(bill, then))
        except FarthingError:
            unknown.add(
                key
            )  # It cannot be rated any more: what was billed stands, of all that follows as well.
            continue
        history.add(bill, lines)
        before = corrected.get(row["invoice_id"], {})
        billed = billed_before(amounts_of_document(said, _category_of(bill)), before)
        made = correction_lines(bill, row["number"], since[key], amounts_of(lines), billed)
        found[key].append(
            InvoiceCorrection(key, row["invoice_id"], row["number"], since[key], tuple(made), before)
        )
    return [one for key, some in found.items() if key not in unknown for one in some]


def _with_bills(issued: Sequence[DictRow], standing: Sequence[Bill]) -> list[tuple[DictRow, Bill]]:
    """The issued invoices with their bills, of the subscriptions whose every invoice is due as it was then.

    An invoice of corrections alone bills nothing by itself: what it corrected counts as corrected.
    """
    bills = {bill.key: bill for bill in standing}
    known = [
        (row, BillKey(row["subscription_id"], row["period_start"], Reason(row["reason"]), row["sequence"]))
        for row in issued
        if row["reason"] != Reason.SETTLEMENT or not _corrects_only(row)
    ]
    changed = {key.subscription_id for _, key in known if key not in bills}
    return [(row, bills[key]) for row, key in known if key.subscription_id not in changed]


def _corrects_only(row: DictRow) -> bool:
    return all(line["kind"] == LineKind.CORRECTION for line in json.loads(row["document"])["lines"])


def _terms_then(
    terms: Terms, issued_at: datetime, subscription_id: int, redeemed: Mapping[tuple[int, str], datetime]
) -> Terms:
    """The terms as they were when an invoice was issued. A commitment cannot be made for a time that is invoiced."""
    return replace(
        terms,
        redemptions=tuple(
            one
            for one in terms.redemptions
            if redeemed.get((subscription_id, one.coupon.key), issued_at) <= issued_at
        ),
    )


def _lines_again(bill: Bill, usage: BillUsage, said: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Usage as it is now, and fees and one-off charges as the document says, in the order of a bill's lines."""
    lines: dict[str | None, list[Line]] = {}
    for stretch in bill.stretches:
        for card in stretch.rate_cards(bill.plans[stretch.plan_version_id]):
            lines.setdefault(card.key, [])
    for line in usage_lines_of(bill, usage):
        lines.setdefault(line.rate_card, []).append(line)
    charged = [_line_said(line) for line in said if line["kind"] == LineKind.FEE]
    for line in charged:
        if line.one_off is None:
            lines.setdefault(line.rate_card, []).append(line)
    for of_card in lines.values():
        yield from of_card
    yield from (line for line in charged if line.one_off is not None)


def _line_said(said: Mapping[str, Any]) -> Line:
    """A fee or one-off charge of a document, as far as adjustments look at it."""
    period = _period(said["service_period"])
    quantity, amount = Decimal(said["quantity"]), Decimal(said["amount_exact"])
    one_off = said.get("one_off")
    fee = None
    if one_off is None:
        full = _period(said.get("fee_period", said["service_period"]))
        fee = FeeKey(said["rate_card"], "", amount, quantity, full, Proration.SECOND)
    return Line(
        rate_card=said["rate_card"],
        description=said["description"],
        meter=None,
        dimensions=said["dimensions"],
        service_period=period,
        quantity=quantity,
        amount_exact=amount,
        charges=(Charge(quantity, amount, amount, ""),),
        fee=fee,
        one_off=one_off,
    )


def _period(said: Mapping[str, str]) -> Period:
    return Period(parse_instant(said["start"], "start"), parse_instant(said["end"], "end"))


def _category_of(bill: Bill) -> Callable[[str | None], str]:
    categories = {card.key: card.tax_category for plan in bill.plans_met for card in plan.rate_cards}
    return lambda rate_card: categories.get(rate_card or "", TAX_CATEGORY_DEFAULT)


def corrected_before(found: Sequence[Mapping[str, Any]]) -> More:
    """Rows of `late_store.select_corrected`, by invoice and place."""
    more: More = defaultdict(dict)
    with exact():
        for row in found:
            place, counted = _place_of(row)
            amount, quantity = more[row["invoice_id"]].get(place, (ZERO, ZERO))
            more[row["invoice_id"]][place] = (amount + row["amount"], quantity + counted)
    return more


def _place_of(row: Mapping[str, Any]) -> tuple[Place, Decimal]:
    """What a correction is of, and the quantity that it counts there."""
    if row["corrected"] is None:
        return place_of(row["rate_card"], row["dimensions"]), ZERO
    kind = LineKind(row["corrected"])
    quantity = ZERO if kind is LineKind.COUPON else row["quantity"]
    if kind not in MADE_OF_LINES:
        return Place(kind, row["corrected_key"], None, ()), quantity
    dimensions = tuple(sorted(row["dimensions"].items()))
    period = Period(row["service_start"], row["service_end"])
    return Place(kind, row["corrected_key"], row["rate_card"], dimensions, period), quantity
