"""Stripe, by its own client library.

A payment is a PaymentIntent: made without confirming it, which moves nothing, then confirmed once for each attempt.
Stripe captures an intent once, whatever is sent; the keys of calls are its idempotency keys. A payment method is
named `cus_.../pm_...`, because Stripe charges a method only with the customer it is attached to.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import stripe

from farthing.kernel.errors import InvalidInput, Unauthorized
from farthing.kernel.quantity import ZERO
from farthing.payments.gateway import (
    Charge,
    EventKind,
    EvidenceOrder,
    Movement,
    Outcome,
    OutcomeUnknown,
    ProviderEvent,
    ProviderPayout,
    RefundOrder,
    Refused,
    Result,
    StoredMethod,
)
from farthing.payments.gateways.stripe_balance import from_stripe, movements_of, payout_of, to_stripe
from farthing.payments.signature import verify

SIGNATURE_HEADER = "stripe-signature"
TIMEOUT_SECONDS = 40
"""Longer than Stripe takes, and well within the patience of collecting."""
WITH_FEE = ["latest_charge.balance_transaction"]

_EVENTS = {
    "payment_intent.succeeded": EventKind.SUCCEEDED,
    "payment_intent.payment_failed": EventKind.FAILED,
    "payment_intent.processing": EventKind.PROCESSING,
    "charge.dispute.created": EventKind.DISPUTED,
}
_REFUND_EVENTS = ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated")
_R = TypeVar("_R")


class StripeGateway:
    """See above. address: of another server than Stripe's, for tests."""

    name = "stripe"

    def __init__(self, secret_key: str, webhook_secret: str, address: str | None = None) -> None:
        self._is_stripe = address is None  # others do not know of payers who are away
        addresses: Any = {} if address is None else {"base_addresses": {"api": address}}
        self._client = stripe.StripeClient(
            secret_key,
            http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS),
            max_network_retries=0,
            **addresses,
        )
        self._webhook_secret = webhook_secret

    def create(self, charge: Charge) -> str:
        """A PaymentIntent that is not confirmed."""
        customer, method = _named(charge.method)
        params: Any = {
            "amount": to_stripe(charge.amount, charge.currency),
            "currency": charge.currency.lower(),
            "customer": customer,
            "payment_method": method,
            "payment_method_types": ["card"],
            "metadata": {"farthing_payment": charge.payment_key, "farthing_for": charge.description},
        }
        key: Any = {"idempotency_key": f"create/{charge.payment_key}"}
        return str(_called(lambda: self._client.v1.payment_intents.create(params, key)).id)

    def capture(self, charge: Charge) -> Outcome:
        """Confirm it, while the payer is away."""
        assert charge.provider_id is not None
        provider_id = charge.provider_id
        params: Any = {"expand": WITH_FEE}
        if self._is_stripe:
            params["off_session"] = True
        if charge.attempt > 1:  # Stripe takes a method that was declined away from the intent
            params["payment_method"] = _named(charge.method)[1]
        key: Any = {"idempotency_key": charge.attempt_key}
        try:
            intent = _called(lambda: self._client.v1.payment_intents.confirm(provider_id, params, key))
        except Refused as refused:
            found = self.status(charge)
            if found.result in (Result.SUCCEEDED, Result.PROCESSING):
                return found  # it is refused because it was confirmed before
            return Outcome(Result.DECLINED, provider_id, code=refused.code)
        return _outcome(intent)

    def status(self, charge: Charge) -> Outcome:
        """What has become of the intent. Without a name of it nothing was ever confirmed."""
        if charge.provider_id is None:
            return Outcome(Result.NOT_FOUND)
        provider_id = charge.provider_id
        params: Any = {"expand": WITH_FEE}
        return _outcome(_called(lambda: self._client.v1.payment_intents.retrieve(provider_id, params)))

    def refund(self, order: RefundOrder) -> Outcome:
        """Part of an intent or all of it."""
        params: Any = {
            "payment_intent": order.provider_id,
            "amount": to_stripe(order.amount, order.currency),
            "metadata": {"farthing_refund": order.refund_key},
        }
        key: Any = {"idempotency_key": f"refund/{order.refund_key}"}
        return _refunded(_called(lambda: self._client.v1.refunds.create(params, key)))

    def refund_status(self, order: RefundOrder) -> Outcome:
        """By its name, or by ours, which stands in its metadata."""
        if order.refund_id is not None:
            name = order.refund_id
            return _refunded(_called(lambda: self._client.v1.refunds.retrieve(name)))
        params: Any = {"payment_intent": order.provider_id, "limit": 100}
        for refund in _called(lambda: self._client.v1.refunds.list(params)).auto_paging_iter():
            metadata = refund.metadata.to_dict() if refund.metadata else {}
            if metadata.get("farthing_refund") == order.refund_key:
                return _refunded(refund)
        return Outcome(Result.NOT_FOUND)

    def store_method(self, customer: str, reference: str) -> StoredMethod:
        """A PaymentMethod (`pm_...`) that is attached to a customer of Stripe. Raises `unknown_payment_method`."""
        name = reference.split("/")[-1]
        try:
            method = _called(lambda: self._client.v1.payment_methods.retrieve(name))
        except Refused as refused:
            complaint = f"Stripe has no such payment method ({refused.code})"
            raise InvalidInput("unknown_payment_method", complaint, path="reference") from None
        except OutcomeUnknown as error:
            raise InvalidInput("gateway_unreachable", "Stripe does not answer", path="gateway") from error
        owner = method.customer
        if owner is None:
            complaint = "the payment method is not attached to a customer of Stripe"
            raise InvalidInput("unknown_payment_method", complaint, path="reference")
        card = getattr(method, "card", None)
        label = method.type if card is None else f"{str(card.brand).title()} {card.last4}"
        return StoredMethod(f"{getattr(owner, 'id', owner)}/{method.id}", "card", label)

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[ProviderEvent]:
        """One event. What we do not act on is kept as `other`."""
        verify(headers.get(SIGNATURE_HEADER, ""), body, self._webhook_secret, now)
        try:
            return [_event(msgspec.json.decode(body))]
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unauthorized("invalid_webhook", "the message is signed and cannot be read") from error

    def movements(self, start: datetime, end: datetime) -> Iterator[Movement]:
        """Stripe's balance transactions, with what each is about."""
        created = {"gte": int(start.timestamp()), "lt": int(end.timestamp())}
        params: Any = {"created": created, "limit": 100, "expand": ["data.source"]}
        for one in _called(lambda: self._client.v1.balance_transactions.list(params)).auto_paging_iter():
            yield from movements_of(one)

    def payouts(self, start: datetime, end: datetime) -> Iterator[ProviderPayout]:
        """Stripe's payouts; of one that somebody made by hand it cannot tell what it sums."""
        created = {"gte": int(start.timestamp()), "lt": int(end.timestamp())}
        params: Any = {"created": created, "limit": 100}
        for one in _called(lambda: self._client.v1.payouts.list(params)).auto_paging_iter():
            yield payout_of(one)

    def paid_out(self, payout: str) -> Iterator[Movement]:
        """The balance transactions of a payout, but itself."""
        params: Any = {"payout": payout, "limit": 100, "expand": ["data.source"]}
        for one in _called(lambda: self._client.v1.balance_transactions.list(params)).auto_paging_iter():
            yield from movements_of(one)

    def submit_evidence(self, order: EvidenceOrder) -> Outcome:
        """Tell Stripe and have it pass on to the payer's bank: Stripe takes one answer for a dispute."""
        dispute = order.dispute
        params: Any = {
            "evidence": dict(order.content),
            "metadata": {"farthing_evidence": order.evidence_key},
            "submit": True,
        }
        key: Any = {"idempotency_key": f"evidence/{order.evidence_key}"}
        _called(lambda: self._client.v1.disputes.update(dispute, params, key))
        return Outcome(Result.SUCCEEDED, dispute)

    def evidence_status(self, order: EvidenceOrder) -> Outcome:
        """By our name, which stands in the dispute's metadata from the same call on."""
        name = order.dispute
        dispute = _called(lambda: self._client.v1.disputes.retrieve(name))
        metadata = dispute.metadata.to_dict() if dispute.metadata else {}
        there = metadata.get("farthing_evidence") == order.evidence_key
        return Outcome(Result.SUCCEEDED if there else Result.NOT_FOUND, name)


