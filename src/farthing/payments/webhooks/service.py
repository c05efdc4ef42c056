"""Use cases of webhooks: find out whose message it is, and do what it says once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import NotFound, Unauthorized
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import plain
from farthing.kernel.reading import shown
from farthing.ledger.model import Transfer
from farthing.payments import store as payment_rows
from farthing.payments.disputing import Taken, close_dispute, open_disputes
from farthing.payments.gateway import EventKind, Gateway, Outcome, ProviderEvent, Result
from farthing.payments.model import DisputeKind, DisputeState, State
from farthing.payments.refunding import RefundTold, settle_refunds
from farthing.payments.schedule import DunningPolicy, policy_of
from farthing.payments.settling import Told, book, settle
from farthing.payments.settling_store import lock_settling
from farthing.payments.webhooks import store as rows

EVENTS_MAX = 10_000
"""Events that are taken in one transaction."""

APPLIED, NOTHING_NEW, UNMATCHED, IGNORED = "applied", "nothing_new", "unmatched", "ignored"
_PAYMENT_RESULTS = {
    EventKind.SUCCEEDED: Result.SUCCEEDED,
    EventKind.FAILED: Result.DECLINED,
    EventKind.PROCESSING: Result.PROCESSING,
}
_DISPUTES = {
    EventKind.DISPUTED: None,
    EventKind.DISPUTE_WON: DisputeState.WON,
    EventKind.DISPUTE_LOST: DisputeState.LOST,
}


def read_message(
    gateways: Mapping[int, Mapping[str, Gateway]],
    name: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> tuple[int, Sequence[ProviderEvent]]:
    """(tenant, events) of a message: it is for the tenant whose secret signed it.

    Raises NotFound `unknown_gateway`; Unauthorized `invalid_webhook_signature`, `stale_webhook`, `invalid_webhook`.
    """
    refusals: list[Unauthorized] = []
    for tenant_id, own in gateways.items():
        if name not in own:
            continue
        try:
            return tenant_id, own[name].read_webhook(headers, body, now)
        except Unauthorized as refusal:
            refusals.append(refusal)
    if not refusals:
        raise NotFound("unknown_gateway", f"there is no gateway {shown(name)} here")
    # Of one that is signed well and has come too late, that is what is said.
    raise max(refusals, key=lambda refusal: refusal.code != "invalid_webhook_signature")


def take_events(
    books: Books, tenant_id: int, gateway: str, events: Sequence[ProviderEvent], now: datetime
) -> Counter[str]:
    """Do what these events say, those that are new; answers with how many had which effect."""
    assert len(events) <= EVENTS_MAX
    with books.transaction(tenant_id) as conn:
        lock_settling(conn, tenant_id)
        known = rows.select_known_events(conn, tenant_id, gateway, [event.event_id for event in events])
        fresh = {event.event_id: event for event in events if event.event_id not in known}
        if not fresh:
            return Counter({NOTHING_NEW: len(events)})
        policy = policy_of(payment_rows.select_policy(conn, tenant_id))
        taking = _Taking(conn, tenant_id, gateway, policy, now)
        effects = taking.take(list(fresh.values()))
        rows.insert_events(
            conn,
            tenant_id,
            gateway,
            [_row(event, effects[event.event_id]) for event in fresh.values()],
            now,
        )
        book(conn, tenant_id, taking.transfers, now)
    counts = Counter(effects.values())
    counts[NOTHING_NEW] += len(events) - len(fresh)
    return counts


class _Taking:
    """Applies events in one transaction."""

    def __init__(
        self, conn: BooksConnection, tenant_id: int, gateway: str, policy: DunningPolicy, now: datetime
    ) -> None:
        self._conn, self._tenant_id, self._gateway = conn, tenant_id, gateway
        self._policy, self._now = policy, now
        self.transfers: list[Transfer] = []

    def take(self, events: Sequence[ProviderEvent]) -> dict[str, str]:
        """The effect of each event, by its id."""
        subjects = self._subjects(events)
        effects = {event.event_id: IGNORED for event in events}
        # Money that came in is taken first: what was refunded or taken back of it came after, however it is told.
        for kinds in (_PAYMENT_RESULTS, (EventKind.REFUNDED, EventKind.REFUND_FAILED), _DISPUTES):
            some = [event for event in events if event.kind in kinds]
            if not some:
                continue
            if kinds is _PAYMENT_RESULTS:
                effects |= self._payments(some, subjects)
            elif kinds is _DISPUTES:
                effects |= self._disputes(some, subjects)
            else:
                effects |= self._refunds(some)
        return effects

    def _subjects(self, events: Sequence[ProviderEvent]) -> dict[str, dict[str, Any]]:
        found = rows.select_subjects(
            self._conn,
            self._tenant_id,
            self._gateway,
            {event.subject for event in events},
            {event.payment_key for event in events if event.payment_key},
        )
        by_name = {row["provider_id"]: row for row in found if row["provider_id"] is not None}
        by_key = {row["key"]: row for row in found}
        subjects = {}
        for event in events:
            row = by_name.get(event.subject) or by_key.get(event.payment_key or "")
            # Another amount is not the payment that we know; it is left to people.
            if row is not None and not _differs(event, row):
                subjects[event.event_id] = row
        return subjects

    def _payments(
        self, events: Sequence[ProviderEvent], subjects: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, str]:
        effects, told, asked = {}, [], {}
        for event in events:
            row = subjects.get(event.event_id)
            if row is None:
                effects[event.event_id] = UNMATCHED
            elif not _believed(event, row):
                effects[event.event_id] = NOTHING_NEW
            else:
                outcome = Outcome(
                    _PAYMENT_RESULTS[event.kind],
                    event.subject,
                    event.amount,
                    event.fee,
                    event.code,
                    event.occurred_at,
                )
                told.append(Told(row["payment_id"], row["attempts"], outcome))
                asked[event.event_id] = row["payment_id"]
        # What a payment ends in counts, in whatever order it is told.
        told.sort(key=lambda one: one.outcome.result is Result.SUCCEEDED)
        moved = set(
            settle(self._conn, self._tenant_id, told, self._policy, "webhook", self._now, self.transfers)
        )
        for event_id, payment_id in asked.items():
            effects[event_id] = APPLIED if payment_id in moved else NOTHING_NEW
        return effects

    def _refunds(self, events: Sequence[ProviderEvent]) -> dict[str, str]:
        names = {event.object_id for event in events if event.object_id}
        known = rows.select_refund_ids(self._conn, self._tenant_id, self._gateway, names)
        effects = {event.event_id: UNMATCHED for event in events}
        told: list[RefundTold] = []
        first: dict[int, str] = {}
        for event in events:
            refund_id = known.get(event.object_id or "")
            if refund_id is None:
                continue
            result = Result.SUCCEEDED if event.kind is EventKind.REFUNDED else Result.DECLINED
            told.append(RefundTold(refund_id, Outcome(result, event.object_id, code=event.code)))
            first.setdefault(refund_id, event.event_id)
            effects[event.event_id] = NOTHING_NEW
        for refund_id in settle_refunds(self._conn, self._tenant_id, told, self._now, self.transfers):
            effects[first[refund_id]] = APPLIED
        return effects

    def _disputes(
        self, events: Sequence[ProviderEvent], subjects: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, str]:
        """Also of a dispute whose end is told before its beginning."""
        effects = {}
        taken = []
        for event in events:
            row = subjects.get(event.event_id)
            if row is None or event.object_id is None or row["state"] != State.SUCCEEDED:
                effects[event.event_id] = UNMATCHED
                continue
            taken.append(
                Taken(
                    dispute_key(self._gateway, event.object_id),
                    row["payment_id"],
                    DisputeKind.CHARGEBACK,
                    event.code or "unknown",
                    event.amount or row["amount"],
                    event.fee,
                    event.occurred_at,
                    event.respond_by,
                )
            )
            effects[event.event_id] = NOTHING_NEW
        opened = set(open_disputes(self._conn, self._tenant_id, taken, self._now, self.transfers))
        for event in events:
            if effects[event.event_id] == UNMATCHED:
                continue
            key = dispute_key(self._gateway, event.object_id or "")
            state = _DISPUTES[event.kind]
            closed = state is not None and close_dispute(
                self._conn, self._tenant_id, key, state, self._now, self.transfers
            )
            if closed or key in opened:
                effects[event.event_id] = APPLIED
        return effects


def dispute_key(gateway: str, object_id: str) -> str:
    """What a dispute of a gateway is called here."""
    return f"{gateway}:{object_id}"


def _believed(event: ProviderEvent, row: Mapping[str, Any]) -> bool:
    """Success always. A failure only of what is on its way, and of no earlier attempt than that: where an attempt
    was just sent, the answer to the call says what became of it, and this may be about the one before."""
    if event.kind is EventKind.SUCCEEDED:
        return True
    sent_at = row["sent_at"]
    if sent_at is None or event.occurred_at < sent_at:
        return False
    if event.kind is EventKind.PROCESSING:
        return bool(row["state"] == State.SENT)
    return row["state"] in (State.PROCESSING, State.ACTION_REQUIRED)


def _differs(event: ProviderEvent, row: Mapping[str, Any]) -> bool:
    if event.kind is not EventKind.SUCCEEDED or event.amount is None:
        return False
    return (event.amount, event.currency) != (row["amount"], row["currency"])


def _row(event: ProviderEvent, effect: str) -> dict[str, Any]:
    said = {
        "payment": event.subject,
        "amount": None if event.amount is None else plain(event.amount),
        "currency": event.currency,
        "fee": plain(event.fee),
        "code": event.code,
        "object_id": event.object_id,
    }
    return {
        "event_id": event.event_id,
        "kind": event.kind.value,
        "said": said | {"occurred_at": format_instant(event.occurred_at)},
        "effect": effect,
        "occurred_at": event.occurred_at,
    }
