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
from datetime import date, datetime

from farthing.catalog.collection import parse_collection
from farthing.catalog.plan import rate_card_json
from farthing.customers.facts import parse_moment, parse_terms
from farthing.customers.model import (
    Address,
    Customer,
    CustomerContent,
    Moment,
    OneOffCharge,
    Subscription,
    SubscriptionAnchor,
    SubscriptionContent,
)
from farthing.customers.opening import TERMS, check_order, parse_add_ons, parse_phases, parse_trial
from farthing.customers.terms.content import parse_commitments, parse_coupon_keys
from farthing.customers.timeline import Stretch, lives_of, stretch_at
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant, parse_date, parse_instant, parse_timezone
from farthing.kernel.money import parse_currency
from farthing.kernel.quantity import plain, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    parse_list,
    parse_subject,
    parse_text,
    shown,
)
from farthing.rating import price_json

ALIASES_MAX = 10_000
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
    anchor = fields.optional("anchor", _parse_anchor, ANCHOR_DEFAULT)
    start = fields.required("start", parse_instant)
    end = fields.optional("end", parse_instant, None)
    coupons = fields.optional("coupons", parse_coupon_keys, ())
    commitments = fields.optional("commitments", parse_commitments, ())
    collection = fields.optional("collection", parse_collection, None)
    trial = fields.optional("trial", parse_trial, None)
    phases = fields.optional("phases", parse_phases, ())
    terms = dict.fromkeys(TERMS) if "phases" in fields else parse_terms(fields)
    add_ons = fields.optional("add_ons", parse_add_ons, None)
    effective = fields.optional("effective", parse_moment, Moment.NOW)
    if "phases" in fields:
        for name in (*TERMS, "effective"):
            if fields.optional(name, lambda raw, _: raw, None) is not None:
                faults.add(fields.at(name), "must not stand beside phases, which say it")
    fields.refuse_unknown()
    if start is not None and end is not None and end <= start:
        faults.add(fields.at("end"), "must be later than start")
    if phases and end is not None and phases[-1].until is not None:
        faults.add(fields.at("end"), "must not stand beside a last phase that ends")
    if start is not None:
        check_order(start, phases, fields.at("phases"), faults)
        if trial is not None and isinstance(trial.until, datetime) and trial.until <= start:
            faults.add(f"{fields.at('trial')}.until", "must be later than start")
    faults.refuse()
    if phases:
        terms = {name: getattr(phases[0], name) for name in TERMS}
    return SubscriptionContent(
        key=key,
        customer=customer,
        anchor=anchor,
        start=start,
        end=end,
        add_ons=add_ons,
        trial=trial,
        phases=phases,
        effective=effective,
        coupons=coupons,
        commitments=commitments,
        collection=collection,
        **terms,
    )


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


def subscription_document(subscription: Subscription, now: datetime) -> dict[str, object]:
    """The subscription as it stands at a moment, and its whole timeline.

    `plan` and `version` are those in force; before it begins the first ones, after it ended the last.
    """
    lives = lives_of(subscription)
    stretches = [stretch for life in lives for stretch in life.stretches]
    held = stretch_at(lives, now)
    if held is not None:
        status = held.mode.status
    else:
        status = "scheduled" if lives and now < lives[0].start else "ended"
        begun = [stretch for stretch in stretches if stretch.start <= now]
        held = begun[-1] if begun else stretches[0] if stretches else None
    named = {} if held is None else {"plan": held.plan, "version": held.version}
    return {
        **subscription_json(subscription),
        **named,
        "status": status,
        "timeline": [stretch_json(stretch) for stretch in stretches],
    }


def stretch_json(stretch: Stretch) -> dict[str, object]:
    """A stretch as it is shown, without what says nothing."""
    said: dict[str, object] = {
        "start": format_instant(stretch.start),
        "end": None if stretch.end is None else format_instant(stretch.end),
        "plan": stretch.plan,
        "version": stretch.version,
        "status": stretch.mode.status,
    }
    if stretch.quantities:
        said["quantities"] = {card: trimmed(number) for card, number in sorted(stretch.quantities.items())}
    if stretch.overrides:
        said["overrides"] = {card: price_json(price) for card, price in sorted(stretch.overrides.items())}
    if stretch.add_ons:
        said["add_ons"] = [rate_card_json(card) for card in stretch.add_ons]
    return said


def one_off_json(charge: OneOffCharge, invoice: str | None) -> dict[str, object]:
    """A one-off charge as it is shown, with the number of its invoice once it is billed."""
    return {
        "key": charge.key,
        "subscription": charge.subscription,
        "description": charge.description,
        "amount": plain(charge.amount),
        "at": format_instant(charge.charged_at),
        "credit": charge.amount < 0,
        "invoice": invoice,
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
