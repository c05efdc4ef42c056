"""Use cases of wallets and grants, one at a time. `upkeep.py` does what time brings, `draws.py` what usage does.

What is locked is locked in one order, here and there: grants by their ids, then wallets, then accounts of the ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from farthing.catalog.model import Outcome
from farthing.catalog.store import select_meters
from farthing.customers.store import select_customers
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, Fault, InvalidInput, NotFound
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.kernel.reading import kind, shown
from farthing.kernel.rounding import Direction, round_count
from farthing.ledger.facts import GrantExpired, GrantFunded, GrantVoided
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import grant_expired, grant_funded, grant_voided
from farthing.ledger.service import post
from farthing.wallets import history_store as history_rows
from farthing.wallets import recurring_store as recurring_rows
from farthing.wallets import store as rows
from farthing.wallets.balances import watch_balances
from farthing.wallets.content import grant_terms_json, parse_grant, parse_wallet, wallet_settings_json
from farthing.wallets.model import (
    Ending,
    Grant,
    GrantContent,
    Recurring,
    RecurringContent,
    Wallet,
    WalletContent,
    worth,
)
from farthing.wallets.returning_store import insert_grant_credit
from farthing.wallets.top_up_store import is_paid_by_payment
from farthing.wallets.unit_scope import refuse_uncountable, refuse_unusable

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""
_HASH_BYTES = 16


def create_wallet(books: Books, tenant_id: int, raw: object, now: datetime) -> tuple[Wallet, Outcome]:
    """A new wallet, or the standing one where it has this content already.

    Raises InvalidInput; NotFound `customer_not_found`, `meter_not_found`; InvalidInput `currency_mismatch`, where the
    customer is billed in another currency, `units_not_usable`; Conflict `wallet_exists` (with other content).
    """
    content = parse_wallet(raw)
    with books.transaction(tenant_id) as conn:
        customer = select_customers(conn, tenant_id, [content.customer]).get(content.customer)
        if customer is None:
            said = f"there is no customer {shown(content.customer)}"
            raise NotFound("customer_not_found", said, path="customer")
        if content.unit is not None:
            meter = select_meters(conn, tenant_id, [content.unit]).get(content.unit)
            if meter is None:
                raise NotFound("meter_not_found", f"there is no meter {shown(content.unit)}", path="unit")
            refuse_uncountable(meter)
        if content.unit is None and content.currency != customer.currency:
            complaint = f"is {content.currency}, and the customer is billed in {customer.currency}"
            raise InvalidInput.of("currency_mismatch", [Fault("currency", complaint)])
        made = rows.insert_wallet(conn, tenant_id, customer.customer_id, content, now)
        wallet = rows.select_wallet(conn, tenant_id, content.key)
        assert wallet is not None
    if not made and content_of(wallet) != content:
        complaint = f"{shown(content.key)} stands with another content"
        raise Conflict("wallet_exists", complaint, path="key")
    return wallet, Outcome.CREATED if made else Outcome.UNCHANGED


def update_wallet(
    books: Books, tenant_id: int, key: str, raw: object, now: datetime
) -> tuple[Wallet, Outcome]:
    """The wallet with the given fields changed: its name, priority, low balance, top-up; null clears one.

    Raises InvalidInput; NotFound `wallet_not_found`.
    """
    if not isinstance(raw, dict):
        raise InvalidInput.of("invalid_wallet", [Fault("", f"must be an object, not {kind(raw)}")])
    with books.transaction(tenant_id) as conn:
        before = _wallet(conn, tenant_id, key, hold=True)
        of = {"currency": before.currency} if before.unit is None else {"unit": before.unit}
        fixed = {"key": before.key, "customer": before.customer, **of}
        for name, value in fixed.items():
            if raw.get(name, value) != value:
                raise InvalidInput.of("invalid_wallet", [Fault(name, "never changes")])
        content = parse_wallet({**fixed, **wallet_settings_json(before), **raw})
        if content == content_of(before):
            return before, Outcome.UNCHANGED
        rows.update_wallet(conn, tenant_id, before.wallet_id, content)
        _watch(conn, tenant_id, [before.wallet_id], now)
        return _wallet(conn, tenant_id, key), Outcome.CHANGED


def content_of(wallet: Wallet) -> WalletContent:
    """What was asked for, as it stands."""
    return WalletContent(
        wallet.key,
        wallet.customer,
        wallet.name,
        wallet.currency,
        wallet.unit,
        wallet.priority,
        wallet.low_balance,
        wallet.top_up,
    )


def get_wallet(books: Books, tenant_id: int, key: str, now: datetime) -> tuple[Wallet, dict[str, Decimal]]:
    """A wallet and its balance now (see `store.select_balances`). Raises NotFound `wallet_not_found`."""
    with books.read_only(tenant_id) as conn:
        wallet = _wallet(conn, tenant_id, key)
        balance = rows.select_balances(conn, tenant_id, [wallet.wallet_id], now)[wallet.wallet_id]
    return wallet, balance


def list_wallets(
    books: Books, tenant_id: int, after: str | None, limit: int, now: datetime, customer: str | None = None
) -> list[tuple[Wallet, dict[str, Decimal]]]:
    """Wallets in order of key with their balances, the first after `after`, of one customer where one is named."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        wallets = rows.select_wallets_after(conn, tenant_id, after, limit, customer)
        balances = rows.select_balances(conn, tenant_id, [wallet.wallet_id for wallet in wallets], now)
    return [(wallet, balances[wallet.wallet_id]) for wallet in wallets]