def _named(method: str) -> tuple[str, str]:
    customer, _, name = method.partition("/")
    return customer, name


def _called(call: Callable[[], _R]) -> _R:
    """Call Stripe. What it refuses for certain is `Refused`; whatever leaves it open is `OutcomeUnknown`."""
    try:
        return call()
    except stripe.CardError as error:
        body: Any = (error.json_body or {}).get("error", {}) if isinstance(error.json_body, dict) else {}
        raise Refused(body.get("decline_code") or error.code or "declined") from None
    except stripe.InvalidRequestError as error:
        raise Refused(error.code or "invalid_request") from None
    except stripe.StripeError as error:
        # Connections, rate limits, keys that are in use, errors of theirs; also a key of ours that is wrong, which
        # moves nothing and is put right by people.
        raise OutcomeUnknown(type(error).__name__) from None


def _outcome(intent: Any) -> Outcome:
    currency = str(intent.currency).upper()
    match intent.status:
        case "succeeded":
            charge = getattr(intent, "latest_charge", None)
            balance = getattr(charge, "balance_transaction", None) if not isinstance(charge, str) else None
            fee = getattr(balance, "fee", None) if not isinstance(balance, str) else None
            at = getattr(charge, "created", None)
            return Outcome(
                Result.SUCCEEDED,
                intent.id,
                from_stripe(getattr(intent, "amount_received", None) or intent.amount, currency),
                ZERO
                if fee is None
                else from_stripe(fee, str(getattr(balance, "currency", currency)).upper()),
                at=None if at is None else datetime.fromtimestamp(at, UTC),
            )
        case "processing":
            return Outcome(Result.PROCESSING, intent.id)
        case "requires_action":
            return Outcome(Result.ACTION_REQUIRED, intent.id)
        case "requires_confirmation":
            return Outcome(Result.NOT_FOUND, intent.id)
        case _:
            error = getattr(intent, "last_payment_error", None)
            if error is None:
                return Outcome(Result.NOT_FOUND, intent.id)
            code = getattr(error, "decline_code", None) or getattr(error, "code", None) or "declined"
            return Outcome(Result.DECLINED, intent.id, code=code)


