"""Stripe's own client against localstripe, a process of its own.

localstripe ignores idempotency keys and knows no disputes, so what is shown here is that we speak the protocol;
that nothing is charged twice is shown with the gateway that misbehaves on purpose.
"""

import importlib.util
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from farthing.kernel.errors import InvalidInput, Unauthorized
from farthing.payments.gateway import Charge, EventKind, OutcomeUnknown, RefundOrder, Result
from farthing.payments.signature import sign

if importlib.util.find_spec("stripe") is None or importlib.util.find_spec("localstripe") is None:
    pytest.skip("stripe and localstripe are not installed", allow_module_level=True)

import stripe

from farthing.payments.gateways.stripe import StripeGateway
from farthing.payments.gateways.stripe_balance import from_stripe, to_stripe

START_SECONDS_MAX = 60.0
SECRET = "whsec_of_stripe"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "localstripe", "--port", str(port), "--from-scratch"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert server.poll() is None, "localstripe ended"
            assert time.monotonic() < deadline, "localstripe does not listen"
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


@pytest.fixture
def gateway(address: str) -> StripeGateway:
    return StripeGateway("sk_test_12345", SECRET, address)


def method(address: str, number: str = "4242424242424242") -> str:
    """A card that is attached to a customer: what the payer's browser would leave there."""
    client = stripe.StripeClient("sk_test_12345", base_addresses={"api": address})
    customer = client.v1.customers.create({"description": "acme"})
    card = {"number": number, "exp_month": 12, "exp_year": 2032, "cvc": "123"}
    made = client.v1.payment_methods.create({"type": "card", "card": card})  # type: ignore[typeddict-item]
    client.v1.payment_methods.attach(made.id, {"customer": customer.id})
    return made.id


def charge(reference: str, key: str, amount: str = "12.34", provider_id: str | None = None) -> Charge:
    return Charge(key, 1, D(amount), "USD", reference, "acme", "INV-000001", provider_id)


def test_a_payment_from_its_making_to_its_refund(gateway: StripeGateway, address: str) -> None:
    stored = gateway.store_method("acme", method(address))
    assert (stored.kind, stored.label) == ("card", "Visa 4242")
    asked = charge(stored.reference, "p1")
    assert gateway.status(asked).result is Result.NOT_FOUND
    name = gateway.create(asked)
    known = charge(stored.reference, "p1", provider_id=name)
    # Nothing has moved yet.
    assert gateway.status(known).result is Result.NOT_FOUND
    outcome = gateway.capture(known)
    assert (outcome.result, outcome.provider_id, outcome.amount) == (Result.SUCCEEDED, name, D("12.34"))
    assert gateway.status(known).result is Result.SUCCEEDED
    # Confirmed once more, it says what it is and takes nothing.
    assert gateway.capture(known).result is Result.SUCCEEDED
    order = RefundOrder("r1", name, D("2.34"), "USD")
    refunded = gateway.refund(order)
    assert (refunded.result, refunded.provider_id is None) == (Result.SUCCEEDED, False)
    again = gateway.refund_status(RefundOrder("r1", name, D("2.34"), "USD", refunded.provider_id))
    assert again.result is Result.SUCCEEDED
    # Where its name is not known, it is found by ours.
    assert gateway.refund_status(order).provider_id == refunded.provider_id
    assert gateway.refund_status(RefundOrder("r2", name, D(1), "USD")).result is Result.NOT_FOUND


def test_a_card_that_is_declined(gateway: StripeGateway, address: str) -> None:
    stored = gateway.store_method("acme", method(address, "4000000000000341"))
    name = gateway.create(charge(stored.reference, "p2"))
    outcome = gateway.capture(charge(stored.reference, "p2", provider_id=name))
    assert (outcome.result, outcome.code) == (Result.DECLINED, "card_declined")


def test_a_method_that_is_not_there(gateway: StripeGateway) -> None:
    with pytest.raises(InvalidInput) as refused:
        gateway.store_method("acme", "pm_nothing")
    assert refused.value.code == "unknown_payment_method"


