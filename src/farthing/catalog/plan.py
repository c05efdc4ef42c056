"""How a plan is read and written. See DESIGN 5.5 for the shape.

A rate card with a meter prices that meter's usage and is billed in arrears: usage is known when the
period is over. One whose price counts several meters names them all, `meters: [projects, seats]` in
place of `meter`. A rate card without any is a fixed fee: its price model is `flat`. With `minimum` a period
comes to at least so much (see `invoicing/adjusting/minimum.py`), with `collection` it is charged before its end
(`collection.py`). `tax_category` says which of a place's tax rates a rate card bears, `prices_include_tax` that all
prices of the plan are what customers pay, tax and all. `net_days` is when its invoices are due, in days after
their issue.

What a price needs, its meters must have (`fitting.py`).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from farthing.catalog.collection import AT_PERIOD_END, collection_json, parse_collection
from farthing.catalog.fitting import card_complaints
from farthing.catalog.model import (
    NET_DAYS_DEFAULT,
    TAX_CATEGORY_DEFAULT,
    Meter,
    Plan,
    Proration,
    RateCard,
    RoundingScope,
    Timing,
)
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.money import parse_currency
from farthing.kernel.period import parse_interval, parse_interval_count
from farthing.kernel.quantity import ZERO, parse_decimal, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    is_key,
    parse_choice,
    parse_count,
    parse_flag,
    parse_key,
    parse_list,
    parse_text,
    refuse_repeated,
)
from farthing.kernel.rounding import Rounding
from farthing.rating import parse_price, price_json
from farthing.rating.meters import METERS_MAX

RATE_CARDS_MAX = 500
NET_DAYS_MAX = 366


def parse_plan(raw: object, path: str = "", known_meters: Mapping[str, Meter] | None = None) -> Plan:
    """The plan that a definition describes.

    known_meters: where given, each rate card's meter must be one of them, and the dimensions of its
        price must be dimensions of that meter. A stored plan is read back without: its meters
        stood when it was published, and meters stay.

    Raises InvalidInput with every fault, each with its full path: `invalid_plan`, or the code of
    its parts where they are the only ones (invalid_price, unknown_meter, invalid_currency, ...).
    """
    faults = Faults("invalid_plan")
    fields = Fields(raw, path, faults)
    key = fields.required("key", parse_key)
    name = fields.required("name", parse_text)
    currency = fields.required("currency", parse_currency)
    interval = fields.required("interval", parse_interval)
    interval_count = fields.optional("interval_count", parse_interval_count, 1)
    rounding = fields.optional("rounding", _parse_rounding, RoundingScope.INVOICE)
    rounding_mode = fields.optional("rounding_mode", _parse_rounding_mode, Rounding.HALF_UP)
    proration = fields.optional("proration", _parse_proration, Proration.SECOND)
    minimum = fields.optional("minimum", _parse_minimum, ZERO)
    collection = fields.optional("collection", parse_collection, AT_PERIOD_END)
    prices_include_tax = fields.optional("prices_include_tax", _parse_flag, False)
    net_days = fields.optional("net_days", _parse_net_days, NET_DAYS_DEFAULT)
    rate_cards = fields.required("rate_cards", lambda raw, path: _parse_rate_cards(raw, path, known_meters))
    fields.refuse_unknown()
    faults.refuse()
    return Plan(
        key,
        name,
        currency,
        interval,
        interval_count,
        rounding,
        rounding_mode,
        rate_cards,
        proration,
        minimum,
        collection,
        prices_include_tax,
        net_days,
    )


def meters_mentioned(raw: object) -> set[str]:
    """The meters that a plan names, before it is known whether the plan is valid."""
    cards = raw.get("rate_cards") if isinstance(raw, dict) else None
    named: list[object] = []
    for card in cards if isinstance(cards, list) else ():
        if isinstance(card, dict):
            several = card.get("meters")
            named += [card.get("meter"), *(several[:METERS_MAX] if isinstance(several, list) else ())]
    return {meter for meter in named if isinstance(meter, str) and is_key(meter)}


def plan_json(plan: Plan) -> dict[str, object]:
    """The plan in its canonical form, as it is stored and shown; `parse_plan` reads the same plan back."""
    minimum = {"minimum": trimmed(plan.minimum)} if plan.minimum else {}
    plain_collection = plan.collection == AT_PERIOD_END
    collection = {} if plain_collection else {"collection": collection_json(plan.collection)}
    including = {"prices_include_tax": True} if plan.prices_include_tax else {}
    return {
        "key": plan.key,
        "name": plan.name,
        "currency": plan.currency,
        "interval": plan.interval.value,
        "interval_count": plan.interval_count,
        "rounding": plan.rounding.value,
        "rounding_mode": plan.rounding_mode.value,
        "proration": plan.proration.value,
        **minimum,
        **collection,
        **including,
        **({} if plan.net_days == NET_DAYS_DEFAULT else {"net_days": plan.net_days}),
        "rate_cards": [rate_card_json(card) for card in plan.rate_cards],
    }


def rate_card_json(card: RateCard) -> dict[str, object]:
    """The rate card in its canonical form; `parse_rate_card` reads it back."""
    named: dict[str, object] = {"key": card.key, "name": card.name}
    if card.meter is not None:
        named["meter"] = card.meter
    elif card.meters:
        named["meters"] = list(card.meters)
    if card.tax_category != TAX_CATEGORY_DEFAULT:
        named["tax_category"] = card.tax_category
    return named | {"timing": card.timing.value, "price": price_json(card.price)}


def _parse_rounding(raw: object, path: str) -> RoundingScope:
    return RoundingScope(parse_choice(raw, path, tuple(RoundingScope), code="invalid_rounding"))


def _parse_rounding_mode(raw: object, path: str) -> Rounding:
    return Rounding(parse_choice(raw, path, tuple(Rounding), code="invalid_rounding"))


def _parse_proration(raw: object, path: str) -> Proration:
    return Proration(parse_choice(raw, path, tuple(Proration), code="invalid_proration"))


def _parse_flag(raw: object, path: str) -> bool:
    return parse_flag(raw, path, code="invalid_plan")


def _parse_net_days(raw: object, path: str) -> int:
    return parse_count(raw, path, least=0, most=NET_DAYS_MAX, code="invalid_plan")


def _parse_minimum(raw: object, path: str) -> Decimal:
    minimum = parse_decimal(raw, path, code="invalid_plan")
    if minimum < 0:
        raise InvalidInput.of("invalid_plan", [Fault(path, "must not be negative")])
    return minimum


def _parse_timing(raw: object, path: str) -> Timing:
    return Timing(parse_choice(raw, path, tuple(Timing), code="invalid_timing"))


def _parse_rate_cards(
    raw: object, path: str, known_meters: Mapping[str, Meter] | None
) -> tuple[RateCard, ...]:
    faults = Faults("invalid_plan")
    if raw == []:
        faults.add(path, "must have at least one item")
    cards = parse_list(
        raw,
        path,
        lambda card, card_path: parse_rate_card(card, card_path, known_meters),
        most=RATE_CARDS_MAX,
        faults=faults,
    )
    refuse_repeated(raw, path, faults)
    faults.refuse()
    return tuple(cards)


def parse_rate_card(raw: object, path: str, known_meters: Mapping[str, Meter] | None = None) -> RateCard:
    """One rate card, of a plan or by itself as an add-on. Raises InvalidInput as `parse_plan` does."""
    faults = Faults("invalid_plan")
    fields = Fields(raw, path, faults)
    key = fields.required("key", parse_key)
    name = fields.required("name", parse_text)
    meters = _parse_meters_named(fields, faults)
    timing = fields.optional("timing", _parse_timing, Timing.ARREARS)
    price = fields.required("price", parse_price)
    tax_category = fields.optional("tax_category", parse_key, TAX_CATEGORY_DEFAULT)
    fields.refuse_unknown()
    metered = "meter" in fields or "meters" in fields
    if metered and timing is Timing.ADVANCE:
        faults.add(fields.at("timing"), "must be arrears: usage is known when the period is over")
    if price is not None and (meters or not metered):
        for at, complaint in card_complaints(meters, price, known_meters or {}):
            faults.add(fields.at(at) if at else fields.at("meter"), complaint)
    if known_meters is not None:
        _check_known(meters, fields, known_meters, faults)
    faults.refuse()
    return RateCard(key, name, meters, timing, price, tax_category)


def _parse_meters_named(fields: Fields, faults: Faults) -> tuple[str, ...]:
    """The meter, or the meters, that a rate card names; none that could not be read."""
    meter = fields.optional("meter", parse_key, None)
    several = fields.optional("meters", _parse_several_meters, ())
    if "meter" in fields and "meters" in fields:
        faults.add(fields.at("meters"), "must be left out beside meter")
        return ()
    return several or (() if meter is None else (meter,))


def _parse_several_meters(raw: object, path: str) -> tuple[str, ...]:
    faults = Faults("invalid_plan")
    meters = parse_list(raw, path, parse_key, most=METERS_MAX, faults=faults)
    if not len(faults) and len(set(meters)) < 2:
        faults.add(path, "must name at least two meters: one stands under meter")
    if len(set(meters)) < len(meters):
        faults.add(path, "must not name a meter twice")
    faults.refuse()
    return tuple(sorted(meters))


def _check_known(
    meters: Sequence[str], fields: Fields, known_meters: Mapping[str, Meter], faults: Faults
) -> None:
    place = "meter" if "meter" in fields else "meters"
    for key in meters:
        if key not in known_meters:
            faults.add(fields.at(place), f"{key!r} is not a meter of this catalog", code="unknown_meter")
