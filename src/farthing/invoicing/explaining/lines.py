"""Where a line's number comes from: price, plan version, meter, and the usage that it was rated from. Pure.

Usage is grouped finer than lines are: a cell of a matrix may take in several combinations of
dimensions. Which line a combination went to is asked of rating itself, by rating it alone. A line that is made
of other lines (a coupon, a commitment) says which ones itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from farthing.catalog.meter import meter_json
from farthing.catalog.model import Meter, PlanVersion, RateCard, Timing
from farthing.invoicing.drafting.parts import unbilled_queries
from farthing.invoicing.drafting.usage_lines import BillUsage, MeterQuery, meter_queries, name_of, usage_rows
from farthing.kernel.errors import NotFound
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.rating import parse_price, price_json, rate_rows
from farthing.usage.model import UsageRow


def line_of(document: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The line with this number. Raises NotFound `line_not_found`."""
    lines: list[dict[str, Any]] = document["lines"]
    for line in lines:
        if line["line"] == place:
            return line
    raise NotFound("line_not_found", f"the invoice {document['number']} has lines 1 to {len(lines)}")


def plan_of_line(document: Mapping[str, Any], line: Mapping[str, Any]) -> dict[str, Any]:
    """The plan version that a line was billed by: the invoice's, unless the line names its own."""
    plan: dict[str, Any] = line.get("plan", document["plan"])
    return plan


def adjustment_explanation(
    document: Mapping[str, Any], line: Mapping[str, Any], source: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that explains a line that no rate card charges.

    source: the coupon, the commitment or the plan's minimum, as it stands, under its name.
    of: the lines that it was made of, and how much of each.
    """
    by_place = {other["line"]: other for other in document["lines"]}
    return _head(document, line) | {
        **source,
        "of": [
            {"share": share["amount"], "line": by_place[share["line"]]} for share in line["adjustment"]["of"]
        ],
    }


def _head(document: Mapping[str, Any], line: Mapping[str, Any]) -> dict[str, Any]:
    taxes = {"taxes": [document["taxes"][one["tax"] - 1] for one in line["taxes"]]} if "taxes" in line else {}
    return taxes | {
        "invoice": document["number"],
        "customer": document["customer"],
        "subscription": document["subscription"],
        "currency": document["currency"],
        "line": line,
        "plan": plan_of_line(document, line),
    }


def rate_card_of(version: PlanVersion, line: Mapping[str, Any]) -> RateCard:
    """The rate card that a line was billed by, at the price that it was billed by.

    Plan versions never change, so it is there; an add-on stands in no plan, and its line says all of it.
    """
    found = next((card for card in version.plan.rate_cards if card.key == line["rate_card"]), None)
    if "price" not in line:
        assert found is not None
        return found
    price = parse_price(line["price"])
    if found is not None:
        return replace(found, price=price)
    meters = tuple(line.get("quantities", ())) or tuple(filter(None, [line["meter"]]))
    name = name_of(line["description"], line["dimensions"])
    return RateCard(line["rate_card"], name, meters, Timing.ARREARS, price)


def queries_of_line(line: Mapping[str, Any], card: RateCard) -> tuple[MeterQuery, ...]:
    """What the meters were asked for this line; nothing for a fixed fee."""
    return unbilled_queries(card) if "unbilled" in line else meter_queries(card)


def usage_behind(
    line: Mapping[str, Any], card: RateCard, usage: BillUsage
) -> dict[MeterQuery, list[UsageRow]]:
    """The usage, among that of the whole rate card, that this line is rated from, by meter.

    Nothing is behind a line that a price adds to all its usage: a minimum, a discount.
    """
    if "unbilled" in line:
        return {query: list(usage.get(query, ())) for query in unbilled_queries(card)}
    adjusts = line.get("adjusts", False)
    lines_told: dict[tuple[tuple[str, str], ...], bool] = {}
    behind: dict[MeterQuery, list[UsageRow]] = {}
    for query in meter_queries(card):
        behind[query] = []
        for row in () if adjusts else usage.get(query, ()):
            combination = tuple(sorted(row.dimensions.items()))
            if combination not in lines_told:
                lines_told[combination] = _line_dimensions(card, query, row) == line["dimensions"]
            if lines_told[combination]:
                behind[query].append(row)
    return behind


def _line_dimensions(card: RateCard, query: MeterQuery, row: UsageRow) -> dict[str, str]:
    """The dimensions of the line that a combination went to: rated alone, it is the first."""
    return dict(rate_rows(card.price, usage_rows(card, {query: [row]}))[0].dimensions)


@dataclass(frozen=True, slots=True)
class Source:
    """A meter, the usage of it that is behind a line as it is now, and the first of its events."""

    meter: Meter
    usage: Sequence[UsageRow]
    events: Sequence[Mapping[str, Any]]


def explanation(
    document: Mapping[str, Any], line: Mapping[str, Any], card: RateCard | None, sources: Sequence[Source]
) -> dict[str, Any]:
    """Everything that explains a line: of one meter beside it, of several a list under `meters`.

    card: None for a one-off charge, which has no price but its own amount.
    """
    price = None if card is None else price_json(card.price)
    said = _head(document, line) | {"rate_card": line["rate_card"], "price": price}
    if len(sources) == 1:
        return said | _source(sources[0], line["quantity"])
    if sources:
        quantities = line.get("quantities", {})
        by_meter = [_source(source, quantities.get(source.meter.key, "0")) for source in sources]
        said["changed_since"] = any(source["changed_since"] for source in by_meter)
        said["meters"] = by_meter
    return said


def _source(source: Source, billed: str) -> dict[str, Any]:
    """What was billed of a meter, what is counted now, and the events behind it."""
    with exact():
        quantity_now = sum((row.quantity for row in source.usage), ZERO)
        events_total = sum(row.events for row in source.usage)
    return {
        "meter": meter_json(source.meter),
        "quantity_billed": billed,
        "quantity_now": trimmed(quantity_now),
        "changed_since": quantity_now != Decimal(billed),
        "events_total": events_total,
        "events": list(source.events),
    }
