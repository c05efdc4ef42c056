"""Coupons: so much off the invoices of a subscription that redeemed it.

    {"key": "launch", "name": "Launch offer", "percent": "20", "duration": "repeating", "periods": 3,
     "rate_cards": ["tokens"], "redeem_by": "2026-03-01T00:00:00Z", "max_redemptions": 100}
    {"key": "welcome", "name": "Welcome", "amount": "50", "currency": "USD", "duration": "once"}

Either `percent` or an `amount` with its `currency`. How long it lasts is counted in invoices that it
reduced, one for each billing period: `once` is the first, `repeating` the first so many, `forever` all.
An invoice with nothing to take off does not count. `rate_cards` names what it takes off from (all of
the invoice unless given; one that a plan has not is passed over). What it takes off, and in which
order, stands in `invoicing/adjusting/coupons.py`.

A coupon never changes. It is redeemed until `redeem_by` at most `max_redemptions` times, and once by a
subscription; the database holds both counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from farthing.catalog.model import Outcome
from farthing.kernel.errors import Conflict, Fault, InvalidInput
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.money import parse_currency
from farthing.kernel.quantity import parse_decimal, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    parse_choice,
    parse_count,
    parse_key,
    parse_list,
    parse_text,
    shown,
)

INVALID_COUPON = "invalid_coupon"
PERIODS_MAX = 1000
REDEMPTIONS_MAX = 2**31 - 1
"""A coupon without `max_redemptions` can be redeemed this often."""
SCOPE_MAX = 500
PERCENT_SCALE_MAX = 6
"""Most digits after the point of a percentage, so that coupons upon coupons stay exact."""
HUNDRED = Decimal(100)


class Duration(StrEnum):
    """How long a redeemed coupon lasts."""

    ONCE = "once"
    REPEATING = "repeating"
    FOREVER = "forever"


@dataclass(frozen=True, slots=True)
class Coupon:
    """So much percent off, or an amount off; exactly one of the two is there.

    periods: how many invoices it reduces; None for ever.
    rate_cards: what it takes off from; None for everything.
    """

    key: str
    name: str
    percent: Decimal | None
    amount: Decimal | None
    currency: str | None
    periods: int | None
    rate_cards: tuple[str, ...] | None
    redeem_by: datetime | None
    max_redemptions: int | None

    @property
    def duration(self) -> Duration:
        if self.periods is None:
            return Duration.FOREVER
        return Duration.ONCE if self.periods == 1 else Duration.REPEATING

    def covers(self, rate_card: str | None) -> bool:
        """Whether it takes off from this rate card."""
        return self.rate_cards is None or rate_card in self.rate_cards


def parse_coupon(raw: object, path: str = "") -> Coupon:
    """A coupon as it is to be. Raises InvalidInput with every fault: `invalid_coupon`, or the code of its
    parts where they are the only ones (invalid_key, invalid_currency, invalid_instant, ...).
    """
    faults = Faults(INVALID_COUPON)
    fields = Fields(raw, path, faults)
    key = fields.required("key", parse_key)
    name = fields.required("name", parse_text)
    percent = fields.optional("percent", _parse_percent, None)
    amount = fields.optional("amount", _parse_amount, None)
    currency = fields.optional("currency", parse_currency, None)
    duration = fields.required("duration", _parse_duration)
    periods = fields.optional("periods", _parse_periods, None)
    rate_cards = fields.optional("rate_cards", parse_scope, None)
    redeem_by = fields.optional("redeem_by", parse_instant, None)
    max_redemptions = fields.optional("max_redemptions", _parse_redemptions, None)
    fields.refuse_unknown()
    if fields.is_object:
        if ("percent" in fields) == ("amount" in fields):
            faults.add(fields.at("percent"), "or an amount must be given, and not both")
        if ("amount" in fields) != ("currency" in fields):
            faults.add(fields.at("currency"), "stands beside an amount, and only there")
        if duration is not None and (duration is Duration.REPEATING) != ("periods" in fields):
            faults.add(fields.at("periods"), "stands beside the duration repeating, and only there")
    faults.refuse()
    lasting = {Duration.ONCE: 1, Duration.REPEATING: periods, Duration.FOREVER: None}[duration]
    return Coupon(key, name, percent, amount, currency, lasting, rate_cards, redeem_by, max_redemptions)


def coupon_json(coupon: Coupon) -> dict[str, object]:
    """The coupon in its canonical form, as it is stored and shown; `parse_coupon` reads the same back."""
    document: dict[str, object] = {"key": coupon.key, "name": coupon.name}
    if coupon.percent is not None:
        document["percent"] = trimmed(coupon.percent)
    if coupon.amount is not None:
        document |= {"amount": trimmed(coupon.amount), "currency": coupon.currency}
    document["duration"] = coupon.duration.value
    if coupon.duration is Duration.REPEATING:
        document["periods"] = coupon.periods
    if coupon.rate_cards is not None:
        document["rate_cards"] = list(coupon.rate_cards)
    if coupon.redeem_by is not None:
        document["redeem_by"] = format_instant(coupon.redeem_by)
    if coupon.max_redemptions is not None:
        document["max_redemptions"] = coupon.max_redemptions
    return document


def coupon_outcomes(
    standing: Mapping[str, Coupon], wanted: Sequence[Coupon], path: str = "coupons"
) -> list[Outcome]:
    """For each wanted coupon: created or unchanged.

    Raises Conflict `coupon_immutable` naming every coupon that stands with another definition: what
    customers were promised stays.
    """
    faults = [
        Fault(f"{path}[{index}]" if path else "", f"{coupon.key!r} stands with another definition")
        for index, coupon in enumerate(wanted)
        if coupon.key in standing and standing[coupon.key] != coupon
    ]
    if faults:
        message = "; ".join(map(str, faults)) + " (a coupon never changes: use a new key)"
        raise Conflict("coupon_immutable", message, faults=faults)
    return [Outcome.UNCHANGED if coupon.key in standing else Outcome.CREATED for coupon in wanted]


def parse_scope(raw: object, path: str) -> tuple[str, ...]:
    """Keys of rate cards, at least one, none twice, in order of key."""
    faults = Faults("invalid_scope")
    keys = parse_list(raw, path, parse_key, most=SCOPE_MAX, faults=faults)
    if raw == []:
        faults.add(path, "must name at least one rate card")
    for index, key in enumerate(keys):
        if key in keys[:index]:
            faults.add(f"{path}[{index}]", f"{shown(key)} stands twice")
    faults.refuse()
    return tuple(sorted(keys))


def _parse_percent(raw: object, path: str) -> Decimal:
    percent = parse_decimal(raw, path, code=INVALID_COUPON)
    if not 0 < percent <= HUNDRED:
        raise _refused(path, f"must be greater than 0 and at most 100, not {trimmed(percent)}")
    if scale_of(percent) > PERCENT_SCALE_MAX:
        raise _refused(path, f"has more than {PERCENT_SCALE_MAX} digits after the point")
    return percent


def scale_of(number: Decimal) -> int:
    """Digits after the point, trailing zeros aside."""
    return len(trimmed(number).partition(".")[2])


def _parse_amount(raw: object, path: str) -> Decimal:
    amount = parse_decimal(raw, path, code=INVALID_COUPON)
    if amount <= 0:
        raise _refused(path, "must be greater than zero")
    return amount


def _parse_duration(raw: object, path: str) -> Duration:
    return Duration(parse_choice(raw, path, tuple(Duration), code=INVALID_COUPON))


def _parse_periods(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=PERIODS_MAX, code=INVALID_COUPON)


def _parse_redemptions(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=REDEMPTIONS_MAX, code=INVALID_COUPON)


def _refused(path: str, message: str) -> InvalidInput:
    return InvalidInput.of(INVALID_COUPON, [Fault(path, message)])
