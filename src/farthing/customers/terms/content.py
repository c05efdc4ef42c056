"""How commitments are read and written.

{"key": "2026", "kind": "minimum", "amount": "12000", "interval": "year", "overage_percent": "120"}
{"key": "funds", "kind": "prepaid", "amount": "500", "start": "2026-01-01T00:00:00Z",
 "end": "2026-07-01T00:00:00Z", "rollover": true, "rate_cards": ["tokens"]}
"""

from datetime import datetime
from decimal import Decimal

from farthing.catalog.coupon import PERCENT_SCALE_MAX, parse_scope, scale_of
from farthing.customers.terms.model import Commitment, CommitmentContent, CommitmentKind, Redemption
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.period import Period, billing_periods, parse_interval, parse_interval_count
from farthing.kernel.quantity import parse_decimal, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    parse_choice,
    parse_flag,
    parse_key,
    parse_list,
    parse_text,
    refuse_repeated,
)

INVALID_COMMITMENT = "invalid_commitment"
COMMITMENTS_MAX = 100
"""Most commitments of a subscription, all of its years together."""
COUPONS_MAX = 20
"""Most coupons that one subscription redeems."""
OVERAGE_PERCENT_MAX = Decimal(10_000)


def parse_commitment(raw: object, path: str = "") -> CommitmentContent:
    """A commitment as it is to be. Raises InvalidInput with every fault: `invalid_commitment`, or the code
    of its parts where they are the only ones.
    """
    faults = Faults(INVALID_COMMITMENT)
    fields = Fields(raw, path, faults)
    key = fields.required("key", parse_key)
    kind_ = fields.required("kind", _parse_kind)
    amount = fields.required("amount", _parse_amount)
    name = fields.optional("name", parse_text, None)
    start = fields.optional("start", parse_instant, None)
    end = fields.optional("end", parse_instant, None)
    interval = fields.optional("interval", parse_interval, None)
    interval_count = fields.optional("interval_count", parse_interval_count, 1)
    overage = fields.optional("overage_percent", _parse_overage, None)
    rollover = fields.optional("rollover", _parse_flag, False)
    rate_cards = fields.optional("rate_cards", parse_scope, None)
    fields.refuse_unknown()
    if fields.is_object:
        if ("end" in fields) == ("interval" in fields):
            faults.add(fields.at("end"), "or an interval must be given, and not both")
        if "interval_count" in fields and "interval" not in fields:
            faults.add(fields.at("interval_count"), "stands beside an interval, and only there")
        if rollover and kind_ is CommitmentKind.MINIMUM:
            faults.add(fields.at("rollover"), "is for prepaid commitments: a minimum leaves nothing over")
        if start is not None and end is not None and end <= start:
            faults.add(fields.at("end"), "must be later than start")
    faults.refuse()
    named = name or ("Prepaid commitment" if kind_ is CommitmentKind.PREPAID else "Commitment")
    return CommitmentContent(
        key, named, kind_, amount, start, end, interval, interval_count, overage, rollover, rate_cards
    )


def parse_commitments(raw: object, path: str) -> tuple[CommitmentContent, ...]:
    """Those of a subscription in the catalog file."""
    faults = Faults(INVALID_COMMITMENT)
    refuse_repeated(raw, path, faults)
    commitments = parse_list(raw, path, parse_commitment, most=COMMITMENTS_MAX, faults=faults)
    faults.refuse()
    return tuple(commitments)


def parse_coupon_keys(raw: object, path: str) -> tuple[str, ...]:
    """The coupons that a subscription in the catalog file redeems, in order."""
    faults = Faults("invalid_redemption")
    keys = parse_list(raw, path, parse_key, most=COUPONS_MAX, faults=faults)
    for index, key in enumerate(keys):
        if key in keys[:index]:
            faults.add(f"{path}[{index}]", f"{key!r} stands twice: a subscription redeems a coupon once")
    faults.refuse()
    return tuple(keys)


def term_of(content: CommitmentContent, subscription_start: datetime, timezone: str) -> Period | None:
    """The term in time; None where it would end before it begins.

    An interval is counted from the start in the customer's time zone: a year from 31 January 18:30 ends
    on 31 January 18:30.
    """
    start = content.start or subscription_start
    if content.interval is not None:
        return next(billing_periods(start, content.interval, content.interval_count, timezone, start))
    assert content.end is not None
    return Period(start, content.end) if start < content.end else None


def commitment_json(commitment: Commitment) -> dict[str, object]:
    """The commitment as it is stored and shown; `parse_commitment` reads the same content back."""
    document: dict[str, object] = {
        "key": commitment.key,
        "name": commitment.name,
        "kind": commitment.kind.value,
        "amount": trimmed(commitment.amount),
        "start": format_instant(commitment.term.start),
        "end": format_instant(commitment.term.end),
    }
    if commitment.overage_percent is not None:
        document["overage_percent"] = trimmed(commitment.overage_percent)
    if commitment.rollover:
        document["rollover"] = True
    if commitment.rate_cards is not None:
        document["rate_cards"] = list(commitment.rate_cards)
    return document


def commitment_of(document: object) -> Commitment:
    """What `commitment_json` wrote."""
    content = parse_commitment(document)
    assert content.start is not None
    assert content.end is not None
    return Commitment(
        content.key,
        content.name,
        content.kind,
        content.amount,
        Period(content.start, content.end),
        content.overage_percent,
        content.rollover,
        content.rate_cards,
    )


def redemption_json(redemption: Redemption) -> dict[str, object]:
    """A redeemed coupon as it is shown."""
    return {"coupon": redemption.coupon.key, "start": format_instant(redemption.start)}


def _parse_kind(raw: object, path: str) -> CommitmentKind:
    return CommitmentKind(parse_choice(raw, path, tuple(CommitmentKind), code=INVALID_COMMITMENT))


def _parse_amount(raw: object, path: str) -> Decimal:
    amount = parse_decimal(raw, path, code=INVALID_COMMITMENT)
    if amount <= 0:
        raise _refused(path, "must be greater than zero")
    return amount


def _parse_overage(raw: object, path: str) -> Decimal:
    percent = parse_decimal(raw, path, code=INVALID_COMMITMENT)
    if not 0 <= percent <= OVERAGE_PERCENT_MAX:
        raise _refused(path, f"must be from 0 to {OVERAGE_PERCENT_MAX}")
    if scale_of(percent) > PERCENT_SCALE_MAX:
        raise _refused(path, f"has more than {PERCENT_SCALE_MAX} digits after the point")
    return percent


def _parse_flag(raw: object, path: str) -> bool:
    return parse_flag(raw, path, code=INVALID_COMMITMENT)


def _refused(path: str, message: str) -> InvalidInput:
    return InvalidInput.of(INVALID_COMMITMENT, [Fault(path, message)])
