"""How wallets and grants are read and written.

{"key": "acme-usd", "customer": "acme", "currency": "USD", "priority": 10, "low_balance": "5",
 "top_up": {"below": "10", "amount": "50", "cooldown_seconds": 3600, "monthly_maximum": "500",
            "collected_by": "payment"}}
{"key": "acme-requests", "customer": "acme", "unit": "requests"}
{"key": "pack-7", "kind": "paid", "amount": "10000", "unit_price": "0.002"}
{"key": "order-4711", "kind": "paid", "amount": "100", "expires_at": "2027-01-01T00:00:00Z", "meters": ["tokens"]}
{"key": "welcome", "kind": "promotional", "amount": "10", "every": {"interval": "month", "end": "2027-01-01T00:00:00Z",
 "rollover_percent": "50", "rollover_maximum": "20"}}
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from farthing.catalog.coupon import PERCENT_SCALE_MAX, scale_of
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.money import MINOR_UNITS, parse_currency
from farthing.kernel.period import parse_interval, parse_interval_count
from farthing.kernel.quantity import ZERO, exact, parse_decimal, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    parse_choice,
    parse_count,
    parse_flag,
    parse_key,
    parse_list,
    parse_subject,
    parse_text,
    shown,
)
from farthing.wallets.model import (
    AutoTopUp,
    CollectedBy,
    GrantContent,
    RecurringContent,
    Scope,
    Wallet,
    WalletContent,
)

INVALID_WALLET = "invalid_wallet"
INVALID_GRANT = "invalid_grant"
PRIORITY_DEFAULT = 100
PRIORITY_MAX = 1000
COOLDOWN_SECONDS_DEFAULT = 3600
COOLDOWN_SECONDS_MAX = 366 * 86_400
SCOPE_MAX = 100
"""Most meters, and most rate cards, that a grant names."""
KEY_CHARACTERS_MAX = 128
"""A grant's key names its transfers in the ledger, with a word in front."""
PAID, PROMOTIONAL = "paid", "promotional"
OWN_PREFIXES = ("top_up:", "top_up_again:")
"""Keys of grants that begin so are made here."""


def parse_wallet(raw: object, path: str = "") -> WalletContent:
    """A wallet as it is to be. Raises InvalidInput `invalid_wallet`, or the code of its parts, with every fault."""
    faults = Faults(INVALID_WALLET)
    fields = Fields(raw, path, faults)
    key = fields.required("key", parse_subject_key)
    customer = fields.required("customer", parse_subject)
    unit = fields.optional("unit", parse_key, None)
    currency: str | None
    if "unit" not in fields:
        currency = fields.required("currency", parse_currency)
    elif currency := fields.optional("currency", parse_currency, None):
        faults.add(
            fields.at("unit"), "says nothing beside currency: a wallet holds money, or units of a meter"
        )
    name = fields.optional("name", parse_text, None)
    settings = _settings(fields, currency or "")
    fields.refuse_unknown()
    faults.refuse()
    priority, low_balance, top_up = settings
    if unit is not None and top_up is not None:
        raise InvalidInput.of(INVALID_WALLET, [Fault("top_up", "is for wallets of money")])
    return WalletContent(key, customer, name or key, currency, unit, priority, low_balance, top_up)


def _settings(fields: Fields, currency: str) -> tuple[int, Decimal | None, AutoTopUp | None]:
    """What may change of a wallet while it stands."""
    priority = fields.optional("priority", _parse_priority, PRIORITY_DEFAULT)
    low_balance = fields.optional("low_balance", _parse_balance, None)
    top_up = fields.optional("top_up", lambda value, at: parse_auto_top_up(value, at, currency), None)
    return priority, low_balance, top_up


