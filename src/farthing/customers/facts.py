"""How a change to a subscription is read and written.

{"kind": "plan", "plan": "team", "version": 2, "quantities": {"seats": "8"}, "at": "period_end"}
{"kind": "quantity", "quantities": {"seats": "12"}, "at": "2024-01-12T00:00:00Z"}
{"kind": "override", "overrides": {"input": {"model": "per_unit", "unit_price": "0.001"}, "base": null}}
{"kind": "add_on", "rate_card": {"key": "support", "name": "Support", "price": {"model": "flat", "amount": "99"}}}
{"kind": "remove_add_on", "add_on": "support"}
{"kind": "pause"}   {"kind": "resume"}   {"kind": "reactivate"}
{"kind": "cancel", "at": "period_end", "refund": "none"}
{"kind": "trial", "until": "2024-01-15T00:00:00Z", "usage": "charged"}

`at` is an instant, `now` (unless something is said) or `period_end`. `invoice: now` bills at once what a
change does to fees in advance; otherwise the invoice of the period does. `key` is the client's own name
for the change: under one key it is made once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar, cast

from farthing.catalog.plan import parse_rate_card, rate_card_json
from farthing.customers.model import Fact, FactContent, FactKind, Moment
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.quantity import parse_decimal, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    kind,
    parse_choice,
    parse_count,
    parse_key,
    parse_subject,
    shown,
)
from farthing.rating import Price, parse_price, price_json

RATE_CARDS_NAMED_MAX = 500
"""Most rate cards that one change gives quantities or prices."""
PLAN_VERSION_MAX = 2**31 - 1
INVALID_CHANGE = "invalid_change"

_T = TypeVar("_T")
_ASKABLE = tuple(kind.value for kind in FactKind if kind is not FactKind.WITHDRAW)
_REFUNDS = {"unused": True, "none": False}
_USAGE = {"free": False, "charged": True}
_INVOICES = {"next": False, "now": True}
_WITHOUT_INVOICE = (FactKind.PAUSE, FactKind.CANCEL, FactKind.REACTIVATE, FactKind.TRIAL)


@dataclass(frozen=True, slots=True)
class AskedChange:
    """A change as it is asked for, before it is known what the books say to it."""

    key: str | None
    at: datetime | Moment
    content: FactContent


def parse_change(raw: object, path: str = "") -> AskedChange:
    """A change that somebody asks for.

    Raises InvalidInput with every fault: `invalid_change`, or the code of its parts where they are the
    only ones (invalid_instant, invalid_price, invalid_quantity, ...).
    """
    faults = Faults(INVALID_CHANGE)
    fields = Fields(raw, path, faults)
    kind_named = fields.required("kind", _parse_kind)
    key = fields.optional("key", parse_subject, None)
    at = fields.optional("at", parse_moment, Moment.NOW)
    content = _parse_content(kind_named, fields) if kind_named else FactContent(FactKind.PAUSE)
    fields.refuse_unknown()
    faults.refuse()
    return AskedChange(key, at, content)


def parse_terms(fields: Fields) -> dict[str, object]:
    """`plan`, `version`, `quantities` and `overrides` of a plan change, a phase or a subscription."""
    return {
        "plan": fields.required("plan", parse_key),
        "version": fields.optional("version", parse_version, None),
        "quantities": fields.optional("quantities", _parse_quantities, None),
        "overrides": fields.optional("overrides", _parse_overrides, None),
    }


def _parse_content(kind_named: FactKind, fields: Fields) -> FactContent:
    parts: dict[str, object] = {}
    match kind_named:
        case FactKind.PLAN:
            parts = parse_terms(fields)
        case FactKind.QUANTITY:
            parts["quantities"] = fields.required("quantities", _parse_quantities)
        case FactKind.OVERRIDE:
            parts["overrides"] = fields.required("overrides", _parse_overrides)
        case FactKind.ADD_ON:
            parts["rate_card"] = fields.required("rate_card", parse_rate_card)
            parts["quantities"] = fields.optional("quantities", _parse_quantities, None)
        case FactKind.REMOVE_ADD_ON:
            parts["add_on"] = fields.required("add_on", parse_key)
        case FactKind.CANCEL:
            parts["refund_unused"] = fields.optional("refund", parse_refund, True)
        case FactKind.TRIAL:
            parts["trial_end"] = fields.required("until", parse_instant)
            parts["usage_charged"] = fields.optional("usage", _choice(_USAGE, "invalid_usage"), False)
        case _:
            pass
    if kind_named not in _WITHOUT_INVOICE:
        parts["invoice_now"] = fields.optional("invoice", _choice(_INVOICES, "invalid_invoice"), False)
    return FactContent(kind_named, **parts)  # type: ignore[arg-type]


def stored_content(
    kind_stored: str, payload: Mapping[str, object], plan: str | None, version: int | None
) -> FactContent:
    """The content of a fact, from the parts of it that are kept."""
    raw = {**payload, "kind": kind_stored}
    if kind_stored == FactKind.WITHDRAW:
        return FactContent(FactKind.WITHDRAW)
    if plan is not None:
        raw |= {"plan": plan, "version": version}
    # What only the books themselves say of a cancellation is no part of what may be asked for.
    invoice_now = raw.pop("invoice", None) == "now"
    faults = Faults(INVALID_CHANGE)
    fields = Fields(raw, "", faults)
    content = _parse_content(FactKind(kind_stored), fields)
    faults.refuse()
    return with_invoice(content, invoice_now)


def with_invoice(content: FactContent, invoice_now: bool) -> FactContent:
    """The same content, invoiced at once or not."""
    return content if content.invoice_now == invoice_now else replace(content, invoice_now=invoice_now)


def payload_of(content: FactContent) -> dict[str, object]:
    """What is kept of a content, beside its kind and its plan; `stored_content` reads it back."""
    return {
        name: value
        for name, value in content_json(content).items()
        if name not in ("kind", "plan", "version")
    }


def content_json(content: FactContent) -> dict[str, object]:
    """The content as it is shown, without what says nothing."""
    said: dict[str, object] = {"kind": content.kind.value}
    if content.kind is FactKind.PLAN:
        said |= {"plan": content.plan, "version": content.version}
    if content.quantities is not None:
        said["quantities"] = {card: trimmed(number) for card, number in sorted(content.quantities.items())}
    if content.overrides is not None:
        said["overrides"] = {
            card: None if price is None else price_json(price)
            for card, price in sorted(content.overrides.items())
        }
    if content.rate_card is not None:
        said["rate_card"] = rate_card_json(content.rate_card)
    if content.add_on is not None:
        said["add_on"] = content.add_on
    if content.kind is FactKind.CANCEL:
        said["refund"] = "unused" if content.refund_unused else "none"
    if content.trial_end is not None:
        said |= {
            "until": format_instant(content.trial_end),
            "usage": "charged" if content.usage_charged else "free",
        }
    if content.invoice_now:
        said["invoice"] = "now"
    return said


def fact_json(fact: Fact, withdrawn_by: int | None = None) -> dict[str, object]:
    """A fact as it is shown; `withdrawn_by` where a later one called it off."""
    said: dict[str, object] = {
        "change_id": fact.change_id,
        "key": fact.key,
        "effective_at": format_instant(fact.effective_at),
        "made_at": format_instant(fact.made_at),
        **content_json(fact.content),
    }
    if fact.withdraws is not None:
        said["withdraws"] = fact.withdraws
    if withdrawn_by is not None:
        said["withdrawn_by"] = withdrawn_by
    return said


def parse_moment(raw: object, path: str) -> datetime | Moment:
    """An instant, `now` or `period_end`. Raises InvalidInput `invalid_instant`."""
    if isinstance(raw, str) and raw in tuple(Moment):
        return Moment(raw)
    try:
        return parse_instant(raw, path)
    except InvalidInput as error:
        (fault,) = error.faults
        complaint = f"{fault.message}, nor now, nor period_end"
        raise InvalidInput.of(error.code, [Fault(path, complaint)]) from None


def parse_refund(raw: object, path: str) -> bool:
    """Whether what was paid for the time after an end is credited: unused or none."""
    return _REFUNDS[parse_choice(raw, path, tuple(_REFUNDS), code="invalid_refund")]


def parse_version(raw: object, path: str) -> int:
    """The number of a plan version."""
    return parse_count(raw, path, least=1, most=PLAN_VERSION_MAX, code="invalid_version")


def _parse_kind(raw: object, path: str) -> FactKind:
    return FactKind(parse_choice(raw, path, _ASKABLE, code="invalid_kind"))


def _choice(meanings: Mapping[str, bool], code: str) -> Callable[[object, str], bool]:
    return lambda raw, path: meanings[parse_choice(raw, path, tuple(meanings), code=code)]


def _parse_quantities(raw: object, path: str) -> Mapping[str, Decimal]:
    return _by_rate_card(raw, path, _parse_quantity)


def _parse_overrides(raw: object, path: str) -> Mapping[str, Price | None]:
    return _by_rate_card(raw, path, lambda price, at: None if price is None else parse_price(price, at))


def _by_rate_card(raw: object, path: str, parse: Callable[[object, str], _T]) -> Mapping[str, _T]:
    """An object whose names are keys of rate cards."""
    faults = Faults(INVALID_CHANGE)
    if not isinstance(raw, dict):
        faults.add(path, f"must be an object, not {kind(raw)}")
    elif not 1 <= len(raw) <= RATE_CARDS_NAMED_MAX:
        faults.add(path, f"must name 1 to {RATE_CARDS_NAMED_MAX} rate cards, not {len(raw)}")
    faults.refuse()
    found: dict[str, _T] = {}
    for card, value in cast(dict[object, object], raw).items():
        try:
            name = parse_key(card, f"{path}.{str(card)[:40]}")
            found[name] = parse(value, f"{path}.{name}")
        except InvalidInput as error:
            faults.absorb(error, path)
    faults.refuse()
    return found


def _parse_quantity(raw: object, path: str) -> Decimal:
    number = parse_decimal(raw, path, code="invalid_quantity")
    if number < 0:
        raise InvalidInput.of("invalid_quantity", [Fault(path, f"must not be below zero, not {shown(raw)}")])
    return number
