"""A gateway of our own that moves no money, and misbehaves on purpose when told to.

It is for trying Farthing out and for its tests. What it does is drawn from a seed and the keys of the calls alone, so
the same calls have the same fate in any order. It forgets nothing and keeps all in memory. It takes an attempt for one
call however often it comes, as gateways do; but it charges each *new* attempt, also of a payment that it has captured:
whoever sends one pays twice.

Payment methods that always behave in one way: `tok_ok`, `tok_declined` (no funds), `tok_expired` (no retry helps),
`tok_processing` (settles later), `tok_late_failure` (takes it on, fails later), `tok_action` (the payer must act).
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from farthing.kernel.errors import InvalidInput, Unauthorized
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact, plain
from farthing.kernel.rounding import round_money
from farthing.payments.gateway import (
    Charge,
    EventKind,
    EvidenceOrder,
    Movement,
    MovementKind,
    Outcome,
    OutcomeUnknown,
    PayoutState,
    ProviderEvent,
    ProviderPayout,
    RefundOrder,
    Refused,
    Result,
    StoredMethod,
)
from farthing.payments.signature import sign, verify

SIGNATURE_HEADER = "fake-signature"
FEE_RATE = Decimal("0.029")
EVIDENCE_WANTED = ("customer_name", "uncategorized_text")
"""What an answer to a dispute must tell."""
EVIDENCE_CHARACTERS_MAX = 20_000
METHODS = {
    "tok_ok": "Good card 4242",
    "tok_declined": "Empty card 9995",
    "tok_expired": "Old card 0069",
    "tok_processing": "Slow debit 3000",
    "tok_late_failure": "Bad debit 0341",
    "tok_action": "Strict card 3155",
}


@dataclass(frozen=True, slots=True)
class Mischief:
    """How often things go wrong, in thousandths."""

    lost_before: int = 0
    """The call never arrives, and is never answered."""
    lost_after: int = 0
    """The call does its work and is never answered: a timeout, or an error 500."""
    declined: int = 0
    processing: int = 0
    late_failure: int = 0
    """Of what was taken on: how much fails after all."""
    charged_back: int = 0
    told_twice: int = 0
    """Webhooks that come more than once."""
    told_never: int = 0
    """Webhooks that are lost."""


@dataclass(slots=True)
class _Known:
    """A payment as this gateway has it."""

    provider_id: str
    amount: Decimal
    currency: str
    fates: dict[str, Outcome] = field(default_factory=dict)
    captures: int = 0


@dataclass(eq=False)
class FakeGateway:
    """See above. secret: signs its webhooks."""

    secret: str
    clock: Any
    seed: int = 0
    mischief: Mischief = field(default_factory=Mischief)
    name: str = "fake"
    moves: list[Movement] = field(default_factory=list)
    evidence: dict[str, EvidenceOrder] = field(default_factory=dict)
    _payouts: dict[str, ProviderPayout] = field(default_factory=dict)
    _paid_out: dict[tuple[MovementKind, str], str] = field(default_factory=dict)
    _disputes: set[str] = field(default_factory=set)
    _payments: dict[str, _Known] = field(default_factory=dict)
    _refunds: dict[str, Outcome] = field(default_factory=dict)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _calls: Counter[str] = field(default_factory=Counter)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # ---- The port

    def create(self, charge: Charge) -> str:
        """Under the same payment key: the same."""
        provider_id = f"fake_{_digest(charge.payment_key)}"
        self._arrive("create", charge.payment_key)
        with self._lock:
            self._payments.setdefault(charge.payment_key, _Known(provider_id, charge.amount, charge.currency))
        self._answer("create", charge.payment_key)
        return provider_id

    def capture(self, charge: Charge) -> Outcome:
        """Once for each attempt key."""
        self._arrive("capture", charge.attempt_key)
        with self._lock:
            known = self._payments[charge.payment_key]
            outcome = known.fates.get(charge.attempt_key)
            if outcome is None:
                outcome = known.fates[charge.attempt_key] = self._decide(known, charge)
        self._answer("capture", charge.attempt_key)
        return outcome

    def status(self, charge: Charge) -> Outcome:
        """What became of this attempt; also this call may be lost."""
        self._arrive("status", charge.attempt_key)
        with self._lock:
            known = self._payments.get(charge.payment_key)
            found = None if known is None else known.fates.get(charge.attempt_key)
        return found or Outcome(Result.NOT_FOUND)

    def refund(self, order: RefundOrder) -> Outcome:
        """Once for each refund key."""
        self._arrive("refund", order.refund_key)
        with self._lock:
            outcome = self._refunds.get(order.refund_key)
            if outcome is None:
                name = f"fake_re_{_digest(order.refund_key)}"
                outcome = Outcome(Result.SUCCEEDED, name, order.amount, at=self.clock())
                self._refunds[order.refund_key] = outcome
                self._move(MovementKind.REFUND, name, order.provider_id, order.amount, order.currency)
                self._tell(EventKind.REFUNDED, order.provider_id, outcome, order.currency, object_id=name)
        self._answer("refund", order.refund_key)
        return outcome

    def refund_status(self, order: RefundOrder) -> Outcome:
        """What became of a refund."""
        self._arrive("refund_status", order.refund_key)
        with self._lock:
            return self._refunds.get(order.refund_key) or Outcome(Result.NOT_FOUND)

    def store_method(self, customer: str, reference: str) -> StoredMethod:
        """One of the methods named above. Raises InvalidInput `unknown_payment_method`."""
        if reference not in METHODS:
            complaint = f"the fake gateway knows {', '.join(METHODS)}"
            raise InvalidInput("unknown_payment_method", complaint, path="reference")
        return StoredMethod(reference, "card", METHODS[reference])

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[ProviderEvent]:
        """One event, signed."""
        verify(headers.get(SIGNATURE_HEADER, ""), body, self.secret, now)
        try:
            said = msgspec.json.decode(body)
            event = ProviderEvent(
                said["id"],
                EventKind(said["kind"]),
                said["payment"],
                parse_instant(said["at"], "at"),
                None if said["amount"] is None else Decimal(said["amount"]),
                said["currency"],
                Decimal(said["fee"]),
                said["code"],
                said["object_id"],
            )
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, ArithmeticError, InvalidInput) as error:
            raise Unauthorized("invalid_webhook", "the message is signed and cannot be read") from error
        return [event]

    def movements(self, start: datetime, end: datetime) -> Iterator[Movement]:
        """Everything that moved in [start, end)."""
        with self._lock:
            moves = list(self.moves)
        return (move for move in moves if start <= move.at < end)

    def payouts(self, start: datetime, end: datetime) -> Iterator[ProviderPayout]:
        """Those that `pay_out` made in [start, end)."""
        with self._lock:
            made = list(self._payouts.values())
        return (payout for payout in made if start <= payout.made_at < end)

    def paid_out(self, payout: str) -> Iterator[Movement]:
        """What a payout sums."""
        with self._lock:
            return iter([move for move in self.moves if self._paid_out.get(_named(move)) == payout])

    def submit_evidence(self, order: EvidenceOrder) -> Outcome:
        """Once for each evidence key; looked at, and refused where it tells nothing or the dispute has an answer."""
        self._arrive("submit_evidence", order.evidence_key)
        with self._lock:
            if order.dispute not in self._disputes:
                raise Refused("resource_missing")
            if not all(order.content.get(name) for name in EVIDENCE_WANTED):
                raise Refused("evidence_incomplete")
            if max(map(len, order.content.values())) > EVIDENCE_CHARACTERS_MAX:
                raise Refused("evidence_too_long")
            standing = self.evidence.setdefault(order.dispute, order)
            if standing != order:
                raise Refused("evidence_already_submitted")
        self._answer("submit_evidence", order.evidence_key)
        return Outcome(Result.SUCCEEDED, order.dispute, at=self.clock())

    def evidence_status(self, order: EvidenceOrder) -> Outcome:
        """Whether this answer is there; also this call may be lost."""
        self._arrive("evidence_status", order.evidence_key)
        with self._lock:
            there = self.evidence.get(order.dispute) == order
        return Outcome(Result.SUCCEEDED if there else Result.NOT_FOUND, order.dispute)

    # ---- What the world outside does

    def pay_out(self, currency: str, arrives_on: date) -> ProviderPayout:
        """Transfer all that is held in a currency to the seller's bank."""
        with self._lock:
            some = [
                move
                for move in self.moves
                if move.currency == currency and _named(move) not in self._paid_out
            ]
            with exact():
                amount = sum((move.signed for move in some), ZERO)
            name = f"fake_po_{_digest(f'{currency}/{len(self._payouts)}')}"
            payout = ProviderPayout(
                name,
                amount,
                currency,
                PayoutState.IN_TRANSIT,
                self.clock(),
                arrives_on,
                f"FAKE {name[-8:].upper()}",
            )
            self._payouts[name] = payout
            self._paid_out |= dict.fromkeys(map(_named, some), name)
        return payout

    def fail_payout(self, name: str) -> None:
        """The seller's bank did not take it: the money is held again."""
        with self._lock:
            payout = self._payouts[name] = replace(self._payouts[name], state=PayoutState.FAILED)
            self._move(MovementKind.PAYOUT_RETURNED, f"{name}_failed", name, payout.amount, payout.currency)

    def settle_processing(self) -> None:
        """What was on its way arrives, or fails after all."""
        with self._lock:
            for known in self._payments.values():
                for attempt_key, outcome in known.fates.items():
                    if outcome.result is Result.PROCESSING:
                        fails = outcome.code == "late_failure" or self._drawn("late_failure", attempt_key, 0)
                        known.fates[attempt_key] = self._fail(known) if fails else self._take(known)

    def charge_back(self, payment_key: str, amount: Decimal | None = None) -> str:
        """A payer contests a payment; its bank takes the money back. The name of the dispute."""
        with self._lock:
            known = self._payments[payment_key]
            name = f"fake_dp_{_digest(payment_key)}"
            taken = Outcome(Result.SUCCEEDED, name, amount or known.amount, Decimal(15), "fraudulent")
            self._move(
                MovementKind.DISPUTE, name, known.provider_id, taken.amount or known.amount, known.currency
            )
            self._move(MovementKind.DISPUTE_FEE, f"{name}_fee", name, taken.fee, known.currency)
            self._disputes.add(name)
            self._tell(EventKind.DISPUTED, known.provider_id, taken, known.currency, object_id=name)
        return name

    def decide_dispute(self, payment_key: str, dispute: str, *, won: bool) -> None:
        """The card scheme decided."""
        with self._lock:
            known = self._payments[payment_key]
            kind = EventKind.DISPUTE_WON if won else EventKind.DISPUTE_LOST
            told = Outcome(Result.SUCCEEDED, dispute, known.amount, Decimal(15), "fraudulent")
            if won:
                self._move(MovementKind.PAYMENT, f"{dispute}_won", dispute, known.amount, known.currency)
            self._tell(kind, known.provider_id, told, known.currency, object_id=dispute)

    def webhooks(self, at: datetime) -> list[tuple[dict[str, str], bytes]]:
        """The messages that are under way: some twice, some never, in any order."""
        with self._lock:
            events, self._events = self._events, []
        out = []
        for event in events:
            if self._drawn("told_never", event["id"], 0):
                continue
            times = 2 if self._drawn("told_twice", event["id"], 0) else 1
            out += [event] * times
        out.sort(key=lambda event: _digest(f"{self.seed}/order/{event['id']}"))
        signed = []
        for event in out:
            body = msgspec.json.encode(event)
            signed.append(({SIGNATURE_HEADER: sign(self.secret, body, at)}, body))
        return signed

    @property
    def captures(self) -> dict[str, int]:
        """How often each payment was captured."""
        return {key: known.captures for key, known in self._payments.items() if known.captures}

    # ---- Inside

    def _decide(self, known: _Known, charge: Charge) -> Outcome:
        key = charge.attempt_key
        if charge.method == "tok_action":
            return Outcome(Result.ACTION_REQUIRED, known.provider_id)
        if charge.method == "tok_expired":
            return self._fail(known, "expired_card")
        if charge.method == "tok_declined" or self._drawn("declined", key, 0):
            return self._fail(known)
        if charge.method == "tok_late_failure":
            return Outcome(Result.PROCESSING, known.provider_id, code="late_failure")
        if charge.method == "tok_processing" or self._drawn("processing", key, 0):
            return Outcome(Result.PROCESSING, known.provider_id)
        outcome = self._take(known)
        if self._drawn("charged_back", key, 0):
            self.charge_back(charge.payment_key)
        return outcome

    def _take(self, known: _Known) -> Outcome:
        known.captures += 1
        digits = MINOR_UNITS[known.currency]
        with exact():
            fee = known.amount * FEE_RATE
        outcome = Outcome(
            Result.SUCCEEDED, known.provider_id, known.amount, round_money(fee, digits), at=self.clock()
        )
        name = f"{known.provider_id}_{known.captures}"
        self._move(MovementKind.PAYMENT, name, known.provider_id, known.amount, known.currency)
        if outcome.fee:
            self._move(MovementKind.FEE, f"{name}_fee", known.provider_id, outcome.fee, known.currency)
        self._tell(EventKind.SUCCEEDED, known.provider_id, outcome, known.currency)
        return outcome

    def _fail(self, known: _Known, code: str = "insufficient_funds") -> Outcome:
        outcome = Outcome(Result.DECLINED, known.provider_id, code=code, at=self.clock())
        self._tell(EventKind.FAILED, known.provider_id, outcome, known.currency)
        return outcome

    def _move(self, kind: MovementKind, name: str, provider_id: str, amount: Decimal, currency: str) -> None:
        self.moves.append(Movement(name, kind, provider_id, amount, currency, self.clock()))

    def _tell(
        self, kind: EventKind, provider_id: str, outcome: Outcome, currency: str, object_id: str | None = None
    ) -> None:
        number = len(self._calls) + self._calls["events"]
        self._calls["events"] += 1
        event = {
            "id": f"evt_{_digest(f'{provider_id}/{kind}/{object_id}/{number}')}",
            "kind": kind.value,
            "payment": provider_id,
            "at": format_instant(self.clock()),
            "amount": None if outcome.amount is None else plain(outcome.amount),
            "currency": currency,
            "fee": plain(outcome.fee or ZERO),
            "code": outcome.code,
            "object_id": object_id,
        }
        self._events.append(event)

    def _arrive(self, call: str, key: str) -> None:
        """Whether the call arrives at all."""
        with self._lock:
            self._calls[f"{call}/{key}"] += 1
            number = self._calls[f"{call}/{key}"]
        if self._drawn("lost_before", f"{call}/{key}", number):
            raise OutcomeUnknown(f"{call} {key}: no connection")

    def _answer(self, call: str, key: str) -> None:
        """Whether the answer arrives."""
        if self._drawn("lost_after", f"{call}/{key}", self._calls[f"{call}/{key}"]):
            raise OutcomeUnknown(f"{call} {key}: the connection broke")

    def _drawn(self, what: str, key: str, number: int) -> bool:
        rate = int(getattr(self.mischief, what))
        if not rate:
            return False
        digest = blake2b(f"{self.seed}/{what}/{key}/{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % 1000 < rate


def _named(move: Movement) -> tuple[MovementKind, str]:
    return move.kind, move.movement_id


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()