def parse_auto_top_up(raw: object, path: str, currency: str) -> AutoTopUp:
    """When a wallet fills itself: `{"below": "10", "amount": "50"}`."""
    faults = Faults(INVALID_WALLET)
    fields = Fields(raw, path, faults)
    below = fields.required("below", _parse_balance)
    amount = fields.required("amount", lambda value, at: parse_payable(value, at, currency, INVALID_WALLET))
    cooldown = fields.optional("cooldown_seconds", _parse_cooldown, COOLDOWN_SECONDS_DEFAULT)
    maximum = fields.optional("monthly_maximum", _parse_balance, None)
    collected_by = fields.optional(
        "collected_by", lambda value, at: parse_collected_by(value, at, INVALID_WALLET), CollectedBy.PAYMENT
    )
    fields.refuse_unknown()
    if amount is not None and maximum is not None and maximum < amount:
        faults.add(fields.at("monthly_maximum"), "must not be less than the amount of one top-up")
    faults.refuse()
    return AutoTopUp(below, amount, cooldown, maximum, collected_by)


def parse_collected_by(raw: object, path: str, code: str) -> CollectedBy:
    """Who collects the money of top-ups: `payment` or `hand`."""
    return CollectedBy(parse_choice(raw, path, tuple(CollectedBy), code=code))


def parse_grant(
    raw: object, currency: str, path: str = "", *, of_units: bool = False
) -> GrantContent | RecurringContent:
    """A grant, or with `every` the promise of one in each period.

    currency: of the wallet, or what its units are paid for in.

    Raises InvalidInput `invalid_grant`, or the code of its parts; `currency_mismatch`.
    """
    faults = Faults(INVALID_GRANT)
    fields = Fields(raw, path, faults)
    key = fields.required("key", _parse_grant_key)
    paid = fields.required("kind", _parse_kind) == PAID
    fields.optional("currency", lambda value, at: _parse_same_currency(value, at, currency), None)
    unit_price: Decimal | None = None
    if of_units:
        amount = fields.required("amount", _parse_amount)
        unit_price = _unit_price(fields, amount, currency, faults, paid=paid)
    elif paid:
        amount = fields.required(
            "amount", lambda value, at: parse_payable(value, at, currency, INVALID_GRANT)
        )
    else:
        amount = fields.required("amount", _parse_amount)
    priority = fields.optional("priority", _parse_priority, PRIORITY_DEFAULT)
    scope = Scope(
        fields.optional("meters", _parse_names, ()), fields.optional("rate_cards", _parse_names, ())
    )
    effective_at = fields.optional("effective_at", parse_instant, None)
    expires_at = fields.optional("expires_at", parse_instant, None)
    reference = fields.optional("reference", parse_text, "")
    every = fields.optional("every", _parse_every, None)
    fields.refuse_unknown()
    if effective_at is not None and expires_at is not None and expires_at <= effective_at:
        faults.add(fields.at("expires_at"), "must be later than effective_at")
    if every is not None:
        if expires_at is not None:
            faults.add(fields.at("expires_at"), "says nothing beside every: each grant ends with its period")
        if every.end is not None and effective_at is not None and every.end <= effective_at:
            faults.add(fields.at("every.end"), "must be later than effective_at")
    faults.refuse()
    if every is None:
        return GrantContent(
            key, paid, amount, priority, scope, effective_at, expires_at, reference, unit_price
        )
    return RecurringContent(
        key,
        paid,
        amount,
        priority,
        scope,
        every.interval,
        every.interval_count,
        every.expires,
        every.rollover_percent,
        every.rollover_maximum,
        effective_at,
        every.end,
        unit_price,
    )


def _unit_price(
    fields: Fields, amount: Decimal | None, currency: str, faults: Faults, *, paid: bool
) -> Decimal:
    """What one unit is paid for: all of them together an amount that can be paid. Of what is given away, nothing."""
    if not paid:
        if "unit_price" in fields:
            faults.add(fields.at("unit_price"), "is for units that are paid for")
        fields.optional("unit_price", _parse_amount, None)
        return ZERO
    price = fields.required("unit_price", _parse_amount)
    if amount is not None and price is not None:
        with exact():
            total = amount * price
        if scale_of(total) > MINOR_UNITS[currency]:
            complaint = f"makes {trimmed(total)} {currency} in all, which has digits below its minor unit"
            faults.add(fields.at("unit_price"), complaint)
    return price


