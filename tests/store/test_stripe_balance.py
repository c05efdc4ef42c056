"""What Stripe says of its balance and of disputes, through its own client: payouts, their movements, answers.

The peer is a small server that answers in the shapes of Stripe's reference; `localstripe` knows no payouts'
transactions and no disputes.
"""

import importlib.util
import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal as D
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from farthing.kernel.quantity import exact
from farthing.payments.gateway import EvidenceOrder, OutcomeUnknown, PayoutState, Refused, Result

if importlib.util.find_spec("stripe") is None:
    pytest.skip("stripe is not installed", allow_module_level=True)

from farthing.payments.gateways.stripe import StripeGateway

MADE = 1_772_668_800  # 2026-03-05T00:00:00Z


def transaction(name: str, kind: str, amount: int, fee: int = 0, source: Any = None) -> dict[str, Any]:
    return {
        "id": name, "object": "balance_transaction", "type": kind, "amount": amount, "fee": fee, "net": amount - fee,
        "currency": "usd", "created": MADE, "source": source,
    }  # fmt: skip


TRANSACTIONS = [
    transaction("txn_1", "charge", 10000, 320, {"id": "ch_1", "object": "charge", "payment_intent": "pi_1"}),
    transaction("txn_2", "refund", -2500, 0, {"id": "re_1", "object": "refund", "payment_intent": "pi_1"}),
    transaction(
        "txn_3", "adjustment", -4000, 1500, {"id": "dp_1", "object": "dispute", "payment_intent": "pi_2"}
    ),
    transaction(
        "txn_4", "adjustment", 4000, -1500, {"id": "dp_1", "object": "dispute", "payment_intent": "pi_2"}
    ),
    transaction("txn_5", "stripe_fee", -200),
    transaction("txn_6", "payout_failure", 700, 0, {"id": "po_0", "object": "payout"}),
    transaction("txn_7", "contribution", -5),
    transaction("txn_8", "payout", -7775, 0, {"id": "po_1", "object": "payout"}),
]
PAYOUT = {
    "id": "po_1", "object": "payout", "amount": 7675, "currency": "usd", "status": "in_transit", "created": MADE,
    "arrival_date": MADE + 2 * 86400, "statement_descriptor": "ACME PAYOUT", "automatic": True,
    "trace_id": {"status": "supported", "value": "TRACE99"},
}  # fmt: skip
BY_HAND = PAYOUT | {"id": "po_2", "amount": -100, "status": "failed", "automatic": False, "trace_id": None}


class Peer(BaseHTTPRequestHandler):
    disputes: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    requests: list[tuple[str, str, dict[str, list[str]], str | None]] = []  # noqa: RUF012
    silent = False

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = parse_qs(parts.query)
        if parts.path == "/v1/balance_transactions":
            if asked.get("payout") == ["po_2"]:
                return self.refuse("Balance transaction history can only be filtered on automatic transfers")
            return self.page(TRANSACTIONS, asked)
        if parts.path == "/v1/payouts":
            return self.page([PAYOUT, BY_HAND], asked)
        dispute = self.disputes.get(parts.path.rsplit("/", 1)[-1])
        return self.refuse("No such dispute") if dispute is None else self.answer(200, dispute)

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self.requests.append(("POST", self.path, body, self.headers["idempotency-key"]))
        dispute = self.disputes.get(self.path.rsplit("/", 1)[-1])
        if dispute is None:
            return self.refuse("No such dispute")
        dispute["metadata"] = {"farthing_evidence": body["metadata[farthing_evidence]"][0]}
        return (
            self.answer(500, {"error": {"type": "api_error"}}) if self.silent else self.answer(200, dispute)
        )

    def page(self, items: list[dict[str, Any]], asked: dict[str, list[str]]) -> None:
        """Three at a time, so that the client has to turn pages."""
        after = asked.get("starting_after")
        start = 0 if after is None else [item["id"] for item in items].index(after[0]) + 1
        some = items[start : start + 3]
        self.answer(
            200,
            {
                "object": "list",
                "url": urlsplit(self.path).path,
                "data": some,
                "has_more": start + 3 < len(items),
            },
        )

    def refuse(self, message: str) -> None:
        self.answer(
            400, {"error": {"type": "invalid_request_error", "message": message, "code": "resource_missing"}}
        )

    def answer(self, status: int, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[StripeGateway]:
    Peer.disputes = {"dp_1": {"id": "dp_1", "object": "dispute", "status": "needs_response", "metadata": {}}}
    Peer.requests, Peer.silent = [], False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Peer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield StripeGateway("sk_test_12345", "whsec_of_stripe", f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_payout_is_the_sum_of_its_movements(gateway: StripeGateway) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    first, second = gateway.payouts(start, datetime(2026, 4, 1, tzinfo=UTC))
    assert (first.name, first.amount, first.currency, first.state) == (
        "po_1", D("76.75"), "USD", PayoutState.IN_TRANSIT,
    )  # fmt: skip
    assert (first.arrives_on, first.reference, first.listed) == (date(2026, 3, 7), "TRACE99", True)
    assert (second.amount, second.state, second.reference, second.listed) == (
        D("-1.00"), PayoutState.FAILED, "ACME PAYOUT", False,
    )  # fmt: skip
    moved = list(gateway.paid_out("po_1"))
    assert [(one.kind.value, one.movement_id, one.provider_id, one.signed) for one in moved] == [
        ("payment", "txn_1", "pi_1", D("100.00")),
        ("fee", "txn_1/fee", "pi_1", D("-3.20")),
        ("refund", "re_1", "pi_1", D("-25.00")),
        ("dispute", "dp_1", "dp_1", D("-40.00")),
        ("dispute_fee", "txn_3/fee", "dp_1", D("-15.00")),
        ("payment", "txn_4", "dp_1", D("40.00")),
        ("other_in", "txn_4/fee", "dp_1", D("15.00")),
        ("provider_fee", "txn_5", "txn_5", D("-2.00")),
        ("payout_returned", "txn_6", "po_0", D("7.00")),
        ("other_out", "txn_7", "txn_7", D("-0.05")),
    ]
    with exact():
        assert sum(one.signed for one in moved) == first.amount
    assert list(gateway.movements(start, datetime(2026, 4, 1, tzinfo=UTC))) == moved
    with pytest.raises(Refused):
        list(gateway.paid_out("po_2"))


def test_an_answer_to_a_dispute_is_told_and_found_again(gateway: StripeGateway) -> None:
    order = EvidenceOrder(
        "stripe:dp_1/7", "dp_1", {"customer_name": "Acme", "uncategorized_text": "Used and paid."}
    )
    assert gateway.evidence_status(order).result is Result.NOT_FOUND
    Peer.silent = True
    with pytest.raises(OutcomeUnknown):
        gateway.submit_evidence(order)
    assert gateway.evidence_status(order).result is Result.SUCCEEDED
    Peer.silent = False
    assert gateway.submit_evidence(order).result is Result.SUCCEEDED
    assert [
        (path, body["evidence[customer_name]"], body["submit"], key) for _, path, body, key in Peer.requests
    ] == [("/v1/disputes/dp_1", ["Acme"], ["true"], "evidence/stripe:dp_1/7")] * 2
    with pytest.raises(Refused) as refused:
        gateway.submit_evidence(EvidenceOrder("k", "dp_9", {"customer_name": "x"}))
    assert refused.value.code == "resource_missing"
