"""The billing run, without its input and output. Pure.

    subscriptions -> bills that are due -> the usage they need -> lines -> adjustments -> totals -> drafts
                     due.py               usage_needed           lines.py  adjustments.py totals.py  drafted

`service.run_billing` asks the books and the event store in between, for many bills at once, and issues
the drafts. Read this file and that function to know how billing works.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from farthing.invoicing.adjustments import Carried, adjusted
from farthing.invoicing.document import document_of, document_text, instants, invoice_number
from farthing.invoicing.lines import lines_of
from farthing.invoicing.model import Basis, Bill, Draft, Invoice, Reason
from farthing.invoicing.totals import totals_of
from farthing.invoicing.usage_lines import BillUsage, MeterQuery, meter_queries
from farthing.kernel.errors import FarthingError
from farthing.usage.model import Span

ALREADY_ISSUED = "already_issued"
NOTHING_TO_BILL = "nothing_to_bill"
SUBSCRIPTION_CHANGED = "subscription_changed"
EARLIER_BILL_MISSING = "earlier_bill_missing"


def usage_needed(bills: Sequence[Bill]) -> dict[MeterQuery, list[Span]]:
    """For each meter and detail the spans whose usage is billed; a span's id is its bill's position."""
    needed: dict[MeterQuery, list[Span]] = defaultdict(list)
    queries: dict[int, list[MeterQuery]] = {}
    for position, bill in enumerate(bills):
        if bill.reason is not Reason.PERIOD:
            continue
        version = bill.subscription.plan_version_id
        if version not in queries:
            found = [query for card in bill.plan.rate_cards for query in meter_queries(card)]
            queries[version] = list(dict.fromkeys(found))
        for query in queries[version]:
            period = bill.period
            needed[query].append(Span(position, bill.customer.customer_id, period.start, period.end))
    return dict(needed)


def drafted(bill: Bill, usage: BillUsage, carried: Carried) -> Draft | str:
    """The invoice of a bill without its number, or why there is none.

    A bill that cannot be rated (a price that multiplies to too many digits) does not keep the others
    from being issued; it is passed over under the code of its error. Later bills of the same
    subscription wait for it where they depend on what it would have charged.
    """
    basis = carried.basis(bill)
    if basis is None:
        return EARLIER_BILL_MISSING
    try:
        draft = draft_on(bill, usage, basis)
    except FarthingError as error:
        carried.miss(bill)
        return error.code
    if draft is None:
        return NOTHING_TO_BILL
    carried.add(bill, draft.lines)
    return draft


def draft_on(bill: Bill, usage: BillUsage, basis: Basis) -> Draft | None:
    """The invoice of a bill with this usage, after what earlier ones did; None where nothing is on it.

    Raises what rating raises.
    """
    lines = adjusted(bill, lines_of(bill, usage), basis)
    if not lines:
        return None
    return Draft(bill, lines, totals_of([line.amount_exact for line in lines], bill.plan), basis)


def numbered(
    drafts: Sequence[Draft], first_number: int, seller: Mapping[str, Any], now: datetime
) -> list[Invoice]:
    """The drafts with their numbers, as documents."""
    invoices = []
    for count, draft in enumerate(drafts, start=first_number):
        number = invoice_number(count)
        document = document_text(document_of(draft, number, seller, now))
        invoices.append(Invoice(number, draft, document))
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