def _parse_every(raw: object, path: str) -> RecurringContent:
    """How a grant recurs; the rest of the promise is said by the grant's own fields."""
    faults = Faults(INVALID_GRANT)
    fields = Fields(raw, path, faults)
    interval = fields.required("interval", parse_interval)
    count = fields.optional("interval_count", parse_interval_count, 1)
    end = fields.optional("end", parse_instant, None)
    expires = fields.optional("expires", _parse_flag, True)
    percent = fields.optional("rollover_percent", _parse_percent, ZERO)
    maximum = fields.optional("rollover_maximum", _parse_amount, None)
    fields.refuse_unknown()
    if percent and not expires:
        faults.add(fields.at("rollover_percent"), "is for grants that expire: others stay as they are")
    if maximum is not None and not percent:
        faults.add(fields.at("rollover_maximum"), "needs a rollover_percent")
    faults.refuse()
    return RecurringContent(
        "", False, ZERO, 0, Scope(), interval, count, expires, percent, maximum, None, end
    )


def parse_subject_key(raw: object, path: str) -> str:
    """A key that the client chose: visible text of at most 128 characters."""
    text = parse_subject(raw, path)
    if len(text) > KEY_CHARACTERS_MAX:
        raise InvalidInput.of("invalid_key", [Fault(path, f"has more than {KEY_CHARACTERS_MAX} characters")])
    return text


def _parse_grant_key(raw: object, path: str) -> str:
    key = parse_subject_key(raw, path)
    if key.startswith(OWN_PREFIXES):
        complaint = f"must not begin with {key.split(':')[0]}: top-ups become such grants"
        raise InvalidInput.of("invalid_key", [Fault(path, complaint)])
    return key


def parse_payable(raw: object, path: str, currency: str, code: str) -> Decimal:
    """An amount that can be paid: above zero, and with no digit below the currency's minor unit."""
    amount = parse_decimal(raw, path, code=code)
    if amount <= 0:
        raise InvalidInput.of(code, [Fault(path, "must be greater than zero")])
    if currency in MINOR_UNITS and scale_of(amount) > MINOR_UNITS[currency]:
        complaint = f"has digits below the minor unit of {currency}, and cannot be paid"
        raise InvalidInput.of(code, [Fault(path, complaint)])
    return amount


def wallet_settings_json(wallet: WalletContent | Wallet) -> dict[str, Any]:
    """What may change of a wallet, as it is shown; `parse_wallet` reads it back."""
    return {
        "name": wallet.name,
        "priority": wallet.priority,
        "low_balance": None if wallet.low_balance is None else trimmed(wallet.low_balance),
        "top_up": None if wallet.top_up is None else auto_top_up_json(wallet.top_up),
    }


def auto_top_up_json(top_up: AutoTopUp) -> dict[str, Any]:
    """As it is stored and shown."""
    said: dict[str, Any] = {
        "below": trimmed(top_up.below),
        "amount": trimmed(top_up.amount),
        "cooldown_seconds": top_up.cooldown_seconds,
        "collected_by": top_up.collected_by.value,
    }
    if top_up.monthly_maximum is not None:
        said["monthly_maximum"] = trimmed(top_up.monthly_maximum)
    return said


def auto_top_up_of(document: Mapping[str, Any]) -> AutoTopUp:
    """What `auto_top_up_json` wrote."""
    maximum = document.get("monthly_maximum")
    return AutoTopUp(
        Decimal(document["below"]),
        Decimal(document["amount"]),
        int(document["cooldown_seconds"]),
        None if maximum is None else Decimal(maximum),
        # Of wallets that were made before payments could collect, others do.
        CollectedBy(document.get("collected_by", CollectedBy.HAND)),
    )


