"""Use cases of payouts: ask a gateway what it paid out, find what came to the bank, say so by hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.quantity import plain
from farthing.kernel.reading import Faults, Fields, shown
from farthing.ledger.clearing_recipes import clearing_opened, payout_arrived
from farthing.ledger.facts import ClearingOpened, PaymentFee, PayoutArrived
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import payment_fee
from farthing.ledger.service import post
from farthing.payments.gateway import Gateway, Movement, MovementKind, OutcomeUnknown, PayoutState, Refused
from farthing.payments.model import BY_HAND
from farthing.payments.paying_out import store as rows
from farthing.payments.paying_out.arriving import arrivals
from farthing.payments.settling import book
from farthing.payments.settling_store import lock_settling

MARGIN = timedelta(days=1)
"""A gateway may tell of a movement that long after it happened; it is asked for so much again."""
MOVEMENTS_PER_TRANSACTION = 10_000
LIST_LIMIT_MAX = 10_001
"""The longest page, and the one item that tells whether another page follows."""


@dataclass(slots=True)
class Synced:
    """What a gateway told: movements and payouts that are new or moved; fees that were booked; payouts that arrived."""

    movements: int = 0
    payouts: int = 0
    fees: int = 0
    arrived: int = 0


def sync_payouts(books: Books, tenant_id: int, gateway: Gateway, now: datetime) -> Synced:
    """Ask a gateway how money moved there since last time, and what it paid out. Again, it changes nothing.

    It may be killed anywhere: what was taken in stays, and it is asked from the same time on again. Raises what the
    gateway raises (`OutcomeUnknown`) where it does not answer.
    """
    done = Synced()
    with books.read_only(tenant_id) as conn:
        since = rows.select_synced_until(conn, tenant_id, gateway.name)
        first = since or rows.select_first_paid(conn, tenant_id, gateway.name) or now
        awaited = rows.select_awaited_since(conn, tenant_id, gateway.name) or first
    start = first - MARGIN
    made = list(gateway.payouts(min(start, awaited), now))
    _keep(books, tenant_id, gateway, ((one, None) for one in gateway.movements(start, now)), done, now)
    with books.transaction(tenant_id) as conn:
        done.payouts = rows.keep_payouts(conn, tenant_id, gateway.name, made, now) if made else 0
        unlisted = rows.select_unlisted(
            conn, tenant_id, gateway.name, [one.name for one in made if one.listed]
        )
    for payout in sorted(unlisted):
        _keep(books, tenant_id, gateway, ((one, payout) for one in _paid_out(gateway, payout)), done, now)
    with books.transaction(tenant_id) as conn:
        lock_settling(conn, tenant_id)
        transfers = _clearing_opened(conn, tenant_id, now)
        fees = rows.book_fees(conn, tenant_id, gateway.name)
        transfers += [
            payment_fee(PaymentFee(row["key"], row["currency"], row["fee"], row["moved_at"], at_gateway=True))
            for row in fees
        ]
        done.fees += len(fees)
        done.arrived = arrive(conn, tenant_id, now, transfers)
        rows.insert_sync(conn, tenant_id, gateway.name, now)
        book(conn, tenant_id, transfers, now)
    return done


def sync_all(books: Books, tenant_id: int, gateways: Mapping[str, Gateway], now: datetime) -> None:
    """Ask each gateway. One that does not answer is asked next time; the others do not wait for it."""
    silent: list[OutcomeUnknown] = []
    for gateway in gateways.values():
        try:
            sync_payouts(books, tenant_id, gateway, now)
        except OutcomeUnknown as error:
            silent.append(error)
    if silent:
        raise silent[0]


def _paid_out(gateway: Gateway, payout: str) -> Iterator[Movement]:
    """What a payout sums; nothing, where the gateway cannot tell."""
    try:
        yield from gateway.paid_out(payout)
    except Refused:
        return


def _keep(
    books: Books,
    tenant_id: int,
    gateway: Gateway,
    movements: Iterator[tuple[Movement, str | None]],
    done: Synced,
    now: datetime,
) -> None:
    """Keep movements; what the gateway asks for its service is booked with them."""
    while some := list(islice(movements, MOVEMENTS_PER_TRANSACTION)):
        with books.transaction(tenant_id) as conn:
            kept = rows.keep_movements(conn, tenant_id, gateway.name, some, now)
            new = [row for row in kept if row["is_new"]]
            fees = [
                payment_fee(
                    PaymentFee(
                        f"{gateway.name}:{row['movement_id']}",
                        row["currency"],
                        row["amount"],
                        row["moved_at"],
                        at_gateway=True,
                    )
                )
                for row in new
                if row["kind"] == MovementKind.PROVIDER_FEE
            ]
            book(conn, tenant_id, fees, now)
        done.movements += len(new)
        done.fees += len(fees)


def _clearing_opened(conn: BooksConnection, tenant_id: int, now: datetime) -> list[Transfer]:
    """What gateways held was booked as cash once: it is moved to where it stands now, at the first sync."""
    if rows.select_any_sync(conn, tenant_id):
        return []
    found = rows.select_booked_as_cash(conn, tenant_id, sorted(BY_HAND))
    return [
        clearing_opened(ClearingOpened(currency, amount, now)) for currency, amount in sorted(found.items())
    ]


def arrive(conn: BooksConnection, tenant_id: int, now: datetime, transfers: list[Transfer]) -> int:
    """Find payouts among the bank's entries that are nobody's, and book them; says how many arrived.

    In the caller's transaction, under `lock_settling`.
    """
    if not rows.await_payouts(conn, tenant_id):
        return 0
    found = arrivals(rows.select_candidates(conn, tenant_id))
    if not found:
        return 0
    arrived = rows.mark_arrived(conn, tenant_id, found)
    transfers += _arrived(arrived, now)
    return len(arrived)


def _arrived(payouts: Sequence[Any], now: datetime) -> list[Transfer]:
    return [
        payout_arrived(
            PayoutArrived(
                f"{row['gateway']}:{row['name']}", row["currency"], row["amount"], min(row["arrived_at"], now)
            )
        )
        for row in payouts
    ]


def confirm_arrival(
    books: Books, tenant_id: int, gateway: str, name: str, raw: object, now: datetime
) -> dict[str, Any]:
    """A payout is at the bank, as somebody says who saw it: `{"arrived_at": "2026-02-05T00:00:00Z"}`. Again: the same.

    Raises InvalidInput `invalid_arrival`; NotFound `payout_not_found`; Conflict `payout_failed`, `payout_arrived`,
    `period_closed`.
    """
    faults = Faults("invalid_arrival")
    fields = Fields(raw, "", faults)
    arrived_at = fields.required("arrived_at", parse_instant)
    fields.refuse_unknown()
    faults.refuse()
    if arrived_at > now:
        raise InvalidInput("invalid_arrival", "lies ahead: it has arrived or not", path="arrived_at")
    with books.transaction(tenant_id) as conn:
        lock_settling(conn, tenant_id)
        found = _payout(conn, tenant_id, gateway, name)
        if found["arrived_at"] is not None and found["arrived_at"] != arrived_at:
            said = format_instant(found["arrived_at"])
            raise Conflict("payout_arrived", f"the payout {shown(name)} arrived at {said}", path="arrived_at")
        if found["arrived_at"] is None:
            if found["state"] == PayoutState.FAILED:
                raise Conflict("payout_failed", f"the payout {shown(name)} failed", path="payout")
            arrived = rows.mark_arrived_by_hand(conn, tenant_id, found["payout_id"], arrived_at)
            post(conn, tenant_id, _arrived(arrived, now), now)
        return payout_json(_payout(conn, tenant_id, gateway, name))


def get_payout(books: Books, tenant_id: int, gateway: str, name: str) -> dict[str, Any]:
    """Raises NotFound `payout_not_found`."""
    with books.read_only(tenant_id) as conn:
        return payout_json(_payout(conn, tenant_id, gateway, name))


def list_payouts(
    books: Books, tenant_id: int, after: int, limit: int, gateway: str | None = None, *, awaited: bool = False
) -> list[tuple[int, dict[str, Any]]]:
    """Payouts in the order in which they were learnt of with their ids, the first behind `after`.

    awaited: only those that have neither arrived nor failed.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = rows.select_payouts_after(conn, tenant_id, after, limit, gateway, awaited=awaited)
    return [(row["payout_id"], payout_json(row)) for row in found]


