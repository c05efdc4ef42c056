"""The use cases of collecting: charge what is due, find out what became of calls, send refunds and answers, dun.

    collect(books, tenant_id, gateways, now)

does all of it once. The engine does it every few seconds; any number of processes may, and any of them may be killed
anywhere.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from farthing.db import Books
from farthing.db.outbox import Fact, announce
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import plain
from farthing.ledger.model import Transfer
from farthing.payments import settling_store
from farthing.payments import store as payment_rows
from farthing.payments.answering.service import send_answers
from farthing.payments.collecting import store as rows
from farthing.payments.gateway import Charge, Gateway, Outcome, OutcomeUnknown, RefundOrder, Refused, Result
from farthing.payments.refunding import RefundTold, settle_refunds
from farthing.payments.schedule import DunningPolicy, policy_of
from farthing.payments.settling import NEVER_ARRIVED, Told, apply_credits, book, settle
from farthing.payments.topping_up import give_up_unconfirmed, take_back_owed
from farthing.payments.topping_up_store import insert_due_top_ups
from farthing.payments.writing_off import write_off_open

PATIENCE_SECONDS = 120
"""How long an answer is waited for before the gateway is asked: longer than any call to it may take."""
ASK_UNDERWAY_SECONDS = 6 * 3600
"""How often a gateway is asked about what is on its way; its webhooks come sooner."""
KEY_LIFETIME_SECONDS = 23 * 3600
"""How long the same call may be repeated under the same key; gateways forget keys after a day."""
PER_ROUND_MAX = 500
"""Payments that are claimed, called and settled together."""
ROUNDS_MAX = 200
"""One call of `collect` ends after so many, and the next one goes on."""
CALLS_AT_ONCE = 8

_log = logging.getLogger("farthing.payments")

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(slots=True)
class Collected:
    """What one go did: counts of payments, refunds and customers."""

    requested: int = 0
    sent: int = 0
    settled: int = 0
    asked: int = 0
    refunds: int = 0
    reminded: int = 0
    suspended: int = 0
    resumed: int = 0
    written_off: int = 0
    credited: int = 0
    answered: int = 0


def collect(
    books: Books,
    tenant_id: int,
    gateways: Mapping[str, Gateway],
    now: datetime,
    patience_seconds: int = PATIENCE_SECONDS,
    calls_at_once: int = CALLS_AT_ONCE,
) -> Collected:
    """Charge invoices that are due and top-ups that are wanted, resolve what is unknown, send refunds, dun."""
    done = Collected()
    with books.transaction(tenant_id) as conn:
        policy = policy_of(payment_rows.select_policy(conn, tenant_id))
        settling_store.lock_settling(conn, tenant_id)
        settling_store.expect_many(conn)
        done.credited = apply_credits(conn, tenant_id, now)
        settling_store.cancel_needless(conn, tenant_id, now)
        give_up_unconfirmed(conn, tenant_id, now)
        transfers: list[Transfer] = []
        take_back_owed(conn, tenant_id, now, transfers)
        book(conn, tenant_id, transfers, now)
    house = _House(books, tenant_id, gateways, policy, now, patience_seconds)
    if gateways:
        with ThreadPoolExecutor(calls_at_once, thread_name_prefix="gateway") as callers:
            call = _calling(callers)
            house.resolve(call, done)
            house.request(done)
            house.send(call, done)
            house.refund(call, done)
        done.answered = send_answers(books, tenant_id, gateways, now, patience_seconds)
    _dun(books, tenant_id, policy, now, done)
    return done


def _calling(callers: ThreadPoolExecutor) -> Any:
    def call(work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        return list(callers.map(work, items))

    return call


@dataclass(frozen=True, slots=True)
class _House:
    books: Books
    tenant_id: int
    gateways: Mapping[str, Gateway]
    policy: DunningPolicy
    now: datetime
    patience_seconds: int

    def request(self, done: Collected) -> None:
        """Write payments for what is due, and for the top-ups that are wanted."""
        with self.books.transaction(self.tenant_id) as conn:
            done.requested += insert_due_top_ups(
                conn, self.tenant_id, list(self.gateways), PER_ROUND_MAX, self.now
            )
        for _ in range(ROUNDS_MAX):
            with self.books.transaction(self.tenant_id) as conn:
                settling_store.expect_many(conn)
                made = rows.insert_due(
                    conn, self.tenant_id, list(self.gateways), PER_ROUND_MAX, self.now, self.now
                )
            done.requested += made
            if made < PER_ROUND_MAX:
                return

    def send(self, call: Any, done: Collected) -> None:
        """Send what is to be sent."""
        for _ in range(ROUNDS_MAX):
            with self.books.transaction(self.tenant_id) as conn:
                claimed = rows.claim_requested(
                    conn, self.tenant_id, list(self.gateways), PER_ROUND_MAX, self.now
                )
            if not claimed:
                return
            done.sent += len(claimed)
            self._put(call, claimed, done)

    def resolve(self, call: Any, done: Collected) -> None:
        """Ask what became of attempts that nobody answered for; what never arrived is sent again, as it was."""
        for _ in range(ROUNDS_MAX):
            with self.books.transaction(self.tenant_id) as conn:
                claimed = rows.claim_unresolved(
                    conn,
                    self.tenant_id,
                    list(self.gateways),
                    self.now - timedelta(seconds=self.patience_seconds),
                    self.now - timedelta(seconds=ASK_UNDERWAY_SECONDS),
                    PER_ROUND_MAX,
                    self.now,
                )
            if not claimed:
                return
            done.asked += len(claimed)
            outcomes = call(self._ask, claimed)
            lost = [
                row
                for row, outcome in zip(claimed, outcomes, strict=True)
                if outcome and outcome.result is Result.NOT_FOUND
            ]
            late = [row for row in lost if self._is_too_late(row)]
            told = [
                Told(row["payment_id"], row["attempt"], outcome)
                for row, outcome in zip(claimed, outcomes, strict=True)
                if outcome is not None
            ]
            told += [
                Told(row["payment_id"], row["attempt"], Outcome(Result.DECLINED, code=NEVER_ARRIVED))
                for row in late
            ]
            self._settle(told, "asked", done)
            again = [row for row in lost if row not in late]
            if again:
                self._put(call, again, done)
            if len(claimed) < PER_ROUND_MAX:
                return

    def refund(self, call: Any, done: Collected) -> None:
        """Send refunds, and ask about those that nobody answered for."""
        for _ in range(ROUNDS_MAX):
            with self.books.transaction(self.tenant_id) as conn:
                claimed = rows.claim_refunds(
                    conn,
                    self.tenant_id,
                    list(self.gateways),
                    self.now - timedelta(seconds=self.patience_seconds),
                    PER_ROUND_MAX,
                    self.now,
                )
            if not claimed:
                return
            outcomes = call(self._give_back, claimed)
            told = [
                RefundTold(row["refund_id"], outcome)
                for row, outcome in zip(claimed, outcomes, strict=True)
                if outcome is not None
            ]
            with self.books.transaction(self.tenant_id) as conn:
                settling_store.lock_settling(conn, self.tenant_id)
                transfers: list[Transfer] = []
                done.refunds += len(settle_refunds(conn, self.tenant_id, told, self.now, transfers))
                book(conn, self.tenant_id, transfers, self.now)
            if len(claimed) < PER_ROUND_MAX:
                return

    def _put(self, call: Any, claimed: Sequence[Mapping[str, Any]], done: Collected) -> None:
        """Create what the gateway does not know yet, write its names down, then capture."""
        unnamed = [row for row in claimed if row["provider_id"] is None and not row["removed"]]
        names: dict[int, str] = {}
        told: list[Told] = []
        for row, name in zip(unnamed, call(self._create, unnamed), strict=True):
            if isinstance(name, Outcome):
                told.append(Told(row["payment_id"], row["attempt"], name))
            elif name is not None:
                names[row["payment_id"]] = name
        if names:
            with self.books.transaction(self.tenant_id) as conn:
                rows.name_at_provider(conn, self.tenant_id, list(names.items()))
        known = [
            {**row, "provider_id": row["provider_id"] or names.get(row["payment_id"])}
            for row in claimed
            if row["removed"] or row["provider_id"] or row["payment_id"] in names
        ]
        outcomes = call(self._capture, known)
        told += [
            Told(row["payment_id"], row["attempt"], outcome)
            for row, outcome in zip(known, outcomes, strict=True)
            if outcome is not None
        ]
        self._settle(told, "gateway", done)

    def _settle(self, told: Sequence[Told], cause: str, done: Collected) -> None:
        if not told:
            return
        with self.books.transaction(self.tenant_id) as conn:
            settling_store.lock_settling(conn, self.tenant_id)
            transfers: list[Transfer] = []
            moved = settle(conn, self.tenant_id, told, self.policy, cause, self.now, transfers)
            book(conn, self.tenant_id, transfers, self.now)
            done.settled += len(moved)

    def _is_too_late(self, row: Mapping[str, Any]) -> bool:
        return bool(self.now - row["sent_at"] > timedelta(seconds=KEY_LIFETIME_SECONDS))

    def _create(self, row: Mapping[str, Any]) -> str | Outcome | None:
        return _told_by(lambda: self.gateways[row["gateway"]].create(_charge(row)))

    def _capture(self, row: Mapping[str, Any]) -> Outcome | None:
        if row["removed"]:
            # Nobody may charge a method that was taken away; an attempt that may have arrived is asked for instead.
            return (
                Outcome(Result.DECLINED, code="method_removed")
                if row["provider_id"] is None
                else self._ask(row)
            )
        return _outcome_of(lambda: self.gateways[row["gateway"]].capture(_charge(row)))

    def _ask(self, row: Mapping[str, Any]) -> Outcome | None:
        return _outcome_of(lambda: self.gateways[row["gateway"]].status(_charge(row)))

    def _give_back(self, row: Mapping[str, Any]) -> Outcome | None:
        gateway = self.gateways[row["gateway"]]
        order = RefundOrder(
            row["key"], row["provider_id"], row["amount"], row["currency"], row["refund_provider_id"]
        )
        if row["was"] == "sent":
            found = _outcome_of(lambda: gateway.refund_status(order))
            if found is None or found.result is not Result.NOT_FOUND:
                return found
            if self.now - row["requested_at"] > timedelta(seconds=KEY_LIFETIME_SECONDS):
                return Outcome(Result.DECLINED, code=NEVER_ARRIVED)
        return _outcome_of(lambda: gateway.refund(order))


def _told_by(call: Callable[[], _R]) -> _R | Outcome | None:
    """What a gateway answers; None where what it did is not known."""
    try:
        return call()
    except OutcomeUnknown:
        return None
    except Refused as refused:
        return Outcome(Result.DECLINED, code=refused.code)
    except Exception:  # noqa: BLE001  whatever an adapter stumbles over, the call may have done its work
        _log.exception("a gateway's adapter failed")
        return None


def _outcome_of(call: Callable[[], Outcome]) -> Outcome | None:
    return _told_by(call)


def _charge(row: Mapping[str, Any]) -> Charge:
    return Charge(
        row["key"],
        row["attempt"],
        row["amount"],
        row["currency"],
        row["method"],
        row["customer"],
        row["description"],
        row["provider_id"],
    )


# ---- Dunning


def _dun(books: Books, tenant_id: int, policy: DunningPolicy, now: datetime, done: Collected) -> None:
    """Remind, suspend, resume and write off: each of them once, in one transaction with the fact that tells it."""
    with books.transaction(tenant_id) as conn:
        settling_store.lock_settling(conn, tenant_id)
        settling_store.expect_many(conn)
        facts = []
        for row in rows.insert_reminders(conn, tenant_id, policy.remind_after_days, now):
            done.reminded += 1
            facts.append(Fact("invoice.overdue", row["number"], _owed(row) | {"reminder": row["step"]}, now))
        since = None if policy.suspend_after_days is None else now - timedelta(days=policy.suspend_after_days)
        for row in rows.resume_paid(conn, tenant_id, since, now):
            done.resumed += 1
            body = {"suspended_at": format_instant(row["suspended_at"])}
            facts.append(Fact("customer.resumed", row["customer"], body, now))
        if since is not None:
            for row in rows.suspend_overdue(conn, tenant_id, since, now):
                done.suspended += 1
                body = {"reason": "overdue", "overdue_since": format_instant(row["due_at"])}
                facts.append(Fact("customer.suspended", row["customer"], body, now))
        announce(conn, tenant_id, facts)
        if policy.write_off_after_days is not None:
            before = now - timedelta(days=policy.write_off_after_days)
            lost = rows.select_to_write_off(conn, tenant_id, before, PER_ROUND_MAX)
            reason = f"overdue for {policy.write_off_after_days} days"
            transfers: list[Transfer] = []
            write_off_open(conn, tenant_id, lost, reason, now, transfers)
            book(conn, tenant_id, transfers, now)
            done.written_off += len(lost)


def _owed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "customer": row["customer"],
        "currency": row["currency"],
        "open": plain(row["open"]),
        "due_at": format_instant(row["due_at"]),
    }