def scope_json(scope: Scope) -> dict[str, list[str]]:
    """Left out where the grant pays for everything."""
    said = {"meters": list(scope.meters), "rate_cards": list(scope.rate_cards)}
    return {name: keys for name, keys in said.items() if keys}


def grant_terms_json(content: GrantContent | RecurringContent) -> dict[str, Any]:
    """What was asked for, in one form for all spellings of it: what a key stands for."""
    said: dict[str, Any] = {
        "key": content.key,
        "kind": PAID if content.paid else PROMOTIONAL,
        "amount": trimmed(content.amount),
        "priority": content.priority,
        **scope_json(content.scope),
    }
    if content.unit_price is not None:
        said["unit_price"] = trimmed(content.unit_price)
    if isinstance(content, RecurringContent):
        return said | {
            "effective_at": content.start and format_instant(content.start),
            "every": every_json(content),
        }
    return said | {
        "effective_at": content.effective_at and format_instant(content.effective_at),
        "expires_at": content.expires_at and format_instant(content.expires_at),
        "reference": content.reference,
    }


def every_json(content: RecurringContent) -> dict[str, Any]:
    """How a grant recurs, as it is shown."""
    said: dict[str, Any] = {
        "interval": content.interval.value,
        "interval_count": content.interval_count,
        "expires": content.expires,
    }
    if content.end is not None:
        said["end"] = format_instant(content.end)
    if content.rollover_percent:
        said["rollover_percent"] = trimmed(content.rollover_percent)
    if content.rollover_maximum is not None:
        said["rollover_maximum"] = trimmed(content.rollover_maximum)
    return said


def _parse_kind(raw: object, path: str) -> str:
    return parse_choice(raw, path, (PAID, PROMOTIONAL), code=INVALID_GRANT)


def _parse_same_currency(raw: object, path: str, currency: str) -> str:
    given = parse_currency(raw, path)
    if given != currency:
        complaint = f"is {given}, and the wallet is of {currency}"
        raise InvalidInput.of("currency_mismatch", [Fault(path, complaint)])
    return given


def _parse_amount(raw: object, path: str) -> Decimal:
    amount = parse_decimal(raw, path, code=INVALID_GRANT)
    if amount <= 0:
        raise InvalidInput.of(INVALID_GRANT, [Fault(path, "must be greater than zero")])
    return amount


def _parse_balance(raw: object, path: str) -> Decimal:
    amount = parse_decimal(raw, path, code=INVALID_WALLET)
    if amount <= 0:
        raise InvalidInput.of(INVALID_WALLET, [Fault(path, "must be greater than zero")])
    return amount


def _parse_percent(raw: object, path: str) -> Decimal:
    percent = parse_decimal(raw, path, code=INVALID_GRANT)
    if not 0 <= percent <= 100:
        raise InvalidInput.of(INVALID_GRANT, [Fault(path, "must be from 0 to 100")])
    if scale_of(percent) > PERCENT_SCALE_MAX:
        complaint = f"has more than {PERCENT_SCALE_MAX} digits after the point"
        raise InvalidInput.of(INVALID_GRANT, [Fault(path, complaint)])
    return percent


def _parse_priority(raw: object, path: str) -> int:
    return parse_count(raw, path, least=0, most=PRIORITY_MAX, code="invalid_priority")


def _parse_cooldown(raw: object, path: str) -> int:
    return parse_count(raw, path, least=0, most=COOLDOWN_SECONDS_MAX, code=INVALID_WALLET)


def _parse_names(raw: object, path: str) -> tuple[str, ...]:
    faults = Faults(INVALID_GRANT)
    names = parse_list(raw, path, parse_key, most=SCOPE_MAX, faults=faults)
    if isinstance(raw, list) and not raw:
        faults.add(path, "must name something, or be left out")
    for index, name in enumerate(names):
        if name in names[:index]:
            faults.add(f"{path}[{index}]", f"{shown(name)} stands twice")
    faults.refuse()
    return tuple(names)


def _parse_flag(raw: object, path: str) -> bool:
    return parse_flag(raw, path, code=INVALID_GRANT)
