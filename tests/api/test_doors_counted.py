"""Events of other systems' doors all the way: sealed, counted once, conflicts set aside, and summed as usage."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from farthing.catalog.service import put_meter
from farthing.events.sealing.sealer import Sealer
from farthing.events.service import account
from farthing.events.store.duckdb import Lateness
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage

JSON = {"content-type": "application/json"}


def openmeter(client, number, value):
    event = {"specversion": "1.0", "id": f"o-{number}", "source": "s", "type": "call", "subject": "acme"}
    return client.post("/api/v1/events", {**event, "data": {"value": value}})


def lago(client, number, value):
    event = {"transaction_id": f"l-{number}", "external_subscription_id": "acme", "code": "call"}
    return client.post("/api/v1/events", {"event": {**event, "properties": {"value": value}}})


def lago_batch(client, number, value):
    event = {"transaction_id": f"b-{number}", "external_subscription_id": "acme", "code": "call"}
    return client.post("/api/v1/events/batch", {"events": [{**event, "properties": {"value": value}}]})


def stripe(client, number, value):
    form = {"event_name": "call", "payload[stripe_customer_id]": "acme", "payload[value]": value}
    return client.post("/v1/billing/meter_events", data={**form, "identifier": f"s-{number}"})


def otlp_delta(client, number, value):
    return otlp(client, number, value, temporality=1)


def otlp(client, number, value, temporality):
    nanoseconds = int(client.now.timestamp()) * 1_000_000_000 + number
    point = {"timeUnixNano": str(nanoseconds), "startTimeUnixNano": "1", "asDouble": float(value)}
    metric = {
        "name": "call",
        "sum": {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": [point]},
    }
    resource = {"attributes": [{"key": "customer.id", "value": {"stringValue": "acme"}}]}
    document = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}
    return client.post("/otlp/v1/metrics", content=json.dumps(document), headers=JSON)


class Sender:
    """The client, and what time it is."""

    def __init__(self, client, now):
        self.post = client.post
        self.now = now


@pytest.fixture
def sender(client, now):
    return Sender(client, now)


def sealed(services, tenant_id, now):
    """Everything in the log counted; then where every event stands, and how much of `value` there is."""
    store = services.store
    definition = {"key": "total", "event_type": "call", "aggregation": "sum", "value": "data.value"}
    put_meter(services.books, tenant_id, definition, now)
    sealer = Sealer(services.books, store, services.data_dir / "log", Lateness(10**9, 3600))
    for _ in sealer.seal_standing(lambda: now):
        pass
    query = UsageQuery("total", now - timedelta(days=1), now + timedelta(days=1))
    groups = query_usage(services.books, store, tenant_id, query, now)
    return account(services.books, services.data_dir / "log", tenant_id), sum(
        group.quantity for group in groups
    )


@pytest.mark.parametrize("door", [openmeter, lago, lago_batch, stripe, otlp_delta])
def test_a_repeat_counts_once_and_other_content_is_a_conflict(sender, services, tenant_id, now, door):
    for number in range(3):
        for _ in range(2):
            assert door(sender, number, f"{number}.25").status_code < 300
    assert door(sender, 0, "7").status_code < 300
    found, total = sealed(services, tenant_id, now)
    assert (found.accepted, found.counted, found.duplicate, found.waiting) == (7, 3, 3, 0)
    assert found.quarantined_by_reason == {"conflict": 1}
    assert total == Decimal("3.75")


def test_an_event_counts_once_through_two_doors(sender, services, tenant_id, now):
    openmeter(sender, 1, "2.5")
    event = {"id": "o-1", "source": "s", "type": "call", "subject": "acme", "data": {"value": "2.5"}}
    sender.post("/v1/events", event)
    found, total = sealed(services, tenant_id, now)
    assert (found.counted, found.duplicate, total) == (1, 1, Decimal("2.5"))


def test_running_totals_sum_up_to_the_last_of_them(sender, services, tenant_id, now):
    for number, value in enumerate(("0.1", "0.3", "0.3", "0.9", "1.2"), start=1):
        otlp(sender, number, value, temporality=2)
    found, total = sealed(services, tenant_id, now)
    assert (found.counted, found.quarantined, total) == (4, 0, Decimal("1.2"))