def test_a_server_that_does_not_answer_leaves_it_open() -> None:
    gateway = StripeGateway("sk_test_12345", SECRET, "http://127.0.0.1:9")
    with pytest.raises(OutcomeUnknown):
        gateway.create(charge("cus_1/pm_1", "p3"))
    with pytest.raises(OutcomeUnknown):
        gateway.capture(charge("cus_1/pm_1", "p3", provider_id="pi_1"))


# ---- Messages, in the shapes of Stripe's


def message(kind: str, about: dict[str, object]) -> bytes:
    return json.dumps(
        {"id": "evt_1", "type": kind, "created": int(NOW.timestamp()), "data": {"object": about}}
    ).encode()


def heard(gateway: StripeGateway, body: bytes, at: datetime = NOW, secret: str = SECRET):
    # Stripe signs with more schemes than one; those that are not known are passed over.
    header = sign(secret, body, at) + ",v0=" + "0" * 64
    (event,) = gateway.read_webhook({"stripe-signature": header}, body, NOW)
    return event


def test_messages_are_understood(gateway: StripeGateway) -> None:
    intent = {
        "id": "pi_1", "amount": 1234, "amount_received": 1234, "currency": "usd",
        "metadata": {"farthing_payment": "p1"},
    }  # fmt: skip
    event = heard(gateway, message("payment_intent.succeeded", intent))
    assert (event.kind, event.subject, event.amount, event.currency, event.payment_key) == (
        EventKind.SUCCEEDED, "pi_1", D("12.34"), "USD", "p1",
    )  # fmt: skip
    failed = intent | {"last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"}}
    event = heard(gateway, message("payment_intent.payment_failed", failed))
    assert (event.kind, event.code) == (EventKind.FAILED, "insufficient_funds")
    dispute = {
        "id": "dp_1", "payment_intent": "pi_1", "amount": 1234, "currency": "usd", "reason": "fraudulent",
        "status": "lost", "balance_transactions": [{"fee": 1500}], "evidence_details": {"due_by": 1_780_000_000},
    }  # fmt: skip
    event = heard(gateway, message("charge.dispute.created", dispute))
    assert (event.kind, event.object_id, event.fee, event.code) == (
        EventKind.DISPUTED, "dp_1", D("15.00"), "fraudulent",
    )  # fmt: skip
    assert heard(gateway, message("charge.dispute.closed", dispute)).kind is EventKind.DISPUTE_LOST
    refund = {"id": "re_1", "payment_intent": "pi_1", "status": "succeeded"}
    assert heard(gateway, message("refund.updated", refund)).kind is EventKind.REFUNDED
    assert heard(gateway, message("customer.created", {"id": "cus_1"})).kind is EventKind.OTHER


def test_messages_that_are_not_stripes(gateway: StripeGateway) -> None:
    body = message("customer.created", {"id": "cus_1"})
    for at, secret, code in (
        (NOW, "whsec_another", "invalid_webhook_signature"),
        (NOW - timedelta(minutes=6), SECRET, "stale_webhook"),
    ):
        with pytest.raises(Unauthorized) as refused:
            heard(gateway, body, at, secret)
        assert refused.value.code == code
    with pytest.raises(Unauthorized):
        heard(gateway, b'{"id": 1}')


def test_what_we_verify_is_what_stripe_signs() -> None:
    """Both ways: our signature stands before Stripe's own check."""
    body = message("customer.created", {"id": "cus_1"})
    header = sign(SECRET, body, datetime.now(UTC))
    assert stripe.Webhook.construct_event(body, header, SECRET).id == "evt_1"


@pytest.mark.parametrize(
    ("amount", "currency", "count"),
    [("12.34", "USD", 1234), ("1000", "JPY", 1000), ("1.500", "KWD", 1500), ("250", "ISK", 25000)],
)
def test_amounts_in_the_unit_that_stripe_counts_in(amount: str, currency: str, count: int) -> None:
    assert to_stripe(D(amount), currency) == count
    assert from_stripe(count, currency) == D(amount)