# ---- Grants


def create_grant(
    books: Books, tenant_id: int, wallet: str, raw: object, now: datetime
) -> tuple[Grant | Recurring, Outcome]:
    """Put a grant into a wallet, or promise one in each period; what stands already is left as it is.

    A paid grant is booked as what the customer owes for it: the payment is another matter. A promise is kept from
    the next upkeep on, for every period that has begun by then.

    Raises InvalidInput; NotFound `wallet_not_found`; Conflict `grant_exists` (the key stands for another grant),
    InvalidInput `grant_expired` where it would have expired before it is made, `units_not_usable` where units could pay
    for nothing.
    """
    with books.transaction(tenant_id) as conn:
        into = _wallet(conn, tenant_id, wallet, hold=True)
        content = parse_grant(raw, into.billed_in, of_units=into.unit is not None)
        if into.unit is not None and not _stands(conn, tenant_id, content):
            refuse_unusable(conn, tenant_id, into, content.scope, now)
        if isinstance(content, RecurringContent):
            return _promise(conn, tenant_id, into, content, now)
        return put_grant(conn, tenant_id, into, content, now)


def _stands(conn: BooksConnection, tenant_id: int, content: GrantContent | RecurringContent) -> bool:
    if isinstance(content, RecurringContent):
        return recurring_rows.select_recurring(conn, tenant_id, content.key) is not None
    return rows.select_grant_hash(conn, tenant_id, content.key) is not None


def put_grant(
    conn: BooksConnection, tenant_id: int, wallet: Wallet, content: GrantContent, now: datetime
) -> tuple[Grant, Outcome]:
    """A grant in the caller's transaction, which holds the wallet. Raises as `create_grant`."""
    input_hash = _hash_of(wallet, content)
    effective_at = content.effective_at or now
    row = rows.grant_row(content, wallet.wallet_id, wallet.customer_id, effective_at, input_hash)
    standing = rows.select_grant_hash(conn, tenant_id, content.key)
    if standing is None and content.expires_at is not None and content.expires_at <= max(now, effective_at):
        complaint = f"has passed: {format_instant(content.expires_at)}"
        raise InvalidInput.of("grant_expired", [Fault("expires_at", complaint)])
    made = standing is None and content.key in rows.insert_grants(conn, tenant_id, [row], now)
    if not made and rows.select_grant_hash(conn, tenant_id, content.key) != input_hash:
        raise Conflict("grant_exists", f"{shown(content.key)} stands for another grant", path="key")
    if made:
        _watch(conn, tenant_id, [wallet.wallet_id], now)
        post(conn, tenant_id, _funded(content, wallet, now), now)
    grant = rows.select_grant(conn, tenant_id, content.key)
    assert grant is not None
    return grant, Outcome.CREATED if made else Outcome.UNCHANGED