def list_movements(
    books: Books, tenant_id: int, gateway: str, name: str, after: tuple[str, str], limit: int
) -> list[dict[str, Any]]:
    """What a payout sums, in the order of kind and name, behind (kind, name). Raises NotFound `payout_not_found`."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        _payout(conn, tenant_id, gateway, name)
        found = rows.select_movements_after(conn, tenant_id, gateway, name, after, limit)
    return [
        {
            "movement": row["movement_id"],
            "kind": row["kind"],
            "provider_id": row["provider_id"],
            "key": row["key"],
            "amount": plain(row["amount"]),
            "currency": row["currency"],
            "moved_at": format_instant(row["moved_at"]),
        }
        for row in found
    ]


def _payout(conn: BooksConnection, tenant_id: int, gateway: str, name: str) -> Any:
    found = rows.select_payout(conn, tenant_id, gateway, name)
    if found is None:
        complaint = f"there is no payout {shown(name)} of {shown(gateway)}"
        raise NotFound("payout_not_found", complaint, path="payout")
    return found


def payout_json(row: Any) -> dict[str, Any]:
    """A payout as the API and the command line show it. listed: what the movements in it add up to."""
    return {
        "gateway": row["gateway"],
        "payout": row["name"],
        "amount": plain(row["amount"]),
        "listed": plain(row["listed"]),
        "currency": row["currency"],
        "state": "arrived" if row["arrived_at"] is not None else row["state"],
        "made_at": format_instant(row["made_at"]),
        "arrives_on": row["arrives_on"].isoformat(),
        "arrived_at": None if row["arrived_at"] is None else format_instant(row["arrived_at"]),
        "bank_entry": row["bank_entry_id"],
        "reference": row["reference"],
    }