def _refunded(refund: Any) -> Outcome:
    results = {"succeeded": Result.SUCCEEDED, "failed": Result.DECLINED, "canceled": Result.DECLINED}
    result = results.get(str(refund.status), Result.PROCESSING)
    code = getattr(refund, "failure_reason", None) if result is Result.DECLINED else None
    return Outcome(result, refund.id, code=code)


def _event(said: Mapping[str, Any]) -> ProviderEvent:
    kind = said["type"]
    about = said["data"]["object"]
    at = datetime.fromtimestamp(int(said["created"]), UTC)
    if kind.startswith("payment_intent."):
        currency = str(about["currency"]).upper()
        error = about.get("last_payment_error") or {}
        return ProviderEvent(
            said["id"],
            _EVENTS.get(kind, EventKind.OTHER),
            about["id"],
            at,
            from_stripe(about.get("amount_received") or about["amount"], currency),
            currency,
            code=error.get("decline_code") or error.get("code"),
            payment_key=(about.get("metadata") or {}).get("farthing_payment"),
        )
    if kind in _REFUND_EVENTS:
        results = {"succeeded": EventKind.REFUNDED, "failed": EventKind.REFUND_FAILED}
        return ProviderEvent(
            said["id"],
            results.get(str(about.get("status")), EventKind.OTHER),
            about.get("payment_intent") or "",
            at,
            code=about.get("failure_reason"),
            object_id=about["id"],
        )
    if kind.startswith("charge.dispute."):
        return _dispute(said["id"], kind, about, at)
    return ProviderEvent(said["id"], EventKind.OTHER, str(about.get("id", "")), at)


def _dispute(event_id: str, kind: str, about: Mapping[str, Any], at: datetime) -> ProviderEvent:
    currency = str(about["currency"]).upper()
    ended = {"won": EventKind.DISPUTE_WON, "lost": EventKind.DISPUTE_LOST}
    meant = (
        ended.get(str(about.get("status")), EventKind.OTHER)
        if kind == "charge.dispute.closed"
        else _EVENTS.get(kind, EventKind.OTHER)
    )
    fees = [from_stripe(one["fee"], currency) for one in about.get("balance_transactions") or []]
    due = (about.get("evidence_details") or {}).get("due_by")
    return ProviderEvent(
        event_id,
        meant,
        about.get("payment_intent") or "",
        at,
        from_stripe(about["amount"], currency),
        currency,
        max(sum(fees, ZERO), ZERO),
        about.get("reason"),
        about["id"],
        None if due is None else datetime.fromtimestamp(int(due), UTC),
    )
