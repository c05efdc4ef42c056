"""The billing run, without its input and output. Pure.

    subscriptions -> bills that are due -> the usage they need -> lines -> adjustments -> totals -> drafts
                     due.py               usage_needed           lines.py  adjustments.py totals.py  drafted
                                          parts.py               fees.py   interim.py     carry_forward.py

`batches.draft_batches` asks the books and the event store in between, for many bills at once, and
`service.run_billing` issues the drafts. Read this file and those functions to know how billing works.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any

from farthing.invoicing.adjusting.adjustments import Carried, adjusted
from farthing.invoicing.carrying.forward import (
    brings,
    carried_if_small,
    naming,
    totals_with_brought,
    with_brought,
)
from farthing.invoicing.document import instants, invoice_number
from farthing.invoicing.drafting.fees import covers_of
from farthing.invoicing.drafting.lines import lines_of
from farthing.invoicing.drafting.parts import is_simple, usage_parts
from farthing.invoicing.drafting.usage_lines import (
    PARTS_BITS,
    BillUsage,
    MeterQuery,
    UsageOfBills,
    meter_queries,
)
from farthing.invoicing.interim.charging import less_billed
from farthing.invoicing.model import Basis, Bill, BillKey, Cover, Draft
from farthing.invoicing.units.paying import Units
from farthing.invoicing.written import Invoice, Written, written
from farthing.kernel.errors import FarthingError
from farthing.kernel.period import Period
from farthing.usage.model import Span

ALREADY_ISSUED = "already_issued"
NOTHING_TO_BILL = "nothing_to_bill"
SUBSCRIPTION_CHANGED = "subscription_changed"
IN_GRACE = "in_grace"
EARLIER_BILL_MISSING = "earlier_bill_missing"


def usage_needed(bills: Sequence[Bill]) -> dict[MeterQuery, list[Span]]:
    """For each meter and detail the spans whose usage is billed.

    A span's id is its bill's position and, in the last bits, the part of the bill (`parts.py`).
    """
    needed: dict[MeterQuery, list[Span]] = defaultdict(list)
    queries: dict[int, list[MeterQuery]] = {}
    for position, bill in enumerate(bills):
        if not bill.bills_usage:
            continue
        customer, place = bill.customer.customer_id, position << PARTS_BITS
        if not is_simple(bill):
            for query, number, time in dict.fromkeys(_times_needed(bill)):
                needed[query].append(Span(place + number, customer, time.start, time.end))
            continue
        version = bill.plan_version_id
        if version not in queries:
            found = [query for card in bill.plan.rate_cards for query in meter_queries(card)]
            queries[version] = list(dict.fromkeys(found))
        for query in queries[version]:
            needed[query].append(Span(place, customer, bill.period.start, bill.period.end))
    return dict(needed)


def _times_needed(bill: Bill) -> Iterator[tuple[MeterQuery, int, Period]]:
    for part in usage_parts(bill):
        for query in part.queries:
            for time in part.times:
                yield query, part.number, time


def drafted(bill: Bill, usage: BillUsage, covers: Sequence[Cover], carried: Carried) -> Draft | str:
    """The invoice of a bill without its number, or why there is none.

    covers: what is billed already of the subscription's fees, by issued invoices and by drafts before this one.
    carried: what coupons, commitments and minimums are computed from, of the same invoices and drafts.

    A bill that cannot be rated (a price that multiplies to too many digits) does not keep the others
    from being issued; it is passed over under the code of its error. Later bills of the same
    subscription wait for it where they depend on what it would have charged.
    """
    basis = carried.basis(bill)
    if basis is None:
        return EARLIER_BILL_MISSING
    try:
        draft = draft_on(bill, usage, covers, basis)
    except FarthingError as error:
        carried.miss(bill)
        return error.code
    if draft is None:
        return NOTHING_TO_BILL
    carried.add(draft)
    return draft


def draft_on(bill: Bill, usage: BillUsage, covers: Sequence[Cover], basis: Basis) -> Draft | None:
    """The invoice of a bill with this usage, after what earlier ones did; None where nothing is on it.

    Raises what rating raises.
    """
    lines = less_billed(bill, adjusted(bill, lines_of(bill, usage, covers), basis), basis.billed)
    lines = with_brought(bill, (*lines, *bill.corrections), basis)
    if not lines:
        return None
    lines, totals = carried_if_small(bill, lines, totals_with_brought(lines, bill), basis)
    return Draft(bill, lines, totals, basis)


def drafted_in_order(
    bills: Sequence[Bill],
    usage: UsageOfBills,
    covers: MutableMapping[int, list[Cover]],
    carried: Carried,
    units: Units | None = None,
) -> Iterator[tuple[Bill, Draft | str]]:
    """Each bill drafted, knowing what those before it bill.

    covers: by subscription; what the drafts bill is added, and to `carried` as well.
    units: what wallets of units hold, where anybody has one.
    """
    for position, said in enumerate(bills):
        bill = carried.with_left_over(said)
        of_subscription = covers.get(bill.subscription.subscription_id, [])
        used = usage.of(position)
        if units is not None:
            bill = units.on(bill, used)
        draft = drafted(bill, used, of_subscription, carried)
        if isinstance(draft, str):
            carried.leave_over(bill)
            if units is not None:
                units.off(bill)
        if isinstance(draft, Draft) and (billed := covers_of(draft.lines)):
            covers[bill.subscription.subscription_id] = of_subscription + billed
        yield bill, draft


def numbered(
    drafts: Sequence[Draft],
    first_number: int,
    seller: Mapping[str, Any],
    now: datetime,
    ready: Mapping[int, Written],
) -> list[Invoice]:
    """The drafts with their numbers, as documents. ready: by the identity of a draft, one that is written already."""
    invoices: list[Invoice] = []
    numbers: dict[BillKey, str] = {}
    for count, draft in enumerate(drafts, start=first_number):
        number = invoice_number(count)
        numbers[draft.bill.key] = number
        brought = brings(draft, numbers)
        named = naming(draft, brought)
        # Places from zero on are those of what is ready; the others have theirs below.
        document = ready.get(id(named)) or written(named, -count, seller, now)
        invoices.append(Invoice(number, named, document, brought))
    return invoices


def passed_over(bill: Bill, reason: str) -> dict[str, Any]:
    """How a bill that has no new invoice is reported."""
    return {
        "customer": bill.customer.key,
        "subscription": bill.subscription.key,
        "period": instants(bill.period),
        "invoice": bill.reason.value,
        "reason": reason,
    }
