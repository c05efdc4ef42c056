"""The use case of explaining a line of an invoice: where its number comes from, down to the events."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from farthing.catalog.coupon import coupon_json
from farthing.catalog.model import Meter
from farthing.catalog.service import get_coupon, get_meter, get_plan
from farthing.customers.terms.content import commitment_json
from farthing.customers.terms.service import get_terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as rows
from farthing.invoicing.drafting.usage_lines import MeterQuery
from farthing.invoicing.explaining.lines import (
    Source,
    adjustment_explanation,
    explanation,
    line_of,
    plan_of_line,
    queries_of_line,
    rate_card_of,
    usage_behind,
)
from farthing.invoicing.late.bills import late_events
from farthing.invoicing.model import LineKind
from farthing.invoicing.service import no_invoice
from farthing.kernel.instant import parse_instant
from farthing.usage.model import Span, UsageRow
from farthing.usage.service import billable_usage, events_behind, refuse_removed


def explain_line(
    books: Books, store: EventStore, tenant_id: int, number: str, line: int, limit: int
) -> dict[str, Any]:
    """Where the number of one line comes from, down to the first `limit` events and how many there are.

    A line that is made of other lines is explained by those, and by the coupon, commitment or minimum
    behind it. Usage is asked for as it is now: `quantity_now` differs from `quantity_billed`, and `changed_since`
    says so, where events arrived or aliases moved after the invoice was issued.

    Raises NotFound `invoice_not_found`, `line_not_found`, `events_removed`.
    """
    with books.read_only(tenant_id) as conn:
        found = rows.select_document(conn, tenant_id, number)
    if found is None:
        raise no_invoice(number)
    document: dict[str, Any] = json.loads(found["document"])
    said = line_of(document, line)
    if "adjustment" in said:
        source = _source_of(books, tenant_id, document, said)
        if said["kind"] == LineKind.CORRECTION:
            source |= late_events(books, store, tenant_id, found["customer_id"], document, said, limit)
        return adjustment_explanation(document, said, source)
    if "one_off" in said:
        return explanation(document, said, None, ())
    plan = plan_of_line(document, said)
    card = rate_card_of(get_plan(books, tenant_id, plan["key"], plan["version"]), said)
    spans = [
        Span(
            0, found["customer_id"], parse_instant(time["start"], "start"), parse_instant(time["end"], "end")
        )
        for time in said.get("parts", [said["service_period"]])
    ]
    queries = queries_of_line(said, card)
    meters = {query[0]: get_meter(books, tenant_id, query[0]) for query in queries}
    with books.read_only(tenant_id) as conn:
        for meter, span in product(meters.values(), spans):
            refuse_removed(conn, tenant_id, meter, span.start, span.end)
        usage = {
            query: list(billable_usage(store, conn, tenant_id, meters[query[0]], query[1], spans))
            for query in queries
        }
        sources = [
            Source(
                meters[query[0]],
                used,
                _first_events(conn, store, tenant_id, meters[query[0]], query, spans, used, limit),
            )
            for query, used in usage_behind(said, card, usage).items()
        ]
    return explanation(document, said, card, sources)


def _source_of(
    books: Books, tenant_id: int, document: Mapping[str, Any], line: Mapping[str, Any]
) -> dict[str, Any]:
    """What a line that no rate card charges comes from: a coupon, a commitment or the plan's minimum."""
    key = line["adjustment"]["key"]
    match LineKind(line["kind"]):
        case LineKind.COUPON:
            return {"coupon": coupon_json(get_coupon(books, tenant_id, key)[0])}
        case LineKind.MINIMUM:
            return {"minimum": line["adjustment"]["committed"]}
        case LineKind.BILLED:
            return {"billed_on": key}
        case LineKind.CARRIED:
            return {"carried": line["amount_exact"]}
        case LineKind.CARRIED_FORWARD:
            return {"carried_forward": line["amount_exact"]}
        case LineKind.BROUGHT_FORWARD:
            return {"brought_from": key}
        case LineKind.CORRECTION:
            return {"corrects": key}
        case _:
            _, terms = get_terms(books, tenant_id, document["subscription"])
            (commitment,) = (one for one in terms.commitments if one.key == key)
            return {"commitment": commitment_json(commitment)}


def _first_events(
    conn: BooksConnection,
    store: EventStore,
    tenant_id: int,
    meter: Meter,
    query: MeterQuery,
    spans: Sequence[Span],
    usage: Sequence[UsageRow],
    limit: int,
) -> list[dict[str, Any]]:
    """The first events of each time, and in it of each combination of dimensions, until there are enough."""
    detail = query[1]
    events: list[dict[str, Any]] = []
    for span, row in product(spans, usage):
        if len(events) >= limit:
            break
        dimensions = {name: row.dimensions.get(name) for name in detail.names}
        events += events_behind(
            store,
            conn,
            tenant_id,
            meter,
            span.customer_id,
            span.start,
            span.end,
            dimensions,
            limit - len(events),
            detail.clocks,
        )[1]
    return events
