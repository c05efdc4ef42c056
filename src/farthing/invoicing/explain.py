"""Where a line's number comes from: price, plan version, meter, and the usage that it was rated from. Pure.

Usage is grouped finer than lines are: a cell of a matrix may take in several combinations of
dimensions. Which line a combination went to is asked of rating itself, by rating it alone.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from farthing.catalog.meter import meter_json
from farthing.catalog.model import Meter, PlanVersion, RateCard
from farthing.kernel.errors import NotFound
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.rating import Row, dimensions_of, price_json, rate_rows
from farthing.usage.model import UsageRow


def line_of(document: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The line with this number. Raises NotFound `line_not_found`."""
    lines: list[dict[str, Any]] = document["lines"]
    for line in lines:
        if line["line"] == place:
            return line
    raise NotFound("line_not_found", f"the invoice {document['number']} has lines 1 to {len(lines)}")


def rate_card_of(version: PlanVersion, key: str) -> RateCard:
    """The rate card that a line was billed by: plan versions never change, so it is there."""
    (card,) = (card for card in version.plan.rate_cards if card.key == key)
    return card


def usage_behind(line: Mapping[str, Any], card: RateCard, usage: Sequence[UsageRow]) -> list[UsageRow]:
    """The usage, among that of the whole rate card, that this line is rated from."""
    if _adjusts(line, card):
        return []
    return [
        row
        for row in usage
        if dict(rate_rows(card.price, [Row(row.dimensions, row.quantity)])[0].dimensions)
        == line["dimensions"]
    ]


def _adjusts(line: Mapping[str, Any], card: RateCard) -> bool:
    """Whether the line is what a matrix's own minimum, maximum, discount or free units add to its lines."""
    matrix = bool(dimensions_of(card.price))
    return matrix and not line["dimensions"] and not Decimal(line["quantity"]) and bool(line["charges"])


def explanation(
    document: Mapping[str, Any],
    line: Mapping[str, Any],
    card: RateCard,
    meter: Meter | None,
    usage: Sequence[UsageRow],
    events: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Everything that explains a line. `usage` is that behind it as it is now, `events` the first of it."""
    said: dict[str, Any] = {
        "invoice": document["number"],
        "customer": document["customer"],
        "subscription": document["subscription"],
        "currency": document["currency"],
        "line": line,
        "plan": document["plan"],
        "rate_card": card.key,
        "price": price_json(card.price),
    }
    if meter is None:
        return said
    with exact():
        quantity_now = sum((row.quantity for row in usage), ZERO)
        events_total = sum(row.events for row in usage)
    return said | {
        "meter": meter_json(meter),
        "quantity_billed": line["quantity"],
        "quantity_now": trimmed(quantity_now),
        "changed_since": quantity_now != Decimal(line["quantity"]),
        "events_total": events_total,
        "events": list(events),
    }