def _funded(content: GrantContent, wallet: Wallet, now: datetime) -> list[Transfer]:
    """Units that are given away are worth nothing."""
    with exact():
        value = content.worth
    fact = GrantFunded(content.key, wallet.customer_id, wallet.billed_in, value, content.paid, now)
    return [grant_funded(fact)] if value else []


def _promise(
    conn: BooksConnection, tenant_id: int, wallet: Wallet, content: RecurringContent, now: datetime
) -> tuple[Recurring, Outcome]:
    start = content.start or now.replace(microsecond=0)
    made = recurring_rows.insert_recurring(conn, tenant_id, wallet.wallet_id, content, start, now)
    standing = recurring_rows.select_recurring(conn, tenant_id, content.key)
    assert standing is not None
    if not made:
        # One that was asked for without a beginning began then.
        asked = content if content.start is not None else replace(content, start=standing.start)
        if standing.content != asked or standing.wallet_id != wallet.wallet_id:
            complaint = f"{shown(content.key)} stands for another recurring grant"
            raise Conflict("grant_exists", complaint, path="key")
    return standing, Outcome.CREATED if made else Outcome.UNCHANGED


def _hash_of(wallet: Wallet, content: GrantContent) -> bytes:
    said = msgspec.json.encode([wallet.key, grant_terms_json(content)])
    return blake2b(said, digest_size=_HASH_BYTES).digest()


def get_grant(books: Books, tenant_id: int, key: str) -> Grant:
    """Raises NotFound `grant_not_found`."""
    with books.read_only(tenant_id) as conn:
        return _grant(conn, tenant_id, key)


def list_grants(
    books: Books, tenant_id: int, wallet: str, after: int, limit: int, *, latest: bool = False
) -> list[Grant]:
    """The grants of a wallet in the order of their making; with `latest` the last so many.

    Raises NotFound `wallet_not_found`.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = _wallet(conn, tenant_id, wallet)
        if latest:
            return rows.select_latest_grants(conn, tenant_id, found.wallet_id, limit)
        return rows.select_grants_after(conn, tenant_id, found.wallet_id, after, limit)


def list_recurring(books: Books, tenant_id: int, wallet: str, after: int, limit: int) -> list[Recurring]:
    """What is promised to a wallet, in the order of the promises. Raises NotFound `wallet_not_found`."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = _wallet(conn, tenant_id, wallet)
        return recurring_rows.select_recurring_of(conn, tenant_id, found.wallet_id, after, limit)


def void_grant(
    books: Books, tenant_id: int, key: str, note: str, now: datetime, *, wallet: str | None = None
) -> tuple[Grant, Decimal]:
    """Call off what of a grant is neither drawn nor held nor settled; how much that was. Again, it changes nothing.

    What was paid for it stands to the customer's credit, in whole minor units; what lies below one is breakage.
    What is held meanwhile and then released can be voided afterwards. wallet: which one it must be in.

    Raises NotFound `grant_not_found`; Conflict `grant_paid_by_payment`: its payment is what can be refunded.
    """
    with books.transaction(tenant_id) as conn:
        grant = _grant(conn, tenant_id, key, hold=True)
        if wallet is not None and grant.wallet != wallet:
            raise NotFound("grant_not_found", f"there is no grant {shown(key)} in the wallet {shown(wallet)}")
        if is_paid_by_payment(conn, tenant_id, grant.grant_id):
            said = f"{shown(key)} was paid by the payment {shown(grant.reference)}: refund that"
            raise Conflict("grant_paid_by_payment", said, path="grant")
        with exact():
            left = grant.left
        if left > ZERO:
            place = rows.count_endings(conn, tenant_id, grant.grant_id) + 1
            ending = (grant.grant_id, place, Ending.VOIDED, left, note)
            rows.insert_endings(conn, tenant_id, [ending], now)
            of = _wallet(conn, tenant_id, grant.wallet)
            _watch(conn, tenant_id, [grant.wallet_id], now)
            if grant.paid and (credited := _credited(grant, of, left)):
                named = ending_name(grant.key, place)
                insert_grant_credit(conn, tenant_id, of.customer_id, of.billed_in, named, credited, now)
            post(conn, tenant_id, _voided(grant, of, place, left, now), now)
        return _grant(conn, tenant_id, key), left


