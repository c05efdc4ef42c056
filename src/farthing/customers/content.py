"""How customers and subscriptions are read and written.

{"key": "acme", "name": "Acme Inc.", "currency": "USD", "timezone": "UTC", "email": "ap@acme.example",
 "address": {"line1": "1 Main St", "city": "Springfield", "country": "US"}, "aliases": ["key-7"]}

{"key": "acme-payg", "customer": "acme", "plan": "payg", "start": "2023-11-01T00:00:00Z",
 "anchor": "calendar", "coupons": ["launch"], "commitments": [{"key": "2023", ...}]}

What a subscription agreed beyond its plan (coupons, commitments) is read in `terms/content.py`.
"""

import re
from collections.abc import Callable
from dataclasses import fields as dataclass_fields
from datetime import date

from farthing.customers.model import (
    Address,
    Customer,
    CustomerContent,
    Subscription,
    SubscriptionAnchor,
    SubscriptionContent,
)
from farthing.customers.terms.content import parse_commitments, parse_coupon_keys
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant, parse_date, parse_instant, parse_timezone
from farthing.kernel.money import parse_currency
from farthing.kernel.reading import (
    Faults,
    Fields,
    parse_count,
    parse_key,
    parse_list,
    parse_subject,
    parse_text,
    shown,
)

ALIASES_MAX = 10_000
PLAN_VERSION_MAX = 2**31 - 1
EMAIL_LENGTH_MAX = 254
ANCHOR_DEFAULT: SubscriptionAnchor = "calendar"

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_COUNTRY = re.compile(r"[A-Z]{2}\Z", re.ASCII)


def parse_customer(raw: object, path: str = "") -> CustomerContent:
    """A customer as it is to be. `timezone` is UTC unless given.

    Raises InvalidInput with every fault: `invalid_customer`, or the code of its parts where they
    are the only ones (invalid_currency, invalid_timezone, invalid_email, ...).
    """
    faults = Faults("invalid_customer")
    fields = Fields(raw, path, faults)
    key = fields.required("key", parse_subject)
    name = fields.required("name", parse_text)
    currency = fields.required("currency", parse_currency)
    timezone = fields.optional("timezone", parse_timezone, "UTC")
    email = fields.optional("email", _parse_email, None)
    address = fields.optional("address", _parse_address, Address())
    aliases = fields.optional("aliases", _parse_aliases, None)
    fields.refuse_unknown()
    if aliases and key in aliases:
        faults.add(f"{fields.at('aliases')}[{aliases.index(key)}]", "is the customer's own key")
    faults.refuse()
    sorted_aliases = None if aliases is None else tuple(sorted(aliases))
    return CustomerContent(key, name, currency, timezone, email, address, sorted_aliases)


def customer_json(customer: Customer | CustomerContent) -> dict[str, object]:
    """The customer as it is shown; `parse_customer` reads the same content back."""
    content: dict[str, object] = {
        "key": customer.key,
        "name": customer.name,
        "currency": customer.currency,
        "timezone": customer.timezone,
        "email": customer.email,
        "address": address_json(customer.address),
    }
    return content if customer.aliases is None else content | {"aliases": list(customer.aliases)}


def address_json(address: Address) -> dict[str, str]:
    """The parts of an address that are known."""
    parts = {field.name: getattr(address, field.name) for field in dataclass_fields(Address)}
    return {name: part for name, part in parts.items() if part is not None}


def parse_subscription(raw: object, path: str = "") -> SubscriptionContent:
    """A subscription as it is to be. `anchor` is calendar unless given, `version` the plan's latest.

    Raises InvalidInput with every fault: `invalid_subscription`, or the code of its parts where they
    are the only ones (invalid_instant, invalid_anchor, ...).
    """
    faults = Faults("invalid_subscription")
    fields = Fields(raw, path, faults)
    key = fields.required("key", parse_subject)
    customer = fields.required("customer", parse_subject)
    plan = fields.required("plan", parse_key)
    version = fields.optional("version", _parse_version, None)
    anchor = fields.optional("anchor", _parse_anchor, ANCHOR_DEFAULT)
    start = fields.required("start", parse_instant)
    end = fields.optional("end", parse_instant, None)
    coupons = fields.optional("coupons", parse_coupon_keys, ())
    commitments = fields.optional("commitments", parse_commitments, ())
    fields.refuse_unknown()
    if start is not None and end is not None and end <= start:
        faults.add(fields.at("end"), "must be later than start")
    faults.refuse()
    return SubscriptionContent(key, customer, plan, version, anchor, start, end, coupons, commitments)


def subscription_json(subscription: Subscription) -> dict[str, object]:
    """The subscription as it is shown; `parse_subscription` reads the same content back."""
    return {
        "key": subscription.key,
        "customer": subscription.customer,
        "plan": subscription.plan,
        "version": subscription.version,
        "anchor": anchor_text(subscription.anchor),
        "start": format_instant(subscription.start),
        "end": None if subscription.end is None else format_instant(subscription.end),
    }


def anchor_text(anchor: SubscriptionAnchor) -> str:
    """As it is stored and shown: calendar, anniversary or a date."""
    return anchor.isoformat() if isinstance(anchor, date) else anchor


def anchor_of(text: str) -> SubscriptionAnchor:
    """What `anchor_text` wrote."""
    match text:
        case "calendar":
            return "calendar"
        case "anniversary":
            return "anniversary"
        case _:
            return date.fromisoformat(text)


def _parse_anchor(raw: object, path: str) -> SubscriptionAnchor:
    match raw:
        case "calendar":
            return "calendar"
        case "anniversary":
            return "anniversary"
    try:
        return parse_date(raw, path)
    except InvalidInput:
        complaint = f"must be calendar, anniversary or a date like 2024-01-31, not {shown(raw)}"
        raise InvalidInput.of("invalid_anchor", [Fault(path, complaint)]) from None


def _parse_version(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=PLAN_VERSION_MAX, code="invalid_version")


def _parse_email(raw: object, path: str) -> str:
    if isinstance(raw, str) and len(raw) <= EMAIL_LENGTH_MAX and _EMAIL.match(raw):
        return parse_text(raw, path)
    raise InvalidInput.of("invalid_email", [Fault(path, f"{shown(raw)} is not an e-mail address")])


def _parse_address(raw: object, path: str) -> Address:
    faults = Faults("invalid_address")
    fields = Fields(raw, path, faults)
    parsers: dict[str, Callable[[object, str], str]] = {"country": _parse_country}
    parts = {
        field.name: fields.optional(field.name, parsers.get(field.name, parse_text), None)
        for field in dataclass_fields(Address)
    }
    fields.refuse_unknown()
    faults.refuse()
    return Address(**parts)


def _parse_country(raw: object, path: str) -> str:
    if isinstance(raw, str) and _COUNTRY.match(raw):
        return raw
    complaint = f"must be a country code of two capital letters, not {shown(raw)}"
    raise InvalidInput.of("invalid_country", [Fault(path, complaint)])


def _parse_aliases(raw: object, path: str) -> list[str]:
    faults = Faults("invalid_customer")
    aliases = parse_list(raw, path, parse_subject, most=ALIASES_MAX, faults=faults)
    faults.refuse()
    first_at: dict[str, int] = {}
    for index, alias in enumerate(aliases):
        if first_at.setdefault(alias, index) != index:
            faults.add(f"{path}[{index}]", f"{shown(alias)} stands at {path}[{first_at[alias]}] already")
    faults.refuse()
    return aliases