def _voided(grant: Grant, wallet: Wallet, place: int, left: Decimal, now: datetime) -> list[Transfer]:
    named, currency = ending_name(grant.key, place), wallet.billed_in
    with exact():
        value = worth(left, grant.unit_price)
    if not value:
        return []
    if not grant.paid:
        lapsed = GrantExpired(named, wallet.customer_id, currency, value, paid=False, expired_at=now)
        return [grant_expired(lapsed)]
    credited = _credited(grant, wallet, left)
    with exact():
        rest = value - credited
    return [grant_voided(GrantVoided(named, wallet.customer_id, currency, credited, rest, now))]


def _credited(grant: Grant, wallet: Wallet, left: Decimal) -> Decimal:
    """What of the rest of a paid grant stands to the customer's credit: whole minor units."""
    with exact():
        value = worth(left, grant.unit_price)
    return round_count(value, MINOR_UNITS[wallet.billed_in], Direction.DOWN)


def ending_name(grant: str, place: int) -> str:
    """What the ledger calls the end of a part of a grant: nearly always there is one."""
    return grant if place == 1 else f"{grant}:{place}"


def wallet_history(
    books: Books, tenant_id: int, wallet: str, before: str | None, limit: int
) -> list[dict[str, Any]]:
    """What moved in a wallet and why, the latest first: what was granted, drawn (above zero: back), ended.

    before: the `place` of a movement; those earlier than it. Amounts are signed as the wallet sees them.

    Raises NotFound `wallet_not_found`; InvalidInput `invalid_cursor`.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    place = None if before is None else _read_place(before)
    with books.read_only(tenant_id) as conn:
        found = _wallet(conn, tenant_id, wallet)
        moved = history_rows.select_history(conn, tenant_id, found.wallet_id, place, limit)
    return [_movement(row) for row in moved]


def _movement(row: Mapping[str, Any]) -> dict[str, Any]:
    at = format_instant(row["moved_at"])
    said = {
        "place": f"{at}|{row['movement']}|{row['id']}|{row['place']}",
        "at": at,
        "movement": row["movement"],
        "grant": row["grant"],
        "amount": trimmed(row["amount"]),
        "because": row["because"],
    }
    if row["subscription"] is not None:
        said |= {
            "subscription": row["subscription"],
            "period_start": format_instant(row["period_start"]),
            "rate_card": row["rate_card"],
        }
    return said


def _read_place(text: str) -> tuple[datetime, str, int, int]:
    parts = text.split("|")
    try:
        at, movement, number, place = parts
        return parse_instant(at, "cursor"), movement, int(number), int(place)
    except (ValueError, InvalidInput):
        complaint = "is not the place of a movement"
        raise InvalidInput.of("invalid_cursor", [Fault("cursor", complaint)]) from None


def _wallet(conn: BooksConnection, tenant_id: int, key: str, *, hold: bool = False) -> Wallet:
    found = rows.select_wallet(conn, tenant_id, key, hold=hold)
    if found is None:
        raise NotFound("wallet_not_found", f"there is no wallet {shown(key)}")
    return found


def _grant(conn: BooksConnection, tenant_id: int, key: str, *, hold: bool = False) -> Grant:
    found = rows.select_grant(conn, tenant_id, key, hold=hold)
    if found is None:
        raise NotFound("grant_not_found", f"there is no grant {shown(key)}")
    return found


def _watch(conn: BooksConnection, tenant_id: int, wallet_ids: Sequence[int], now: datetime) -> None:
    balances = rows.select_balances(conn, tenant_id, wallet_ids, now)
    watch_balances(conn, tenant_id, {one: row["available"] for one, row in balances.items()}, now)
